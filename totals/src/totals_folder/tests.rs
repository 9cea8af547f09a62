use crate::testing::instance;
use stitch_common::range::RangeId;
use stitch_testkit::objects::MemoryStore;
use stitch_testkit::samples;

use super::*;
use crate::manifest::{FORMAT, FileEntry, LateCounter, Subject};
use crate::sorted::testing::block_on;
use stitch_common::digest::Digest;

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
        last_records: Default::default(),
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
fn of_totals_at_the_same_cut_those_that_count_more_are_the_newer() {
    for cut in 1..20 {
        let folder = TotalsFolder::new(MemoryStore::default(), "plays");
        let whole = manifest(cut);
        let [mut later, mut fewer] = [whole.subject.clone(), whole.subject.clone()];
        later.later.push(LateCounter {
            counter: later.definitions.counters[0].name.clone(),
            from: later.cut.clone(),
        });
        fewer.definitions.counters.pop();
        block_on(async {
            for subject in [&whole.subject, &later, &fewer] {
                let id = subject.id();
                let subject = subject.clone();
                let totals = Manifest {
                    id,
                    subject,
                    ..whole.clone()
                };
                folder.put_manifest(&totals).await.unwrap();
            }
            let list = folder.list().await.unwrap().totals;
            let subjects: Vec<_> = list.into_iter().map(|totals| totals.subject).collect();
            assert_eq!(subjects, [fewer, later, whole.subject.clone()]);
        });
    }
}

#[test]
fn the_newest_totals_are_kept_and_those_that_are_needed() {
    let totals: Vec<_> = [10, 20, 30].map(manifest).into();
    let ids =
        |of: &[usize]| -> Vec<TotalsId> { of.iter().map(|at| totals[*at].id.clone()).collect() };
    let of = |keep| old_totals(&totals, keep, |_| false);
    assert_eq!(of(1), (ids(&[0, 1]), ids(&[2])));
    assert_eq!(of(3), (ids(&[]), ids(&[0, 1, 2])));
    assert_eq!(of(9), of(3));
    let needed = |id: &TotalsId| [&totals[0].id, &totals[2].id].contains(&id);
    assert_eq!(old_totals(&totals, 1, needed), (ids(&[1]), ids(&[0, 2])));
}

/// An earlier namespace may have counted more than this one has by now.
#[test]
fn totals_of_an_earlier_namespace_keep_none_of_this_one_from_being_kept() {
    let of_earlier = |mut totals: Manifest| {
        totals.subject.instance.generation += 1;
        totals.id = totals.subject.id();
        totals
    };
    let mut totals: Vec<_> = [10, 20, 300, 400].map(manifest).into();
    totals.push(of_earlier(manifest(500)));
    totals[2].subject.topic.push('x');
    totals[3].subject.cluster.push('x');
    let ids =
        |of: &[usize]| -> Vec<TotalsId> { of.iter().map(|at| totals[*at].id.clone()).collect() };
    let left = old_totals(&totals, 1, |_| false);
    assert_eq!(left, (ids(&[0]), ids(&[1, 2, 3, 4])));
}
