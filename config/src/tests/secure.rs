//! Encryption, identities and secrets in files.

use std::path::PathBuf;

use super::*;
use stitch_common::user_error::UserError;

/// [`LEAST`] with these lines in a section.
fn with(section: &str, lines: &str) -> Result<Config, UserError> {
    let heading = format!("[{section}]\n");
    parse(&match LEAST.contains(&heading) {
        true => LEAST.replacen(&heading, &format!("{heading}{lines}\n"), 1),
        false => format!("{LEAST}{heading}{lines}\n"),
    })
}

fn file(content: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, content).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn connections_are_encrypted_by_a_section_of_each_server() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.zookeeper.tls, None);
    assert_eq!(config.cassandra.tls, None);
    let identity = "ca = \"ca.pem\"\ncertificate = \"c.pem\"\nkey = \"c.key\"";
    let config = with("zookeeper.tls", identity).unwrap();
    let tls = config.zookeeper.tls.unwrap();
    assert_eq!(tls.ca, PathBuf::from("ca.pem"));
    assert_eq!(tls.identity.unwrap().key, PathBuf::from("c.key"));
    let config = with("cassandra.tls", "ca = \"ca.pem\"\nverify = \"chain\"").unwrap();
    let tls = config.cassandra.tls.unwrap();
    assert_eq!((tls.files.identity, tls.verify), (None, Verify::Chain));
    let config = with("cassandra.tls", "ca = \"ca.pem\"").unwrap();
    assert_eq!(config.cassandra.tls.unwrap().verify, Verify::Full);
    // A section that is there and names no authority must not mean "no encryption".
    for section in ["zookeeper.tls", "cassandra.tls"] {
        let error = with(section, "").unwrap_err();
        assert!(
            error.message.contains(&format!("{section}.ca is missing")),
            "{error}"
        );
        let error = with(section, "ca = \"a\"\ncertificate = \"c\"").unwrap_err();
        assert!(
            error.message.contains(&format!("{section}.key is missing")),
            "{error}"
        );
    }
    let error = with("zookeeper.tls", "ca = \"a\"\nverify = \"chain\"").unwrap_err();
    assert!(error.message.contains("unknown field"), "{error}");
    let error = with("cassandra.tls", "ca = \"a\"\nverify = \"none\"").unwrap_err();
    assert!(error.help.contains("FULL, CHAIN"), "{error}");
    let environment = [("STITCH_ZOOKEEPER__TLS__CA", "x.pem")]
        .into_iter()
        .collect();
    let config = Config::parse("stitch.toml", LEAST, &environment).unwrap();
    assert_eq!(config.zookeeper.tls.unwrap().ca, PathBuf::from("x.pem"));
}

#[test]
fn an_identity_of_zookeeper_is_whole_or_an_error() {
    let whole = "auth = \"digest\"\nuser = \"stitch\"\npassword = \"a:b\"";
    let identity = with("zookeeper", whole)
        .unwrap()
        .zookeeper
        .identity
        .unwrap();
    assert_eq!(
        (identity.user.as_str(), identity.password.expose()),
        ("stitch", "a:b")
    );
    for (lines, problem) in [
        ("auth = \"digest\"", "zookeeper.user is missing"),
        (
            "auth = \"digest\"\nuser = \"a\"",
            "zookeeper.password is missing",
        ),
        (
            "user = \"a\"\npassword = \"b\"",
            "zookeeper.auth is missing",
        ),
        (
            "auth = \"sasl\"\nuser = \"a\"\npassword = \"b\"",
            "no way to authenticate",
        ),
        (
            "auth = \"digest\"\nuser = \"a:b\"\npassword = \"b\"",
            "zookeeper.user has a colon",
        ),
    ] {
        let error = with("zookeeper", lines).unwrap_err();
        assert!(error.message.contains(problem), "{lines}: {error}");
    }
}

#[test]
fn namespaces_are_below_the_chroot_and_the_root() {
    let root = |connect: &str, root: &str| {
        let text = LEAST.replace("127.0.0.1:2181\"", &format!("{connect}\"\n{root}"));
        parse(&text).map(|config| (config.zookeeper.connect.to_string(), config.zookeeper.root))
    };
    for (connect, key, servers, wanted) in [
        ("a:1,b:2", "", "a:1,b:2", "/stitch"),
        ("a:1,b:2/", "", "a:1,b:2", "/stitch"),
        ("a:1,b:2/x/y", "", "a:1,b:2", "/x/y/stitch"),
        ("a:1/x", "root = \"/\"", "a:1", "/x"),
        ("a:1", "root = \"/\"", "a:1", ""),
        ("a:1", "root = \"/teams/one/\"", "a:1", "/teams/one"),
    ] {
        let found = root(connect, key).unwrap();
        assert_eq!(
            found,
            (servers.to_owned(), wanted.to_owned()),
            "{connect} {key}"
        );
    }
    for (connect, key, problem) in [
        (
            "a:1/x,b:2",
            "",
            "zookeeper.connect has an address after a slash",
        ),
        ("a:1/x//y", "", "zookeeper.connect is no path"),
        ("/x", "", "zookeeper.connect has an empty address"),
        (
            "a:1",
            "root = \"x\"",
            "zookeeper.root does not begin with a slash",
        ),
        ("a:1", "root = \"/x/../y\"", "zookeeper.root is no path"),
        ("a:1", "root = \"/x\\u0007\"", "zookeeper.root is no path"),
    ] {
        let error = root(connect, key).unwrap_err();
        assert!(error.message.contains(problem), "{connect} {key}: {error}");
    }
}

#[test]
fn a_secret_in_a_file_is_its_first_line() {
    for content in ["hunter2", "hunter2\n", "hunter2\r\n"] {
        let (_folder, path) = file(content);
        let lines = format!("user = \"me\"\npassword_file = \"{path}\"");
        let config = with("cassandra", &lines).unwrap();
        assert_eq!(
            config.cassandra.credentials.unwrap().password.expose(),
            "hunter2"
        );
        let config = with("zookeeper", &format!("auth = \"digest\"\n{lines}")).unwrap();
        assert_eq!(
            config.zookeeper.identity.unwrap().password.expose(),
            "hunter2"
        );
        let config = with(
            "kafka.client",
            &format!("\"sasl.password_file\" = \"{path}\""),
        )
        .unwrap();
        assert_eq!(config.kafka.client["sasl.password"], "hunter2");
        assert!(!config.kafka.client.contains_key("sasl.password_file"));
        let name = "STITCH_KAFKA__CLIENT__SSL_KEY_PASSWORD_FILE";
        let environment = [(name, path.as_str())].into_iter().collect();
        let config = Config::parse("stitch.toml", LEAST, &environment).unwrap();
        assert_eq!(config.kafka.client["ssl.key.password"], "hunter2");
    }
    // Read by the API, whenever it changes.
    let config = with("api", "tokens_file = \"/no/such/file\"").unwrap();
    assert_eq!(config.api.tokens_file, Some("/no/such/file".into()));
}

#[test]
fn a_file_of_a_secret_that_cannot_be_used_is_named_and_not_shown() {
    let (folder, path) = file("hunter2\nhunter3\n");
    let (_other, empty) = file("\n");
    let (_marked, marked) = file("\u{feff}hunter2\n");
    let (_large, large) = file(&"hunter2".repeat(10_000));
    let (_binary, binary) = file("");
    std::fs::write(&binary, b"hunter2\xff").unwrap();
    let missing = folder.path().join("missing").display().to_string();
    let directory = folder.path().display().to_string();
    for (path, problem) in [
        (path.as_str(), "line end"),
        (empty.as_str(), "is empty"),
        (missing.as_str(), "cannot be read"),
        (directory.as_str(), "no file"),
        ("/dev/zero", "no file"),
        (marked.as_str(), "byte order mark"),
        (large.as_str(), "no file of at most"),
        (binary.as_str(), "cannot be read"),
    ] {
        let lines = format!("user = \"me\"\npassword_file = \"{path}\"");
        let property = format!("\"sasl.password_file\" = \"{path}\"");
        for (section, lines, key) in [
            ("cassandra", &lines, "cassandra.password_file"),
            ("kafka.client", &property, "kafka.client.sasl.password"),
        ] {
            let error = with(section, lines).unwrap_err();
            assert!(error.message.contains(key), "{error}");
            // Of a property the place is shown, which names the file.
            let placed = error.message.contains(path) || key.starts_with("kafka");
            assert!(placed && error.message.contains(problem), "{error}");
            assert!(!error.to_string().contains("hunter"), "{error}");
        }
    }
    let lines = format!("user = \"me\"\npassword = \"x\"\npassword_file = \"{path}\"");
    let error = with("cassandra", &lines).unwrap_err();
    assert!(
        error.message.contains("is given beside password"),
        "{error}"
    );
    let lines = format!("\"sasl.password\" = \"x\"\n\"sasl.password_file\" = \"{missing}\"");
    let error = with("kafka.client", &lines).unwrap_err();
    assert!(
        error.message.contains("sasl.password_file") && error.message.contains(&missing),
        "{error}"
    );
}
