//! The outermost: who is answered now, who waits a moment for a place, and who is refused.
//!
//! Where too much is asked, most requests are refused, and what that costs is taken from those that are answered. So
//! this stands before everything else that a request costs (addresses, parameters, tokens, compression, what is
//! measured of it), and the refusal is made in advance.
//!
//! A request waits, but not for long: a burst is answered instead of refused, and a client that waits for its answer
//! asks for nothing else meanwhile, which is what slows down those that share many connections. Places are given in the
//! order in which they were asked for, so that a request for many keys, which takes several, is not overtaken for ever.

use std::convert::Infallible;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stitch_common::config::Api;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;

use crate::handlers::counts::AT_ONCE;
use crate::metrics::Shed;
use crate::problem::{Kind, Problem};

/// Addresses that begin like this are answered from counts, and shed; others are for machines that look after this one.
const SHED: [&str; 3] = ["/v1/", "/stats/", "/operator"];

/// So many places, and a moment's wait for one.
#[derive(Debug)]
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    most: usize,
    patience: Duration,
}

impl Admission {
    pub(crate) fn new(limits: &Api) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits.requests_in_flight_max)),
            most: limits.requests_in_flight_max,
            patience: limits.admission_timeout,
        }
    }

    /// Places that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.most - self.places.available_permits()
    }

    /// How many places a request takes: one for each read that it has on its way at once; `None` if it needs none.
    ///
    /// Taken from what is read at a glance, without looking what the parameters are: one more than was needed keeps
    /// nobody out, and alone each request has room.
    fn wanted<B>(&self, request: &Request<B>) -> Option<u32> {
        let address = request.uri();
        if !SHED.iter().any(|start| address.path().starts_with(start)) {
            return None;
        }
        let reads = if !address.path().ends_with("/counts") {
            1
        } else if request.method() == Method::POST {
            AT_ONCE
        } else {
            address.query().map_or(1, |query| query.split('&').count())
        };
        u32::try_from(reads.min(AT_ONCE).min(self.most)).ok()
    }

    /// The places, until they are dropped; `None` if they were not had in time.
    async fn places(&self, wanted: u32) -> Option<OwnedSemaphorePermit> {
        let places = Arc::clone(&self.places);
        if let Ok(had) = Arc::clone(&places).try_acquire_many_owned(wanted) {
            return Some(had);
        }
        let waited = tokio::time::timeout(self.patience, places.acquire_many_owned(wanted)).await;
        waited.ok()?.ok()
    }

    /// What is answered then.
    fn problem(&self) -> Problem {
        let (most, patience) = (self.most, self.patience.as_millis());
        let detail = format!(
            "{most} requests are being answered, which is all that this server takes at once, and none of their places \
             became free within {patience} ms; a request for many keys counts as several"
        );
        Problem::new(Kind::Overload, detail)
    }
}

/// Lets requests to `answers`, so many at once.
#[derive(Clone)]
pub(crate) struct LoadShed<S> {
    answers: S,
    admission: Arc<Admission>,
    refusal: Arc<Refusal>,
}

/// A refusal, but for copying it.
struct Refusal {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    shed: Shed,
}

impl Refusal {
    fn new(problem: Problem) -> Self {
        let body = problem.body();
        let (parts, _) = problem.into_response().into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
            shed: Shed::new(),
        }
    }

    fn response(&self) -> Response {
        self.shed.one();
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        response
    }
}

impl<S> LoadShed<S> {
    pub(crate) fn new(answers: S, admission: Arc<Admission>) -> Self {
        Self {
            answers,
            refusal: Arc::new(Refusal::new(admission.problem())),
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
        self.answers.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was found ready is called; its copy need not be.
        let next = self.answers.clone();
        let mut answers = mem::replace(&mut self.answers, next);
        let (admission, refusal) = (Arc::clone(&self.admission), Arc::clone(&self.refusal));
        async move {
            let Some(wanted) = admission.wanted(&request) else {
                return answers.call(request).await;
            };
            // Dropped with this future, when the client has gone.
            match admission.places(wanted).await {
                Some(_places) => answers.call(request).await,
                None => Ok(refusal.response()),
            }
        }
        .boxed()
    }
}
