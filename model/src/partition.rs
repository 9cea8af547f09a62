//! A processor's partitions: taking them, their events, their progress, handing them over.

use stitch_common::offset::Offset;
use stitch_processor::engine::acks::AckTracker;
use stitch_processor::engine::{PartitionState, rule};

use crate::bounds::Bounds;
use crate::fault::Fault;
use crate::processor::{Step, offset};
use crate::rule::Rule;
use crate::state::{Broken, Offsets, Owned, Part, PartState, Processor, State};

fn number(offset: Offset) -> u8 {
    u8::try_from(offset.0).expect("the log has few events")
}

/// What its progress of a partition is by the product's rule.
pub(crate) fn answered(
    bounds: &Bounds,
    processor: &Processor,
    partition: usize,
    owned: &Owned,
) -> Offsets {
    let mut answered = owned.written;
    for (range, answered) in answered.iter_mut().enumerate().take(bounds.ranges()) {
        let counted = &processor.ranges[range];
        let track = counted.tracks[partition].as_ref();
        let resumed = offset(owned.resumed[range]);
        let told = rule::checkpoint(track, offset(owned.taken_in), resumed);
        *answered = number(told);
        let beyond = bounds.lacks(Rule::ExactlyBehind) && counted.lock.is_yielding();
        let early = bounds.lacks(Rule::AnswerFirst)
            && counted
                .parts
                .iter()
                .all(|part| part.partition != partition || part.state == PartState::Sent);
        if (beyond && track.is_none_or(AckTracker::is_drained)) || early {
            *answered = owned.taken_in;
        }
    }
    answered
}

/// Everything that it may do with a partition.
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
            each(Step::Take(partition));
        }
        return;
    };
    if owned.stage == PartitionState::Acquiring && is_free {
        each(Step::Take(partition));
    }
    if owned.stage == PartitionState::Counting && !dealt {
        each(Step::Revoked(partition));
    }
    let answered = answered(bounds, processor, partition, &owned);
    let differs = answered != owned.written;
    if owned.stage.holds_lock() && owned.writing.is_none() && differs {
        each(Step::Write(partition));
        if state.faults.has(Fault::SlowWrite) {
            each(Step::WriteBegins(partition));
        }
    }
    let tracks = processor.ranges.iter();
    let settled = tracks
        .filter_map(|counted| counted.tracks[partition].as_ref())
        .all(AckTracker::is_drained);
    if owned.stage.is_draining() && owned.writing.is_none() && settled && !differs {
        each(Step::HandOver(partition));
    }
}

/// It learns of an event of a partition that it counts.
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
            .extend(event.iter().filter(of_range).map(|&cell| Part {
                partition,
                offset: at,
                cell,
                place,
                state: PartState::Waiting,
            }));
        counted.parts.sort_unstable();
    }
    if let Some(owned) = &mut processor.partitions[partition] {
        owned.taken_in = at + 1;
    }
}

/// A partition at its start.
pub(crate) const fn owned(stage: PartitionState, resumed: Offsets) -> Owned {
    Owned {
        stage,
        resumed,
        written: resumed,
        writing: None,
        taken_in: 0,
    }
}

/// It has the partition's lock, and reads its progress.
pub(crate) fn take(bounds: &Bounds, state: &mut State, i: usize, partition: usize) {
    let (progress, end) = (state.progress[partition], state.ends[partition]);
    state.holders[partition] = Some(i);
    let processor = &mut state.processors[i];
    let early = processor.partitions[partition].map(|owned| owned.resumed);
    let resumed = early
        .or(processor.remembered[partition])
        .unwrap_or(progress);
    processor.partitions[partition] = Some(owned(PartitionState::Counting, resumed));
    let from = *resumed[..bounds.ranges()].iter().min().unwrap_or(&0);
    if let Some(owned) = &mut processor.partitions[partition] {
        owned.taken_in = from;
    }
    for at in from..end {
        ingest(bounds, processor, partition, at);
    }
}

/// It sends progress to ZooKeeper.
pub(crate) fn begin_write(bounds: &Bounds, state: &mut State, i: usize, partition: usize) {
    let processor = &state.processors[i];
    let Some(owned) = processor.partitions[partition] else {
        return;
    };
    let answered = answered(bounds, processor, partition, &owned);
    // What the product's track calls answered, against what the model knows of each part.
    let passes = |range: usize| {
        let mut parts = processor.ranges[range].parts.iter();
        parts.any(|part| part.partition == partition && part.offset < answered[range])
    };
    if (0..bounds.ranges()).any(passes) {
        state.broken = Some(Broken::I2);
    }
    if let Some(owned) = &mut state.processors[i].partitions[partition] {
        owned.writing = Some(answered);
    }
}

/// ZooKeeper writes it.
pub(crate) fn land_write(bounds: &Bounds, state: &mut State, i: usize, partition: usize) {
    let Some(owned) = &mut state.processors[i].partitions[partition] else {
        return;
    };
    let Some(new) = owned.writing.take() else {
        return;
    };
    owned.written = new;
    let old = std::mem::replace(&mut state.progress[partition], new);
    for range in 0..bounds.ranges() {
        let locked = state.restorator.phase.has_locked(range);
        let passes = bounds.touches(partition, old[range], new[range], range);
        if (locked && passes) || new[range] < old[range] {
            state.broken = Some(Broken::I2);
        }
    }
}

/// It gives the partition back.
pub(crate) fn hand_over(bounds: &Bounds, processor: &mut Processor, partition: usize) {
    if bounds.lacks(Rule::ReadAgain) {
        processor.remembered[partition] = processor.partitions[partition].map(|one| one.written);
    }
    processor.partitions[partition] = None;
    for counted in &mut processor.ranges {
        counted.tracks[partition] = None;
        counted.parts.retain(|part| part.partition != partition);
    }
}
