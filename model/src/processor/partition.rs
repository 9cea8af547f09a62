//! A processor's partitions: acquiring, ingesting events, writing checkpoints, handing over.

use stitch_common::checkpoint::{Ceiling, Checkpoint};
use stitch_common::offset::Offset;
use stitch_common::range::RangeBits;
use stitch_processor::engine::acks::{AckTracker, TurnNumber};
use stitch_processor::engine::{PartitionState, rule};

use crate::bounds::{Bounds, PARTITIONS};
use crate::fault::Fault;
use crate::processor::{Step, offset};
use crate::rule::Rule;
use crate::state::{
    Broken, Contribution, ContributionState, Offsets, OwnedPartition, Processor, Sent, State,
};
use crate::zookeeper;

fn number(offset: Offset) -> u8 {
    u8::try_from(offset.0).expect("the log has few events")
}

/// The checkpoint of a partition, by the product's rule.
pub(crate) fn checkpoint(
    bounds: &Bounds,
    processor: &Processor,
    partition: usize,
    owned: &OwnedPartition,
) -> Offsets {
    let mut checkpoint = owned.written;
    for (range, below) in checkpoint.iter_mut().enumerate().take(bounds.ranges()) {
        let counted = &processor.ranges[range];
        let track = counted.tracks[partition].as_ref();
        let resumed = offset(owned.resumed[range]);
        let reached = rule::checkpoint(track, offset(owned.ingested), resumed);
        *below = number(reached);
        let beyond = bounds.lacks(Rule::CheckpointExact) && counted.lock.is_yielding();
        let early = bounds.lacks(Rule::Acknowledged)
            && counted
                .parts
                .iter()
                .all(|part| part.partition != partition || part.state == ContributionState::Sent);
        if (beyond && track.is_none_or(AckTracker::is_drained)) || early {
            *below = owned.ingested;
        }
    }
    checkpoint
}

/// The steps that a processor may take with a partition.
pub(crate) fn steps(
    bounds: &Bounds,
    state: &State,
    i: usize,
    partition: usize,
    each: &mut impl FnMut(Step),
) {
    let processor = &state.processors[i];
    let dealt = state.owner[partition] == i;
    let is_free = state.holders[partition].is_none();
    let Some(owned) = processor.partitions[partition] else {
        if dealt && bounds.lacks(Rule::ReadUnderLock) {
            each(Step::ReadEarly(partition));
        } else if dealt && (is_free || bounds.lacks(Rule::PartitionLock)) {
            each(Step::Acquire(partition));
        }
        return;
    };
    if owned.stage == PartitionState::Acquiring && is_free {
        each(Step::Acquire(partition));
    }
    if owned.stage == PartitionState::Counting && !dealt {
        each(Step::Revoked(partition));
    }
    let differs = next_write(bounds, state, i, partition, &owned) != (owned.written, owned.ceiling);
    if owned.stage.holds_lock() && owned.writing.is_none() && differs {
        each(Step::Write(partition));
        if state.faults.has(Fault::SlowWrite) {
            each(Step::WriteBegins(partition));
        }
    }
    let hands_over = owned.stage.is_draining() && is_drained(processor, partition);
    if hands_over && owned.writing.is_none() && !differs {
        each(Step::HandOver(partition));
    }
}

fn is_drained(processor: &Processor, partition: usize) -> bool {
    let ranges = processor.ranges.iter();
    let tracks = ranges.filter_map(|counted| counted.tracks[partition].as_ref());
    tracks.into_iter().all(AckTracker::is_drained)
}

/// The checkpoint and the ceiling to write next, as the product's engine chooses them.
fn next_write(
    bounds: &Bounds,
    state: &State,
    i: usize,
    partition: usize,
    owned: &OwnedPartition,
) -> (Offsets, Ceiling) {
    let processor = &state.processors[i];
    let next = checkpoint(bounds, processor, partition, owned);
    if owned.stage.is_draining() && is_drained(processor, partition) {
        let bits = RangeBits::new(u8::from(bounds.ranges() > 1)).expect("two ranges at most");
        let last = Checkpoint::from_ranges(bits, |range| offset(next[usize::from(range.0)]));
        return (next, rule::last_ceiling(&last, owned.found, bits));
    }
    let counts = owned.stage == PartitionState::Counting;
    let delivered = if counts {
        state.ends[partition]
    } else {
        owned.ingested
    };
    if next == owned.written && (delivered == owned.ingested || !counts) {
        return (next, owned.ceiling);
    }
    let highest = next[..bounds.ranges()]
        .iter()
        .copied()
        .max()
        .unwrap_or_default();
    let raised = offset(delivered.max(highest)).max(owned.ceiling.acknowledged());
    (next, Ceiling::At(raised))
}

/// Ingests what was delivered, up to the ceiling in ZooKeeper, by the product's rule.
pub(crate) fn ingest_all(bounds: &Bounds, state: &mut State, i: usize, partition: usize) {
    while let Some(owned) = state.processors[i].partitions[partition]
        && owned.stage == PartitionState::Counting
        && owned.ingested < state.ends[partition]
        && (rule::is_below_ceiling(offset(owned.ingested), owned.ceiling)
            || bounds.lacks(Rule::BelowCeiling))
    {
        ingest(bounds, &mut state.processors[i], partition, owned.ingested);
    }
}

/// Ingests an event of a partition that it counts.
fn ingest(bounds: &Bounds, processor: &mut Processor, partition: usize, at: u8) {
    let Some(owned) = processor.partitions[partition] else {
        return;
    };
    let event = &bounds.log[partition][usize::from(at)];
    for range in 0..bounds.ranges() {
        let of_range = |cell: &&usize| bounds.cells[**cell] == range;
        let parts = event.iter().filter(of_range).count();
        if parts == 0 || !rule::is_counted(offset(owned.resumed[range]), offset(at)) {
            continue;
        }
        let counted = &mut processor.ranges[range];
        let track = counted.tracks[partition].get_or_insert_default();
        track.ingest(TurnNumber(at.into()), offset(at));
        for &cell in event.iter().filter(of_range) {
            let part = Contribution {
                partition,
                offset: at,
                cell,
                state: ContributionState::Waiting,
            };
            track.add_contribution(part.turn());
            counted.parts.push(part);
        }
        counted.parts.sort_unstable();
    }
    if let Some(owned) = &mut processor.partitions[partition] {
        owned.ingested = at + 1;
    }
}

/// A partition that was just acquired.
pub(crate) const fn owned(
    stage: PartitionState,
    resumed: Offsets,
    found: Ceiling,
) -> OwnedPartition {
    OwnedPartition {
        stage,
        resumed,
        written: resumed,
        ceiling: found,
        found,
        writing: None,
        ingested: 0,
    }
}

/// Acquires a partition's lock and reads its checkpoint.
pub(crate) fn acquire(bounds: &Bounds, state: &mut State, i: usize, partition: usize) {
    let (written, found) = (state.checkpoints[partition], state.ceilings[partition]);
    state.holders[partition] = Some(i);
    let processor = &mut state.processors[i];
    let early = processor.partitions[partition].map(|owned| owned.resumed);
    let resumed = early.or(processor.remembered[partition]).unwrap_or(written);
    processor.partitions[partition] = Some(owned(PartitionState::Counting, resumed, found));
    let from = *resumed[..bounds.ranges()].iter().min().unwrap_or(&0);
    if let Some(owned) = &mut processor.partitions[partition] {
        owned.ingested = from;
    }
    ingest_all(bounds, state, i, partition);
}

/// Begins to write the checkpoint.
pub(crate) fn begin_write(bounds: &Bounds, state: &mut State, i: usize, partition: usize) {
    let processor = &state.processors[i];
    let Some(owned) = processor.partitions[partition] else {
        return;
    };
    let (checkpoint, ceiling) = next_write(bounds, state, i, partition, &owned);
    // The product's checkpoint must not pass a contribution that the model knows to be unacknowledged.
    let passes = |range: usize| {
        let mut parts = processor.ranges[range].parts.iter();
        parts.any(|part| part.partition == partition && part.offset < checkpoint[range])
    };
    if (0..bounds.ranges()).any(passes) {
        state.broken = Some(Broken::I2);
    }
    if let Some(owned) = &mut state.processors[i].partitions[partition] {
        owned.writing = Some((checkpoint, ceiling));
    }
}

/// ZooKeeper applies the write.
pub(crate) fn land_write(bounds: &Bounds, state: &mut State, i: usize, partition: usize) {
    let Some(owned) = &mut state.processors[i].partitions[partition] else {
        return;
    };
    let Some((new, ceiling)) = owned.writing.take() else {
        return;
    };
    (owned.written, owned.ceiling) = (new, ceiling);
    state.ceilings[partition] = ceiling;
    let old = std::mem::replace(&mut state.checkpoints[partition], new);
    for range in 0..bounds.ranges() {
        let locked = state.restorator.phase.has_locked(range);
        let passes = bounds.touches(partition, old[range], new[range], range);
        if (locked && passes) || new[range] < old[range] {
            state.broken = Some(Broken::I2);
        }
    }
    let ceilings = zookeeper::ceilings(state)[partition];
    let above = |sent: &Sent| {
        let (of, offset) = sent.event.unwrap_or((PARTITIONS, 0));
        of == partition && offset >= ceilings[bounds.cells[sent.cell]]
    };
    if state.sent.iter().any(above) && !bounds.lacks(Rule::BelowCeiling) {
        state.broken = Some(Broken::I7);
    }
    ingest_all(bounds, state, i, partition);
}

/// Hands a partition over.
pub(crate) fn hand_over(bounds: &Bounds, processor: &mut Processor, partition: usize) {
    if bounds.lacks(Rule::CheckpointReread) {
        processor.remembered[partition] = processor.partitions[partition].map(|one| one.written);
    }
    processor.partitions[partition] = None;
    for counted in &mut processor.ranges {
        counted.tracks[partition] = None;
        counted.parts.retain(|part| part.partition != partition);
    }
}
