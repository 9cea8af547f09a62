//! Problem details (RFC 9457): each names the invalid parameter, if there is one, and shows a request that works.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use stitch_common::ports::StoreError;
use stitch_common::printable::json;
use stitch_common::user_error::UserError;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The type of a problem. `/problems/<name>` explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    UnknownCounter,
    InvalidParameter,
    MissingParameter,
    UnknownParameter,
    PayloadTooLarge,
    RequestTimeout,
    InvalidBody,
    NotFound,
    MethodNotAllowed,
    Unauthorized,
    Forbidden,
    CrossOrigin,
    ControlClosed,
    CommandRefused,
    Overload,
    StoreUnavailable,
    StoreError,
    NamespaceUnavailable,
    BatchUnavailable,
}

impl Kind {
    pub const EVERY: [Self; 19] = [
        Self::UnknownCounter,
        Self::InvalidParameter,
        Self::MissingParameter,
        Self::UnknownParameter,
        Self::PayloadTooLarge,
        Self::RequestTimeout,
        Self::InvalidBody,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Unauthorized,
        Self::Forbidden,
        Self::CrossOrigin,
        Self::ControlClosed,
        Self::CommandRefused,
        Self::Overload,
        Self::StoreUnavailable,
        Self::StoreError,
        Self::NamespaceUnavailable,
        Self::BatchUnavailable,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownCounter => "unknown-counter",
            Self::InvalidParameter => "invalid-parameter",
            Self::MissingParameter => "missing-parameter",
            Self::UnknownParameter => "unknown-parameter",
            Self::PayloadTooLarge => "payload-too-large",
            Self::RequestTimeout => "request-timeout",
            Self::InvalidBody => "invalid-body",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::CrossOrigin => "cross-origin",
            Self::ControlClosed => "control-closed",
            Self::CommandRefused => "command-refused",
            Self::Overload => "overload",
            Self::StoreUnavailable => "store-unavailable",
            Self::StoreError => "store-error",
            Self::NamespaceUnavailable => "namespace-unavailable",
            Self::BatchUnavailable => "batch-unavailable",
        }
    }

    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidParameter
            | Self::MissingParameter
            | Self::UnknownParameter
            | Self::InvalidBody => StatusCode::BAD_REQUEST,
            Self::UnknownCounter | Self::NotFound => StatusCode::NOT_FOUND,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::CrossOrigin | Self::ControlClosed => StatusCode::FORBIDDEN,
            Self::CommandRefused => StatusCode::CONFLICT,
            Self::Overload
            | Self::StoreUnavailable
            | Self::NamespaceUnavailable
            | Self::BatchUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::StoreError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::UnknownCounter => "Unknown counter",
            Self::InvalidParameter => "Invalid parameter",
            Self::MissingParameter => "Missing parameter",
            Self::UnknownParameter => "Unknown parameter",
            Self::PayloadTooLarge => "Payload too large",
            Self::RequestTimeout => "The body did not arrive in time",
            Self::InvalidBody => "Invalid body",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Unauthorized => "Missing or unknown bearer token",
            Self::Forbidden => "The token does not open this",
            Self::CrossOrigin => "A page of another origin sent this",
            Self::ControlClosed => "Commands need a token",
            Self::CommandRefused => "The command changed nothing",
            Self::Overload => "Too many requests in flight",
            Self::StoreUnavailable => "Cassandra did not answer in time",
            Self::StoreError => "Cassandra refused the read",
            Self::NamespaceUnavailable => "The namespace cannot be read from ZooKeeper",
            Self::BatchUnavailable => "No batch counts are published",
        }
    }

    const fn explanation(self) -> &'static str {
        match self {
            Self::UnknownCounter => "/v1/counters lists the counters of this server.",
            Self::InvalidParameter => {
                "`parameter` names it, `detail` says what is wrong with it, `example` is a request that works."
            }
            Self::MissingParameter => "`parameter` names it, `example` is a request with it.",
            Self::UnknownParameter => {
                "`parameter` names it. It is not ignored, because a misspelt parameter would go unnoticed. /openapi.json lists \
                 the parameters of every address."
            }
            Self::PayloadTooLarge => "Split the request. `detail` says how large a body may be.",
            Self::RequestTimeout => {
                "Send the body at once, on another connection: this one is closed. `detail` says how long it may take."
            }
            Self::InvalidBody => {
                "A body is a JSON object: {\"keys\": [\"abc\"]}. `detail` says what is wrong with it."
            }
            Self::NotFound => "/openapi.json lists every address.",
            Self::MethodNotAllowed => "The header Allow lists the methods of this address.",
            Self::Unauthorized => {
                "Send the header `Authorization: Bearer …` with one of this server's tokens, or open a link that has not ended: \
                 `detail` says which of the two is missing. Its operator has them."
            }
            Self::Forbidden => {
                "The token is known, and its scopes do not include what this address needs: `detail` names both. Use another \
                 token, or ask the operator for one."
            }
            Self::CrossOrigin => {
                "Commands are taken from the operator's page of this server, and from programs that send the header \
                 `Authorization: Bearer …`. A browser says by Sec-Fetch-Site or Origin which page a request comes from. A \
                 proxy in between has to pass these and the header Host on unchanged."
            }
            Self::ControlClosed => {
                "This server has no tokens, so it cannot say who gives a command. Name a file of tokens, one of them with the \
                 scope `operate`, or use the commands of `stitch-restorator`."
            }
            Self::CommandRefused => {
                "`detail` says why, and what helps: no restoration runs, another one than was named, it is paused already, or \
                 another command came first."
            }
            Self::Overload => {
                "The request was refused before anything was read, so that others are answered in time. Retry after the \
                 seconds in Retry-After."
            }
            Self::StoreUnavailable => {
                "Too few replicas answered within the time of one request. Retry after the seconds in Retry-After."
            }
            Self::StoreError => "An operator must act: `stitch-api check` examines each node.",
            Self::BatchUnavailable => {
                "`detail` says what is missing, and what an operator does about it. Where counts are also kept in real time, a \
                 request without `layer` is answered. Retry after the seconds in Retry-After."
            }
            Self::NamespaceUnavailable => {
                "`detail` says why, and what helps. Counts are served without it. Retry after the seconds in Retry-After."
            }
        }
    }

    /// The text at its address.
    pub fn page(self) -> String {
        let (name, status, title) = (self.name(), self.status().as_u16(), self.title());
        format!("{name}\n{status} {title}\n\n{}\n", self.explanation())
    }

    /// Whether the same request may be answered in a moment.
    pub fn may_pass(self) -> bool {
        self.status() == StatusCode::SERVICE_UNAVAILABLE
    }

    /// When to retry, if the problem may pass.
    fn retry_after(self) -> Option<Duration> {
        self.may_pass().then_some(Duration::from_secs(1))
    }
}

/// A problem as a client receives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    #[serde(skip)]
    pub kind: Kind,
    #[serde(rename = "type")]
    address: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<String>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            address: format!("/problems/{}", kind.name()),
            title: kind.title(),
            status: kind.status().as_u16(),
            detail: detail.into(),
            parameter: None,
            example: None,
        }
    }

    pub const fn title(&self) -> &'static str {
        self.title
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn example(&self) -> Option<&str> {
        self.example.as_deref()
    }

    /// Names the invalid parameter.
    pub fn about(mut self, parameter: &str) -> Self {
        self.parameter = Some(parameter.to_owned());
        self
    }

    /// The JSON body.
    pub fn body(&self) -> Bytes {
        json(self).expect("plain data serialises").into()
    }

    /// Adds the address of a request that works.
    pub fn with_example(mut self, example: &str) -> Self {
        self.example = Some(example.to_owned());
        self
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // The driver's messages name hosts and ports: these are for the log, not for clients.
        match error {
            StoreError::Unavailable(error) => {
                tracing::debug!(error, "cassandra did not answer a read");
                Self::new(Kind::StoreUnavailable, "too few replicas answered in time")
            }
            StoreError::Denied(UserError { message, help }) => {
                tracing::error!(
                    error = message,
                    help,
                    "cassandra does not let this server read"
                );
                Self::new(Kind::StoreError, "the reason is in this server's log")
            }
            StoreError::Refused(error) => {
                tracing::error!(error, "cassandra refuses reads");
                Self::new(Kind::StoreError, "the reason is in this server's log")
            }
        }
    }
}

impl IntoResponse for Problem {
    /// As JSON; the layer for browsers makes a page of the problem itself, which goes with the response.
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), self.body()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.kind.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        if self.kind == Kind::RequestTimeout {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.kind == Kind::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}
