//! JSON answers with their caching headers: how long clients and CDNs may keep them. Counts of closed periods change
//! seldom, by late events and by restorations; counts of the present change all the time.
//!
//! The entity tag is a weak one: it covers the counts, the freshness state and the causes of uncertainty, but not the number of events behind,
//! which differs every second. The header `stitch-freshness` has that number, too, and a 304 brings it up to date.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;
use serde::Serialize;
use stitch_common::printable::{append_json, json};

use crate::app::App;
use crate::freshness::{Freshness, State};

pub(crate) const STITCH_FRESHNESS: HeaderName = HeaderName::from_static("stitch-freshness");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

#[derive(Serialize)]
struct FreshnessField {
    #[serde(flatten)]
    freshness: Freshness,
    as_of: String,
}

/// Answers with `data`, which is a JSON object, and `freshness` in it. `closed` says that all counts are of periods that
/// had ended when they were counted. `request` has the headers of a GET or HEAD; an answer to a POST is no version of
/// anything that a client or a cache could have.
pub(crate) fn respond<T: Serialize>(
    app: &App,
    request: Option<&HeaderMap>,
    data: &T,
    freshness: Freshness,
    closed: bool,
) -> Response {
    let mut body = json(data).expect("plain data serialises");
    let mut headers = HeaderMap::new();
    headers.insert(STITCH_FRESHNESS, header(&freshness));
    if let Some(request) = request {
        let tag = tag(&body, &freshness);
        headers.insert(CACHE_CONTROL, cache_control(app, freshness.state, closed));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(ETAG, tag);
        }
        if matches(request, &tag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
    } else {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    // Batch counts are as old as their generation, whenever they are read.
    let as_of = match (&freshness.state, &freshness.batch) {
        (State::Batch, Some(batch)) => batch.as_of.clone(),
        _ => app.now().wall.to_rfc3339_opts(SecondsFormat::Millis, true),
    };
    let field = FreshnessField { freshness, as_of };
    // Into the object that was just written.
    body.pop();
    body.extend_from_slice(b",\"freshness\":");
    append_json(&mut body, &field).expect("plain data serialises");
    body.push(b'}');
    headers.insert(CONTENT_TYPE, JSON);
    (headers, body).into_response()
}

/// Adds the caching headers to a page of counts that are not closed, or answers that the client has it. `text` is the page
/// without what changes all the time: when it was read, how many events are behind.
pub(crate) fn respond_page(
    app: &App,
    request: &HeaderMap,
    text: &str,
    freshness: &Freshness,
    mut page: Response,
) -> Response {
    let tag = tag(text.as_bytes(), freshness);
    let headers = page.headers_mut();
    headers.insert(STITCH_FRESHNESS, header(freshness));
    headers.insert(CACHE_CONTROL, cache_control(app, freshness.state, false));
    if let Ok(value) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, value);
    }
    if matches(request, &tag) {
        let headers = page.headers().clone();
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    page
}

fn tag(body: &[u8], freshness: &Freshness) -> String {
    let mut hasher = DefaultHasher::new();
    (body, freshness.state, &freshness.causes, &freshness.batch).hash(&mut hasher);
    format!("W/\"{:016x}\"", hasher.finish())
}

fn header(freshness: &Freshness) -> HeaderValue {
    let state = freshness.state.name();
    let text = match freshness.behind_events {
        Some(behind) => format!("{state}; behind_events={behind}"),
        None => match (freshness.state, &freshness.batch) {
            (State::Batch, Some(batch)) => format!("{state}; as_of={}", batch.as_of),
            _ => state.to_owned(),
        },
    };
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// A long age only if nothing is known that will change the counts. A cache may answer at once and ask then (RFC 5861), and
/// it may go on with what it has while this server has only errors: `Age` and `as_of` say how old that is.
fn cache_control(app: &App, state: State, closed: bool) -> HeaderValue {
    let limits = &app.limits;
    let age = if closed && matches!(state, State::Live | State::Batch) {
        limits.closed_max_age
    } else {
        limits.open_max_age
    };
    // Shared caches must not hand out what needs a token.
    let scope = if app.access().are_open() {
        "public"
    } else {
        "private"
    };
    let text = format!(
        "{scope}, max-age={}, stale-while-revalidate={}, stale-if-error={}",
        age.as_secs(),
        limits.stale_while_revalidate.as_secs(),
        limits.stale_if_error.as_secs()
    );
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("no-cache"))
}

/// Whether the client has the version with this tag.
fn matches(request: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    request
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}
