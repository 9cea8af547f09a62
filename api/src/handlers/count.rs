//! One count: of all time, or of one hour, day, week, month or year.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;

use super::key_request::KeyRequest;
use crate::app::App;
use crate::calendar::UtcOffset;
use crate::params::{self, AT, GRANULARITY, UTC_OFFSET, Window};
use crate::problem::Problem;
use crate::web::caching;

#[derive(Serialize)]
struct Answer<'a> {
    counter: &'a str,
    key: &'a str,
    #[serde(flatten)]
    when: When,
    count: i64,
}

/// The time that counts are of.
#[derive(Clone, Debug, Serialize)]
pub(super) struct When {
    granularity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
}

impl When {
    pub(super) fn of(stretch: Window, offset: UtcOffset) -> Self {
        match stretch {
            Window::All => Self {
                granularity: "all",
                start: None,
                end: None,
            },
            Window::Period { period, start, end } => Self {
                granularity: period.name(),
                start: Some(start.at(offset)),
                end: Some(end.at(offset)),
            },
        }
    }
}

pub(crate) async fn count(
    State(app): State<Arc<App>>,
    parts: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let definitions = &app.definitions;
    let known = [GRANULARITY, AT, UTC_OFFSET];
    let one = KeyRequest::parse(definitions, parts, query.as_deref(), &known, |name, key| {
        params::example_of_one(definitions, name, key, "")
    })?;
    let offset = params::offset(&one.query)?;
    let now = app.now();
    let (stretch, cells) = Window::parse(&one.query, one.definition, offset, now.time())?;
    let sums = app.counts.sums(&one.counter, &[cells]).await?;
    let answer = Answer {
        counter: &one.name,
        key: &one.key,
        when: When::of(stretch, offset),
        count: sums.first().copied().unwrap_or_default().0,
    };
    let freshness = app.board().of_all([&one.counter], now.moment);
    let closed = stretch.is_closed(now.time());
    Ok(caching::answer(&app, &headers, &answer, freshness, closed))
}
