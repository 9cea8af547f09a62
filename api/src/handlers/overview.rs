//! Which counters there are, and how it stands with the namespace as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;

use crate::app::App;
use crate::freshness;
use crate::problem::Problem;
use crate::query_string::Query;
use crate::web::caching;

#[derive(Serialize)]
struct Counters<'a> {
    counters: Vec<KeyRequest<'a>>,
}

#[derive(Serialize)]
struct KeyRequest<'a> {
    name: &'a str,
    granularities: Vec<&'static str>,
}

#[derive(Serialize)]
struct Ranges {
    ranges: BTreeMap<freshness::State, usize>,
}

pub(crate) async fn counters(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref(), &[], None, "/v1/counters".to_owned())?;
    let counters = app.definitions.counters.iter().map(|counter| KeyRequest {
        name: &counter.name.0,
        granularities: counter
            .granularities
            .iter()
            .map(|kept| kept.name())
            .collect(),
    });
    let answer = Counters {
        counters: counters.collect(),
    };
    let (whole, _) = app.board().summary(app.now().moment);
    Ok(caching::answer(&app, &headers, &answer, whole, false))
}

pub(crate) async fn freshness(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref(), &[], None, "/v1/freshness".to_owned())?;
    let (whole, ranges) = app.board().summary(app.now().moment);
    Ok(caching::answer(
        &app,
        &headers,
        &Ranges { ranges },
        whole,
        false,
    ))
}
