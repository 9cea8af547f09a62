//! Routes, and the layers that every request passes: load shedding, CORS, authorization, timeout, compression.

mod load_shed;
mod auth;
mod pages;

use std::sync::Arc;
use std::time::Duration;

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
use crate::caching;
use crate::handlers::{count, counts, overview, series, totals};
use crate::metrics::Requests;
use crate::{operator, stats};
use auth::RouteGuard;
use load_shed::LoadShed;

/// Every route of this server behind its layers.
pub(crate) type WebService =
    MapResponse<Either<Cors<LoadShed<Router>>, LoadShed<Router>>, fn(Response) -> Response>;

pub(crate) fn service(app: &Arc<App>) -> WebService {
    let load_shed = LoadShed::new(router(app), Arc::clone(&app.admission));
    // Outside of load shedding, because a browser shows a page even a refusal only if CORS allows that page to read it.
    let service = match cors(&app.limits) {
        Some(cors) => Either::Left(cors.layer(load_shed)),
        None => Either::Right(load_shed),
    };
    MapResponse::new(service, pages::with_security_headers)
}

fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for (address, operation, handlers) in count_routes() {
        let guard = RouteGuard {
            app: Arc::clone(app),
            requests: Arc::new(Requests::new(operation)),
        };
        let handlers = handlers.route_layer(from_fn_with_state(guard, auth::guard));
        router = router.route(address, handlers);
    }
    router
        .merge(pages::router())
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::method_not_allowed)
        .with_state(Arc::clone(app))
        .layer(CompressionLayer::new())
}

/// The routes that are answered from counts or from ZooKeeper: address, operation in the metrics, handlers.
fn count_routes() -> [(&'static str, &'static str, MethodRouter<Arc<App>>); 10] {
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
        (operator::PAGE, "page", get(operator::page)),
        (operator::STATUS, "status", get(operator::status)),
    ]
}

/// Which other origins may read from within a browser; `None` if none is configured.
fn cors(limits: &Api) -> Option<CorsLayer> {
    const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(3600);
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
            .max_age(PREFLIGHT_MAX_AGE),
    )
}

#[cfg(test)]
mod tests;
