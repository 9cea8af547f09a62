//! Who may change a namespace.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::test_namespace::TestConfig;
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::zookeeper::ZooKeeperClient;
use stitch_tests::scene::{all_right, some_events, test_namespace};

use crate::support::{BOUND, ensure_finding, findings, folder, run};

/// Every node of the namespace.
async fn nodes(zookeeper: &ZooKeeperClient, namespace: &TestNamespace) -> Result<Vec<String>> {
    let mut found = vec![format!("/stitch/{}", namespace.name)];
    let mut at = 0;
    while let Some(node) = found.get(at).cloned() {
        let names = zookeeper.children(&node).await?;
        found.extend(names.into_iter().map(|name| format!("{node}/{name}")));
        at += 1;
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_identity_changes_no_node_while_the_fleet_counts() -> Result<()> {
    let namespace = test_namespace("secure_access").await?;
    let processor = namespace.processor("processor").await?;
    namespace.feed()?.send(some_events(1, 500)?).await?;
    let lag = namespace.lag()?;
    lag.until_none(BOUND).await?;
    let fleet = ZooKeeperClient::connect(&namespace.servers.zookeeper).await?;
    let other = ZooKeeperClient::connect_as(&namespace.servers.zookeeper, "nobody").await?;
    let nodes = nodes(&fleet, &namespace).await?;
    let of = |part: &str| nodes.iter().filter(|node| node.contains(part)).count();
    ensure!(
        of("/checkpoint") == 4 && of("/ranges/") > 16 && of("/lock-") >= 4,
        "{nodes:#?}"
    );
    for node in &nodes {
        // Everyone may read, as the API does.
        other.data(node).await?;
        let parent = node.rsplit_once('/').context("a parent")?.0;
        for refused in [
            other.set(node, b"forged").await,
            other.delete(node).await,
            other.create(&format!("{parent}/forged")).await,
            other.open(node).await,
        ] {
            let error = format!(
                "{:#}",
                refused
                    .err()
                    .with_context(|| format!("{node} was changed"))?
            );
            ensure!(
                error.contains("not authorized") || error.contains("auth"),
                "{node}: {error}"
            );
        }
    }
    namespace.feed()?.send(some_events(2, 500)?).await?;
    lag.until_none(BOUND).await?;
    namespace.stop([processor]).await?;
    all_right(&namespace).await?;
    let findings = findings(&namespace, &[]).await?;
    ensure_finding(
        &findings,
        "ok",
        &["zookeeper", "only \"stitch\" may change the", "nodes"],
    )?;
    ensure_finding(
        &findings,
        "ok",
        &["zookeeper", "encrypted", "digest:stitch"],
    )?;
    ensure_finding(
        &findings,
        "ok",
        &["cassandra", "encrypted", "as the role \"stitch\""],
    )?;
    ensure_finding(
        &findings,
        "ok",
        &["kafka", "SASL_SSL", "\"stitch\" by SCRAM-SHA-512"],
    )
}

/// Takes the identity out of the configuration, and uses another root: `/stitch` is the identity's already. Returns the
/// configuration with both.
fn without_identity(namespace: &TestNamespace, root: &str) -> Result<String> {
    let mut config: toml::Table = std::fs::read_to_string(&namespace.config)?.parse()?;
    let zookeeper = config["zookeeper"].as_table_mut().context("zookeeper")?;
    zookeeper.insert("root".to_owned(), root.into());
    let secured = toml::to_string(&config)?;
    let zookeeper = config["zookeeper"].as_table_mut().context("zookeeper")?;
    for key in ["auth", "user", "password_file"] {
        zookeeper.remove(key).context(key)?;
    }
    std::fs::write(&namespace.config, toml::to_string(&config)?)?;
    Ok(secured)
}

#[tokio::test(flavor = "multi_thread")]
async fn init_update_closes_a_namespace_that_was_made_without_an_identity() -> Result<()> {
    let namespace = TestNamespace::bare(
        &stitch_harness::servers::Servers::from_environment()?,
        &TestConfig::new("secure_update")?,
    )
    .await?;
    let root = format!("/{}", namespace.name);
    let secured = without_identity(&namespace, &root)?;
    let created = run(&namespace, &["init", "--replication", "1"], &[]).await?;
    ensure!(created.code == Some(0), "{created:?}");
    ensure_finding(
        &findings(&namespace, &[]).await?,
        "ok",
        &["zookeeper: everyone who reaches the servers may change"],
    )?;
    std::fs::write(&namespace.config, secured)?;
    ensure_finding(
        &findings(&namespace, &[]).await?,
        "warn",
        &["everyone", "and not only \"stitch\""],
    )?;
    let seen = run(&namespace, &["init", "--output", "json"], &[]).await?;
    ensure!(
        seen.code == Some(0) && seen.output.contains("nodes can be changed by others"),
        "{seen:?}"
    );
    let updated = run(&namespace, &["init", "--update", "--output", "json"], &[]).await?;
    let outcome: Value = serde_json::from_str(&updated.output)?;
    ensure!(outcome["outcome"] == "updated", "{outcome}");
    ensure_finding(
        &findings(&namespace, &[]).await?,
        "ok",
        &["only \"stitch\" may change"],
    )?;
    let again = run(&namespace, &["init", "--update", "--output", "json"], &[]).await?;
    ensure!(
        serde_json::from_str::<Value>(&again.output)?["outcome"] == "agrees",
        "{again:?}"
    );
    let other = ZooKeeperClient::connect_as(&namespace.servers.zookeeper, "nobody").await?;
    let definition = format!("{root}/{}/definition", namespace.name);
    ensure!(
        other.delete(&definition).await.is_err(),
        "{definition} was deleted"
    );
    // An identity that does not own the nodes is told so.
    let folder = folder()?;
    let stranger = [
        ("STITCH_ZOOKEEPER__USER", "nobody".to_owned()),
        (
            "STITCH_ZOOKEEPER__PASSWORD_FILE",
            folder.join("nobody.password").display().to_string(),
        ),
    ];
    ensure_finding(
        &findings(&namespace, &stranger).await?,
        "wrong",
        &["only digest:stitch may change"],
    )?;
    let refused = run(&namespace, &["init", "--update"], &stranger).await?;
    ensure!(
        refused.code == Some(2) && refused.errors.contains("cannot be changed by \"nobody\""),
        "{refused:?}"
    );
    Ok(())
}
