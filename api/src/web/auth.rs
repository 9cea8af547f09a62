//! Authorizes and times each request for counts: lets it in by [`crate::access`], and enforces the request timeout.

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use stitch_access::{AccessScope, LinkTarget};

use crate::access::{self, Need};
use crate::app::App;
use crate::metrics::Requests;
use crate::problem::{Kind, Problem};

#[derive(Clone)]
pub(super) struct RouteGuard {
    pub(super) app: Arc<App>,
    pub(super) requests: Arc<Requests>,
    pub(super) scope: AccessScope,
}

/// Answers a request, or says why not, and records its status and duration.
///
/// # Cancellation
/// Ends the work. The server drops the request when its client goes away.
pub(super) async fn guard(
    State(guard): State<RouteGuard>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let RouteGuard {
        app,
        requests,
        scope,
    } = guard;
    let start = app.now().moment;
    let response = match answer(&app, scope, path.ok().as_ref(), request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    requests.record(response.status(), app.now().moment.since(start));
    response
}

async fn answer(
    app: &App,
    scope: AccessScope,
    path: Option<&RawPathParams>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let need = Need {
        scope,
        key: path.and_then(|path| target(app, path)),
    };
    let grant = access::authorize(
        &app.access(),
        request.headers(),
        request.uri().query(),
        need,
        app.now().wall.timestamp(),
    )?;
    request.extensions_mut().insert(grant);
    let timeout = app.limits.request_timeout;
    let response = tokio::time::timeout(timeout, next.run(request)).await;
    response.map_err(|_| {
        let detail = format!("no answer within {} ms", timeout.as_millis());
        Problem::new(Kind::StoreUnavailable, detail)
    })
}

/// The key that an address is about: those of one key name it and its counter.
fn target<'a>(app: &'a App, path: &'a RawPathParams) -> Option<LinkTarget<'a>> {
    let parameter = |name: &str| {
        let found = path.into_iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| value)
    };
    Some(LinkTarget {
        namespace: &app.namespace,
        counter: parameter("counter")?,
        key: parameter("key")?,
    })
}
