//! A client certificate that is renewed under a running program is used for its next connections, before the old one ends.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use stitch_harness::proxy::Proxy;
use stitch_harness::secure::{FLEET, read};
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web::get;
use stitch_tests::scene::{all_right, some_events, test_namespace};
use tokio::time::{Instant, sleep_until};

use crate::denied::{Variables, ensure_denied};
use crate::support::{BOUND, folder, processor};

/// As long as a busy machine takes to start a processor that counts, and some more.
const VALID_FOR: Duration = Duration::from_secs(40);
/// Java and OpenSSL look at whole seconds.
const MARGIN: Duration = Duration::from_secs(2);

/// Writes `name.pem` and `name.key`, a certificate of the servers' authority that ends after `valid_for`.
fn certificate(into: &Path, secure: &Path, name: &str, valid_for: Duration) -> Result<()> {
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "authority");
    let issuer = Issuer::new(authority, KeyPair::from_pem(&read(secure, "ca.key")?)?);
    let mut params = CertificateParams::new([FLEET.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, FLEET);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let now = u64::try_from(chrono::Utc::now().timestamp())?;
    let end = Duration::from_secs(now) + valid_for;
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + end;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    std::fs::write(into.join(format!("{name}.key")), key.serialize_pem())?;
    std::fs::write(into.join(format!("{name}.pem")), certificate.pem())?;
    Ok(())
}

/// How to connect to ZooKeeper and Cassandra with this certificate.
fn with_certificate(folder: &Path, name: &str) -> Variables<'static> {
    let path = |ending: &str| {
        folder
            .join(format!("{name}.{ending}"))
            .display()
            .to_string()
    };
    vec![
        ("STITCH_ZOOKEEPER__TLS__CERTIFICATE", path("pem")),
        ("STITCH_ZOOKEEPER__TLS__KEY", path("key")),
        ("STITCH_CASSANDRA__TLS__CERTIFICATE", path("pem")),
        ("STITCH_CASSANDRA__TLS__KEY", path("key")),
    ]
}

/// The certificate of a name replaces that of another one, as one file after the other.
fn replace(folder: &Path, name: &str, by: &str) -> Result<()> {
    for ending in ["pem", "key"] {
        let (from, to) = (format!("{by}.{ending}"), format!("{name}.{ending}"));
        std::fs::rename(folder.join(&from), folder.join(to)).context(from)?;
    }
    Ok(())
}

async fn count(namespace: &TestNamespace, seed: u64) -> Result<()> {
    namespace.feed()?.send(some_events(seed, 500)?).await?;
    namespace.lag()?.until_none(BOUND).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_outlives_the_certificate_that_it_was_started_with() -> Result<()> {
    let namespace = test_namespace("secure_renewal").await?;
    let (own, secure) = (tempfile::tempdir()?, folder()?);
    let zookeeper = Proxy::start(&namespace.servers.zookeeper).await?;
    let cassandra = Proxy::start(&namespace.servers.cassandra[0]).await?;
    let end = Instant::now() + VALID_FOR;
    certificate(own.path(), &secure, "current", VALID_FOR)?;
    let mut variables = with_certificate(own.path(), "current");
    variables.extend([
        ("STITCH_ZOOKEEPER__CONNECT", zookeeper.address()),
        (
            "STITCH_CASSANDRA__NODES",
            format!("[{:?}]", cassandra.address()),
        ),
    ]);
    let mut running = processor(&namespace, &["run"], &variables)?.start()?;
    count(&namespace, 1).await?;
    for ending in ["pem", "key"] {
        let copy = own.path().join(format!("first.{ending}"));
        std::fs::copy(own.path().join(format!("current.{ending}")), copy)?;
    }
    certificate(own.path(), &secure, "next", Duration::from_secs(3600))?;
    replace(own.path(), "current", "next")?;
    // Nothing is in flight when the connections are cut, so that nothing is in doubt afterwards.
    ensure!(
        Instant::now() < end,
        "counting took as long as the first certificate was valid"
    );
    sleep_until(end + MARGIN).await;
    let first = with_certificate(own.path(), "first");
    ensure_denied(
        &namespace,
        "zookeeper",
        &first,
        &["refuses the certificate"],
    )
    .await?;
    ensure_denied(
        &namespace,
        "cassandra",
        &first,
        &["refuses the certificate"],
    )
    .await?;
    zookeeper.cut();
    cassandra.cut();
    count(&namespace, 2).await?;
    // A further session would have read the files again, as a further process would.
    let address = TestNamespace::address(&mut running).await?;
    let (_, metrics) = get(&address, "/metrics").await?;
    ensure!(metrics.contains("\nstitch_sessions_total 1\n"), "{metrics}");
    namespace.stop([running]).await?;
    all_right(&namespace).await?;
    Ok(())
}
