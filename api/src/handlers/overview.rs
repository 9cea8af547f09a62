//! The counters of the namespace, and the freshness of all of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;

use crate::app::App;
use crate::caching;
use crate::freshness;
use crate::problem::Problem;
use crate::query_string::Query;

#[derive(Serialize)]
struct Counters<'a> {
    counters: Vec<CounterFields<'a>>,
}

#[derive(Serialize)]
struct CounterFields<'a> {
    name: &'a str,
    granularities: Vec<&'static str>,
}

#[derive(Serialize)]
struct Ranges {
    ranges: BTreeMap<freshness::State, usize>,
    /// How many ranges each cause of uncertainty concerns; only causes that concern any.
    doubtful: BTreeMap<&'static str, usize>,
}

pub(crate) async fn counters(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref(), &[], &[], "/v1/counters".to_owned())?;
    let counters = app.definitions.counters.iter();
    let answer = Counters {
        counters: counters
            .map(|counter| CounterFields {
                name: &counter.name.0,
                granularities: counter.granularities.iter().map(|g| g.name()).collect(),
            })
            .collect(),
    };
    let whole = app.default_layers(app.now()).freshness_of_all();
    Ok(caching::respond(
        &app,
        Some(&headers),
        &answer,
        whole,
        false,
    ))
}

pub(crate) async fn freshness(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref(), &[], &[], "/v1/freshness".to_owned())?;
    let (snapshot, now) = (app.freshness(), app.now());
    let whole = app.default_layers(now).freshness_of_all();
    let now = now.moment;
    // Of a namespace that is purely in batch, no range is counted in real time.
    let ranges = if whole.state == freshness::State::Batch {
        BTreeMap::new()
    } else {
        snapshot.summary(now).1
    };
    let causes = snapshot.causes(now).into_iter();
    let concerned = causes.filter(|(_, ranges)| *ranges > 0);
    let doubtful = concerned
        .map(|(cause, ranges)| (cause.name(), ranges))
        .collect();
    let answer = Ranges { ranges, doubtful };
    Ok(caching::respond(
        &app,
        Some(&headers),
        &answer,
        whole,
        false,
    ))
}
