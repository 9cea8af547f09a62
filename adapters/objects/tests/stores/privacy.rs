//! Who may read what: objects in a folder of this machine, and the credentials of stores.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use stitch_common::ports::{ObjectName, ObjectStore, Put};
use stitch_objects::ObjectFolder;

fn name(text: &str) -> ObjectName {
    ObjectName(text.to_owned())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// Puts an object, and a file as an object, in folders that do not exist yet; returns the modes of folders, and of files.
async fn modes(root: &Path) -> (Vec<u32>, Vec<u32>) {
    let store = ObjectFolder::local(root).expect("the folder can be written");
    let segment = name("archive/p=0/1.parquet");
    let put = store.put_if_absent(&segment, Bytes::from("a"));
    assert_eq!(put.await, Ok(Put::Created));
    let file = tempfile::NamedTempFile::new().expect("the folder can be written");
    set_mode(file.path(), 0o644);
    let totals = name("totals/id/1.parquet");
    // The second one replaces the first.
    store
        .put_file(&totals, file.path())
        .await
        .expect("the folder can be written");
    store
        .put_file(&totals, file.path())
        .await
        .expect("the folder can be written");
    let folders = ["archive", "archive/p=0", "totals", "totals/id"];
    let files = ["archive/p=0/1.parquet", "totals/id/1.parquet"];
    (
        folders.map(|folder| mode(&root.join(folder))).to_vec(),
        files.map(|file| mode(&root.join(file))).to_vec(),
    )
}

#[tokio::test]
async fn objects_in_a_folder_are_their_owners_alone() {
    let root = tempfile::tempdir().unwrap();
    set_mode(root.path(), 0o755);
    let made = root.path().join("made");
    assert_eq!(modes(&made).await, (vec![0o700; 4], vec![0o600; 2]));
    assert_eq!(mode(&made), 0o700);
}

#[tokio::test]
async fn a_folder_with_the_set_group_id_bit_gives_its_group_what_is_made_in_it() {
    let root = tempfile::tempdir().unwrap();
    set_mode(root.path(), 0o2750);
    assert_eq!(modes(root.path()).await, (vec![0o2750; 4], vec![0o640; 2]));
}

#[tokio::test]
async fn what_a_killed_writer_left_is_neither_in_the_way_nor_listed() {
    let root = tempfile::tempdir().unwrap();
    let store = ObjectFolder::local(root.path()).unwrap();
    std::fs::create_dir(root.path().join("a")).unwrap();
    std::fs::write(root.path().join("a/1#1"), "half").unwrap();
    for put in [Put::Created, Put::Exists] {
        let content = Bytes::from(format!("{put:?}"));
        assert_eq!(store.put_if_absent(&name("a/1"), content).await, Ok(put));
    }
    assert_eq!(store.get(&name("a/1")).await, Ok(b"Created".to_vec()));
    let listed = store.list(&name("a"), None).await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(std::fs::read_dir(root.path().join("a")).unwrap().count(), 2);
}

const CANARY: &str = "hunter2CANARY0123";

#[test]
fn no_error_shows_what_a_url_has_as_a_password() {
    for url in [
        "s3://key:hunter2CANARY0123@bucket/x",
        "s3://hunter2CANARY0123@bucket:port/x",
        "s3://key:hunter2CANARY0123@bucket:port/x",
        "s3:/key:hunter2CANARY0123@bucket/x",
        "s3:key:hunter2CANARY0123@bucket/x",
        "key:hunter2CANARY0123@bucket/x",
        "https:\\\\key:hunter2CANARY0123@host/x",
        "https:///key:hunter2CANARY0123@host/x",
        "s3://bucket/x?secret=hunter2CANARY0123",
        "s3://bucket/x#hunter2CANARY0123",
    ] {
        let error = ObjectFolder::open_with("archive.url", url, &[]).unwrap_err();
        assert!(!error.to_string().contains("CANARY"), "{error}");
    }
    // A name in a path is none.
    ObjectFolder::open_with("archive.url", "file:///srv/stitch@home/x", &[]).unwrap();
}

/// Every variable that is a credential, or the file of one.
const VARIABLES: [(&str, &str); 12] = [
    ("s3", "AWS_ACCESS_KEY_ID"),
    ("s3", "AWS_SECRET_ACCESS_KEY"),
    ("s3", "AWS_SESSION_TOKEN"),
    ("gs", "GOOGLE_SERVICE_ACCOUNT_KEY"),
    ("gs", "GOOGLE_SERVICE_ACCOUNT"),
    ("gs", "GOOGLE_APPLICATION_CREDENTIALS"),
    ("az", "AZURE_STORAGE_ACCOUNT_KEY"),
    ("az", "AZURE_STORAGE_SAS_KEY"),
    ("az", "AZURE_STORAGE_SAS_TOKEN"),
    ("az", "AZURE_STORAGE_TOKEN"),
    ("az", "AZURE_CLIENT_SECRET"),
    ("az", "AZURE_STORAGE_CLIENT_SECRET"),
];

/// Those that are the name of a file.
const FILES: [&str; 2] = ["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS"];

#[test]
fn neither_an_error_nor_a_debug_line_has_a_credential() {
    let own = tempfile::tempdir().unwrap();
    let contents = [
        CANARY.to_owned(),
        format!("\"{CANARY}\""),
        format!("\"a\\\"{CANARY}\""),
        format!("{{\"type\": \"{CANARY}\"}}"),
        format!("{{\"{CANARY}\": \"{CANARY}\"}}"),
        format!("{{\"type\": \"authorized_user\", \"client_id\": [\"{CANARY}\"]}}"),
        format!(
            "{{\"private_key\": \"{CANARY}\", \"private_key_id\": \"{CANARY}\", \"client_email\": \"{CANARY}\"}}"
        ),
        format!("sv=1&{CANARY}"),
        format!("{CANARY}%ff\u{7}"),
    ];
    let mut refused = 0;
    for (scheme, variable) in VARIABLES {
        for (at, content) in contents.iter().enumerate() {
            let file = own.path().join(at.to_string());
            std::fs::write(&file, content).unwrap();
            for value in [content.clone(), file.display().to_string()] {
                // The name of a file is no secret; what else is in its place would be a key.
                if FILES.contains(&variable) && !value.starts_with('/') && !value.contains('"') {
                    continue;
                }
                let mut variables = vec![(variable.to_owned(), value)];
                if scheme == "az" {
                    variables.push(("AZURE_STORAGE_ACCOUNT_NAME".into(), "account".into()));
                }
                let url = format!("{scheme}://bucket/prefix");
                let shown = match ObjectFolder::open_with("archive.url", &url, &variables) {
                    Ok(store) => format!("{store:?}"),
                    Err(error) => {
                        refused += 1;
                        error.to_string()
                    }
                };
                assert!(!shown.contains("CANARY"), "{variable} = {content}: {shown}");
            }
        }
    }
    assert!(refused > 10, "only {refused} were refused");
}
