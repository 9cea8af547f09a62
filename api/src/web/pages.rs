//! Everything but the counts: health, metrics, the API description, explanations of problems, and unknown addresses.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, VARY};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use stitch_access::AccessScope;

use super::browser::accepts_html;
use super::listener::Listener;
use super::sign_in;
use crate::access::{self, Need, SIGN_IN};
use crate::app::App;
use crate::count_tables::readiness;
use crate::metrics;
use crate::page::assets::asset;
use crate::problem::{Kind, Problem};

/// The description that clients are generated from; `api/tests/contract` checks this server against it.
pub(crate) const OPENAPI: &str = include_str!("../../openapi.json");

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// What every listener has.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/problems/{name}", get(problem))
        .route("/assets/{name}", get(asset))
        .route("/health", get(health))
        .route("/healthz", get(health))
        .route("/ready", get(ready))
        .route("/readyz", get(ready))
        .route(SIGN_IN, get(sign_in::form).post(sign_in::submit))
}

/// What Prometheus reads.
pub(super) fn metrics() -> Router<Arc<App>> {
    Router::new().route("/metrics", get(prometheus))
}

/// Leads a person to the first page of this listener, and lists its addresses to a program.
pub(super) fn way_in(listener: Listener) -> MethodRouter<Arc<App>> {
    get(async move |headers: HeaderMap| {
        let vary = (VARY, HeaderValue::from_static("accept"));
        if !accepts_html(&headers) {
            return ([vary], listener.index()).into_response();
        }
        let location = (LOCATION, HeaderValue::from_static(listener.first_page()));
        (StatusCode::SEE_OTHER, [vary, location]).into_response()
    })
}

async fn openapi() -> impl IntoResponse {
    (
        [
            (CONTENT_TYPE, "application/json"),
            (CACHE_CONTROL, "public, max-age=300"),
        ],
        OPENAPI,
    )
}

async fn problem(Path(name): Path<String>) -> Result<String, Problem> {
    let kind = Kind::EVERY.into_iter().find(|kind| kind.name() == name);
    kind.map(Kind::page).ok_or_else(|| {
        let names: Vec<_> = Kind::EVERY.iter().map(|kind| kind.name()).collect();
        Problem::new(
            Kind::NotFound,
            format!("the problems are {}", names.join(", ")),
        )
        .with_example("/problems/invalid-parameter")
    })
}

async fn health() -> &'static str {
    "answering\n"
}

async fn ready(State(app): State<Arc<App>>) -> (StatusCode, String) {
    match readiness(&app.tables, &app.freshness(), app.now().moment) {
        Ok(text) => (StatusCode::OK, text),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

async fn prometheus(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let need = Need {
        scope: AccessScope::Metrics,
        key: None,
    };
    let now_s = app.now().wall.timestamp();
    access::authorize(&app.access(), request.headers(), None, need, now_s)?;
    metrics::in_flight(app.admission.in_use());
    Ok(([(CONTENT_TYPE, PROMETHEUS)], app.metrics.render()).into_response())
}

pub(super) fn not_found(listener: Listener, uri: &Uri) -> Problem {
    Problem::new(
        Kind::NotFound,
        format!("{} is not an address of this server", uri.path()),
    )
    .with_example(listener.example())
}

pub(super) fn method_not_allowed(listener: Listener, method: &Method, uri: &Uri) -> Problem {
    Problem::new(
        Kind::MethodNotAllowed,
        format!("{} does not take {method}", uri.path()),
    )
    .with_example(listener.example())
}
