use crate::testing::instance;
use stitch_common::range::RangeId;
use stitch_testkit::objects::MemoryStore;
use stitch_testkit::samples;

use super::*;
use crate::manifest::{FORMAT, FileEntry, Subject};
use crate::sorted::testing::block_on;
use stitch_archive::digest::Digest;

fn manifest(cut: i64) -> Manifest {
    let subject = Subject {
        namespace: "plays".to_owned(),
        instance: instance(),
        cluster: "cluster".to_owned(),
        topic: "events".to_owned(),
        definitions: samples::definitions(),
        from: samples::offsets(&[(0, 0)]),
        later: Vec::new(),
        cut: samples::offsets(&[(0, cut)]),
    };
    Manifest {
        format: FORMAT,
        id: subject.id(),
        subject,
        made_at: String::new(),
        as_of: None,
        sources: Vec::new(),
        accounts: Vec::new(),
        rows: 0,
        digest: Digest::default(),
        files: Vec::new(),
    }
}

#[test]
fn totals_are_listed_by_their_cut_and_only_those_with_a_manifest_are_totals() {
    let objects = MemoryStore::default();
    let folder = TotalsFolder::new(objects.clone(), "plays");
    let other = TotalsFolder::new(objects.clone(), "play");
    block_on(async {
        for cut in [20, 9, 100] {
            folder.put_manifest(&manifest(cut)).await.unwrap();
        }
        other.put_manifest(&manifest(5)).await.unwrap();
        let killed = TotalsId("killed".to_owned());
        let damaged = TotalsId("damaged".to_owned());
        let file = folder.file(&killed, RangeId(0));
        objects.objects().set(file, "file");
        objects.objects().set(folder.manifest_name(&damaged), "{");
        let list = folder.list().await.unwrap();
        let cuts = list.totals.iter().map(|totals| totals.subject.span());
        assert_eq!(cuts.collect::<Vec<_>>(), [9, 20, 100]);
        assert_eq!(list.incomplete, [killed]);
        assert_eq!(list.unreadable.len(), 1);
        assert_eq!(list.unreadable[0].0, damaged);
    });
}

#[test]
fn a_manifest_is_put_once_and_never_replaced_by_other_totals() {
    let objects = MemoryStore::default();
    let folder = TotalsFolder::new(objects.clone(), "plays");
    block_on(async {
        let one = manifest(10);
        folder.put_manifest(&one).await.unwrap();
        folder.put_manifest(&one).await.unwrap();
        let mut other = one.clone();
        other.files = vec![FileEntry {
            first_range: RangeId(0),
            last_range: RangeId(0),
            rows: 1,
            bytes: 1,
            digest: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            metadata_checksum: 0,
        }];
        other.rows = 1;
        other.digest = other.files[0].digest;
        let refused = folder.put_manifest(&other).await.unwrap_err();
        assert!(
            matches!(refused, TotalsError::Contradicted { .. }),
            "{refused}"
        );
        assert_eq!(folder.manifest(&one.id).await, Ok(Some(one)));
    });
}

#[test]
fn deleted_totals_lose_their_manifest_and_their_files() {
    let objects = MemoryStore::default();
    let folder = TotalsFolder::new(objects.clone(), "plays");
    block_on(async {
        let (one, other) = (manifest(10), manifest(20));
        for totals in [&one, &other] {
            folder.put_manifest(totals).await.unwrap();
            let file = folder.file(&totals.id, RangeId(0));
            objects.objects().set(file, "");
        }
        folder.delete(&one.id).await.unwrap();
        assert_eq!(folder.manifest(&one.id).await, Ok(None));
        let names = objects.objects().names();
        assert_eq!(names.len(), 2, "{names:?}");
        folder.delete(&one.id).await.unwrap();
        assert!(folder.manifest(&other.id).await.unwrap().is_some());
    });
}

#[test]
fn the_newest_totals_are_kept_and_those_that_are_needed() {
    let ids = |of: &[&str]| of.iter().map(|id| TotalsId((*id).to_owned())).collect();
    let of = |keep| old_totals(ids(&["a", "b", "c"]), keep, |_| false);
    assert_eq!(of(1), (ids(&["a", "b"]), ids(&["c"])));
    assert_eq!(of(3), (ids(&[]), ids(&["a", "b", "c"])));
    assert_eq!(of(9), of(3));
    let needed = |id: &TotalsId| ["a", "c"].contains(&id.0.as_str());
    let left = old_totals(ids(&["a", "b", "c"]), 1, needed);
    assert_eq!(left, (ids(&["b"]), ids(&["a", "c"])));
}
