//! The addresses, and what every request goes through: who may ask, how many at once, for how long, in which encoding.

pub(crate) mod caching;
pub(crate) mod load_shed;
mod auth;
mod pages;

use std::sync::Arc;

use axum::Router;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use stitch_common::config::Api;
use tower::Layer;
use tower::util::{Either, MapResponse};
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, Any, Cors, CorsLayer};

use crate::app::App;
use crate::handlers::{count, counts, overview, series, totals};
use crate::metrics::Requests;
use crate::{operator, stats};
use auth::Guarded;
use load_shed::LoadShed;

/// Everything that this server answers, behind what comes before it.
pub(crate) type Answers =
    MapResponse<Either<Cors<LoadShed<Router>>, LoadShed<Router>>, fn(Response) -> Response>;

/// Everything that this server answers.
pub(crate) fn answers(app: &Arc<App>) -> Answers {
    let gate = LoadShed::new(router(app), Arc::clone(&app.admission));
    // Before the gate, because a browser shows a page even a refusal only if it may read from there.
    let gate = match cors(&app.limits) {
        Some(cors) => Either::Left(cors.layer(gate)),
        None => Either::Right(gate),
    };
    MapResponse::new(gate, pages::with_safety_headers)
}

/// The addresses.
fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for (address, operation, answers) in counted() {
        let guarded = Guarded {
            app: Arc::clone(app),
            measured: Arc::new(Requests::new(operation)),
        };
        let answers = answers.route_layer(from_fn_with_state(guarded, auth::pass));
        router = router.route(address, answers);
    }
    router
        .merge(pages::router())
        .fallback(pages::no_such_page)
        .method_not_allowed_fallback(pages::wrong_method)
        .with_state(Arc::clone(app))
        .layer(CompressionLayer::new())
}

/// The addresses that are answered from counts, and what they are called in metrics.
fn counted() -> [(&'static str, &'static str, MethodRouter<Arc<App>>); 10] {
    [
        ("/v1/counters", "counters", get(overview::counters)),
        ("/v1/freshness", "freshness", get(overview::freshness)),
        (
            "/v1/counters/{counter}/counts",
            "counts",
            get(counts::by_address).post(counts::by_body),
        ),
        (
            "/v1/counters/{counter}/keys/{key}",
            "count",
            get(count::count),
        ),
        (
            "/v1/counters/{counter}/keys/{key}/series",
            "series",
            get(series::series),
        ),
        (
            "/v1/counters/{counter}/keys/{key}/totals",
            "totals",
            get(totals::totals),
        ),
        ("/stats/{counter}", "page", get(stats::counter)),
        ("/stats/{counter}/{key}", "page", get(stats::key)),
        (operator::PAGE, "page", get(operator::shown)),
        (operator::OBJECT, "status", get(operator::object)),
    ]
}

/// Which pages of other hosts a browser lets read; none, if none are named.
fn cors(limits: &Api) -> Option<CorsLayer> {
    const KEPT_FOR: std::time::Duration = std::time::Duration::from_secs(3600);
    let origins = &limits.cors_origins;
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::from(Any)
    } else {
        let origins = origins
            .iter()
            .filter_map(|origin| HeaderValue::from_str(origin).ok());
        AllowOrigin::list(origins)
    };
    let exposed: [HeaderName; 4] = [ETAG, LINK, RETRY_AFTER, caching::STITCH_FRESHNESS];
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::HEAD, Method::POST])
            .allow_headers([AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH])
            .expose_headers(exposed)
            .max_age(KEPT_FOR),
    )
}

#[cfg(test)]
mod tests;
