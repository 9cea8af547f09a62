use std::sync::Arc;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stitch_cassandra::BucketSpan;
use stitch_common::cell::Counter;
use stitch_common::clock::Moment;
use stitch_common::ports::{StoreError, TableIdentity};
use tokio::time::Instant;

use super::*;
use crate::count_source::{CountSource, Read};

/// Tokio's clock, which a test can pause.
#[derive(Clone)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Moment {
        Moment::new(self.0.elapsed())
    }

    fn wall(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

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
    TableConnector::new(layer, connect, TokioClock(Instant::now()))
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

/// How connectors end within a time in which every attempt is made several times, if they do.
async fn ended(
    connectors: Connectors<impl AsyncFn() -> Result<Connection, ServerFailure>, TokioClock>,
) -> Option<UserError> {
    tokio::select! {
        ended = connectors.run() => ended.err(),
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
    tokio::select! {
        () = answers => {}
        ended = connectors.run() => panic!("{ended:?}"),
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
