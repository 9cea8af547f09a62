use stitch_archive::reader::Archive;
use stitch_common::offset::{Offset, Partition};
use stitch_testkit::objects::MemoryStore;
use stitch_testkit::samples;

use super::*;
use crate::block_on;
use stitch_totals::testing::SampleTopic;

struct Scene {
    store: MemoryStore,
    job: Job,
    task: MapTask,
    _folder: tempfile::TempDir,
    bounds: MapBounds,
}

impl Scene {
    /// A segment of four plays and a marker, of which the last three records are wanted.
    async fn new() -> Self {
        let (store, topic) = (MemoryStore::default(), SampleTopic::default());
        for bytes in 0..4 {
            let value = format!(r#"{{"type":"play","time":0,"track":"a","bytes":{bytes}}}"#);
            topic.add(0, Some(&value));
        }
        topic.add(0, None);
        topic.archive(&store, 0, &[0, 5]).await;
        let archive = Archive::new(store.clone(), "kafka", "events");
        let segment = archive.segment(Partition(0), Offset(0)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let spill = SpillFolder::open(folder.path(), 1 << 20).unwrap();
        Self {
            store,
            job: Job {
                format: FORMAT,
                cluster: "kafka".to_owned(),
                topic: "events".to_owned(),
                passes: vec![samples::definitions()],
            },
            task: MapTask {
                pass: 0,
                partition: Partition(0),
                from: Offset(1),
                to: Offset(5),
                segment: segment.unwrap(),
                partial: "partial".to_owned(),
            },
            _folder: folder,
            bounds: MapBounds {
                memory_bytes_max: 0,
                spill,
            },
        }
    }

    async fn map(&self) -> Result<Receipt, MapError> {
        let archive = Archive::new(self.store.clone(), "kafka", "events");
        map(&archive, &self.store, &self.job, &self.task, &self.bounds).await
    }
}

#[test]
fn a_segment_is_mapped_once_and_its_receipt_is_the_same_ever_after() {
    block_on(async {
        let scene = Scene::new().await;
        let receipt = scene.map().await.unwrap();
        assert_eq!(receipt.records, 3);
        let accounts: Vec<_> = receipt.accounts.iter().collect();
        let account = |contributions, cells, sum| PartialAccount {
            contributions,
            cells,
            sum,
        };
        let [(bytes, of_bytes), (plays, of_plays)] = accounts[..] else {
            panic!("{accounts:?}");
        };
        assert_eq!((&*bytes.0, *of_bytes), ("bytes", account(3, 1, 6)));
        assert_eq!((&*plays.0, *of_plays), ("plays", account(3, 2, 6)));
        // Whoever comes later reads no record.
        let folder = scene.store.objects();
        let archived = folder
            .names()
            .into_iter()
            .find(|name| name.0.ends_with("00.parquet"));
        folder.delete(&archived.unwrap());
        assert_eq!(scene.map().await.unwrap(), receipt);
    });
}

#[test]
fn the_name_of_partial_sums_depends_on_whatever_they_are_made_of() {
    block_on(async {
        let Scene { job, task, .. } = Scene::new().await;
        let id = task.partial_id(&job);
        assert_eq!(task.clone().partial_id(&job.clone()), id);
        let mut others = Vec::new();
        let mut other = |change: &dyn Fn(&mut Job, &mut MapTask)| {
            let (mut job, mut task) = (job.clone(), task.clone());
            change(&mut job, &mut task);
            others.push(task.partial_id(&job));
        };
        other(&|job, _| job.topic = "others".to_owned());
        other(&|job, _| job.passes[0].decoder_version += 1);
        other(&|job, _| drop(job.passes[0].counters.pop()));
        other(&|_, task| task.partition = Partition(1));
        other(&|_, task| task.from = Offset(2));
        other(&|_, task| task.to = Offset(4));
        other(&|_, task| task.segment.digest = task.segment.digest.plus(task.segment.digest));
        others.push(id);
        let distinct = others.len();
        others.sort();
        others.dedup();
        assert_eq!(others.len(), distinct);
    });
}

#[test]
fn a_segment_that_is_not_the_jobs_is_refused() {
    block_on(async {
        let mut scene = Scene::new().await;
        scene.task.segment.rows += 1;
        let refused = scene.map().await;
        assert!(matches!(refused, Err(MapError::Archive(_))), "{refused:?}");
        let mut scene = Scene::new().await;
        scene.job.passes[0].decoder_version += 1;
        let refused = scene.map().await;
        assert!(
            matches!(refused, Err(MapError::Unusable { .. })),
            "{refused:?}"
        );
        let mut scene = Scene::new().await;
        scene.job.format += 1;
        let refused = scene.map().await;
        assert!(
            matches!(refused, Err(MapError::Unusable { .. })),
            "{refused:?}"
        );
        assert!(
            scene
                .store
                .objects()
                .get(&ObjectName("partial".to_owned()))
                .is_none()
        );
    });
}
