//! What the port promises, on S3's protocol.

use bytes::Bytes;
use stitch_common::ports::{ObjectError, ObjectName, ObjectStore, Put};
use stitch_harness::object_server::{ObjectServer, client_environment};
use stitch_objects::ObjectFolder;

/// A client of its own.
fn client(server: &ObjectServer, url: &str) -> ObjectFolder {
    let environment = client_environment(server.address());
    ObjectFolder::open_with("archive.url", url, &environment).expect("the URL names a bucket")
}

fn name(text: &str) -> ObjectName {
    ObjectName(text.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_s3_bucket_does_what_the_port_promises() {
    let server = ObjectServer::start().await.expect("a server");
    let stores = [0, 1].map(|_| client(&server, "s3://bucket/some/prefix"));
    // Of two writers at once exactly one creates an object, and it is the winner's.
    for round in 0..10 {
        let object = name(&format!("archive/p=0/{round:020}.parquet"));
        let [a, b] = &stores;
        let content = |writer: u8| Bytes::from(vec![writer; 1 << 20]);
        let (of_a, of_b) = tokio::join!(
            a.put_if_absent(&object, content(b'a')),
            b.put_if_absent(&object, content(b'b')),
        );
        let winner = match (of_a.unwrap(), of_b.unwrap()) {
            (Put::Created, Put::Exists) => b'a',
            (Put::Exists, Put::Created) => b'b',
            other => panic!("{other:?}"),
        };
        assert!(a.get(&object).await.unwrap() == content(winner));
    }
    let [store, _] = &stores;
    let listed = store.list(&name("archive"), None).await.unwrap();
    assert_eq!(listed.len(), 10);
    assert!(listed.is_sorted_by(|a, b| a.name < b.name));
    let after = listed[6].name.clone();
    let rest = store.list(&name("archive"), Some(&after)).await.unwrap();
    assert_eq!(rest, listed[7..]);
    assert_eq!(store.size(&after).await, Ok(Some(1 << 20)));
    assert_eq!(store.size(&name("none")).await, Ok(None));
    let none = ObjectError::NotFound(name("none"));
    assert_eq!(store.get(&name("none")).await, Err(none.clone()));
    assert_eq!(store.get_range(&name("none"), 0..1).await, Err(none));
    let object = name("small");
    store
        .put_if_absent(&object, Bytes::from("0123456789"))
        .await
        .unwrap();
    assert_eq!(store.get_range(&object, 2..5).await, Ok(b"234".to_vec()));
    let beyond = store.get_range(&object, 8..12).await;
    assert!(matches!(beyond, Err(ObjectError::Refused(_))), "{beyond:?}");
    // A file of several parts replaces an object.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let content: Vec<u8> = (0..20_000_000u32).map(|at| at.to_le_bytes()[1]).collect();
    std::fs::write(&file, &content).unwrap();
    store.put_file(&object, &file).await.unwrap();
    assert!(store.get(&object).await.unwrap() == content);
    store.delete(&object).await.unwrap();
    store.delete(&object).await.unwrap();
    assert_eq!(store.size(&object).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_missing_and_a_server_that_is_away_are_told_apart() {
    let server = ObjectServer::start().await.expect("a server");
    let missing = client(&server, "s3://another/prefix");
    let put = missing.put_if_absent(&name("x"), Bytes::from("x")).await;
    assert!(matches!(put, Err(ObjectError::Refused(_))), "{put:?}");
    let store = client(&server, "s3://bucket/prefix");
    drop(server);
    let put = store.put_if_absent(&name("x"), Bytes::from("x")).await;
    assert!(matches!(put, Err(ObjectError::Ambiguous { .. })), "{put:?}");
    let size = store.size(&name("x")).await;
    assert!(matches!(size, Err(ObjectError::Unavailable(_))), "{size:?}");
}
