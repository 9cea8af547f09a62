use std::sync::Mutex;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stitch_api_freshness::BatchKnowledge;
use stitch_batch::record::BatchRecord;
use stitch_cassandra::BucketSpan;
use stitch_common::cell::Counter;
use stitch_common::ports::{StoreError, TableIdentity};
use stitch_common::range::RangeBits;
use stitch_testkit::tokio_clock::TokioClock;

use super::*;
use crate::count_source::{CountSource, Read};

/// A table without rows.
struct Empty;

impl CountSource for Empty {
    fn read(self: Arc<Self>, _: Counter, _: Vec<BucketSpan>) -> BoxFuture<'static, Read> {
        async { Ok(Vec::new()) }.boxed()
    }
}

/// What a cluster answers at the moment.
type Answer = Mutex<Result<TableIdentity, ServerFailure>>;

fn table(cluster: &str) -> TableIdentity {
    TableIdentity {
        cluster: cluster.to_owned(),
        table: Default::default(),
    }
}

fn error() -> UserError {
    UserError::new("10.0.0.7", "see")
}

fn away() -> ServerFailure {
    ServerFailure::Away(error())
}

fn refused() -> ServerFailure {
    ServerFailure::Refused(error())
}

fn connector(
    layer: Layer,
    answer: &Answer,
) -> TableConnector<impl AsyncFn() -> Result<Connection, ServerFailure>, TokioClock> {
    let connect = async move || {
        let table = answer.lock().unwrap().clone()?;
        let source = Arc::new(Empty);
        Ok(Connection { source, table })
    };
    TableConnector::new(layer, connect, TokioClock::start())
}

/// Connectors of both tables, whose clusters have these answers.
fn both<'a>(
    realtime: &'a Answer,
    batch: &'a Answer,
) -> Connectors<impl AsyncFn() -> Result<Connection, ServerFailure>, TokioClock> {
    let of = |(layer, answer)| connector(layer, answer);
    let [realtime, batch] = [(Layer::Realtime, realtime), (Layer::Batch, batch)].map(of);
    Connectors::new(Some(realtime), Some(batch))
}

/// What is known of freshness, if batch counts of this table are published.
fn published(table: Option<TableIdentity>) -> watch::Sender<Arc<FreshnessSnapshot>> {
    let batch = table.map_or(BatchKnowledge::Nothing, |table| {
        BatchKnowledge::Record(Arc::new(BatchRecord::new(table, "stitch".to_owned())))
    });
    let snapshot = FreshnessSnapshot::empty(RangeBits::new(6).unwrap()).with_batch(batch);
    watch::Sender::new(Arc::new(snapshot))
}

/// How connectors end within a time in which every attempt is made several times, if they do.
async fn ended(
    connectors: Connectors<impl AsyncFn() -> Result<Connection, ServerFailure>, TokioClock>,
) -> Option<UserError> {
    let snapshots = published(None).subscribe();
    tokio::select! {
        ended = connectors.run(&snapshots) => ended.err(),
        () = tokio::time::sleep(PAUSE * 10) => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_whose_cluster_is_away_is_read_once_it_answers() {
    let [realtime, batch] = [Ok(table("a")), Err(away())].map(Mutex::new);
    let mut connectors = both(&realtime, &batch);
    let tables = connectors.tables();
    assert_eq!(connectors.attempt().await, Ok(()));
    let is_awaited = |layer| tables.is_awaited(layer);
    assert!(!is_awaited(Layer::Realtime) && is_awaited(Layer::Batch));
    let unread = tables.batch.as_ref().unwrap().source().err();
    assert!(matches!(unread, Some(StoreError::Unavailable(_))));
    // Which table it is will be known when it answers.
    assert!(tables.may_be_batch(&table("b")));
    let answers = async {
        tokio::time::sleep(PAUSE * 3).await;
        assert!(is_awaited(Layer::Batch));
        *batch.lock().unwrap() = Ok(table("c"));
        tokio::time::sleep(PAUSE * 2).await;
    };
    let snapshots = published(None).subscribe();
    tokio::select! {
        () = answers => {}
        ended = connectors.run(&snapshots) => panic!("{ended:?}"),
    }
    assert!(!is_awaited(Layer::Batch));
    assert!(tables.batch.as_ref().unwrap().source().is_ok());
    assert!(tables.may_be_batch(&table("c")) && !tables.may_be_batch(&table("b")));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_at_the_start_ends_it_whichever_table_is_refused() {
    for (realtime, batch) in [
        (Err(refused()), Ok(table("a"))),
        (Ok(table("a")), Err(refused())),
        (Err(away()), Err(refused())),
    ] {
        let [realtime, batch] = [realtime, batch].map(Mutex::new);
        assert_eq!(both(&realtime, &batch).attempt().await, Err(error()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_refusal_ends_it_only_while_no_count_can_be_read() {
    let [realtime, batch] = [Err(away()), Err(away())].map(Mutex::new);
    let mut connectors = both(&realtime, &batch);
    assert_eq!(connectors.attempt().await, Ok(()));
    *realtime.lock().unwrap() = Err(refused());
    assert_eq!(ended(connectors).await, Some(error()));

    let [realtime, batch] = [Ok(table("a")), Err(away())].map(Mutex::new);
    let mut connectors = both(&realtime, &batch);
    assert_eq!(connectors.attempt().await, Ok(()));
    *batch.lock().unwrap() = Err(refused());
    assert_eq!(ended(connectors).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_table_of_batch_counts_that_was_made_again_is_connected_again() {
    let [realtime, batch] = [Ok(table("a")), Ok(table("b"))].map(Mutex::new);
    let mut connectors = both(&realtime, &batch);
    assert_eq!(connectors.attempt().await, Ok(()));
    let tables = connectors.tables();
    let reads = |name: &str| {
        let of_batch = tables.batch.as_ref().unwrap();
        of_batch.source().is_ok() && tables.may_be_batch(&table(name))
    };
    let snapshots = published(Some(table("b")));
    let receiver = snapshots.subscribe();
    let remade = async {
        // What is published is read: whatever another attempt would find, none is made.
        *batch.lock().unwrap() = Ok(table("c"));
        tokio::time::sleep(PAUSE_ONCE_CONNECTED * 3).await;
        assert!(reads("b"));
        // Dropped, and not made yet: what is connected remains.
        *batch.lock().unwrap() = Err(refused());
        snapshots.send_replace(published(Some(table("c"))).borrow().clone());
        tokio::time::sleep(PAUSE_ONCE_CONNECTED * 3).await;
        assert!(reads("b"));
        *batch.lock().unwrap() = Ok(table("c"));
        tokio::time::sleep(PAUSE_ONCE_CONNECTED * 2).await;
        assert!(reads("c") && !reads("b"));
    };
    tokio::select! {
        () = remade => {}
        ended = connectors.run(&receiver) => panic!("{ended:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_found_again_instead_of_the_published_one_is_reported() {
    let answer = Mutex::new(Ok(table("b")));
    let mut connector = connector(Layer::Batch, &answer);
    for said in [None, Some(not_published())] {
        assert_eq!(connector.attempt().await, Ok(()));
        assert_eq!(connector.said, said);
    }
    *answer.lock().unwrap() = Ok(table("c"));
    assert_eq!(connector.attempt().await, Ok(()));
    assert_eq!(connector.said, None);
}
