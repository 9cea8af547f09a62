//! The engine in a small world that loses, delays and refuses requests: random histories, every one checked.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stitch_common::cell::{Amount, Cell, CounterName, Granularity};
use stitch_common::definition::{AmountSource, CounterDefinition, EventAttributes};
use stitch_common::event::{Decoded, slot};
use stitch_common::outcome::{Cause, Outcome};

use super::*;

mod rules;

fn definitions() -> Definitions {
    let counter = |name: &str, key: &str, granularities: &[Granularity]| CounterDefinition {
        name: CounterName(name.into()),
        on: vec!["play".to_owned()],
        key: key.to_owned(),
        granularities: granularities.to_vec(),
        amount: AmountSource::Attribute("n".to_owned()),
    };
    Definitions::new(
        RangeBits::new(2).unwrap(),
        EventAttributes::default(),
        vec![
            counter("tracks", "track", &[Granularity::Hour, Granularity::All]),
            counter("users", "user", &[Granularity::All]),
        ],
    )
}

const PARTITIONS: i32 = 2;

/// The records of each partition, and how far they were delivered since the last start of the feed.
struct Log {
    records: Vec<Vec<Record>>,
    delivered: BTreeMap<Partition, (AssignmentEpoch, usize)>,
}

/// Servers in memory, which carry out the engine's commands in any order.
struct World {
    engine: Engine,
    definitions: Definitions,
    log: Log,
    lease: Lease,
    now: Moment,
    /// Commands under way, oldest first.
    pending: Vec<Command>,
    store: BTreeMap<Cell, Amount>,
    /// Cells of unknown outcome or given up: the only ones that may differ.
    suspects: BTreeSet<Cell>,
    checkpoints: BTreeMap<Partition, Checkpoint>,
    ceilings: BTreeMap<Partition, Ceiling>,
    copied: BTreeSet<(Partition, Offset)>,
    locked: BTreeSet<RangeId>,
    /// Ranges with an unknown outcome for which no marker was begun yet.
    to_mark: BTreeSet<RangeId>,
    /// Whether the engine never gives anything up, so that the value of every cell is known.
    exact: bool,
}

/// Longer than any history.
const PATIENT: Duration = Duration::from_secs(1 << 20);

impl World {
    fn new(records: Vec<Vec<Record>>, drain_timeout: Duration) -> Self {
        let limits = Limits {
            requests_in_flight_max: 3,
            window_bytes_max: 6000,
            turn_counters_max: 2,
            cells_per_batch_max: 4,
            drain_timeout,
            hand_over_timeout: drain_timeout,
            checkpoint_interval: Duration::from_millis(500),
            ceiling_interval: Duration::from_millis(20),
        };
        let definitions = definitions();
        Self {
            engine: Engine::new(limits, &definitions),
            definitions,
            log: Log {
                records,
                delivered: BTreeMap::new(),
            },
            lease: Lease::new(Duration::from_secs(30)),
            now: Moment::new(Duration::ZERO),
            pending: Vec::new(),
            store: BTreeMap::new(),
            suspects: BTreeSet::new(),
            checkpoints: BTreeMap::new(),
            ceilings: BTreeMap::new(),
            copied: BTreeSet::new(),
            locked: BTreeSet::new(),
            to_mark: BTreeSet::new(),
            exact: drain_timeout == PATIENT,
        }
    }

    fn advance(&mut self) {
        self.lease.renew(self.now);
        let commands = self.engine.advance(self.now, &self.lease);
        for command in commands {
            if let Command::CreateMarker(range) = &command {
                self.to_mark.remove(range);
            }
            match command {
                Command::StartFeed(partition, from, epoch) => {
                    let at = usize::try_from(from.0).unwrap();
                    self.log.delivered.insert(partition, (epoch, at));
                }
                Command::StopFeed(partition) => drop(self.log.delivered.remove(&partition)),
                Command::EndSuspension(_) => {}
                Command::Commit(offsets) => {
                    for (partition, offset) in offsets.0 {
                        let written = self.checkpoint(partition);
                        assert!(offset <= written.lowest(self.definitions.range_bits));
                    }
                }
                other @ (Command::AcquireRange(_)
                | Command::ReleaseRange(_)
                | Command::CreateMarker(_)
                | Command::RecordDoubt(..)
                | Command::Send(..)
                | Command::AcquirePartition(_)
                | Command::WriteCheckpoint(..)
                | Command::ReleasePartition(_)
                | Command::CopyRejected(..)) => self.pending.push(other),
            }
        }
    }

    /// Carries out one of the commands under way; `fault` decides how.
    fn carry_out(&mut self, which: usize, fault: u8) {
        if self.pending.is_empty() {
            return;
        }
        let index = which % self.pending.len();
        match self.pending.remove(index) {
            Command::AcquireRange(range) => {
                self.locked.insert(range);
                self.engine.on_range_acquired(range);
            }
            Command::ReleaseRange(range) => {
                assert!(
                    !self.to_mark.contains(&range),
                    "released before a marker was created"
                );
                self.check_checkpointed(range);
                self.locked.remove(&range);
                self.engine.on_range_released(range);
            }
            Command::CreateMarker(range) => self.engine.on_marker_created(range),
            Command::RecordDoubt(range, cause, _) => self.engine.on_doubt_recorded(range, cause),
            Command::AcquirePartition(partition) => {
                let checkpoint = self.checkpoint(partition);
                let from = checkpoint.lowest(self.definitions.range_bits);
                let ceiling = self.ceilings.get(&partition).copied();
                let ceiling = ceiling.unwrap_or_default();
                self.engine
                    .on_partition_acquired(partition, checkpoint, ceiling, from);
            }
            Command::ReleasePartition(partition) => {
                // A clean hand-over: nothing is begun beyond the checkpoint.
                let left = self.ceilings.get(&partition).copied().unwrap_or_default();
                assert_eq!(left, Ceiling::AtCheckpoint);
                self.engine.on_partition_released(partition, self.now)
            }
            Command::WriteCheckpoint(partition, checkpoint, ceiling) => {
                self.check_copied(partition, &checkpoint);
                self.check_ceiling(partition, &checkpoint, ceiling);
                self.ceilings.insert(partition, ceiling);
                self.checkpoints.insert(partition, checkpoint);
                self.engine.on_checkpoint_written(partition);
            }
            Command::CopyRejected(partition, epoch, record, _) => {
                self.copied.insert((partition, record.offset));
                self.engine
                    .on_rejected_copied(partition, epoch, record.offset);
            }
            Command::Send(id, _, batch, _) => self.send(id, batch, fault),
            Command::StartFeed(..)
            | Command::StopFeed(_)
            | Command::Commit(_)
            | Command::EndSuspension(_) => unreachable!(),
        }
    }

    fn send(&mut self, id: BatchId, batch: CounterBatch, fault: u8) {
        let range = self.definitions.range_bits.range_of(batch.counter.token());
        assert!(self.locked.contains(&range), "sent without the shared lock");
        assert!(!batch.amounts.is_empty() && batch.amounts.iter().all(|(_, a)| !a.is_zero()));
        let cause = || Cause("as the test says".to_owned());
        let (lands, outcome) = match fault {
            0 => (false, Outcome::NotApplied(cause())),
            1 => (false, Outcome::Unknown(cause())),
            2 => (true, Outcome::Unknown(cause())),
            3 => (false, Outcome::Refused(cause())),
            4 => (false, Outcome::Unauthorized(cause())),
            _ => (true, Outcome::Applied),
        };
        if matches!(outcome, Outcome::Unknown(_)) {
            self.to_mark.insert(range);
        }
        for (slot, amount) in &batch.amounts {
            let cell = Cell {
                counter: batch.counter.clone(),
                slot: *slot,
            };
            if matches!(outcome, Outcome::Unknown(_)) {
                self.suspects.insert(cell.clone());
            }
            if lands {
                let sum = self.store.entry(cell).or_default();
                *sum = sum.plus(*amount);
            }
        }
        self.engine.on_batch_outcome(id, outcome, self.now);
    }

    fn deliver(&mut self, partition: Partition, count: usize) {
        if !self.engine.wants_records() {
            return;
        }
        let Some((epoch, at)) = self.log.delivered.get_mut(&partition) else {
            return;
        };
        let epoch = *epoch;
        let records = &self.log.records[usize::try_from(partition.0).unwrap()];
        let end_offset = (*at + count).min(records.len());
        let chunk = records[*at..end_offset].to_vec();
        *at = end_offset;
        let end = Offset(i64::try_from(records.len()).unwrap());
        let at_end = end_offset == records.len();
        if !chunk.is_empty() {
            self.engine.on_records(partition, epoch, chunk);
        }
        if at_end {
            self.engine.on_end_reached(partition, epoch, end);
        }
    }

    /// Suspends a partition that is being counted.
    fn suspend(&mut self, partition: Partition) {
        let task = self.engine.partitions.get(&partition);
        if task.is_some_and(|task| task.state == PartitionState::Counting) {
            let reason = SuspensionReason::Log;
            assert!(self.engine.suspend(partition, reason, self.now));
        }
    }

    fn checkpoint(&self, partition: Partition) -> Checkpoint {
        let written = self.checkpoints.get(&partition).cloned();
        written.unwrap_or_default()
    }

    /// The increments of one record, by cell.
    fn increments(&self, record: &Record) -> Vec<(RangeId, Cell, Amount)> {
        let Decoded::Event(event) = Decoder::new(&self.definitions).decode(record.value.as_deref())
        else {
            return Vec::new();
        };
        let cells = event.increments.iter().flat_map(|increment| {
            let definition = &self.definitions.counters[increment.definition];
            let range = self
                .definitions
                .range_bits
                .range_of(increment.counter.token());
            definition.granularities.iter().map(move |&granularity| {
                let slot = slot(granularity, event.time);
                (
                    range,
                    Cell {
                        counter: increment.counter.clone(),
                        slot,
                    },
                    increment.amount,
                )
            })
        });
        cells.collect()
    }

    /// The sums of the records below `checkpoints`.
    fn expected(&self, checkpoints: &BTreeMap<Partition, Checkpoint>) -> BTreeMap<Cell, Amount> {
        let mut sums = BTreeMap::<Cell, Amount>::new();
        for (partition, records) in (0..).map(Partition).zip(&self.log.records) {
            let checkpoint = checkpoints.get(&partition).cloned().unwrap_or_default();
            for record in records {
                for (range, cell, amount) in self.increments(record) {
                    if record.offset < checkpoint.of(range) {
                        let sum = sums.entry(cell).or_default();
                        *sum = sum.plus(amount);
                    }
                }
            }
        }
        sums
    }

    /// I2: every rejected record below the checkpoint is copied.
    fn check_copied(&self, partition: Partition, checkpoint: &Checkpoint) {
        let highest = checkpoint.highest(self.definitions.range_bits);
        for record in &self.log.records[usize::try_from(partition.0).unwrap()] {
            let verdict = Decoder::new(&self.definitions).decode(record.value.as_deref());
            if record.offset < highest && matches!(verdict, Decoded::Rejected(_)) {
                assert!(self.copied.contains(&(partition, record.offset)));
            }
        }
    }

    /// P9: the ceiling is not below the checkpoint, and not beyond what was delivered.
    fn check_ceiling(&self, partition: Partition, checkpoint: &Checkpoint, ceiling: Ceiling) {
        let highest = checkpoint.highest(self.definitions.range_bits);
        if let Ceiling::At(offset) = ceiling {
            let delivered = self.log.delivered.get(&partition).map(|(_, at)| *at);
            let delivered = delivered
                .and_then(|at| i64::try_from(at).ok())
                .unwrap_or(i64::MAX);
            assert!(highest <= offset && offset <= Offset(delivered).max(highest));
        }
    }

    /// P6: when a READ node is deleted, the range holds exactly the events below the checkpoint, except in suspects. So a
    /// checkpoint read now is the cut.
    fn check_checkpointed(&self, range: RangeId) {
        if !self.exact {
            return;
        }
        let expected = self.expected(&self.checkpoints);
        let bits = self.definitions.range_bits;
        let cells: BTreeSet<&Cell> = expected.keys().chain(self.store.keys()).collect();
        for cell in cells {
            if bits.range_of(cell.counter.token()) == range && !self.suspects.contains(cell) {
                assert_eq!(
                    value(&self.store, cell),
                    value(&expected, cell),
                    "{cell} when range {range} was released"
                );
            }
        }
    }

    /// Stops and carries out everything, then compares every cell.
    fn finish(&mut self) {
        for _ in 0..3 {
            for partition in (0..PARTITIONS).map(Partition) {
                self.engine.assign(partition, self.now);
            }
            for _ in 0..400 {
                self.now = self.now.plus(Duration::from_millis(100));
                for partition in (0..PARTITIONS).map(Partition) {
                    self.deliver(partition, 3);
                }
                self.advance();
                self.carry_out(0, u8::MAX);
            }
        }
        self.engine.stop(self.now);
        for _ in 0..2000 {
            self.now = self.now.plus(Duration::from_millis(100));
            self.advance();
            self.carry_out(0, u8::MAX);
        }
        assert!(self.engine.is_finished(), "stuck: {:?}", self.engine);
        assert_eq!(self.engine.usage.events(), 0);
        assert_eq!(self.engine.usage.bytes(), 0);
        assert_eq!(self.engine.usage.counters(), 0);
        let mut everywhere = BTreeMap::new();
        for (partition, records) in (0..).map(Partition).zip(&self.log.records) {
            let end = Offset(i64::try_from(records.len()).unwrap());
            let written = self.checkpoint(partition);
            assert_eq!(written, Checkpoint::everywhere(end));
            let ceiling = self.ceilings.get(&partition).copied();
            assert_eq!(ceiling.unwrap_or_default(), Ceiling::AtCheckpoint);
            everywhere.insert(partition, Checkpoint::everywhere(end));
        }
        let expected = self.expected(&everywhere);
        let cells: BTreeSet<&Cell> = expected.keys().chain(self.store.keys()).collect();
        for cell in cells
            .into_iter()
            .filter(|cell| self.exact && !self.suspects.contains(cell))
        {
            assert_eq!(value(&self.store, cell), value(&expected, cell), "{cell}");
        }
    }
}

fn value(sums: &BTreeMap<Cell, Amount>, cell: &Cell) -> Amount {
    sums.get(cell).copied().unwrap_or_default()
}

/// The world's next step.
#[derive(Clone, Debug)]
enum Step {
    Assign(i32),
    Revoke(i32),
    Deliver(i32, usize),
    CarryOut(usize, u8),
    RequestRevocation(u16),
    Suspend(i32),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (0..PARTITIONS).prop_map(Step::Assign),
        1 => (0..PARTITIONS).prop_map(Step::Revoke),
        6 => (0..PARTITIONS, 1_usize..5).prop_map(|(p, count)| Step::Deliver(p, count)),
        16 => (0_usize..8, 0_u8..20).prop_map(|(which, fault)| Step::CarryOut(which, fault)),
        2 => (0_u16..4).prop_map(Step::RequestRevocation),
        1 => (0..PARTITIONS).prop_map(Step::Suspend),
        2 => (1_u64..1500).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..250)
}

fn records() -> impl Strategy<Value = Vec<Vec<Record>>> {
    let event = (0_u8..5, 0_u8..3, -2_i64..4, 0_i64..3).prop_map(|(track, user, n, hour)| {
        let ms = hour * 3_600_000;
        format!(r#"{{"type":"play","time":{ms},"track":"t{track}","user":{user},"n":{n}}}"#)
    });
    let value = prop_oneof![12 => event, 1 => Just("{}".to_owned()), 1 => Just("bad".to_owned())];
    let partition = proptest::collection::vec(value, 0..40).prop_map(|values| {
        let record = |(offset, value): (i64, String)| Record {
            offset: Offset(offset),
            timestamp_ms: None,
            key: None,
            value: Some(value.into_bytes().into()),
        };
        (0..).zip(values).map(record).collect::<Vec<_>>()
    });
    proptest::collection::vec(partition, usize::try_from(PARTITIONS).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_happens_the_checkpoint_is_exactly_behind_the_counted_events(
        records in records(),
        steps in steps(),
        drain_timeout in prop_oneof![3 => Just(PATIENT), 1 => Just(Duration::from_secs(2))],
    ) {
        let mut world = World::new(records, drain_timeout);
        for step in steps {
            match step {
                Step::Assign(partition) => {
                    world.engine.assign(Partition(partition), world.now);
                }
                Step::Revoke(partition) => {
                    world.engine.revoke(Partition(partition), world.now);
                }
                Step::Deliver(partition, count) => world.deliver(Partition(partition), count),
                Step::CarryOut(which, fault) => world.carry_out(which, fault),
                Step::RequestRevocation(range) => world.engine.on_revocation_request(RangeId(range), world.now),
                Step::Suspend(partition) => world.suspend(Partition(partition)),
                Step::Wait(ms) => world.now = world.now.plus(Duration::from_millis(ms)),
            }
            world.advance();
        }
        world.finish();
    }
}

#[test]
fn a_failed_commit_is_repeated_although_nothing_else_happens() {
    let mut world = World::new(vec![Vec::new(), Vec::new()], Duration::from_secs(1));
    world.engine.assign(Partition(0), world.now);
    world.advance();
    world.carry_out(0, u8::MAX);
    let mut commits = || {
        world.lease.renew(world.now);
        let commands = world.engine.advance(world.now, &world.lease);
        let is_commit = |command: &Command| matches!(command, Command::Commit(_));
        let commits = commands.iter().filter(|command| is_commit(command)).count();
        world.engine.on_commit_failed();
        commits
    };
    assert_eq!([commits(), commits()], [1, 1]);
}
