//! Lets pages of other origins read counts from within a browser. Only counts: what is shown to operators and to
//! Prometheus is for no other page, whatever origins are configured.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, Request};
use futures_util::future::Either;
use stitch_config::Api;
use tower::{Layer, Service};
use tower_http::cors::{AllowOrigin, Any, Cors, CorsLayer};

use crate::caching;

/// The addresses that other origins may read.
const SHARED: &str = "/v1/";
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(3600);

/// Adds the headers of CORS to the answers of `S` that are counts.
#[derive(Clone)]
pub(crate) struct CorsForCounts<S> {
    with_headers: Option<Cors<S>>,
    plain: S,
}

impl<S: Clone> CorsForCounts<S> {
    pub(super) fn new(inner: S, limits: &Api) -> Self {
        Self {
            with_headers: layer(&limits.cors_origins).map(|layer| layer.layer(inner.clone())),
            plain: inner,
        }
    }
}

impl<S, B> Service<Request<B>> for CorsForCounts<S>
where
    S: Service<Request<B>>,
    Cors<S>: Service<Request<B>, Response = S::Response, Error = S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<<Cors<S> as Service<Request<B>>>::Future, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if let Some(cors) = &mut self.with_headers {
            ready!(cors.poll_ready(context))?;
        }
        self.plain.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match &mut self.with_headers {
            Some(cors) if request.uri().path().starts_with(SHARED) => {
                Either::Left(cors.call(request))
            }
            Some(_) | None => Either::Right(self.plain.call(request)),
        }
    }
}

/// The layer for these origins; `None` if none is configured.
fn layer(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::from(Any)
    } else {
        let origins = origins
            .iter()
            .filter_map(|origin| HeaderValue::from_str(origin).ok());
        AllowOrigin::list(origins)
    };
    let exposed: [HeaderName; 4] = [ETAG, LINK, RETRY_AFTER, caching::STITCH_FRESHNESS];
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::HEAD, Method::POST])
            .allow_headers([AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH])
            .expose_headers(exposed)
            .max_age(PREFLIGHT_MAX_AGE),
    )
}
