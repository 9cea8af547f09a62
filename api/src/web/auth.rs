//! Authorizes and times each request for counts: checks the bearer token, if the server has tokens, and enforces the
//! request timeout.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use stitch_common::secret::Secret;
use subtle::ConstantTimeEq;

use super::sign_in;
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

/// The cookie that [`super::sign_in`] gives to a browser: a token, percent-encoded.
pub(super) const COOKIE_NAME: &str = "stitch-token";

/// Checks the bearer token, or a browser's cookie; every request is authorized if there are no tokens.
pub(super) fn authorize(headers: &HeaderMap, tokens: &[Secret]) -> Result<(), Problem> {
    if is_known(b"", tokens)
        || bearer(headers).is_some_and(|token| is_known(token.as_bytes(), tokens))
        || cookies(headers).any(|token| is_known(&token, tokens))
    {
        return Ok(());
    }
    let detail = "the header Authorization carries none of this server's tokens";
    Err(Problem::new(Kind::Unauthorized, detail).with_example(sign_in::ADDRESS))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = Vec<u8>> {
    let cookies = headers.get_all(COOKIE).into_iter();
    cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE_NAME)
        .map(|(_, token)| percent_decode_str(token).collect())
}

/// Whether `token` is one of `tokens`, or there are none. Compares with every token, in constant time: how long it takes
/// does not reveal how much of a token was right.
pub(super) fn is_known(token: &[u8], tokens: &[Secret]) -> bool {
    let equal = |known: &Secret| bool::from(known.expose().as_bytes().ct_eq(token));
    let known = tokens
        .iter()
        .fold(false, |known, token| known | equal(token));
    known || tokens.is_empty()
}
