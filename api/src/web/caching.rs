//! What others may keep, and for how long. Counts of times that are over change seldom, by late events and by
//! restorations; counts of the present change all the time.
//!
//! The entity tag is a weak one: it stands for the counts and the word of freshness, not for the number beside it,
//! which differs every second. That stands in the header `stitch-freshness`, too, which a 304 brings up to date.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;
use serde::Serialize;

use crate::app::App;
use crate::freshness::{Freshness, State};

pub(crate) const STITCH_FRESHNESS: HeaderName = HeaderName::from_static("stitch-freshness");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Room for a count, and for a series of a month.
const BODY_BYTES: usize = 2048;

#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    freshness: Freshness,
    as_of: String,
}

/// `data`, which is a JSON object, with `freshness` in it. `closed` says that all of it is of times that are over.
pub(crate) fn answer<T: Serialize>(
    app: &App,
    request: &HeaderMap,
    data: &T,
    freshness: Freshness,
    closed: bool,
) -> Response {
    let mut body = Vec::with_capacity(BODY_BYTES);
    serde_json::to_writer(&mut body, data).expect("plain data serialises");
    let tag = tag(&body, freshness.state);
    let mut headers = HeaderMap::new();
    headers.insert(STITCH_FRESHNESS, header(freshness));
    headers.insert(CACHE_CONTROL, cache_control(app, freshness.state, closed));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    if is_known(request, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let told = Told {
        freshness,
        as_of: app.now().wall.to_rfc3339_opts(SecondsFormat::Millis, true),
    };
    // Into the object that was just written.
    body.pop();
    body.extend_from_slice(b",\"freshness\":");
    serde_json::to_writer(&mut body, &told).expect("plain data serialises");
    body.push(b'}');
    headers.insert(CONTENT_TYPE, JSON);
    (headers, body).into_response()
}

fn tag(body: &[u8], state: State) -> String {
    let mut hasher = DefaultHasher::new();
    (body, state).hash(&mut hasher);
    format!("W/\"{:016x}\"", hasher.finish())
}

fn header(freshness: Freshness) -> HeaderValue {
    let state = freshness.state.name();
    let text = match freshness.behind_events {
        Some(behind) => format!("{state}; behind_events={behind}"),
        None => state.to_owned(),
    };
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Long only if nothing is known that will change it.
fn cache_control(app: &App, state: State, closed: bool) -> HeaderValue {
    let limits = &app.limits;
    let age = if closed && state == State::Live {
        limits.closed_max_age
    } else {
        limits.open_max_age
    };
    // What needs a token is nobody else's.
    let whose = if limits.tokens.is_empty() {
        "public"
    } else {
        "private"
    };
    let text = format!("{whose}, max-age={}", age.as_secs());
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("no-cache"))
}

/// Whether the client has what this tag stands for.
fn is_known(request: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let listed = request.get_all(IF_NONE_MATCH).iter();
    let mut listed = listed
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    listed.any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}
