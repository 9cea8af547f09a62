//! What every request about counts passes once it has a place: the token, if there are any, and the time that a request
//! has.

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

/// What stands before one address.
#[derive(Clone)]
pub(super) struct Guarded {
    pub(super) app: Arc<App>,
    pub(super) measured: Arc<Requests>,
}

/// Lets a request through, or says why not.
///
/// Dropping it, as the server does when the client has gone, ends the work.
pub(super) async fn pass(State(guarded): State<Guarded>, request: Request, next: Next) -> Response {
    let Guarded { app, measured } = guarded;
    let began = app.now().moment;
    let response = match let_in(&app, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    measured.answered(response.status(), app.now().moment.since(began));
    response
}

async fn let_in(app: &App, request: Request, next: Next) -> Result<Response, Problem> {
    if !knows_a_token(request.headers(), &app.limits.tokens) {
        let detail = "the header Authorization has none of this server's tokens";
        return Err(Problem::new(Kind::NotLetIn, detail));
    }
    let time = app.limits.request_timeout;
    let answered = tokio::time::timeout(time, next.run(request)).await;
    answered.map_err(|_| {
        let detail = format!("nothing came within {} ms", time.as_millis());
        Problem::new(Kind::StoreAway, detail)
    })
}

/// Compares every token with every other, in a time that tells nothing of how much of it was right.
pub(super) fn knows_a_token(headers: &HeaderMap, tokens: &[Token]) -> bool {
    if tokens.is_empty() {
        return true;
    }
    let given = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let Some((scheme, given)) = given.and_then(|given| given.split_once(' ')) else {
        return false;
    };
    let equal = |Token(token): &Token| bool::from(token.as_bytes().ct_eq(given.trim().as_bytes()));
    let known = tokens
        .iter()
        .fold(false, |known, token| known | equal(token));
    scheme.eq_ignore_ascii_case("bearer") && known
}
