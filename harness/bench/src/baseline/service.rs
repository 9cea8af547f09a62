//! The simplest HTTP service that reads the same: axum, the driver, and an address for each of three queries. It has no limit,
//! no freshness, no version and no deadline, and answers what it has read.

use std::io::{Write, stdout};
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, SecondsFormat};
use futures_util::future::try_join_all;
use scylla::client::session::Session;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{Counter, CqlTimestamp};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::reads::Statements;
use super::{Measured, Target, connect};
use crate::load::COUNTER;
use crate::serving::month;

/// What is asked for as JSON.
#[derive(Deserialize)]
struct Table {
    counters: Vec<String>,
    keys: Vec<String>,
}

#[derive(Serialize)]
struct Parts {
    parts: Vec<Count>,
}

#[derive(Serialize)]
struct Count {
    counter: String,
    key: String,
    count: i64,
}

#[derive(Serialize)]
struct Series {
    counter: &'static str,
    key: String,
    points: Vec<Point>,
}

#[derive(Serialize)]
struct Point {
    start: String,
    count: i64,
}

struct Service {
    session: Session,
    statements: Statements,
}

/// Serves until SIGTERM. Nothing is measured here: the load generator does that.
pub(super) async fn serve(target: &Target) -> Result<Measured> {
    let session = connect(target).await?;
    let statements = Statements::prepare(&session, &target.keyspace).await?;
    let service = Arc::new(Service {
        session,
        statements,
    });
    let below = format!("/v1/counters/{COUNTER}/keys/{{key}}");
    let router = Router::new()
        .route(&below, get(count))
        .route(&format!("{below}/series"), get(series))
        .route("/v1/query", post(table))
        .with_state(service);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    writeln!(stdout(), "listening on http://{}", listener.local_addr()?)?;
    let mut terminated = signal(SignalKind::terminate())?;
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            terminated.recv().await;
        })
        .await?;
    Ok(Measured::default())
}

async fn count(State(service): State<Arc<Service>>, Path(key): Path<String>) -> Response {
    answer(service.count(COUNTER.to_owned(), key).await)
}

async fn table(State(service): State<Arc<Service>>, body: String) -> Response {
    match serde_json::from_str(&body) {
        Ok(table) => answer(service.table(&table).await),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn series(State(service): State<Arc<Service>>, Path(key): Path<String>) -> Response {
    answer(service.series(key).await)
}

fn answer(read: Result<impl Serialize>) -> Response {
    let json = read.and_then(|read| Ok(serde_json::to_string(&read)?));
    match json {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

impl Service {
    async fn count(&self, counter: String, key: String) -> Result<Count> {
        let values = (&counter, &key, "all", CqlTimestamp(0));
        let points = self.read(&self.statements.count, values).await?;
        Ok(Count {
            count: points.iter().map(|point| point.count).sum(),
            counter,
            key,
        })
    }

    /// All at once.
    async fn table(&self, Table { counters, keys }: &Table) -> Result<Parts> {
        let counts = counters.iter().flat_map(|counter| {
            let count = |key: &String| self.count(counter.clone(), key.clone());
            keys.iter().map(count)
        });
        let parts = try_join_all(counts).await?;
        Ok(Parts { parts })
    }

    async fn series(&self, key: String) -> Result<Series> {
        let (first, last) = (CqlTimestamp(month::START_MS), CqlTimestamp(month::LAST_MS));
        let values = (COUNTER, &key, "day", first, last);
        Ok(Series {
            counter: COUNTER,
            points: self.read(&self.statements.span, values).await?,
            key,
        })
    }

    async fn read(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Vec<Point>> {
        let answer = self.session.execute_unpaged(statement, values).await?;
        let answer = answer.into_rows_result()?;
        let mut points = Vec::with_capacity(answer.rows_num());
        for row in answer.rows::<(CqlTimestamp, Option<Counter>)>()? {
            let (CqlTimestamp(bucket), value) = row?;
            let start = DateTime::from_timestamp_millis(bucket).context("a bucket")?;
            points.push(Point {
                start: start.to_rfc3339_opts(SecondsFormat::Secs, true),
                count: value.map_or(0, |Counter(value)| value),
            });
        }
        Ok(points)
    }
}
