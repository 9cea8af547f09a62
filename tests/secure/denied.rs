//! What is refused for a certificate, a name, a password or a right is named with its file or its role, and is no outage.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use stitch_harness::test_namespace::TestNamespace;
use stitch_tests::scene::test_namespace;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::{findings, folder, run};

/// Runs openssl, which `deploy/local --secure` needs too.
fn openssl(folder: &Path, arguments: &[&str]) -> Result<()> {
    let done = Command::new("openssl")
        .current_dir(folder)
        .args(arguments)
        .output()?;
    let words = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "openssl {arguments:?}: {words}");
    Ok(())
}

const KEY: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

/// Makes `other.pem`, another authority of the same name, and `expired.pem`, a certificate of the real one.
fn certificates(into: &Path, secure: &Path) -> Result<()> {
    let other = [
        "req",
        "-x509",
        "-nodes",
        "-subj",
        "/CN=authority",
        "-keyout",
        "other.key",
        "-out",
        "other.pem",
    ];
    openssl(into, &[&other[..], &KEY].concat())?;
    let request = [
        "req",
        "-nodes",
        "-subj",
        "/CN=stitch",
        "-keyout",
        "expired.key",
        "-out",
        "expired.csr",
    ];
    openssl(into, &[&request[..], &KEY].concat())?;
    let path = |name: &str| secure.join(name).display().to_string();
    let (ca, key) = (path("ca.pem"), path("ca.key"));
    let signed = [
        "x509",
        "-req",
        "-in",
        "expired.csr",
        "-CA",
        &ca,
        "-CAkey",
        &key,
        "-days",
        "-1",
    ];
    std::fs::write(into.join("expired.ext"), "extendedKeyUsage=clientAuth\n")?;
    let out = [
        "-set_serial",
        "7",
        "-extfile",
        "expired.ext",
        "-out",
        "expired.pem",
    ];
    openssl(into, &[&signed[..], &out].concat())
}

/// Forwards connections from an address that no certificate names, until it is dropped.
struct Forwarder {
    address: String,
    _tasks: JoinSet<()>,
}

impl Forwarder {
    async fn start(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.9:0").await?;
        let address = listener.local_addr()?.to_string();
        let server = server.to_owned();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let server = server.clone();
                connections.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(server).await {
                        // A side that closes is none of the test's business.
                        tokio::io::copy_bidirectional(&mut near, &mut far)
                            .await
                            .ok();
                    }
                });
            }
        });
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }
}

/// A variable of the environment, by its name after `STITCH_`.
pub(crate) type Variables<'a> = Vec<(&'a str, String)>;

/// Fails unless `check` calls what these variables do wrong, by these words, and not an outage.
pub(crate) async fn ensure_denied(
    namespace: &TestNamespace,
    server: &str,
    variables: &Variables<'_>,
    words: &[&str],
) -> Result<()> {
    let found = findings(namespace, variables).await?;
    let wrong = found.iter().filter(|(verdict, ..)| verdict == "wrong");
    let of_server: Vec<_> = wrong
        .filter(|(_, message, _)| message.contains(server))
        .collect();
    let (_, message, help) = of_server
        .first()
        .with_context(|| format!("{words:?}: {found:#?}"))?;
    for word in words {
        ensure!(
            message.contains(word),
            "\"{word}\" is not in: {message} — {help}"
        );
    }
    ensure!(
        !help.contains("are up") && !help.is_empty(),
        "{message} — {help}"
    );
    Ok(())
}

/// What is made wrong by variables, and the words that say so.
type Case<'a> = (Variables<'a>, Vec<&'a str>);

/// As [`ensure_denied`] for each case; and a processor ends, because waiting does not help.
async fn ensure_all_denied(
    namespace: &TestNamespace,
    server: &str,
    cases: &[Case<'_>],
) -> Result<()> {
    for (variables, words) in cases {
        ensure_denied(namespace, server, variables, words)
            .await
            .with_context(|| format!("{variables:?}"))?;
        let ended = run(namespace, &["run"], variables).await?;
        ensure!(
            ended.code == Some(2),
            "{variables:?}: a processor must end: {ended:?}"
        );
    }
    Ok(())
}

/// The certificates that a test makes, and the passwords that the servers know.
struct Files {
    own: tempfile::TempDir,
    secure: PathBuf,
}

impl Files {
    fn make() -> Result<Self> {
        let (own, secure) = (tempfile::tempdir()?, folder()?);
        certificates(own.path(), &secure)?;
        Ok(Self { own, secure })
    }

    fn own(&self, name: &str) -> String {
        self.own.path().join(name).display().to_string()
    }

    fn password(&self, user: &str) -> String {
        let path = self.secure.join(format!("{user}.password"));
        path.display().to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zookeeper_names_the_certificate_the_name_and_the_password() -> Result<()> {
    let namespace = test_namespace("secure_denied_zk").await?;
    let files = Files::make()?;
    let (other, expired) = (files.own("other.pem"), files.own("expired.pem"));
    let elsewhere = Forwarder::start(&namespace.servers.zookeeper).await?;
    let cases = [
        (
            vec![("STITCH_ZOOKEEPER__TLS__CA", other.clone())],
            vec!["does not come from an authority in", &other],
        ),
        (
            vec![
                ("STITCH_ZOOKEEPER__TLS__CERTIFICATE", expired.clone()),
                ("STITCH_ZOOKEEPER__TLS__KEY", files.own("expired.key")),
            ],
            vec!["refuses the certificate", &expired],
        ),
        (
            vec![("STITCH_ZOOKEEPER__CONNECT", elsewhere.address.clone())],
            vec![&elsewhere.address, "another name or address"],
        ),
        (
            vec![("STITCH_ZOOKEEPER__PASSWORD_FILE", files.password("nobody"))],
            vec!["\"stitch\"", "another password"],
        ),
    ];
    ensure_all_denied(&namespace, "zookeeper", &cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn cassandra_names_the_certificate_the_address_the_password_and_the_right() -> Result<()> {
    let namespace = test_namespace("secure_denied_cql").await?;
    let files = Files::make()?;
    let (other, expired) = (files.own("other.pem"), files.own("expired.pem"));
    let elsewhere = Forwarder::start(&namespace.servers.cassandra[0]).await?;
    let password = |user: &str| ("STITCH_CASSANDRA__PASSWORD_FILE", files.password(user));
    let user = |user: &str| ("STITCH_CASSANDRA__USER", user.to_owned());
    let cases = [
        (
            vec![("STITCH_CASSANDRA__TLS__CA", other.clone())],
            vec!["does not come from an authority in", &other],
        ),
        (
            vec![
                ("STITCH_CASSANDRA__TLS__CERTIFICATE", expired.clone()),
                ("STITCH_CASSANDRA__TLS__KEY", files.own("expired.key")),
            ],
            vec!["refuses the certificate", &expired],
        ),
        (
            vec![(
                "STITCH_CASSANDRA__NODES",
                format!("[{:?}]", elsewhere.address),
            )],
            vec![&elsewhere.address, "another name or address"],
        ),
        (
            vec![password("nobody")],
            vec!["do not let the user \"stitch\" in"],
        ),
        (
            vec![user("unheard_of")],
            vec!["do not let the user \"unheard_of\" in"],
        ),
        (
            vec![user("nobody"), password("nobody")],
            vec!["nobody", "SELECT"],
        ),
    ];
    ensure_all_denied(&namespace, "cassandra", &cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_names_the_certificate_the_password_and_the_right() -> Result<()> {
    let namespace = test_namespace("secure_denied_kafka").await?;
    let files = Files::make()?;
    let path = |name: &str| files.own(name);
    let password = |name: &str| files.password(name);
    let client = |name: &str| format!("STITCH_KAFKA__CLIENT__{name}");
    let brokers = Forwarder::start(&namespace.servers.kafka).await?;
    let cases = [
        (
            vec![("SSL_CA_LOCATION", path("other.pem"))],
            ["certificate", "ssl.ca.location"],
        ),
        (
            vec![
                ("SSL_CERTIFICATE_LOCATION", path("expired.pem")),
                ("SSL_KEY_LOCATION", path("expired.key")),
            ],
            ["certificate", "SSL"],
        ),
        (
            vec![("BOOTSTRAP_SERVERS", brokers.address.clone())],
            ["certificate", "SSL"],
        ),
        (
            vec![("SASL_PASSWORD_FILE", password("nobody"))],
            ["uthentication", "SCRAM-SHA-512"],
        ),
        (
            vec![
                ("SASL_USERNAME", "nobody".to_owned()),
                ("SASL_PASSWORD_FILE", password("nobody")),
            ],
            ["authorization", "opic"],
        ),
    ];
    // Kafka's client repeats what is refused until its time is over.
    try_join_all(cases.map(async |(variables, words)| {
        let variables: Vec<_> = variables
            .into_iter()
            .map(|(name, value)| (client(name), value))
            .collect();
        let variables: Variables<'_> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        ensure_denied(&namespace, "kafka", &variables, &words)
            .await
            .with_context(|| format!("{variables:?}"))
    }))
    .await?;
    Ok(())
}
