//! The adapter on a folder of this machine: what the port promises.

use std::path::Path;

use bytes::Bytes;
use stitch_common::ports::{ObjectError, ObjectName, ObjectStore, Put};
use stitch_objects::ObjectFolder;

fn name(text: &str) -> ObjectName {
    ObjectName(text.to_owned())
}

fn folder(root: &Path) -> ObjectFolder {
    ObjectFolder::open(
        "archive.url",
        &format!("file://{}/not/there yet", root.display()),
    )
    .expect("the URL names a folder")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_writers_at_once_exactly_one_creates_the_object_and_it_is_whole() {
    let root = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let object = name(&format!("archive/v1/c/t/p=0/{round:020}.parquet"));
        let writers = (0..8u8).map(|writer| {
            let (store, object) = (folder(root.path()), object.clone());
            tokio::spawn(async move {
                let content = vec![writer; 1 << 20];
                (
                    writer,
                    store.put_if_absent(&object, content.into()).await.unwrap(),
                )
            })
        });
        let mut winners = Vec::new();
        for writer in writers.collect::<Vec<_>>() {
            let (writer, put) = writer.await.unwrap();
            if put == Put::Created {
                winners.push(writer);
            }
        }
        let store = folder(root.path());
        let content = store.get(&object).await.unwrap();
        assert_eq!(winners.len(), 1);
        assert_eq!(content, vec![winners[0]; 1 << 20]);
    }
    // Nothing of the losers is left.
    let store = folder(root.path());
    let listed = store.list(&name("archive"), None).await.unwrap();
    assert_eq!(listed.len(), 20);
    let on_disk = root.path().join("not/there yet/archive/v1/c/t/p=0");
    assert_eq!(std::fs::read_dir(on_disk).unwrap().count(), 20);
}

#[tokio::test]
async fn objects_are_read_whole_or_in_part_listed_in_order_and_deleted() {
    let root = tempfile::tempdir().unwrap();
    let store = folder(root.path());
    assert_eq!(store.list(&name("a"), None).await, Ok(Vec::new()));
    assert_eq!(store.size(&name("a/1")).await, Ok(None));
    for object in ["a/3", "a/1", "a/_index/2", "a/2", "ab/9"] {
        let put = store
            .put_if_absent(&name(object), Bytes::from(object))
            .await;
        assert_eq!(put, Ok(Put::Created));
    }
    let names = async |after: Option<&str>| {
        let after = after.map(name);
        let listed = store.list(&name("a"), after.as_ref()).await.unwrap();
        listed
            .into_iter()
            .map(|entry| entry.name.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(None).await, ["a/1", "a/2", "a/3", "a/_index/2"]);
    assert_eq!(names(Some("a/2")).await, ["a/3", "a/_index/2"]);
    assert_eq!(store.size(&name("a/1")).await, Ok(Some(3)));
    assert_eq!(
        store.get_range(&name("a/1"), 1..3).await,
        Ok(b"/1".to_vec())
    );
    let beyond = store.get_range(&name("a/1"), 1..4).await;
    assert!(matches!(beyond, Err(ObjectError::Refused(_))), "{beyond:?}");
    let missing = ObjectError::NotFound(name("a/7"));
    assert_eq!(store.get(&name("a/7")).await, Err(missing.clone()));
    assert_eq!(store.get_range(&name("a/7"), 0..1).await, Err(missing));
    store.delete(&name("a/1")).await.unwrap();
    store.delete(&name("a/1")).await.unwrap();
    assert_eq!(
        store.get(&name("a/1")).await,
        Err(ObjectError::NotFound(name("a/1")))
    );
}

#[tokio::test]
async fn a_file_of_several_parts_replaces_an_object() {
    let root = tempfile::tempdir().unwrap();
    let store = folder(root.path());
    let object = name("totals/run.parquet");
    store
        .put_if_absent(&object, Bytes::from("old"))
        .await
        .unwrap();
    let content: Vec<u8> = (0..40_000_000u32).map(|at| at.to_le_bytes()[1]).collect();
    let file = root.path().join("local");
    std::fs::write(&file, &content).unwrap();
    store.put_file(&object, &file).await.unwrap();
    assert!(store.get(&object).await.unwrap() == content);
    let missing = store.put_file(&object, &root.path().join("none")).await;
    assert!(
        matches!(missing, Err(ObjectError::Refused(_))),
        "{missing:?}"
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_a_refusal() {
    let root = tempfile::tempdir().unwrap();
    // A file in the place of the folder: refused to every user, root included.
    std::fs::write(root.path().join("not"), b"").unwrap();
    let put = folder(root.path())
        .put_if_absent(&name("a/1"), Bytes::from("x"))
        .await;
    assert!(matches!(put, Err(ObjectError::Refused(_))), "{put:?}");
    // Where no folder can be made.
    let nowhere = folder(Path::new("/proc/nowhere"));
    let put = nowhere.put_if_absent(&name("a"), "1".into()).await;
    assert!(matches!(put, Err(ObjectError::Refused(_))), "{put:?}");
}

#[test]
fn urls_without_a_store_are_refused_by_name() {
    for (url, why) in [
        ("/var/lib/stitch", "no URL"),
        ("file://var/lib/stitch", "three slashes"),
        ("file:///", "no folder"),
        ("http://example.org/x", "none of file, s3, gs and az"),
        ("memory:///x", "none of file, s3, gs and az"),
        ("ftp://example.org/x", "none of file, s3, gs and az"),
        ("s3://key:secret@bucket/x", "credentials"),
        ("s3://bucket/x?region=eu", "a query or a fragment"),
        ("s3://bucket/x#part", "a query or a fragment"),
        ("file:///var/lib/stitch?", "a query or a fragment"),
        ("S3://bucket/x", "so write that"),
        (
            "FILE:///var/lib/stitch",
            "file:///var/lib/stitch, so write that",
        ),
        (
            "file:///var/lib/../stitch",
            "file:///var/stitch, so write that",
        ),
        ("file:///var\\lib", "file:///var/lib, so write that"),
        (
            " file:///var/lib/stitch",
            "file:///var/lib/stitch, so write that",
        ),
        ("s3://bucket/a\tb", "s3://bucket/ab, so write that"),
        ("s3://bucket/a/./b", "s3://bucket/a/b, so write that"),
    ] {
        let error = ObjectFolder::open("archive.url", url).unwrap_err();
        assert!(error.message.starts_with("archive.url"), "{error}");
        assert!(error.message.contains(why), "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn every_kind_of_store_is_built_in() {
    for url in [
        "s3://bucket/prefix",
        "s3://bucket",
        "s3://bucket/prefix/",
        "s3://bucket/a%20b",
        "gs://bucket/prefix",
        "file:///var/lib/a b",
        "file:///var/lib/\u{e4}",
    ] {
        ObjectFolder::open("archive.url", url).unwrap();
    }
    let azure = ObjectFolder::open("archive.url", "az://container/prefix").unwrap_err();
    assert!(azure.message.contains("Account"), "{azure}");
}
