//! Several counters and keys in one request: a page with its totals and timelines, or a list of tracks with plays and
//! likes.
//!
//! The answer has a part for each counter and each key, in this order. A part that cannot be answered has a problem
//! instead, and the others are answered all the same; if none can be, the request fails with the first part's problem.

mod parts;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LOCATION, HeaderValue};
use axum::response::Response;

use crate::admission::HeldPermits;
use crate::app::App;
use crate::caching;
use crate::handlers::path_parameters;
use crate::problem::{Kind, Problem};
use crate::query_request::{self, QueryRequest};
use crate::request_body;
use parts::Parts;

/// The longest address that an answer names as its own: proxies and CDNs refuse those above 8 KiB.
const ADDRESS_BYTES_MAX: usize = 8000;

pub(crate) async fn by_address(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    Extension(permits): Extension<HeldPermits>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = QueryRequest::from_address(query.as_deref(), app.limits.keys_max, example(&app))?;
    answer(&app, Some(&headers), &permits, &request).await
}

/// A query of one key, at an address that a link to it opens.
pub(crate) async fn by_key(
    State(app): State<Arc<App>>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    Extension(permits): Extension<HeldPermits>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (counter, key) = path_parameters(path, &example(&app))?;
    let request = QueryRequest::from_key(
        counter,
        key,
        query.as_deref(),
        app.limits.keys_max,
        example(&app),
    )?;
    answer(&app, Some(&headers), &permits, &request).await
}

pub(crate) async fn by_body(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    Extension(permits): Extension<HeldPermits>,
    body: Body,
) -> Result<Response, Problem> {
    let (example, parts_max) = (example(&app), app.limits.keys_max);
    let (raw, within) = (query.as_deref(), app.limits.request_timeout);
    let body = request_body::json(within, raw, body, 2 * parts_max, &example).await?;
    let request = QueryRequest::from_body(body, parts_max, example)?;
    answer(&app, None, &permits, &request).await
}

fn example(app: &App) -> String {
    query_request::example(&app.definitions)
}

async fn answer(
    app: &App,
    headers: Option<&HeaderMap>,
    permits: &HeldPermits,
    request: &QueryRequest,
) -> Result<Response, Problem> {
    let now = app.now();
    let parts = Parts::new(app, request, now)?;
    if !app.admission.exchange(permits, parts.reads()).await {
        return Err(Problem::new(Kind::Overload, app.admission.refusal()));
    }
    let answer = parts.read(app).await?;
    let freshness = parts.layers.freshness(parts.counters(), answer.layers_used);
    // What a later request would answer in full is not kept.
    let headers = headers.filter(|_| !answer.is_partial);
    let closed = parts.are_closed(parts.layers.counted_until(answer.layers_used, now.time()));
    let mut response = caching::respond(app, headers, &answer, freshness, closed);
    let address = Some(request.address()).filter(|address| address.len() <= ADDRESS_BYTES_MAX);
    let address = address.map(|address| HeaderValue::from_str(&address));
    if let Some(Ok(address)) = address {
        response.headers_mut().insert(CONTENT_LOCATION, address);
    }
    Ok(response)
}
