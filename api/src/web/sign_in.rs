//! Lets a person in: a browser cannot send a bearer token with a link, so the page that asks for one exchanges it for a
//! cookie, which is as good as the token for reading. It is forgotten when the browser is closed.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::access::{COOKIE_NAME, SIGN_IN};
use crate::app::App;
use crate::page;
use crate::problem::{Kind, Problem};
use crate::query_string::{Query, encoded};
use crate::request_body;

const NEXT: &str = "next";
const TOKEN: &str = "token";
/// Of the form.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Asks for a token.
pub(super) async fn form(RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let next = next(query.as_deref())?;
    Ok((page::headers(), page::problem::sign_in(&next, false)).into_response())
}

/// Exchanges the token of the form for a cookie, and goes on to the page that needed it.
pub(super) async fn submit(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    let next = next(query.as_deref())?;
    let within = app.limits.request_timeout / 2;
    let problem = |kind, detail: String| Problem::new(kind, detail).with_example(SIGN_IN);
    let bytes = request_body::read(body, BODY_BYTES_MAX, within).await;
    let bytes = bytes.map_err(|error| problem(error.kind(), error.to_string()))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| problem(Kind::InvalidBody, "the form is not UTF-8".to_owned()))?;
    let form = Query::parse_for_page(Some(&text), TOKEN, SIGN_IN.to_owned())?;
    let token = form.get(TOKEN).unwrap_or_default();
    let tokens = app.access();
    if !tokens.are_open() && tokens.find(token.as_bytes()).is_none() {
        let page = page::problem::sign_in(&next, true);
        return Ok((StatusCode::UNAUTHORIZED, page::headers(), page).into_response());
    }
    let secure = if app.limits.tls.is_some() {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!(
        "{COOKIE_NAME}={}; HttpOnly; SameSite=Lax; Path=/{secure}",
        encoded(token)
    );
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, text) in [(LOCATION, next), (SET_COOKIE, cookie)] {
        let value = HeaderValue::from_str(&text);
        headers.insert(name, value.expect("percent-encoded"));
    }
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

/// The address to go on to, if it is one of this server.
fn next(query: Option<&str>) -> Result<String, Problem> {
    let query = Query::parse_for_page(query, NEXT, SIGN_IN.to_owned())?;
    let next = query.get(NEXT).unwrap_or("/");
    // Browsers take two slashes, and backslashes, for the beginning of another host.
    let is_local = next.starts_with('/')
        && !next.starts_with("//")
        && next
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    Ok(if is_local { next } else { "/" }.to_owned())
}
