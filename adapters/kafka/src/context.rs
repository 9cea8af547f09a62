//! Forwards the log messages of Kafka's client to the program's log.
//!
//! Its errors are warnings here: the client recovers by itself, and callers learn of errors through the ports.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, info, trace, warn};

use crate::error::{ClientError, ErrorScope, error_scope};

/// The callbacks of every client that is not a group member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context;

/// The client warns of properties for the other kind of client; all of ours get the same ones.
const ABOUT_PROPERTIES: &str = "CONFWARN";

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == ABOUT_PROPERTIES {
            debug!(target: "librdkafka", facility, "{message}");
            return;
        }
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => warn!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Notice => info!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Info => debug!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Debug => trace!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        debug!(target: "librdkafka", statistics = %String::from_utf8_lossy(statistics), "statistics");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Reported at every end of a partition, which is frequent and no error.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        // Repeated, hundreds of times after a pause between polls, and always after the error that says why.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            debug!(target: "librdkafka", %error, "{reason}");
            return;
        }
        warn!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for Context {}

/// As [`Context`], and keeps the last error that the client reported: the result of a request that failed says only that
/// no answer came, not why.
#[derive(Debug, Default)]
pub(super) struct LastErrorContext {
    last: Mutex<Option<ClientError>>,
}

impl LastErrorContext {
    pub(super) fn last(&self) -> Option<ClientError> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Forgets the last error: a request was answered since.
    pub(super) fn clear(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn record(&self, error: ClientError) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

impl ClientContext for LastErrorContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        Context.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // Follows the error that says why.
            None | Some(RDKafkaErrorCode::AllBrokersDown) => {}
            Some(code) => self.record(ClientError {
                code,
                reason: reason.to_owned(),
            }),
        }
        Context.error(error, reason);
    }
}

impl ConsumerContext for LastErrorContext {}

/// As [`Context`], for a client whose partitions have queues of their own: keeps the client's words for the error that was
/// polled last, because the error itself has only a code. Errors that concern one partition are not logged here: the feed
/// reports them.
#[derive(Debug, Default)]
pub(super) struct FeedContext {
    reason: Mutex<Option<String>>,
}

impl FeedContext {
    /// The words for the error that was polled last.
    pub(super) fn take_reason(&self) -> Option<String> {
        self.reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl ClientContext for FeedContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        Context.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        if error_scope(&error) == ErrorScope::Client {
            Context.error(error, reason);
        }
        let mut kept = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(reason.to_owned());
    }
}

impl ConsumerContext for FeedContext {}
