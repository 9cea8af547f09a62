//! Many counts of one counter in one request: a page full of tracks.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream::{FuturesOrdered, TryStreamExt};
use serde::{Deserialize, Serialize};
use stitch_batch::layer::Layer;
use stitch_common::cell::{CellSlot, Counter};

use super::count::WindowFields;
use super::path_parameters;
use crate::admission::{HeldPermits, KEYS_AT_ONCE};
use crate::app::App;
use crate::caching;
use crate::count_reader::Sum;
use crate::count_tables::LayerReads;
use crate::layers::LayersUsed;
use crate::params::{self, AT, GRANULARITY, LAYER, TIME_ZONE, UTC_OFFSET, Window};
use crate::problem::{Kind, Problem};
use crate::query_string::Query;
use crate::request_body;

const KEY: &str = "key";

#[derive(Serialize)]
struct Answer<'a> {
    counter: &'a str,
    #[serde(flatten)]
    window: WindowFields,
    counts: Vec<KeyCount<'a>>,
}

#[derive(Serialize)]
struct KeyCount<'a> {
    key: &'a str,
    count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<Layer>,
}

/// The same request in a body, which has room for more keys than an address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CountsBody {
    keys: Vec<String>,
    #[serde(default, deserialize_with = "request_body::text")]
    granularity: Option<String>,
    #[serde(default, deserialize_with = "request_body::text")]
    at: Option<String>,
    #[serde(default, deserialize_with = "request_body::text")]
    time_zone: Option<String>,
    #[serde(default, deserialize_with = "request_body::text")]
    utc_offset: Option<String>,
    #[serde(default, deserialize_with = "request_body::text")]
    layer: Option<String>,
}

pub(crate) async fn by_address(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = path_parameters(path, &example(&app, ""))?;
    let allowed = [GRANULARITY, AT, TIME_ZONE, UTC_OFFSET, LAYER];
    let query = Query::parse(query.as_deref(), &allowed, &[KEY], example(&app, &name))?;
    let keys: Vec<String> = query.all(KEY).map(str::to_owned).collect();
    answer(&app, Some(&headers), &name, &keys, &query).await
}

pub(crate) async fn by_body(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    Extension(permits): Extension<HeldPermits>,
    body: Body,
) -> Result<Response, Problem> {
    let name = path_parameters(path, &example(&app, ""))?;
    let example = example(&app, &name);
    let raw = query.as_deref();
    let body = request_body::json(
        app.limits.request_timeout,
        raw,
        body,
        app.limits.keys_max,
        &example,
    );
    let body: CountsBody = body.await?;
    let parameters = [
        (GRANULARITY, body.granularity),
        (AT, body.at),
        (TIME_ZONE, body.time_zone),
        (UTC_OFFSET, body.utc_offset),
        (LAYER, body.layer),
    ];
    let query = Query::from_parameters(parameters, example);
    let keys = &body.keys;
    if !app.admission.exchange(&permits, keys.len()).await {
        return Err(Problem::new(Kind::Overload, app.admission.refusal()));
    }
    answer(&app, None, &name, keys, &query).await
}

fn example(app: &App, name: &str) -> String {
    params::example_of_one(&app.definitions, name, None, "/counts?key=abc&key=def")
}

async fn answer(
    app: &App,
    headers: Option<&HeaderMap>,
    name: &str,
    keys: &[String],
    query: &Query,
) -> Result<Response, Problem> {
    let definition = params::definition(&app.definitions, name, query.example())?;
    if keys.is_empty() {
        return Err(query.missing(KEY, "name one key or several"));
    }
    let (count, max) = (keys.len(), app.limits.keys_max);
    if count > max {
        let detail = format!("{count} keys are named, one request may name {max}");
        return Err(query.invalid(KEY, detail));
    }
    let counters: Vec<Counter> = keys
        .iter()
        .map(|key| params::counter(definition, key, query.example()))
        .collect::<Result<_, Problem>>()?;
    let zone = &params::zone(query)?;
    let now = app.now();
    let (window, cells) = Window::parse(query, definition, zone, now.time())?;
    window.check_zone(query)?;
    let layers = app.layers(query, now)?;
    let reads = layers.reads(&definition.name, query.example())?;
    let sums = read(app, &counters, &[cells], &reads).await?;
    let answer = Answer {
        counter: name,
        window: WindowFields::new(window, zone),
        counts: keys
            .iter()
            .zip(&sums)
            .map(|(key, sum)| KeyCount {
                key,
                count: sum.count.0,
                layer: layers.shown(sum.layer),
            })
            .collect(),
    };
    let used = LayersUsed::of(&sums);
    let freshness = layers.freshness(&counters, used);
    let closed = window.is_closed(layers.counted_until(used, now.time()));
    Ok(caching::respond(app, headers, &answer, freshness, closed))
}

async fn read(
    app: &App,
    counters: &[Counter],
    windows: &[Vec<CellSlot>],
    layers: &LayerReads,
) -> Result<Vec<Sum>, Problem> {
    let mut counts = Vec::with_capacity(counters.len());
    let mut waiting = counters.iter();
    let mut reads = FuturesOrdered::new();
    loop {
        // One more begins whenever the first of them has ended, instead of as many again once all have.
        let free = KEYS_AT_ONCE - reads.len();
        for counter in waiting.by_ref().take(free) {
            reads.push_back(app.counts.sums(counter, windows, layers));
        }
        match reads.try_next().await? {
            Some(sums) => counts.extend(sums),
            None => break,
        }
    }
    Ok(counts)
}
