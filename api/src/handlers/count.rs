//! One count: of all time, or of one hour, day, week, month or year.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use stitch_batch::layer::Layer;
use stitch_calendar::time_zone::TimeZone;

use super::key_request::KeyRequest;
use crate::app::App;
use crate::caching;
use crate::layers::LayersUsed;
use crate::params::{self, AT, GRANULARITY, LAYER, TIME_ZONE, UTC_OFFSET, Window};
use crate::problem::Problem;

#[derive(Serialize)]
struct Answer<'a> {
    counter: &'a str,
    key: &'a str,
    #[serde(flatten)]
    window: WindowFields,
    count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<Layer>,
}

/// A window as it is shown in an answer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct WindowFields {
    granularity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
}

impl WindowFields {
    pub(super) fn new(window: Window, zone: &TimeZone) -> Self {
        match window {
            Window::All => Self {
                granularity: "all",
                start: None,
                end: None,
            },
            Window::Period { period, start, end } => Self {
                granularity: period.name(),
                start: Some(start.at(zone)),
                end: Some(end.at(zone)),
            },
        }
    }
}

pub(crate) async fn count(
    State(app): State<Arc<App>>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let definitions = &app.definitions;
    let allowed = [GRANULARITY, AT, TIME_ZONE, UTC_OFFSET, LAYER];
    let request = KeyRequest::parse(
        definitions,
        path,
        query.as_deref(),
        &allowed,
        |name, key| params::example_of_one(definitions, name, key, ""),
    )?;
    let zone = &params::zone(&request.query)?;
    let now = app.now();
    let (window, cells) = Window::parse(&request.query, request.definition, zone, now.time())?;
    window.check_zone(&request.query)?;
    let layers = app.layers(&request.query, now)?;
    let reads = layers.reads(&request.counter.name, request.query.example())?;
    let sums = app.counts.sums(&request.counter, &[cells], &reads).await?;
    let sum = sums.first().expect("each window has a sum");
    let answer = Answer {
        counter: &request.name,
        key: &request.key,
        window: WindowFields::new(window, zone),
        count: sum.count.0,
        layer: layers.shown(sum.layer),
    };
    let used = LayersUsed::of(&sums);
    let freshness = layers.freshness([&request.counter], used);
    let closed = window.is_closed(layers.counted_until(used, now.time()));
    Ok(caching::respond(
        &app,
        Some(&headers),
        &answer,
        freshness,
        closed,
    ))
}
