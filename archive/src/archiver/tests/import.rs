//! Files of a connector beside a log that loses its beginning: what is imported, and what is refused.

use std::io::Write;
use std::rc::Rc;

use flate2::Compression;
use flate2::write::GzEncoder;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{ObjectName, Record};
use stitch_common::progress::NoProgress;
use stitch_common::user_error::UserError;
use stitch_testkit::objects::{Fault, MemoryStore, Objects, Request};

use super::world::{Chance, World, WorldClock};
use crate::import::{ImportedPartition, Ports, run};
use crate::origin;
use crate::reader::Archive;
use crate::segment::row_group::Columns;
use crate::segment::writer::SegmentWriter;
use crate::{sealing, verify};

const P: Partition = Partition(0);

/// A topic, and files of a connector that has copied it.
struct Scene {
    is_compressed: bool,
    world: World,
    archive: Archive<MemoryStore>,
    files: MemoryStore,
}

impl Scene {
    /// A topic of `count` records in one partition.
    fn new(count: usize) -> Self {
        let world = World::new(1, Chance::new(7));
        for number in 0..count {
            world.append(P, Some(&format!("value {number}")));
        }
        Self {
            is_compressed: false,
            world,
            archive: Archive::new(MemoryStore::default(), "c", "events"),
            files: MemoryStore::default(),
        }
    }

    fn name(start: i64, extension: &str) -> ObjectName {
        let name = format!("topics/events/partition=0/events+0+{start:010}.{extension}");
        ObjectName(name)
    }

    fn put(&self, start: i64, text: &str) {
        let (extension, content) = match self.is_compressed {
            true => ("bin.gz", gzip(text)),
            false => ("bin", text.to_owned().into_bytes()),
        };
        let name = Self::name(start, extension);
        self.files.objects().set(name, content);
    }

    /// Writes the files that the connector writes, `rows` records in each.
    fn connect(&self, rows: usize) {
        for records in self.world.records(P).chunks(rows) {
            self.put(records[0].offset.0, &text(records));
        }
    }

    fn delete_below(&self, offset: i64) {
        self.world.delete_below(P, Offset(offset));
    }

    fn with<T>(
        &self,
        work: impl AsyncFnOnce(&Ports<'_, World, MemoryStore, WorldClock>) -> T,
    ) -> T {
        let clock = WorldClock(Rc::clone(&self.world.time));
        let ports = Ports {
            log: &self.world,
            archive: &self.archive,
            files: &self.files,
            clock: &clock,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(work(&ports))
    }

    fn import(&self) -> Result<ImportedPartition, UserError> {
        // Small segments.
        self.with(async |ports| run(ports, 1000, &NoProgress).await)
            .map(|mut imported| imported.remove(0))
    }

    fn seal(&self) -> Result<sealing::SealedPartition, UserError> {
        self.with(async |ports| sealing::run(ports, &NoProgress).await)
            .map(|mut sealed| sealed.remove(0))
    }

    /// The error of an import that has put nothing.
    fn refused(&self) -> String {
        let before = self.archived();
        let error = self.import().unwrap_err();
        assert_eq!(self.archived(), before, "{error}");
        error.message
    }

    /// The records of the archive, and where it ends.
    fn archived(&self) -> (Vec<(i64, Vec<u8>)>, Option<Offset>) {
        self.with(async |_| {
            let chain = self.archive.chain(P).await.unwrap();
            let mut records = Vec::new();
            for segment in &chain.segments {
                let opened = self.archive.open(P, segment, Columns::All);
                let mut reader = opened.await.unwrap();
                while let Some(rows) = reader.next().await.unwrap() {
                    records.extend(rows.records().map(|record| {
                        let value = record.value.as_deref().unwrap_or_default();
                        (record.offset.0, value.to_vec())
                    }));
                }
            }
            let report = verify::verify(&self.archive, P, &NoProgress).await.unwrap();
            assert_eq!(report.problems, []);
            (records, chain.complete_to())
        })
    }

    /// What the topic had below an offset.
    fn expected(&self, to: i64) -> Vec<(i64, Vec<u8>)> {
        let records = self.world.records(P).into_iter();
        let below = records.filter(|record| record.offset.0 < to);
        below
            .map(|record| (record.offset.0, record.value.unwrap().to_vec()))
            .collect()
    }
}

fn text(records: &[Record]) -> String {
    let value =
        |record: &Record| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
    records.iter().map(|record| value(record) + "\n").collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_kafka_has_deleted_is_imported_and_the_rest_is_left_to_it() {
    let begins = [0, 1, 9, 10, 11, 500, 995, 1000];
    let begins = begins
        .into_iter()
        .flat_map(|begin| [(begin, false), (begin, true)]);
    for (begin, is_compressed) in begins {
        let mut scene = Scene::new(1000);
        scene.is_compressed = is_compressed;
        scene.connect(10);
        scene.delete_below(begin);
        let imported = scene.import().unwrap();
        let records = u64::try_from(begin).unwrap();
        assert_eq!(imported.records, records);
        let (archived, complete_to) = scene.archived();
        assert_eq!(archived, scene.expected(begin));
        assert_eq!(complete_to, (begin > 0).then_some(Offset(begin)));
        // Again there is nothing to do; later there is more.
        assert_eq!(scene.import().unwrap().segments, 0);
        scene.delete_below(1000);
        scene.import().unwrap();
        assert_eq!(scene.archived(), (scene.expected(1000), Some(Offset(1000))));
    }
}

#[test]
fn a_file_that_breaks_the_rule_is_refused_by_name_and_nothing_is_put() {
    type Break = fn(&Scene);
    let wrong: [(&str, Break); 9] = [
        (
            "partition=0/events+0+0000000010.bin does not end with a line end",
            |scene| {
                scene.put(10, text(&scene.world.records(P)[10..20]).trim_end());
            },
        ),
        ("partition=0/events+0+0000000010.bin is empty", |scene| {
            scene.put(10, "")
        }),
        (
            "0000000000.bin ends at offset 10, but topics/events/partition=0/events+0+0000000020.bin",
            |scene| {
                scene.files.objects().delete(&Scene::name(10, "bin"));
            },
        ),
        ("0000000010.bin ends at offset 19, but", |scene| {
            scene.put(10, &text(&scene.world.records(P)[10..19]));
        }),
        // A value with a line end, or a second connector.
        ("0000000010.bin has records up to offset 21, but", |scene| {
            scene.put(10, &(text(&scene.world.records(P)[10..20]) + "\n"));
        }),
        ("0000000010.bin has records up to offset 20, but", |scene| {
            scene.put(15, "a\n")
        }),
        (
            "line 5 of topics/events/partition=0/events+0+0000000020.bin is not the record that Kafka has at offset 24: the values differ",
            |scene| {
                let text = text(&scene.world.records(P)[20..30]);
                scene.put(20, &text.replace("value 24", "value 42"));
            },
        ),
        ("it is of the topic others, and not of events", |scene| {
            let name = "topics/events/partition=0/others+0+0000000000.bin";
            scene
                .files
                .objects()
                .set(ObjectName(name.to_owned()), "a\n");
        }),
        ("the topic has no partition 3", |scene| {
            let name = "topics/events/partition=3/events+3+0000000000.bin";
            scene
                .files
                .objects()
                .set(ObjectName(name.to_owned()), "a\n");
        }),
    ];
    for (said, break_it) in wrong {
        let scene = Scene::new(40);
        scene.connect(10);
        scene.delete_below(23);
        break_it(&scene);
        let message = scene.refused();
        assert!(message.contains(said), "{said}: {message}");
    }
}

#[test]
fn the_end_of_the_last_file_is_confirmed_by_the_log_alone() {
    let scene = Scene::new(40);
    scene.connect(10);
    scene.files.objects().delete(&Scene::name(30, "bin"));
    // A value with a line end moves what lies behind it.
    scene.put(
        20,
        &text(&scene.world.records(P)[20..30]).replace("value 21", "value\n21"),
    );
    scene.delete_below(25);
    let message = scene.refused();
    assert!(
        message.contains("Kafka has at offset 25: the values differ"),
        "{message}"
    );
    scene.put(20, &text(&scene.world.records(P)[20..30]));
    scene.import().unwrap();
    assert_eq!(scene.archived(), (scene.expected(25), Some(Offset(25))));
    scene.delete_below(31);
    let message = scene.refused();
    assert!(message.contains("end at offset 30, below 31"), "{message}");
}

#[test]
fn an_archive_that_begins_later_is_not_extended_at_its_beginning() {
    let scene = Scene::new(40);
    scene.connect(10);
    scene.delete_below(20);
    scene.with(async |_| {
        let (store, folder) = (scene.archive.store(), scene.archive.folder());
        origin::create(store, folder, P, Offset(5)).await.unwrap();
    });
    let message = scene.refused();
    assert!(message.contains("from offset 5 to 5"), "{message}");
    assert!(message.contains("another url"), "{message}");
}

/// `run` was started a moment ago: it puts the origin after the files were checked.
#[test]
fn an_archive_that_has_begun_since_the_files_were_checked_is_not_taken_for_theirs() {
    for (origin, said) in [(20, "another url"), (2, "what is between them is missing")] {
        let mut scene = Scene::new(40);
        scene.world.delete_below(P, Offset(20));
        for records in scene.world.records(P)[5..].chunks(10) {
            scene.put(records[0].offset.0, &text(records));
        }
        let objects = Rc::new(Objects::default());
        let others = Rc::clone(&objects);
        let decide = move |request, name: &ObjectName| {
            if request == Request::Put && name.0.ends_with("_origin.json") {
                let record = format!(
                    r#"{{"format":1,"cluster":"c","topic":"events","partition":0,"from":{origin}}}"#
                );
                others.set(name.clone(), record);
            }
            Fault::None
        };
        scene.archive = Archive::new(MemoryStore::new(objects, decide), "c", "events");
        let error = scene.import().unwrap_err();
        assert!(error.message.contains(said), "{error:?}");
        assert_eq!(scene.archived(), (Vec::new(), Some(Offset(origin))));
    }
}

/// By its lines the file ends at 10, and its last record is at 10: the first one of the log.
#[test]
fn a_last_file_that_ends_where_the_log_begins_is_confirmed_by_a_next_one_or_a_seal() {
    let scene = |is_sealed: bool| {
        let scene = Scene::new(5);
        scene.world.append(P, None);
        for number in 5..30 {
            scene.world.append(P, Some(&format!("value {number}")));
        }
        scene.put(0, &text(&scene.world.records(P)[..10]));
        if is_sealed {
            scene.seal().unwrap();
        }
        scene.delete_below(10);
        scene
    };
    let unsealed = scene(false);
    let error = unsealed.import().unwrap_err();
    assert!(
        error.message.contains("nothing confirms that") && error.help.contains("seal"),
        "{error:?}"
    );
    assert_eq!(unsealed.archived(), (Vec::new(), None));
    unsealed.put(11, &text(&unsealed.world.records(P)[10..20]));
    let message = unsealed.refused();
    assert!(message.contains("ends at offset 10, but"), "{message}");
    let sealed = scene(true);
    sealed.import().unwrap();
    assert_eq!(sealed.archived(), (sealed.expected(10), Some(Offset(10))));
}

#[test]
fn an_import_is_repeated_although_nothing_confirms_a_file_that_is_archived() {
    let scene = Scene::new(40);
    for records in scene.world.records(P)[..20].chunks(10) {
        scene.put(records[0].offset.0, &text(records));
    }
    scene.delete_below(15);
    scene.import().unwrap();
    scene.delete_below(20);
    assert!(scene.refused().contains("nothing confirms that"));
    // An archiver had the rest of it.
    let mut writer = SegmentWriter::new(P, Offset(15));
    for record in &scene.world.records(P)[15..20] {
        writer.push(record);
    }
    let folder = scene.archive.folder();
    let (_, content) = writer.finish(folder, Offset(20));
    let name = folder.segment(P, Offset(15));
    scene.archive.store().objects().set(name, content);
    assert_eq!(scene.import().unwrap().segments, 0);
}

#[test]
fn files_of_a_topic_with_transactions_are_imported_once_they_are_sealed() {
    let scene = Scene::new(10);
    // A marker within a file, and one between two.
    scene.world.append(P, None);
    for number in 10..19 {
        scene.world.append(P, Some(&format!("value {number}")));
    }
    scene.world.append(P, None);
    for number in 19..40 {
        scene.world.append(P, Some(&format!("value {number}")));
    }
    scene.connect(7);
    scene.with(async |_| scene.delete_below(0));
    let mut sealed = scene.seal().unwrap();
    assert_eq!((sealed.sealed, sealed.too_late), (6, 0));
    sealed = scene.seal().unwrap();
    assert_eq!(sealed.sealed, 6, "they are sealed already");
    scene.delete_below(42);
    scene.import().unwrap();
    assert_eq!(scene.archived(), (scene.expected(42), Some(Offset(42))));
}

#[test]
fn without_seals_transactions_are_refused_and_what_kafka_has_deleted_cannot_be_sealed() {
    let scene = Scene::new(10);
    scene.world.append(P, None);
    scene.world.append(P, Some("value 10"));
    scene.connect(10);
    scene.delete_below(12);
    assert_eq!(scene.seal().unwrap().too_late, 2);
    let message = scene.refused();
    assert!(message.contains("ends at offset 10, but"), "{message}");
    assert!(message.contains("begins at 11"), "{message}");
}

#[test]
fn a_sealed_file_that_has_changed_is_refused() {
    let scene = Scene::new(30);
    scene.connect(10);
    scene.seal().unwrap();
    scene.delete_below(30);
    let whole = text(&scene.world.records(P)[10..20]);
    scene.put(10, &whole.replace("value 11", "value 99"));
    let message = scene.refused();
    assert!(
        message.contains("0000000010.bin has changed since it was sealed"),
        "{message}"
    );
    scene.put(10, &whole.replace("value 11", "value"));
    assert!(scene.refused().contains("has changed since it was sealed"));
    let error = scene.seal().unwrap_err();
    assert!(
        error.message.contains("has changed since it was sealed"),
        "{}",
        error.message
    );
    scene.put(10, &whole);
    scene.import().unwrap();
    assert_eq!(scene.archived().0, scene.expected(30));
}

#[test]
fn a_file_that_is_not_what_the_log_has_is_not_sealed() {
    let scene = Scene::new(20);
    scene.connect(10);
    let whole = text(&scene.world.records(P)[10..20]);
    for (wrong, said) in [
        (whole.replace("value 11", "value"), "line 2 of"),
        (whole.clone() + "value 20\n", "the log has no more records"),
        (whole.replacen("value 10\n", "", 1), "line 1 of"),
    ] {
        scene.put(10, &wrong);
        let error = scene.seal().unwrap_err();
        assert!(error.message.contains(said), "{said}: {}", error.message);
    }
    // Under another offset.
    scene.files.objects().delete(&Scene::name(10, "bin"));
    scene.put(11, &whole);
    let error = scene.seal().unwrap_err();
    assert!(
        error.message.contains("begins at another offset"),
        "{}",
        error.message
    );
}
