//! The archive: every segment holds exactly the log's records between its positions, begins where the chain ends when it
//! arrives, and stays. Totals: each cell holds the sum of the events below their cut.

use std::collections::BTreeMap;

use stitch_archive::names::TopicFolder;
use stitch_archive::origin;
use stitch_archive::reader::Archive;
use stitch_archive::segment::row_group::Columns;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{ObjectName, ObjectStore};
use stitch_totals::manifest::{Manifest, TotalsId};
use stitch_totals::sorted::SortedCells;
use stitch_totals::sorted::counter_names::CounterNames;
use stitch_totals::sorted::tokens::TokenSelection;
use stitch_totals::totals_file::reader::TotalsReader;
use stitch_totals::totals_folder::TotalsFolder;

use super::{Finding, Kind};
use crate::trace::{Actor, Tracepoint};
use crate::world::objects::at_once;
use crate::world::zookeeper::NAMESPACE;
use crate::world::{GENERATION, World};

/// The archive as the store has it.
#[derive(Debug, Default)]
pub(crate) struct ArchiveState {
    /// By partition: where the chain begins.
    origins: BTreeMap<Partition, Offset>,
    /// By partition: where each segment begins and ends.
    segments: BTreeMap<Partition, BTreeMap<Offset, Offset>>,
    /// The cuts of all totals that were published with every counter from the beginning.
    cuts: Vec<BTreeMap<Partition, Offset>>,
}

impl ArchiveState {
    /// Where the chain of a partition begins.
    pub(crate) fn origin(&self, partition: Partition) -> Option<Offset> {
        self.origins.get(&partition).copied()
    }

    /// The end of the chain of a partition; 0 if there is none.
    pub(crate) fn complete_to(&self, partition: Partition) -> Offset {
        let mut position = self.origin(partition).unwrap_or_default();
        let segments = self.segments.get(&partition);
        while let Some(to) = segments.and_then(|segments| segments.get(&position)) {
            position = *to;
        }
        position
    }

    /// The cuts of totals at or below what is counted, those with most records last: every restoration can begin there, with
    /// one of them for all partitions.
    pub(crate) fn usable_cuts(
        &self,
        counted: impl Fn(Partition) -> Offset,
    ) -> Vec<BTreeMap<Partition, Offset>> {
        let usable = self.cuts.iter().filter(|cut| {
            let mut offsets = cut.iter();
            offsets.all(|(partition, to)| *to <= counted(*partition))
        });
        let mut cuts: Vec<_> = usable.cloned().collect();
        cuts.sort_by_key(|cut| cut.values().map(|to| to.0).sum::<i64>());
        cuts
    }
}

fn topic_folder() -> TopicFolder {
    TopicFolder::new("kafka", "events")
}

/// The partition and the position of a segment's name.
fn segment_of(name: &ObjectName) -> Option<(Partition, Offset)> {
    let folder = topic_folder();
    let partition = folder.partition_of(name)?;
    Some((partition, folder.segment_from(partition, name)?))
}

/// The partition whose origin has this name.
fn origin_of(name: &ObjectName) -> Option<Partition> {
    let folder = topic_folder();
    let partition = folder.partition_of(name)?;
    (folder.origin(partition) == *name).then_some(partition)
}

/// The totals whose manifest has this name.
fn manifest_of(name: &ObjectName) -> Option<TotalsId> {
    let below = name.0.strip_prefix("totals/v1/")?;
    let (_, rest) = below.split_once('/')?;
    let id = rest.strip_suffix("/manifest.json")?;
    Some(TotalsId(id.to_owned()))
}

impl World {
    /// A write is on its way to the object store.
    pub(crate) fn write_sent(&self, actor: Actor, name: &ObjectName) {
        if segment_of(name).is_some() {
            self.record(actor, Tracepoint::SegmentSent, || format!("puts {name}"));
        }
    }

    /// The object store has a new object.
    pub(crate) fn object_written(&self, name: &ObjectName) {
        let result = if let Some(partition) = origin_of(name) {
            self.origin_written(partition)
        } else if let Some((partition, from)) = segment_of(name) {
            self.segment_written(partition, from)
        } else if let Some(id) = manifest_of(name) {
            self.totals_published(&id)
        } else {
            Ok(())
        };
        if let Err(finding) = result {
            self.report(finding);
        }
    }

    /// An object is deleted.
    pub(crate) fn object_deleted(&self, name: &ObjectName) {
        let Some((partition, from)) = segment_of(name) else {
            return;
        };
        let mut state = self.archive.borrow_mut();
        let before = state.complete_to(partition);
        let segments = state.segments.entry(partition).or_default();
        segments.remove(&from);
        let after = state.complete_to(partition);
        drop(state);
        if after < before {
            let what = format!(
                "partition {partition} was complete up to {before}, and is only up to {after}"
            );
            self.report(Finding::new(Kind::WrongArchive, what));
        }
    }

    fn origin_written(&self, partition: Partition) -> Result<(), Finding> {
        let origin = at_once(origin::read(
            &self.storage.reliable(),
            &topic_folder(),
            partition,
        ));
        let origin = origin.map_err(|error| Finding::new(Kind::WrongArchive, error.to_string()))?;
        let mut state = self.archive.borrow_mut();
        state.origins.extend(origin.map(|from| (partition, from)));
        Ok(())
    }

    fn segment_written(&self, partition: Partition, from: Offset) -> Result<(), Finding> {
        let archive = Archive::new(self.storage.reliable(), "kafka", "events");
        let read = at_once(async {
            let Some(segment) = archive.segment(partition, from).await? else {
                return Ok(None);
            };
            let mut records = Vec::new();
            let mut reader = archive.open(partition, &segment, Columns::All).await?;
            while let Some(rows) = reader.next().await? {
                records.extend(rows.records());
            }
            Ok(Some((segment.to, records)))
        });
        let read = read.map_err(|error: stitch_archive::ArchiveError| error.to_string());
        let wrong = |what: String| Finding::new(Kind::WrongArchive, what);
        let (to, records) = match read {
            Ok(Some(read)) => read,
            Ok(None) => return Err(wrong(format!("there is no segment at {from}"))),
            Err(error) => return Err(wrong(error)),
        };
        self.record(Actor::ObjectStore, Tracepoint::SegmentArchived, || {
            format!("partition {partition} from {from} to {to}")
        });
        if records != self.kafka.log.borrow().records_within(partition, from, to) {
            return Err(wrong(format!(
                "the segment of partition {partition} from {from} to {to} has other records than the log"
            )));
        }
        let mut state = self.archive.borrow_mut();
        let complete_to = state.complete_to(partition);
        let segments = state.segments.entry(partition).or_default();
        segments.insert(from, to);
        let after = state.complete_to(partition);
        if after < complete_to {
            return Err(wrong(format!(
                "partition {partition} was complete up to {complete_to}, and is only up to {after}"
            )));
        }
        if from > complete_to {
            return Err(wrong(format!(
                "a segment of partition {partition} begins at {from}, and the chain ends at {complete_to}"
            )));
        }
        Ok(())
    }

    fn totals_published(&self, id: &TotalsId) -> Result<(), Finding> {
        let folder = TotalsFolder::new(self.storage.reliable(), NAMESPACE);
        let manifest = match at_once(folder.manifest(id)) {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return Ok(()),
            Err(error) => return Err(Finding::new(Kind::WrongTotals, error.to_string())),
        };
        let (cut, definitions) = (&manifest.subject.cut, &manifest.subject.definitions);
        self.record(Actor::ObjectStore, Tracepoint::TotalsPublished, || {
            format!("totals {id} at {:?}", cut.0)
        });
        if manifest.subject.instance != self.namespace_instance(GENERATION) {
            return Ok(());
        }
        let names = CounterNames::new(definitions);
        let cells = cells_of(&folder, &manifest, &names)
            .map_err(|error| Finding::new(Kind::WrongTotals, format!("totals {id}: {error}")))?;
        let checker = self.checker.borrow();
        let mut counters = checker
            .cells
            .iter()
            .map(|checked| &checked.cell.counter.name);
        if manifest.subject.later.is_empty() && counters.all(|name| names.rank(&name.0).is_some()) {
            self.archive.borrow_mut().cuts.push(cut.0.clone());
        }
        let late = |counter: &str| {
            let mut later = manifest.subject.later.iter();
            later.any(|late| *late.counter.0 == *counter)
        };
        let mut expected = BTreeMap::new();
        for (index, checked) in checker.cells.iter().enumerate() {
            let counter = &checked.cell.counter;
            let total = checker.expected(index, |partition| cut.of(Partition(partition)));
            if total != 0 && names.rank(&counter.name.0).is_some() && !late(&counter.name.0) {
                expected.insert(checked.cell.to_string(), total);
            }
        }
        let cells: BTreeMap<_, _> = cells
            .into_iter()
            .filter(|(cell, total)| *total != 0 && !late(&cell.counter.name.0))
            .map(|(cell, total)| (cell.to_string(), total))
            .collect();
        if cells == expected {
            return Ok(());
        }
        let what = format!(
            "totals {id} at {:?} have {cells:?} instead of {expected:?}",
            cut.0
        );
        Err(Finding::new(Kind::WrongTotals, what))
    }
}

/// The cells of totals.
fn cells_of<S: ObjectStore>(
    folder: &TotalsFolder<S>,
    manifest: &Manifest,
    names: &CounterNames,
) -> Result<Vec<(stitch_common::cell::Cell, i64)>, stitch_totals::totals_error::TotalsError> {
    use stitch_common::cell::{Cell, Counter};
    let mut reader = TotalsReader::new(folder, manifest, names, TokenSelection::ALL);
    let mut cells = Vec::new();
    while at_once(reader.load())? {
        loop {
            if let Some(cell) = reader.current() {
                let key = String::from_utf8_lossy(cell.key);
                let counter = Counter::new(&*names.name(cell.name).0, &*key);
                let slot = cell.slot.unpack();
                cells.push((Cell { counter, slot }, cell.total.0));
            }
            if !reader.step()? {
                break;
            }
        }
    }
    Ok(cells)
}
