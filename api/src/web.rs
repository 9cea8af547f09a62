//! Routes, and the layers that every request passes: load shedding, CORS, authorization, timeout, compression.

mod load_shed;
mod auth;
mod browser;
mod cors;
mod pages;
mod sign_in;

use std::mem;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get};
use tower_http::compression::CompressionLayer;

use crate::app::App;
use crate::handlers::{count, counts, overview, series, totals};
use crate::metrics::Requests;
use crate::{operator, stats};
use auth::RouteGuard;
use browser::ForBrowsers;
use cors::CorsForCounts;
use load_shed::LoadShed;

/// Every route of this server behind its layers.
pub(crate) type WebService = ForBrowsers<CorsForCounts<LoadShed<Router>>>;

pub(crate) fn service(app: &Arc<App>) -> WebService {
    let load_shed = LoadShed::new(router(app), Arc::clone(&app.admission));
    // Outside of load shedding, because a browser shows a page even a refusal only if CORS allows that page to read it.
    ForBrowsers(CorsForCounts::new(load_shed, &app.limits))
}

/// Takes the service that was polled ready, which is the one to call, and leaves a clone, which need not be ready.
fn take_ready<S: Clone>(service: &mut S) -> S {
    let next = service.clone();
    mem::replace(service, next)
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

#[cfg(test)]
mod tests;
