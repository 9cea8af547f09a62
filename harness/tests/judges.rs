//! The harness on real servers: its faults have their effects, its recount finds wrong cells and no others.

use std::time::Duration;

use anyhow::Result;
use rand::Rng;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::batch::{Batch, BatchType};
use scylla::value::Counter;
use stitch_harness::corruptor::Corruptor;
use stitch_harness::events::{COUNTERS, Generator, Record, Shape};
use stitch_harness::feed::{Feed, create_topic};
use stitch_harness::proxy::{Mode, Proxy};
use stitch_harness::recount::{Rules, Verdict, read_log, read_table, session};
use stitch_harness::servers::Servers;
use tokio::time::timeout;

const SHORT: Duration = Duration::from_secs(1);

fn unique(name: &str) -> String {
    format!("{name}_{:08x}", rand::rng().random::<u32>())
}

async fn table(session: &Session, keyspace: &str) -> Result<()> {
    let statements = [
        format!(
            "CREATE KEYSPACE {keyspace} WITH replication = \
             {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
        ),
        format!(
            "CREATE TABLE {keyspace}.counts (counter text, key text, granularity text, \
             bucket timestamp, value counter, PRIMARY KEY ((counter, key), granularity, bucket))"
        ),
    ];
    for statement in statements {
        session.query_unpaged(statement, ()).await?;
    }
    Ok(())
}

fn events(count: usize) -> Result<Vec<Record>> {
    let shape = Shape {
        bad_share: 0.1,
        ..Shape::default()
    };
    Ok(Generator::new(shape)?.take(count).collect())
}

async fn log_of(
    servers: &Servers,
    topic: &str,
    rules: &Rules,
) -> Result<stitch_harness::recount::Cells> {
    let (kafka, topic, rules) = (servers.kafka.clone(), topic.to_owned(), rules.clone());
    let (cells, _) =
        tokio::task::spawn_blocking(move || read_log(&kafka, &topic, &rules)).await??;
    Ok(cells)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recount_accepts_cells_counted_once_and_finds_corrupted_ones() -> Result<()> {
    let servers = Servers::from_environment()?;
    let name = unique("recount");
    create_topic(&servers.kafka, &name, 3).await?;
    let session = session(&servers.cassandra).await?;
    table(&session, &name).await?;
    let rules = Rules::parse(COUNTERS)?;
    let records = events(500)?;
    Feed::new(&servers.kafka, &name)?
        .send(records.clone())
        .await?;

    let mut by_hand = stitch_harness::recount::Cells::new();
    for record in &records {
        rules.count(record.value.as_deref(), &mut by_hand);
    }
    by_hand.retain(|_, value| *value != 0);
    let expected = log_of(&servers, &name, &rules).await?;
    assert_eq!(expected, by_hand, "the log has every record once");

    let mut corruptor = Corruptor::connect(&servers, &name, 7).await?;
    for (id, value) in &expected {
        corruptor.add(id, *value).await?;
    }
    let right = Verdict::of(&expected, &read_table(&session, &name).await?);
    assert!(right.all_right(), "{right}");

    corruptor.corrupt(5).await?;
    let broken = Verdict::of(&expected, &read_table(&session, &name).await?);
    // Phantoms have new keys: they do not make right cells wrong.
    assert_eq!(broken.total().wrong, 20, "{broken}");
    assert_eq!(broken.total().right, right.total().right - 15);
    Ok(())
}

/// A session through the proxy with a short timeout, and a batch that adds 1 to a cell.
async fn counting_through(proxy: &Proxy, keyspace: &str) -> Result<(Session, Batch)> {
    let through = SessionBuilder::new()
        .known_node(proxy.address())
        .build()
        .await?;
    let mut add = through
        .prepare(format!(
            "UPDATE {keyspace}.counts SET value = value + ? WHERE counter = 'c' AND key = 'k' \
             AND granularity = 'all' AND bucket = 0"
        ))
        .await?;
    add.set_request_timeout(Some(SHORT));
    let mut batch = Batch::new(BatchType::Counter);
    batch.append_statement(add);
    batch.set_request_timeout(Some(SHORT));
    Ok((through, batch))
}

async fn add_one((session, batch): &(Session, Batch)) -> Result<()> {
    session.batch(batch, ((Counter(1),),)).await?;
    Ok(())
}

async fn value(session: &Session, keyspace: &str) -> Result<i64> {
    let cells = read_table(session, keyspace).await?;
    Ok(cells.values().sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_with_a_lost_reply_is_applied_and_the_driver_keeps_using_the_proxy()
-> Result<()> {
    let servers = Servers::from_environment()?;
    let direct = session(&servers.cassandra).await?;
    let name = unique("lost_reply");
    table(&direct, &name).await?;
    let proxy = Proxy::cassandra(&servers.cassandra[0]).await?;
    let counting = counting_through(&proxy, &name).await?;

    add_one(&counting).await?;
    proxy.lose_batch_replies(2);
    assert!(add_one(&counting).await.is_err());
    assert!(add_one(&counting).await.is_err());
    proxy.lose_batches(1);
    assert!(add_one(&counting).await.is_err());
    assert_eq!(proxy.lost(), 3);
    proxy.until_all_are_lost().await;
    add_one(&counting).await?;
    assert_eq!(
        value(&direct, &name).await?,
        4,
        "the lost batch was not applied"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_holds_requests_and_a_cut_closes_connections() -> Result<()> {
    let servers = Servers::from_environment()?;
    let direct = session(&servers.cassandra).await?;
    let name = unique("black_hole");
    table(&direct, &name).await?;
    let proxy = Proxy::cassandra(&servers.cassandra[0]).await?;
    let counting = counting_through(&proxy, &name).await?;

    proxy.set(Mode::Blackhole);
    assert!(add_one(&counting).await.is_err());
    assert_eq!(value(&direct, &name).await?, 0, "it has not arrived");
    proxy.set(Mode::Pass);
    let arrives = async {
        while value(&direct, &name).await? == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(Duration::from_secs(10), arrives).await??;

    proxy.set(Mode::Deaf);
    assert!(add_one(&counting).await.is_err());
    proxy.set(Mode::Refuse);
    assert!(add_one(&counting).await.is_err());
    assert_eq!(
        value(&direct, &name).await?,
        2,
        "the request without a reply arrived, the refused one did not"
    );
    Ok(())
}
