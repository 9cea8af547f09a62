//! Many counts of one counter in one request: a page full of tracks.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::future::try_join_all;
use serde::{Deserialize, Deserializer, Serialize};
use stitch_common::cell::{CellSlot, Counter, Key};

use super::count::When;
use super::path;
use crate::app::App;
use crate::params::{self, AT, GRANULARITY, UTC_OFFSET, Window};
use crate::problem::{Kind, Problem};
use crate::query_string::{Query, encoded};
use crate::web::caching;

const KEY: &str = "key";
/// Keys that are read at once, so that one request does not keep out all others. It takes as many of their places.
pub(crate) const AT_ONCE: usize = 32;
/// Of a body, for the punctuation around each key; escaped characters take up to six times their size.
const BYTES_PER_KEY: usize = 6 * Key::BYTES_MAX + 8;
/// Beside the keys.
const BYTES_BESIDE: usize = 1024;

#[derive(Serialize)]
struct Answer<'a> {
    counter: &'a str,
    #[serde(flatten)]
    when: When,
    counts: Vec<KeyRequest<'a>>,
}

#[derive(Serialize)]
struct KeyRequest<'a> {
    key: &'a str,
    count: i64,
}

/// What is asked by a body instead of by the address, which takes more keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    keys: Vec<String>,
    #[serde(default, deserialize_with = "given")]
    granularity: Option<String>,
    #[serde(default, deserialize_with = "given")]
    at: Option<String>,
    #[serde(default, deserialize_with = "given")]
    utc_offset: Option<String>,
}

/// What may be left out, but is a text if it is there: `null` is none.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

pub(crate) async fn by_address(
    State(app): State<Arc<App>>,
    parts: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = path(parts, &works(&app, ""))?;
    let example = works(&app, &name);
    let known = [GRANULARITY, AT, UTC_OFFSET];
    let query = Query::parse(query.as_deref(), &known, Some(KEY), example)?;
    let keys: Vec<String> = query.all(KEY).map(str::to_owned).collect();
    answer(&app, &headers, &name, &keys, &query).await
}

pub(crate) async fn by_body(
    State(app): State<Arc<App>>,
    parts: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = path(parts, &works(&app, ""))?;
    let example = works(&app, &name);
    // Everything stands in the body.
    Query::parse(query.as_deref(), &[], None, example.clone())?;
    let limit = app.limits.keys_max * BYTES_PER_KEY + BYTES_BESIDE;
    let wrong = |kind, detail: String| Problem::new(kind, detail).with_example(&example);
    let bytes = to_bytes(body, limit).await.map_err(|_| {
        let detail = format!("the body is not there in full, or has more than {limit} bytes");
        wrong(Kind::TooMuch, detail)
    })?;
    let asked: Asked = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(Kind::WrongBody, error.to_string()))?;
    let beside = [
        (GRANULARITY, &asked.granularity),
        (AT, &asked.at),
        (UTC_OFFSET, &asked.utc_offset),
    ];
    let written: Vec<String> = beside
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?))))
        .collect();
    let known = [GRANULARITY, AT, UTC_OFFSET];
    let query = Query::parse(Some(&written.join("&")), &known, None, example)?;
    answer(&app, &headers, &name, &asked.keys, &query).await
}

/// A request that works.
fn works(app: &App, name: &str) -> String {
    params::example_of_one(&app.definitions, name, None, "/counts?key=abc&key=def")
}

async fn answer(
    app: &App,
    headers: &HeaderMap,
    name: &str,
    keys: &[String],
    query: &Query,
) -> Result<Response, Problem> {
    let definition = params::definition(&app.definitions, name, query.example())?;
    if keys.is_empty() {
        return Err(query.missing(KEY, "name one key or several"));
    }
    let most = app.limits.keys_max;
    if keys.len() > most {
        let detail = format!(
            "{} keys are asked for, one request may name {most}",
            keys.len()
        );
        return Err(query.wrong(KEY, detail));
    }
    let counters: Result<Vec<Counter>, Problem> = keys
        .iter()
        .map(|key| params::counter(definition, key, query.example()))
        .collect();
    let counters = counters?;
    let offset = params::offset(query)?;
    let now = app.now();
    let (stretch, cells) = Window::parse(query, definition, offset, now.time())?;
    let counts = read(app, &counters, &[cells]).await?;
    let pairs = keys.iter().zip(counts);
    let answer = Answer {
        counter: name,
        when: When::of(stretch, offset),
        counts: pairs
            .map(|(key, count)| KeyRequest { key, count })
            .collect(),
    };
    let freshness = app.board().of_all(&counters, now.moment);
    let closed = stretch.is_closed(now.time());
    Ok(caching::answer(app, headers, &answer, freshness, closed))
}

async fn read(
    app: &App,
    counters: &[Counter],
    stretches: &[Vec<CellSlot>],
) -> Result<Vec<i64>, Problem> {
    let mut counts = Vec::with_capacity(counters.len());
    for together in counters.chunks(AT_ONCE) {
        let reads = together
            .iter()
            .map(|counter| app.counts.sums(counter, stretches));
        for sums in try_join_all(reads).await? {
            counts.push(sums.first().copied().unwrap_or_default().0);
        }
    }
    Ok(counts)
}
