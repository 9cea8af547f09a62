use std::future::pending;
use std::sync::Mutex;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stitch_api_freshness::BatchKnowledge;
use stitch_batch::record::BatchRecord;
use stitch_cassandra::BucketSpan;
use stitch_common::cell::Counter;
use stitch_common::clock::Moment;
use stitch_common::ports::{StoreError, TableIdentity};
use stitch_common::range::RangeBits;
use stitch_testkit::tokio_clock::TokioClock;

use super::*;
use crate::count_source::{CountSource, CurrentTable, Read};
use crate::{Reliance, TableId, UNCHECKED_MAX};

/// What a cluster answers at the moment.
type Answer = Arc<Mutex<Result<TableIdentity, ServerFailure>>>;

/// A table without rows, which the cluster says that it is.
struct Empty(Answer);

impl CountSource for Empty {
    fn read(self: Arc<Self>, _: Counter, _: Vec<BucketSpan>) -> BoxFuture<'static, Read> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn table(self: Arc<Self>) -> BoxFuture<'static, CurrentTable> {
        let answer = self.0.lock().unwrap().clone();
        async move {
            match answer {
                Ok(table) => Ok(Some(table)),
                Err(ServerFailure::Refused(_)) => Ok(None),
                Err(ServerFailure::Away(_)) => pending().await,
            }
        }
        .boxed()
    }
}

fn answer(answer: Result<TableIdentity, ServerFailure>) -> Answer {
    Arc::new(Mutex::new(answer))
}

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
    clock: TokioClock,
) -> TableConnector<impl AsyncFn() -> Result<Connection, ServerFailure>, TokioClock> {
    let connect = async move || {
        let table = answer.lock().unwrap().clone()?;
        let source = Arc::new(Empty(Arc::clone(answer)));
        Ok(Connection { source, table })
    };
    TableConnector::new(layer, connect, clock)
}

/// Connectors of both tables, whose clusters have these answers.
fn both<'a>(
    realtime: &'a Answer,
    batch: &'a Answer,
) -> Connectors<impl AsyncFn() -> Result<Connection, ServerFailure>, TokioClock> {
    let clock = TokioClock::start();
    let of = |(layer, answer)| connector(layer, answer, clock);
    let [realtime, batch] = [(Layer::Realtime, realtime), (Layer::Batch, batch)].map(of);
    Connectors::new(Some(realtime), Some(batch))
}

/// A read that relies on nothing.
const ANY: Reliance = Reliance {
    table: None,
    at: Moment::new(Duration::ZERO),
};

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
    let [realtime, batch] = [Ok(table("a")), Err(away())].map(answer);
    let mut connectors = both(&realtime, &batch);
    let tables = connectors.tables();
    assert_eq!(connectors.attempt().await, Ok(()));
    let is_awaited = |layer| tables.is_awaited(layer);
    assert!(!is_awaited(Layer::Realtime) && is_awaited(Layer::Batch));
    let unread = tables.batch.as_ref().unwrap().source(&ANY).err();
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
    assert!(tables.batch.as_ref().unwrap().source(&ANY).is_ok());
    assert!(tables.may_be_batch(&table("c")) && !tables.may_be_batch(&table("b")));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_at_the_start_ends_it_whichever_table_is_refused() {
    for (realtime, batch) in [
        (Err(refused()), Ok(table("a"))),
        (Ok(table("a")), Err(refused())),
        (Err(away()), Err(refused())),
    ] {
        let [realtime, batch] = [realtime, batch].map(answer);
        assert_eq!(both(&realtime, &batch).attempt().await, Err(error()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_refusal_ends_it_only_while_no_count_can_be_read() {
    let [realtime, batch] = [Err(away()), Err(away())].map(answer);
    let mut connectors = both(&realtime, &batch);
    assert_eq!(connectors.attempt().await, Ok(()));
    *realtime.lock().unwrap() = Err(refused());
    assert_eq!(ended(connectors).await, Some(error()));

    let [realtime, batch] = [Ok(table("a")), Err(away())].map(answer);
    let mut connectors = both(&realtime, &batch);
    assert_eq!(connectors.attempt().await, Ok(()));
    *batch.lock().unwrap() = Err(refused());
    assert_eq!(ended(connectors).await, None);
}

/// Runs connectors of both tables, which are connected, while `test` happens.
async fn while_connected(
    [realtime, batch]: [&Answer; 2],
    snapshots: &watch::Sender<Arc<FreshnessSnapshot>>,
    test: impl AsyncFnOnce(CountTables),
) {
    let mut connectors = both(realtime, batch);
    assert_eq!(connectors.attempt().await, Ok(()));
    let tables = connectors.tables();
    let snapshots = snapshots.subscribe();
    tokio::select! {
        () = test(tables) => {}
        ended = connectors.run(&snapshots) => panic!("{ended:?}"),
    }
}

/// Whether a read that relies on this table is allowed now, or was refused.
fn reads(table: Option<&CountTable>, name: &str) -> bool {
    let reliance = Reliance {
        table: Some(TableId::of(&self::table(name))),
        ..ANY
    };
    table.unwrap().source(&reliance).is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_table_that_was_dropped_or_made_again_is_not_read_for_the_former_one() {
    for layer in [Layer::Realtime, Layer::Batch] {
        let answers = [Ok(table("a")), Ok(table("a"))].map(answer);
        let [realtime, batch] = &answers;
        let changing = match layer {
            Layer::Realtime => realtime,
            Layer::Batch => batch,
        };
        // Batch counts of the former table remain published until there is another load.
        let snapshots = published(Some(table("a")));
        while_connected([realtime, batch], &snapshots, async |tables| {
            let reads = |name: &str| reads(tables.of(layer), name);
            tokio::time::sleep(CHECK_EVERY * 10).await;
            assert!(reads("a"));
            *changing.lock().unwrap() = Err(refused());
            tokio::time::sleep(CHECK_EVERY + CHECK_TIMEOUT).await;
            assert!(!reads("a"), "it was dropped");
            assert!(!tables.is_awaited(layer));
            *changing.lock().unwrap() = Ok(table("b"));
            tokio::time::sleep(PAUSE * 2).await;
            assert!(reads("b") && !reads("a"), "it was made again");
            // Both between two looks at it.
            *changing.lock().unwrap() = Ok(table("c"));
            tokio::time::sleep(CHECK_EVERY + CHECK_TIMEOUT).await;
            assert!(!reads("b"));
            tokio::time::sleep(PAUSE * 2).await;
            assert!(reads("c"));
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_of_batch_counts_that_was_made_again_is_connected_again() {
    let [realtime, batch] = [Ok(table("a")), Ok(table("b"))].map(answer);
    let snapshots = published(Some(table("b")));
    while_connected([&realtime, &batch], &snapshots, async |tables| {
        assert!(tables.may_be_batch(&table("b")));
        *batch.lock().unwrap() = Ok(table("c"));
        tokio::time::sleep(CHECK_EVERY + CHECK_TIMEOUT + PAUSE).await;
        assert!(tables.may_be_batch(&table("c")) && !tables.may_be_batch(&table("b")));
    })
    .await;
}

/// A cluster that does not answer keeps its table for a while, and no longer.
#[tokio::test(start_paused = true)]
async fn a_table_is_read_for_a_while_after_it_was_certainly_the_same() {
    let [realtime, batch] = [Ok(table("a")), Ok(table("b"))].map(answer);
    let clock = TokioClock::start();
    while_connected([&realtime, &batch], &published(None), async |tables| {
        let reads = |at| {
            let reliance = Reliance { table: None, at };
            tables.batch.as_ref().unwrap().source(&reliance).is_ok()
        };
        tokio::time::sleep(UNCHECKED_MAX * 5).await;
        assert!(reads(clock.now()), "it was looked at all the time");
        *batch.lock().unwrap() = Err(away());
        tokio::time::sleep(UNCHECKED_MAX - CHECK_EVERY - CHECK_TIMEOUT).await;
        assert!(reads(clock.now()));
        tokio::time::sleep(CHECK_EVERY * 2 + CHECK_TIMEOUT).await;
        assert!(!reads(clock.now()));
        *batch.lock().unwrap() = Ok(table("b"));
        tokio::time::sleep(CHECK_EVERY + CHECK_TIMEOUT * 2).await;
        assert!(reads(clock.now()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_found_instead_of_the_one_that_is_counted_in_is_reported() {
    let other = table("b");
    for layer in [Layer::Realtime, Layer::Batch] {
        let answer = answer(Ok(table("a")));
        let mut connector = connector(layer, &answer, TokioClock::start());
        assert_eq!(connector.attempt().await, Ok(()));
        let of = |table: &TableIdentity| {
            let snapshot = FreshnessSnapshot::clone(&published(Some(table.clone())).borrow());
            snapshot.with_table(table.clone())
        };
        for (counted, said) in [(&table("a"), None), (&other, Some(another(layer)))] {
            let connection = connector.connection().unwrap();
            connector.check(connection, &of(counted)).await;
            assert_eq!(connector.said, said);
        }
        *answer.lock().unwrap() = Ok(other.clone());
        let connection = connector.connection().unwrap();
        connector.check(connection, &of(&other)).await;
        assert_eq!(connector.said, Some(dropped(layer)));
        assert_eq!(connector.attempt().await, Ok(()));
        assert_eq!(connector.said, None);
    }
}
