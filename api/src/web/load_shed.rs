//! The outermost layer: answers a request now, lets it wait briefly for a permit, or refuses it.
//!
//! Under overload most requests are refused, and what that costs is taken from those that are answered. So this layer
//! comes before everything else that a request costs (routing, parameters, tokens, compression, metrics), and the
//! refusal is made in advance.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tower::Service;

use super::take_ready;
use crate::admission::Admission;
use crate::metrics::Shed;
use crate::problem::{Kind, Problem};

/// Passes requests to `inner` while there are permits for them.
#[derive(Clone)]
pub(crate) struct LoadShed<S> {
    inner: S,
    admission: Arc<Admission>,
    refusal: Arc<Refusal>,
}

/// A refusal, ready to be copied.
struct Refusal {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    problem: Arc<Problem>,
    shed: Shed,
}

impl Refusal {
    fn new(problem: Problem) -> Self {
        let (parts, _) = problem.clone().into_response().into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: problem.body(),
            problem: Arc::new(problem),
            shed: Shed::new(),
        }
    }

    fn response(&self) -> Response {
        self.shed.increment();
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        response.extensions_mut().insert(Arc::clone(&self.problem));
        response
    }
}

impl<S> LoadShed<S> {
    pub(crate) fn new(inner: S, admission: Arc<Admission>) -> Self {
        let problem = Problem::new(Kind::Overload, admission.refusal());
        Self {
            inner,
            refusal: Arc::new(Refusal::new(problem)),
            admission,
        }
    }
}

impl<S, B> Service<Request<B>> for LoadShed<S>
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
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut inner = take_ready(&mut self.inner);
        let (admission, refusal) = (Arc::clone(&self.admission), Arc::clone(&self.refusal));
        // Its body may arrive late, or never: while it is awaited, others have the permits. How many can wait is bounded by
        // their connections.
        let has_body = request.method() == Method::POST;
        async move {
            let Some(count) = admission.permits_for(&request) else {
                return inner.call(request).await;
            };
            // Dropped with this future when the client goes away.
            match admission.acquire(count).await {
                Some(permits) => {
                    if has_body {
                        permits.give_back();
                    }
                    request.extensions_mut().insert(permits.clone());
                    let response = inner.call(request).await;
                    drop(permits);
                    response
                }
                None => Ok(refusal.response()),
            }
        }
        .boxed()
    }
}
