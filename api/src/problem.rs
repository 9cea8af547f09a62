//! What goes wrong, told as RFC 9457 says: each with the parameter at fault, if it is one, and a request that works.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use stitch_common::ports::StoreError;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What kind of problem it is. Its address, `/problems/<name>`, explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    UnknownCounter,
    WrongParameter,
    MissingParameter,
    UnknownParameter,
    TooMuch,
    WrongBody,
    NoSuchPage,
    WrongMethod,
    NotLetIn,
    Overload,
    StoreAway,
    StoreRefuses,
    NamespaceAway,
}

impl Kind {
    pub(crate) const EVERY: [Self; 13] = [
        Self::UnknownCounter,
        Self::WrongParameter,
        Self::MissingParameter,
        Self::UnknownParameter,
        Self::TooMuch,
        Self::WrongBody,
        Self::NoSuchPage,
        Self::WrongMethod,
        Self::NotLetIn,
        Self::Overload,
        Self::StoreAway,
        Self::StoreRefuses,
        Self::NamespaceAway,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::UnknownCounter => "unknown-counter",
            Self::WrongParameter => "invalid-parameter",
            Self::MissingParameter => "missing-parameter",
            Self::UnknownParameter => "unknown-parameter",
            Self::TooMuch => "payload-too-large",
            Self::WrongBody => "invalid-body",
            Self::NoSuchPage => "not-found",
            Self::WrongMethod => "method-not-allowed",
            Self::NotLetIn => "unauthorized",
            Self::Overload => "overload",
            Self::StoreAway => "store-unavailable",
            Self::StoreRefuses => "store-error",
            Self::NamespaceAway => "namespace-unavailable",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::WrongParameter
            | Self::MissingParameter
            | Self::UnknownParameter
            | Self::WrongBody => StatusCode::BAD_REQUEST,
            Self::UnknownCounter | Self::NoSuchPage => StatusCode::NOT_FOUND,
            Self::TooMuch => StatusCode::PAYLOAD_TOO_LARGE,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotLetIn => StatusCode::UNAUTHORIZED,
            Self::Overload | Self::StoreAway | Self::NamespaceAway => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::StoreRefuses => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::UnknownCounter => "There is no such counter",
            Self::WrongParameter => "A parameter cannot be used",
            Self::MissingParameter => "A parameter is missing",
            Self::UnknownParameter => "There is no such parameter here",
            Self::TooMuch => "The body is too large",
            Self::WrongBody => "The body cannot be used",
            Self::NoSuchPage => "There is nothing at this address",
            Self::WrongMethod => "This address does not take this method",
            Self::NotLetIn => "This server wants a token",
            Self::Overload => "Too many requests are being answered",
            Self::StoreAway => "Cassandra did not answer in time",
            Self::StoreRefuses => "Cassandra refused the read",
            Self::NamespaceAway => "The namespace cannot be read in ZooKeeper",
        }
    }

    const fn explanation(self) -> &'static str {
        match self {
            Self::UnknownCounter => "The counters of this server are listed at /v1/counters.",
            Self::WrongParameter => {
                "`parameter` names it, `detail` says what is wrong with it, `example` is a request that works."
            }
            Self::MissingParameter => "`parameter` names it, `example` is a request that has it.",
            Self::UnknownParameter => {
                "It would have had no effect, and what was meant by it would go unnoticed. /openapi.json has them all."
            }
            Self::TooMuch => {
                "Ask in parts, or see whether it was sent in full. `detail` says how much a body may hold."
            }
            Self::WrongBody => "It is a JSON object: {\"keys\": [\"abc\"]}.",
            Self::NoSuchPage => "/openapi.json has every address.",
            Self::WrongMethod => "The header Allow has those that it takes.",
            Self::NotLetIn => {
                "Send the header `Authorization: Bearer …` with one of the tokens in [api] tokens."
            }
            Self::Overload => {
                "It was refused before anything was read, so that the others are answered in time. Ask again after the \
                 seconds in Retry-After."
            }
            Self::StoreAway => {
                "Too few of its nodes answered in the time that one request has. Ask again after the seconds in \
                 Retry-After."
            }
            Self::StoreRefuses => {
                "The operator has to see to it: `stitch-api check` looks at each node."
            }
            Self::NamespaceAway => {
                "`detail` says why, and the way out. Counts are served without it. Ask again after the seconds in \
                 Retry-After."
            }
        }
    }

    /// What its address shows.
    pub(crate) fn page(self) -> String {
        let (name, status, title) = (self.name(), self.status().as_u16(), self.title());
        format!("{name}\n{status} {title}\n\n{}\n", self.explanation())
    }

    /// Seconds after which it may be gone.
    const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Overload | Self::StoreAway | Self::NamespaceAway => Some(Duration::from_secs(1)),
            Self::UnknownCounter
            | Self::WrongParameter
            | Self::MissingParameter
            | Self::UnknownParameter
            | Self::TooMuch
            | Self::WrongBody
            | Self::NoSuchPage
            | Self::WrongMethod
            | Self::NotLetIn
            | Self::StoreRefuses => None,
        }
    }
}

/// A problem as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    #[serde(skip)]
    pub(crate) kind: Kind,
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
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
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

    /// The same, with the parameter that is at fault.
    pub(crate) fn about(mut self, parameter: &str) -> Self {
        self.parameter = Some(parameter.to_owned());
        self
    }

    /// As it is sent.
    pub(crate) fn body(&self) -> Bytes {
        serde_json::to_vec(self)
            .expect("plain data serialises")
            .into()
    }

    /// The same, with a request that works.
    pub(crate) fn with_example(mut self, example: &str) -> Self {
        self.example = Some(example.to_owned());
        self
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // What the driver says names hosts and ports: that is for the log.
        match error {
            StoreError::Unavailable(why) => {
                tracing::debug!(why, "cassandra did not answer a read");
                Self::new(Kind::StoreAway, "too few of its nodes answered in time")
            }
            StoreError::Refused(why) => {
                tracing::error!(why, "cassandra refuses reads");
                Self::new(Kind::StoreRefuses, "its answer is in this server's log")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), self.body()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(pause) = self.kind.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(pause.as_secs()));
        }
        if self.kind == Kind::NotLetIn {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
