//! Routes, and the layers that every request passes: load shedding, CORS, authorization, timeout, compression.

mod listener;
mod load_shed;
mod auth;
mod browser;
mod cors;
mod pages;
mod sign_in;

use std::mem;
use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use stitch_access::AccessScope;
use tower_http::compression::CompressionLayer;

use crate::app::App;
use crate::handlers::{count, counts, overview, query, series, totals};
use crate::metrics::Requests;
use crate::operator::control::{self, CONTROL};
use crate::{operator, stats};
use auth::RouteGuard;
use browser::ForBrowsers;
use cors::CorsForCounts;
use listener::Listener;
use load_shed::LoadShed;

/// The routes of a listener behind its layers.
pub(crate) type WebService = ForBrowsers<CorsForCounts<LoadShed<Router>>>;

/// Everything, or counts and their pages alone if the rest has a listener of its own.
pub(crate) fn service(app: &Arc<App>) -> WebService {
    let routes = routes(app, count_routes());
    let (listener, routes) = match app.limits.operator_listen {
        None => (Listener::Whole, routes.merge(operator_router(app))),
        Some(_) => (Listener::Counts, routes),
    };
    let load_shed = LoadShed::new(finished(app, listener, routes), Arc::clone(&app.admission));
    // Outside of load shedding, because a browser shows a page even a refusal only if CORS allows that page to read it.
    ForBrowsers(CorsForCounts::new(load_shed, &app.limits))
}

/// What is for operators and Prometheus, for a listener of its own: however many readers there are, it is answered.
pub(crate) fn operator_service(app: &Arc<App>) -> ForBrowsers<Router> {
    ForBrowsers(finished(app, Listener::Operators, operator_router(app)))
}

/// Takes the service that was polled ready, which is the one to call, and leaves a clone, which need not be ready.
fn take_ready<S: Clone>(service: &mut S) -> S {
    let next = service.clone();
    mem::replace(service, next)
}

fn operator_router(app: &Arc<App>) -> Router<Arc<App>> {
    routes(app, operator_routes()).merge(pages::metrics())
}

/// Adds what every listener has.
fn finished(app: &Arc<App>, listener: Listener, routes: Router<Arc<App>>) -> Router {
    let not_found = async move |uri: Uri| pages::not_found(listener, &uri);
    let not_allowed =
        async move |method: Method, uri: Uri| pages::method_not_allowed(listener, &method, &uri);
    routes
        .route("/", pages::way_in(listener))
        .merge(pages::router())
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(Arc::clone(app))
        .layer(CompressionLayer::new())
}

/// Address, operation in the metrics, handlers.
type Route = (&'static str, &'static str, MethodRouter<Arc<App>>);

/// Routes behind a guard that demands the scope `scope`.
fn routes<const N: usize>(
    app: &Arc<App>,
    (scope, routes): (AccessScope, [Route; N]),
) -> Router<Arc<App>> {
    let mut router = Router::new();
    for (address, operation, handlers) in routes {
        let guard = RouteGuard {
            app: Arc::clone(app),
            requests: Arc::new(Requests::new(operation)),
            scope,
        };
        let handlers = handlers.route_layer(from_fn_with_state(guard, auth::guard));
        router = router.route(address, handlers);
    }
    router
}

/// The routes that are answered from counts.
fn count_routes() -> (AccessScope, [Route; 11]) {
    let routes: [Route; 11] = [
        ("/v1/counters", "counters", get(overview::counters)),
        ("/v1/freshness", "freshness", get(overview::freshness)),
        (
            "/v1/query",
            "query",
            get(query::by_address).post(query::by_body),
        ),
        (
            "/v1/counters/{counter}/keys/{key}/query",
            "query",
            get(query::by_key),
        ),
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
        (stats::index::PAGE, "page", get(stats::index::index)),
        ("/stats/{counter}", "page", get(stats::counter)),
        ("/stats/{counter}/{key}", "page", get(stats::key)),
    ];
    (AccessScope::Read, routes)
}

/// The routes that are answered from ZooKeeper.
fn operator_routes() -> (AccessScope, [Route; 3]) {
    let routes: [Route; 3] = [
        (operator::PAGE, "page", get(operator::page)),
        (operator::STATUS, "status", get(operator::status)),
        (CONTROL, "control", post(control::control)),
    ];
    (AccessScope::Operate, routes)
}

#[cfg(test)]
mod tests;
