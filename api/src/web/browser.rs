//! The outermost layer, for what browsers do: a person who opens a page and gets a problem sees it as a page, with a way
//! to sign in if that is what is missing. And every answer has the headers that keep a browser from guessing and loading.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, Request};
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tower::Service;

use super::take_ready;
use crate::page;
use crate::problem::Problem;

/// Addresses for programs, which get problems as JSON whatever they accept.
const FOR_PROGRAMS: &str = "/v1/";

/// Shows the problems of `S` to people as pages.
#[derive(Clone)]
pub(crate) struct ForBrowsers<S>(pub(super) S);

impl<S, B> Service<Request<B>> for ForBrowsers<S>
where
    S: Service<Request<B>, Response = Response, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut inner = take_ready(&mut self.0);
        let address = request.uri();
        let person = !address.path().starts_with(FOR_PROGRAMS) && accepts_html(request.headers());
        // A link asks by GET: where a form was sent, that is another request, or none at all.
        let is_link = matches!(*request.method(), Method::GET | Method::HEAD);
        let address = is_link.then(|| address.clone());
        async move {
            let mut response = inner.call(request).await?;
            let problem = response.extensions_mut().remove::<Arc<Problem>>();
            if let Some(problem) = problem.filter(|_| person) {
                let page = page::problem::page(&problem, address.as_ref());
                response = as_page(response, &page);
            }
            Ok(with_security_headers(response))
        }
        .boxed()
    }
}

/// Browsers name HTML when they open a page, and not when a script fetches something.
pub(super) fn accepts_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"))
}

/// Replaces the body, and keeps status and headers: when to retry, which methods there are.
fn as_page(response: Response, page: &str) -> Response {
    let (mut parts, _) = response.into_parts();
    for header in [CONTENT_ENCODING, CONTENT_LENGTH] {
        parts.headers.remove(header);
    }
    parts.headers.extend(page::headers());
    Response::from_parts(parts, Body::from(page.to_owned()))
}

/// Browsers are not to guess content types, to load anything from other hosts, or to send referrers.
fn with_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'",
        ));
    response
}
