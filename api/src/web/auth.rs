//! Authorizes and times each request for counts: checks the bearer token, if the server has tokens, and enforces the
//! request timeout.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use stitch_common::config::Token;
use subtle::ConstantTimeEq;

use crate::app::App;
use crate::metrics::Requests;
use crate::problem::{Kind, Problem};

#[derive(Clone)]
pub(super) struct RouteGuard {
    pub(super) app: Arc<App>,
    pub(super) requests: Arc<Requests>,
}

/// Answers a request, or says why not, and records its status and duration.
///
/// # Cancellation
/// Ends the work. The server drops the request when its client goes away.
pub(super) async fn guard(
    State(RouteGuard { app, requests }): State<RouteGuard>,
    request: Request,
    next: Next,
) -> Response {
    let start = app.now().moment;
    let response = match answer(&app, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    requests.record(response.status(), app.now().moment.since(start));
    response
}

async fn answer(app: &App, request: Request, next: Next) -> Result<Response, Problem> {
    authorize(request.headers(), &app.limits.tokens)?;
    let timeout = app.limits.request_timeout;
    let response = tokio::time::timeout(timeout, next.run(request)).await;
    response.map_err(|_| {
        let detail = format!("no answer within {} ms", timeout.as_millis());
        Problem::new(Kind::StoreUnavailable, detail)
    })
}

/// Checks the bearer token; every request is authorized if there are no tokens.
pub(super) fn authorize(headers: &HeaderMap, tokens: &[Token]) -> Result<(), Problem> {
    if tokens.is_empty() || has_a_token(headers, tokens) {
        return Ok(());
    }
    let detail = "the header Authorization carries none of this server's tokens";
    Err(Problem::new(Kind::Unauthorized, detail))
}

/// Compares with every token, in constant time: how long it takes does not reveal how much of a token was right.
fn has_a_token(headers: &HeaderMap, tokens: &[Token]) -> bool {
    let header = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let Some((scheme, credentials)) = header.and_then(|value| value.split_once(' ')) else {
        return false;
    };
    let credentials = credentials.trim().as_bytes();
    let equal = |Token(token): &Token| bool::from(token.as_bytes().ct_eq(credentials));
    let known = tokens
        .iter()
        .fold(false, |known, token| known | equal(token));
    scheme.eq_ignore_ascii_case("bearer") && known
}
