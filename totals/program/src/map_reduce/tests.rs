//! Builds on a cluster: in this process, which maps every segment twice, groups by the simplest means, and may lie.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use stitch_archive::reader::Archive;
use stitch_common::cell::Amount;
use stitch_common::clock::SystemClock;
use stitch_common::offset::Offsets;
use stitch_common::progress::NoProgress;
use stitch_common::token::Token;
use stitch_testkit::objects::MemoryStore;
use stitch_testkit::samples;
use stitch_totals::build::{BaseChoice, BuildError, BuildRequest, Built, build, build_on};
use stitch_totals::records::{Records, RecordsError};
use stitch_totals::scan_key::PackedSlot;
use stitch_totals::sorted::counter_names::NameRank;
use stitch_totals::sorted::spill_folder::SpillFolder;
use stitch_totals::testing::{SampleTopic, instance};
use stitch_totals::totals_folder::TotalsFolder;

use super::*;
use crate::block_on;
use crate::map::{MapBounds, map};
use crate::partial::writer::PartialWriter;

/// The totals of one namespace.
struct Namespace {
    topic: SampleTopic,
    store: MemoryStore,
    path: tempfile::TempDir,
}

impl Namespace {
    fn new() -> Self {
        Self {
            topic: SampleTopic::default(),
            store: MemoryStore::default(),
            path: tempfile::tempdir().unwrap(),
        }
    }

    fn play(&self, partition: i32, key: &str, bytes: i64) {
        let value = format!(r#"{{"type":"play","time":0,"track":"{key}","bytes":{bytes}}}"#);
        self.topic.add(partition, Some(&value));
    }

    fn folder(&self) -> TotalsFolder<MemoryStore> {
        TotalsFolder::new(self.store.clone(), "plays")
    }

    async fn build_with(&self, base: BaseChoice, lie: Option<Lie>) -> Result<Built, BuildError> {
        let archive = Archive::new(self.store.clone(), "kafka", "events");
        let patience = Duration::from_secs(5);
        let records = Records::new(Some(&archive), &self.topic, &SystemClock, patience);
        let spill = SpillFolder::open(self.path.path(), 1 << 30).unwrap();
        let definitions = samples::definitions();
        let reach = records
            .reach(async || Ok::<_, RecordsError>(Offsets::default()))
            .await?;
        let request = BuildRequest {
            namespace: "plays",
            instance: &instance(),
            cluster: "kafka",
            topic: "events",
            definitions: &definitions,
            reach: &reach,
            base,
            cut: None,
            added: &[],
            memory_bytes_max: 0,
            spill: &spill,
        };
        let folder = self.folder();
        let Some(lie) = lie else {
            return build(&folder, &records, &request, &SystemClock, &NoProgress).await;
        };
        let runner = SampleCluster {
            store: self.store.clone(),
            lie,
            spill: spill.clone(),
        };
        let objects = JobObjects::new("plays");
        let cluster = MapReduce::new(self.store.clone(), objects, runner);
        let (cluster, clock) = (Some(&cluster), &SystemClock);
        let built = build_on(cluster, &folder, &records, &request, clock, &NoProgress).await;
        assert_eq!(spill.bytes(), 0, "everything is given back");
        assert_eq!(files(self.path.path()), 0);
        built
    }

    fn partials(&self) -> usize {
        let names = self.store.objects().names().into_iter();
        names.filter(|name| name.0.starts_with("partials/")).count()
    }
}

fn files(path: &Path) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

/// What a cluster does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    Nothing,
    Fails,
    ReceiptMissing,
    ReceiptTwice,
    ReceiptForeign,
    RecordsMissing,
    ContributionsOfAnother,
    SumWrong,
    CellMissing,
    PartialCountedTwice,
    FileMissing,
    FileTwice,
}

struct SampleCluster {
    store: MemoryStore,
    lie: Lie,
    spill: SpillFolder,
}

/// Token, rank, length of the key, key and slot: the order of the scan.
type Position = (Token, NameRank, usize, Vec<u8>, PackedSlot);

impl JobRunner for SampleCluster {
    async fn run(&self, job: &Job, tasks: &[MapTask], folder: &JobFolder) -> Result<(), JobError> {
        let store = &self.store;
        let archive = Archive::new(store.clone(), &job.cluster, &job.topic);
        let bounds = MapBounds {
            memory_bytes_max: 0,
            spill: self.spill.clone(),
        };
        let mut receipts = Vec::new();
        for task in tasks {
            let first = map(&archive, store, job, task, &bounds).await.unwrap();
            // As after the loss of an executor.
            let again = map(&archive, store, job, task, &bounds).await.unwrap();
            assert_eq!(first, again);
            receipts.push(first);
        }
        if self.lie == Lie::Fails {
            return Err(JobError::NotConfigured("it fails"));
        }
        let names = CounterNames::new(&samples::definitions());
        let mut cells = self.group(&names, tasks).await;
        self.bend(&mut receipts, &mut cells);
        self.write(&names, &receipts, &cells, folder).await;
        Ok(())
    }
}

impl SampleCluster {
    async fn group(
        &self,
        names: &CounterNames,
        tasks: &[MapTask],
    ) -> BTreeMap<Position, (i64, i64)> {
        let mut grouped: BTreeMap<Position, (i64, i64)> = BTreeMap::new();
        let store = &self.store;
        for task in tasks {
            let name = ObjectName(task.partial.clone());
            let size = store.size(&name).await.unwrap().unwrap();
            let file = stitch_common::ports::ObjectEntry { name, size };
            let mut cells = GroupedCells::new(store, names, vec![file]);
            while cells.load().await.unwrap() {
                loop {
                    let cell = cells.current().unwrap();
                    let key = cell.key.to_vec();
                    let position = (cell.token, cell.name, key.len(), key, cell.slot);
                    let entry = grouped.entry(position).or_default();
                    entry.0 = entry.0.wrapping_add(cell.total.0);
                    entry.1 += 1;
                    if !cells.step().unwrap() {
                        break;
                    }
                }
            }
        }
        grouped
    }

    fn bend(&self, receipts: &mut Vec<Receipt>, cells: &mut BTreeMap<Position, (i64, i64)>) {
        let mut accounts = receipts[0].accounts.values_mut();
        match self.lie {
            Lie::ReceiptMissing => drop(receipts.pop()),
            Lie::ReceiptTwice => receipts.push(receipts[0].clone()),
            Lie::ReceiptForeign => {
                let mut foreign = receipts[0].clone();
                foreign.partial = "foreign".to_owned();
                receipts.push(foreign);
            }
            Lie::RecordsMissing => receipts[0].records -= 1,
            Lie::ContributionsOfAnother => drop(receipts[0].accounts.pop_last()),
            Lie::SumWrong => accounts.next().unwrap().sum += 1,
            Lie::CellMissing => drop(cells.pop_first()),
            Lie::PartialCountedTwice => {
                let (total, partials) = cells.first_entry().unwrap().get().to_owned();
                *cells.first_entry().unwrap().get_mut() = (total, partials + 1);
            }
            Lie::Nothing | Lie::Fails | Lie::FileMissing | Lie::FileTwice => {}
        }
    }

    async fn write(
        &self,
        names: &CounterNames,
        receipts: &[Receipt],
        cells: &BTreeMap<Position, (i64, i64)>,
        folder: &JobFolder,
    ) {
        let store = &self.store;
        for (number, receipts) in receipts.chunks(2).enumerate() {
            let lines = receipts
                .iter()
                .map(|receipt| serde_json::to_string(receipt).unwrap());
            let text = lines.collect::<Vec<_>>().join("\n");
            let name = folder.receipts().join(format_args!("part-{number:05}"));
            store.objects().set(name, text);
        }
        let success = folder.receipts().join("_SUCCESS");
        store.objects().set(success, "");
        let cells: Vec<_> = cells.iter().collect();
        for (number, cells) in cells.chunks(3).enumerate() {
            let mut writer = PartialWriter::new(names, &self.spill).unwrap();
            for ((token, name, _, key, slot), (total, partials)) in cells {
                let cell = CellTotal {
                    token: *token,
                    name: *name,
                    key,
                    slot: *slot,
                    total: Amount(*total),
                };
                writer.push(&cell, *partials).await.unwrap();
            }
            let part = |number| {
                folder
                    .cells()
                    .join(format_args!("part-{number:05}-c000.parquet"))
            };
            if self.lie == Lie::FileMissing && number == 0 {
                continue;
            }
            writer
                .put(store, &part(number), ("of", String::new()))
                .await
                .unwrap();
            if self.lie == Lie::FileTwice {
                let content = store.objects().get(&part(number)).unwrap();
                store.objects().set(part(number + 100_000), content);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_cluster_builds_the_totals_that_this_process_builds(
        builds in vec(vec((0..2_i32, "[a-d]", any::<i64>()), 1..12), 1..4),
    ) {
        let namespace = Namespace::new();
        block_on(async {
            let mut archived = 0;
            for events in &builds {
                for (partition, key, bytes) in events {
                    let value =
                        format!(r#"{{"type":"play","time":{partition},"track":"{key}","bytes":{bytes}}}"#);
                    namespace.topic.add(*partition, Some(&value));
                    namespace.topic.add(*partition, None);
                }
                let end = namespace.topic.end(0);
                if end - archived > 2 {
                    // In two segments; the log's end is not archived.
                    let ends = [archived, archived + 1, end - 1];
                    namespace.topic.archive(&namespace.store, 0, &ends).await;
                    archived = end - 1;
                }
                let here = namespace.build_with(BaseChoice::FromBeginning, None).await.unwrap();
                namespace.folder().delete(&here.manifest.id).await.unwrap();
                let incremental =
                    namespace.build_with(BaseChoice::Newest, Some(Lie::Nothing)).await.unwrap();
                namespace.folder().delete(&here.manifest.id).await.unwrap();
                let there =
                    namespace.build_with(BaseChoice::FromBeginning, Some(Lie::Nothing)).await.unwrap();
                for built in [&incremental, &there] {
                    assert!(built.is_new);
                    assert_eq!(built.manifest.id, here.manifest.id);
                    assert_eq!(built.manifest.digest, here.manifest.digest);
                    assert_eq!(built.manifest.accounts, here.manifest.accounts);
                    assert_eq!(built.manifest.rows, here.manifest.rows);
                }
                assert_eq!(there.manifest.sources, here.manifest.sources);
                assert_eq!(there.records, here.records);
                assert_eq!(namespace.partials(), 0, "nothing is left in the store");
            }
        });
    }
}

#[test]
fn a_job_whose_accounts_disagree_publishes_nothing() {
    for (lie, said) in [
        (
            Lie::ReceiptMissing,
            "there is no receipt of the segment of partition 0 from 4",
        ),
        (Lie::ReceiptTwice, "there are two receipts of partials/"),
        (Lie::ReceiptForeign, "a receipt of no task, foreign"),
        (Lie::RecordsMissing, "has 4 records, and 3 were mapped"),
        (Lie::ContributionsOfAnother, "is of other counters"),
        (
            Lie::SumWrong,
            "counter bytes: the receipts have 4 partial sums that add up to",
        ),
        (Lie::CellMissing, "partial sums that add up to"),
        (Lie::PartialCountedTwice, "partial sums that add up to"),
        (Lie::FileMissing, "partial sums that add up to"),
        (Lie::FileTwice, "does not lie behind the one before"),
    ] {
        let namespace = Namespace::new();
        block_on(async {
            for number in 0..8 {
                namespace.play(0, if number % 2 == 0 { "a" } else { "b" }, number);
            }
            namespace
                .topic
                .archive(&namespace.store, 0, &[0, 4, 8])
                .await;
            let refused = namespace.build_with(BaseChoice::Newest, Some(lie)).await;
            let error = refused.map(|built| built.manifest.id).unwrap_err();
            assert!(error.to_string().contains(said), "{lie:?}: {error}");
            // The next build uses none that may be what is wrong.
            let kept = if lie == Lie::FileTwice { 2 } else { 0 };
            assert_eq!(namespace.partials(), kept, "{lie:?}");
            assert!(
                namespace.folder().list().await.unwrap().totals.is_empty(),
                "{lie:?}"
            );
            namespace
                .build_with(BaseChoice::Newest, Some(Lie::Nothing))
                .await
                .unwrap();
        });
    }
}

#[test]
fn a_job_that_failed_leaves_its_partial_sums_to_the_next_one() {
    let namespace = Namespace::new();
    block_on(async {
        for number in 0..8 {
            namespace.play(0, "a", number);
        }
        namespace
            .topic
            .archive(&namespace.store, 0, &[0, 4, 8])
            .await;
        let refused = namespace
            .build_with(BaseChoice::Newest, Some(Lie::Fails))
            .await;
        assert!(
            matches!(refused, Err(BuildError::Cluster(_))),
            "{refused:?}"
        );
        assert_eq!(namespace.partials(), 2, "and no receipts or cells");
        namespace
            .build_with(BaseChoice::Newest, Some(Lie::Nothing))
            .await
            .unwrap();
        assert_eq!(namespace.partials(), 0);
    });
}
