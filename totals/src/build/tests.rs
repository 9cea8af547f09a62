use std::collections::BTreeMap;
use std::path::Path;
use std::slice;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use stitch_archive::reader::Archive;
use stitch_common::cell::Key;
use stitch_common::clock::SystemClock;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::ObjectName;
use stitch_common::progress::NoProgress;
use stitch_common::user_error::UserError;
use stitch_testkit::objects::{Fault, MemoryStore, Objects, Request};
use stitch_testkit::samples;

use super::*;
use crate::manifest::TotalsId;
use crate::records::RecordsError;
use crate::sorted::testing::block_on;
use crate::sorted::tokens::TokenSelection;
use crate::testing::{SampleTopic, instance};

mod bases;

/// The totals of one namespace, built by a process with little memory.
struct Namespace {
    topic: SampleTopic,
    store: MemoryStore,
    definitions: Definitions,
    origins: Offsets,
    path: tempfile::TempDir,
    memory_bytes_max: usize,
    has_archive: bool,
}

impl Namespace {
    fn new() -> Self {
        Self {
            topic: SampleTopic::default(),
            store: MemoryStore::default(),
            definitions: samples::definitions(),
            origins: Offsets::default(),
            path: tempfile::tempdir().unwrap(),
            memory_bytes_max: 0,
            has_archive: true,
        }
    }

    fn play(&self, partition: i32, key: &str, bytes: i64) {
        let value = format!(r#"{{"type":"play","time":{bytes},"track":"{key}","bytes":{bytes}}}"#);
        self.topic.add(partition, Some(&value));
    }

    fn folder(&self) -> TotalsFolder<MemoryStore> {
        TotalsFolder::new(self.store.clone(), "plays")
    }

    async fn with<T>(
        &self,
        base: BaseChoice,
        added: &[CounterName],
        work: impl AsyncFnOnce(
            &Records<'_, MemoryStore, SampleTopic, SystemClock>,
            &BuildRequest<'_>,
        ) -> T,
    ) -> T {
        let archive = Archive::new(self.store.clone(), "kafka", "events");
        let archive = self.has_archive.then_some(&archive);
        let patience = Duration::from_secs(5);
        let records = Records::new(archive, &self.topic, &SystemClock, patience);
        let spill = SpillFolder::open(self.path.path(), 1 << 30).unwrap();
        let origins = async || Ok::<_, RecordsError>(self.origins.clone());
        let reach = records.reach(origins).await.unwrap();
        let request = BuildRequest {
            namespace: "plays",
            instance: &instance(),
            cluster: "kafka",
            topic: "events",
            definitions: &self.definitions,
            reach: &reach,
            base,
            cut: None,
            added,
            memory_bytes_max: self.memory_bytes_max,
            spill: &spill,
        };
        let result = work(&records, &request).await;
        assert_eq!(spill.bytes(), 0, "everything is given back");
        assert_eq!(files(self.path.path()), 0);
        result
    }

    async fn build_with(
        &self,
        base: BaseChoice,
        added: &[CounterName],
    ) -> Result<Built, BuildError> {
        self.with(base, added, async |records, request| {
            build(&self.folder(), records, request, &SystemClock, &NoProgress).await
        })
        .await
    }

    async fn build(&self) -> Result<Built, BuildError> {
        self.build_with(BaseChoice::Newest, &[]).await
    }

    async fn verify(&self, id: &TotalsId) -> Result<Recount, BuildError> {
        self.with(BaseChoice::Newest, &[], async |records, request| {
            verify(&self.folder(), records, request, id, &NoProgress).await
        })
        .await
    }

    async fn cells(&self, manifest: &Manifest) -> BTreeMap<(String, String, CellText), i64> {
        let folder = self.folder();
        let names = CounterNames::new(&manifest.subject.definitions);
        let reader = TotalsReader::new(&folder, manifest, &names, TokenSelection::ALL);
        let mut merge = Merge::new(vec![reader]);
        let mut cells = BTreeMap::new();
        while let Some(cell) = merge.next().await.unwrap() {
            let slot = cell.slot.unpack();
            let text = (slot.granularity.name().to_owned(), slot.bucket.0);
            let key = String::from_utf8(cell.key.to_vec()).unwrap();
            let name = names.name(cell.name).0.to_string();
            assert_eq!(cells.insert((name, key, text), cell.total.0), None);
        }
        cells
    }

    /// What all records up to `cut` add up to, by the simplest means.
    fn recount(&self, cut: &Offsets) -> BTreeMap<(String, String, CellText), i64> {
        let mut cells = BTreeMap::new();
        for (partition, to) in &cut.0 {
            for record in self.topic.records(partition.0, 0, to.0) {
                let value = record.value.unwrap();
                let Ok(event) = serde_json::from_slice::<serde_json::Value>(&value) else {
                    continue;
                };
                let key = Key(event["track"].as_str().unwrap().into()).0.to_string();
                let bytes = event["bytes"].as_i64().unwrap();
                let hour = bytes - bytes.rem_euclid(3_600_000);
                let mut add = |name: &str, granularity: &str, bucket, amount| {
                    let text = (granularity.to_owned(), bucket);
                    let total = cells.entry((name.to_owned(), key.clone(), text));
                    *total.or_default() += amount;
                };
                add("plays", "hour", hour, 1);
                add("plays", "all", 0, 1);
                add("bytes", "all", 0, bytes);
            }
        }
        cells.retain(|_, total| *total != 0);
        cells
    }
}

type CellText = (String, i64);

fn files(path: &Path) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn totals_are_what_all_records_add_up_to_however_they_were_built(
        builds in vec(vec((0..3_i32, "[a-d]", -4_000_000..4_000_000_i64), 0..12), 1..4),
        memory_bytes_max in prop_oneof![Just(0_usize), Just(1 << 20)],
        archives in any::<bool>(),
    ) {
        let mut namespace = Namespace::new();
        namespace.memory_bytes_max = memory_bytes_max;
        block_on(async {
            let mut archived = 0;
            for events in &builds {
                for (partition, key, bytes) in events {
                    namespace.play(*partition, key, *bytes);
                    namespace.topic.add(*partition, None);
                    namespace.topic.add(*partition, Some("rejected"));
                }
                let end = namespace.topic.end(0);
                if archives && end - 1 > archived {
                    // The archive is a little behind, and Kafka keeps no more than it must.
                    namespace.topic.archive(&namespace.store, 0, &[archived, end - 1]).await;
                    archived = end - 1;
                    namespace.topic.delete_below(0, archived);
                }
                let built = namespace.build().await.unwrap();
                let expected = namespace.recount(&built.manifest.subject.cut);
                assert_eq!(namespace.cells(&built.manifest).await, expected);
                assert_eq!(built.manifest.rows, expected.len() as u64);
                let recount = namespace.verify(&built.manifest.id).await.unwrap();
                assert_eq!(recount.differences, Vec::<String>::new());
            }
        });
    }
}

#[test]
fn a_second_build_reads_only_what_is_new_and_the_log_need_not_reach_back() {
    let namespace = Namespace::new();
    block_on(async {
        for number in 0..50 {
            namespace.play(0, "a", number);
        }
        let first = namespace.build().await.unwrap();
        assert_eq!((first.records, first.is_new), (50, true));
        assert!(first.notes.is_empty());
        let again = namespace.build().await.unwrap();
        assert_eq!((again.records, again.is_new), (0, false));
        assert_eq!(again.manifest, first.manifest);
        namespace.topic.delete_below(0, 50);
        namespace.play(0, "a", 1);
        namespace.play(1, "b", 2);
        let second = namespace.build().await.unwrap();
        assert_eq!(second.records, 2);
        let plays = &second.manifest.accounts[1];
        assert_eq!(
            (&*plays.counter.0, plays.contributions, plays.sum),
            ("plays", 52, 104)
        );
        let expected = namespace.recount(&second.manifest.subject.cut);
        assert_eq!(namespace.cells(&second.manifest).await, expected);
        // From the beginning it cannot be built any more.
        let refused = namespace.build_with(BaseChoice::FromBeginning, &[]).await;
        assert_eq!(
            refused.map(|built| built.manifest.subject.from.of(Partition(0))),
            Ok(Offset(50))
        );
    });
}

#[test]
fn counting_begins_where_it_is_known_to_begin_and_a_log_that_has_lost_it_is_a_gap() {
    let mut namespace = Namespace::new();
    namespace.origins = samples::offsets(&[(0, 2)]);
    block_on(async {
        for number in 0..5 {
            namespace.play(0, "a", number);
        }
        let built = namespace.build().await.unwrap();
        assert_eq!(built.records, 3);
        namespace.topic.delete_below(0, 3);
        let refused = namespace.build_with(BaseChoice::FromBeginning, &[]).await;
        let Err(BuildError::Records(RecordsError::Gap { from, to, .. })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((from, to), (Offset(2), Offset(3)));
        let recount = namespace.verify(&built.manifest.id).await;
        assert!(
            matches!(recount, Err(BuildError::Records(_))),
            "{recount:?}"
        );
    });
}

#[test]
fn counters_that_were_added_are_counted_from_the_beginning() {
    let mut namespace = Namespace::new();
    let mut all = namespace.definitions.clone();
    let mut listens = all.counter("plays").unwrap().clone();
    listens.name = CounterName("listens".into());
    all.counters.push(listens);
    let added = ["listens", "plays"].map(|name| CounterName(name.into()));
    block_on(async {
        namespace.definitions = only(&all, &[CounterName("bytes".into())]);
        for number in 0..20 {
            namespace.play(0, "a", number);
        }
        let old = namespace.build().await.unwrap();
        namespace.play(0, "b", 7);
        namespace.definitions = all;
        let refused = namespace.build().await;
        let help = UserError::from(refused.unwrap_err()).help;
        assert!(
            help.contains("build --counter plays --counter listens"),
            "{help}"
        );
        let one = namespace.build_with(BaseChoice::Newest, &added[1..]).await;
        assert!(matches!(one, Err(BuildError::Lacking { .. })), "{one:?}");
        let built = namespace
            .build_with(BaseChoice::Newest, &added)
            .await
            .unwrap();
        assert_eq!(
            built.records, 21,
            "the past for the new counters, and what came since for all"
        );
        assert!(built.manifest.subject.later.is_empty());
        let mut expected = namespace.recount(&built.manifest.subject.cut);
        for ((name, key, cell), total) in expected.clone() {
            if name == "plays" {
                expected.insert(("listens".to_owned(), key, cell), total);
            }
        }
        assert_eq!(namespace.cells(&built.manifest).await, expected);
        assert!(
            namespace
                .verify(&built.manifest.id)
                .await
                .unwrap()
                .differences
                .is_empty()
        );
        let again = namespace.build_with(BaseChoice::Newest, &added).await;
        assert!(
            matches!(again, Err(BuildError::NotAdded { .. })),
            "{again:?}"
        );
        assert!(
            built
                .manifest
                .sources
                .iter()
                .any(|span| span.source == SourceKind::Totals(old.manifest.id.clone()))
        );
    });
}

#[test]
fn a_counter_whose_past_is_gone_is_counted_from_the_cut_on_and_that_is_said() {
    let mut namespace = Namespace::new();
    let all = namespace.definitions.clone();
    let plays = CounterName("plays".into());
    block_on(async {
        namespace.definitions = only(&all, &[CounterName("bytes".into())]);
        for number in 1..20 {
            namespace.play(0, "a", number);
        }
        namespace.build().await.unwrap();
        namespace.topic.delete_below(0, 19);
        namespace.play(0, "a", 7);
        namespace.definitions = all;
        let built = namespace
            .build_with(BaseChoice::Newest, slice::from_ref(&plays))
            .await
            .unwrap();
        assert!(
            built.notes[0].contains("plays is counted from the cut"),
            "{:?}",
            built.notes
        );
        assert_eq!(
            built.manifest.subject.later[0].from,
            samples::offsets(&[(0, 19)])
        );
        let cells = namespace.cells(&built.manifest).await;
        let total = |name: &str| cells[&(name.to_owned(), "a".to_owned(), ("all".to_owned(), 0))];
        assert_eq!((total("plays"), total("bytes")), (1, 197));
        // What begins later is never taken for the same.
        assert_ne!(
            built.manifest.id,
            subject_without_later(&built.manifest).id()
        );
        namespace.play(0, "a", 1);
        let next = namespace.build().await.unwrap();
        assert_eq!(next.manifest.subject.later, built.manifest.subject.later);
    });
}

fn subject_without_later(manifest: &Manifest) -> Subject {
    let mut subject = manifest.subject.clone();
    subject.later.clear();
    subject
}

#[test]
fn totals_that_differ_from_the_records_do_not_pass_the_verification() {
    let namespace = Namespace::new();
    block_on(async {
        namespace.play(0, "a", 1);
        let built = namespace.build().await.unwrap();
        let mut other = built.manifest.clone();
        other.accounts[0].sum += 1;
        let name = namespace.folder().manifest_name(&other.id);
        namespace.store.objects().set(name, other.encode());
        let recount = namespace.verify(&other.id).await.unwrap();
        assert_eq!(recount.differences.len(), 1, "{:?}", recount.differences);
        let file = namespace
            .folder()
            .file(&other.id, built.manifest.files[0].first_range);
        let mut content = Vec::from(namespace.store.objects().get(&file).unwrap());
        content[10] ^= 1;
        namespace.store.objects().set(file, content);
        let recount = namespace.verify(&other.id).await.unwrap();
        assert_eq!(recount.differences.len(), 2, "{:?}", recount.differences);
        let missing = TotalsId("missing".to_owned());
        let error = namespace.verify(&missing).await;
        assert_eq!(error.err(), Some(BuildError::NoSuchTotals(missing)));
    });
}

#[test]
fn a_damaged_base_ends_the_build_and_leaves_no_manifest() {
    let namespace = Namespace::new();
    block_on(async {
        namespace.play(0, "a", 1);
        let built = namespace.build().await.unwrap();
        let file = namespace
            .folder()
            .file(&built.manifest.id, built.manifest.files[0].first_range);
        let mut content = Vec::from(namespace.store.objects().get(&file).unwrap());
        content[10] ^= 1;
        namespace.store.objects().set(file, content);
        namespace.play(0, "a", 1);
        let refused = namespace.build().await;
        let damaged = matches!(
            refused,
            Err(BuildError::Totals(TotalsError::Damaged { .. }))
        );
        assert!(damaged, "{refused:?}");
        assert_eq!(
            namespace.folder().list().await.unwrap().totals,
            [built.manifest]
        );
    });
}

#[test]
fn without_the_manifest_there_are_no_totals_and_a_lost_answer_is_looked_up() {
    let mut namespace = Namespace::new();
    block_on(async {
        namespace.play(0, "a", 1);
        let is_manifest = |name: &ObjectName| name.0.ends_with("manifest.json");
        let objects = std::rc::Rc::new(Objects::default());
        let with = |fault| {
            MemoryStore::new(objects.clone(), move |request, name| {
                let is_put = request == Request::Put && is_manifest(name);
                if is_put { fault } else { Fault::None }
            })
        };
        namespace.store = with(Fault::RequestLost);
        let lost = namespace.build().await;
        assert!(
            matches!(lost, Err(BuildError::Totals(TotalsError::Store(_)))),
            "{lost:?}"
        );
        let list = namespace.folder().list().await.unwrap();
        assert_eq!((list.totals.len(), list.incomplete.len()), (0, 1));
        namespace.store = with(Fault::AnswerLost);
        let built = namespace.build().await.unwrap();
        namespace.store = with(Fault::None);
        assert_eq!(
            namespace.folder().list().await.unwrap().totals,
            [built.manifest]
        );
    });
}

#[test]
fn cells_that_do_not_add_up_to_the_events_are_refused() {
    let names = CounterNames::new(&samples::definitions());
    let tally = Tally {
        records: 1,
        contributions: vec![1, 1],
        sums: vec![1, 2],
    };
    let accounts = accounts(&names, &tally, None);
    assert_eq!(check_accounts(&names, &accounts, &[1, 2]), Ok(()));
    let refused = check_accounts(&names, &accounts, &[1, 3]);
    assert!(
        matches!(refused, Err(TotalsError::Inconsistent(_))),
        "{refused:?}"
    );
}
