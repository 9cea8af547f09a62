//! A processor's partitions: acquiring, ingesting events, writing checkpoints, handing over.

use stitch_common::offset::Offset;
use stitch_processor::engine::acks::AckTracker;
use stitch_processor::engine::{PartitionState, rule};

use crate::bounds::Bounds;
use crate::fault::Fault;
use crate::processor::{Step, offset};
use crate::rule::Rule;
use crate::state::{
    Broken, Contribution, ContributionState, Offsets, OwnedPartition, Processor, State,
};

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
    let checkpoint = checkpoint(bounds, processor, partition, &owned);
    let differs = checkpoint != owned.written;
    if owned.stage.holds_lock() && owned.writing.is_none() && differs {
        each(Step::Write(partition));
        if state.faults.has(Fault::SlowWrite) {
            each(Step::WriteBegins(partition));
        }
    }
    let tracks = processor.ranges.iter();
    let is_drained = tracks
        .filter_map(|counted| counted.tracks[partition].as_ref())
        .all(AckTracker::is_drained);
    if owned.stage.is_draining() && owned.writing.is_none() && is_drained && !differs {
        each(Step::HandOver(partition));
    }
}

/// Ingests an event of a partition that it counts.
pub(crate) fn ingest(bounds: &Bounds, processor: &mut Processor, partition: usize, at: u8) {
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
        let parts = u32::try_from(parts).expect("four cells");
        let place = track.ingest(offset(at), parts);
        counted
            .parts
            .extend(event.iter().filter(of_range).map(|&cell| Contribution {
                partition,
                offset: at,
                cell,
                place,
                state: ContributionState::Waiting,
            }));
        counted.parts.sort_unstable();
    }
    if let Some(owned) = &mut processor.partitions[partition] {
        owned.ingested = at + 1;
    }
}

/// A partition that was just acquired.
pub(crate) const fn owned(stage: PartitionState, resumed: Offsets) -> OwnedPartition {
    OwnedPartition {
        stage,
        resumed,
        written: resumed,
        writing: None,
        ingested: 0,
    }
}

/// Acquires a partition's lock and reads its checkpoint.
pub(crate) fn acquire(bounds: &Bounds, state: &mut State, i: usize, partition: usize) {
    let (written, end) = (state.checkpoints[partition], state.ends[partition]);
    state.holders[partition] = Some(i);
    let processor = &mut state.processors[i];
    let early = processor.partitions[partition].map(|owned| owned.resumed);
    let resumed = early.or(processor.remembered[partition]).unwrap_or(written);
    processor.partitions[partition] = Some(owned(PartitionState::Counting, resumed));
    let from = *resumed[..bounds.ranges()].iter().min().unwrap_or(&0);
    if let Some(owned) = &mut processor.partitions[partition] {
        owned.ingested = from;
    }
    for at in from..end {
        ingest(bounds, processor, partition, at);
    }
}

/// Begins to write the checkpoint.
pub(crate) fn begin_write(bounds: &Bounds, state: &mut State, i: usize, partition: usize) {
    let processor = &state.processors[i];
    let Some(owned) = processor.partitions[partition] else {
        return;
    };
    let checkpoint = checkpoint(bounds, processor, partition, &owned);
    // The product's checkpoint must not pass a contribution that the model knows to be unacknowledged.
    let passes = |range: usize| {
        let mut parts = processor.ranges[range].parts.iter();
        parts.any(|part| part.partition == partition && part.offset < checkpoint[range])
    };
    if (0..bounds.ranges()).any(passes) {
        state.broken = Some(Broken::I2);
    }
    if let Some(owned) = &mut state.processors[i].partitions[partition] {
        owned.writing = Some(checkpoint);
    }
}

/// ZooKeeper applies the write.
pub(crate) fn land_write(bounds: &Bounds, state: &mut State, i: usize, partition: usize) {
    let Some(owned) = &mut state.processors[i].partitions[partition] else {
        return;
    };
    let Some(new) = owned.writing.take() else {
        return;
    };
    owned.written = new;
    let old = std::mem::replace(&mut state.checkpoints[partition], new);
    for range in 0..bounds.ranges() {
        let locked = state.restorator.phase.has_locked(range);
        let passes = bounds.touches(partition, old[range], new[range], range);
        if (locked && passes) || new[range] < old[range] {
            state.broken = Some(Broken::I2);
        }
    }
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
