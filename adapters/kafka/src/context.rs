//! What Kafka's client says by itself goes to the log of the program.
//!
//! Its errors are warnings here: the client goes on by itself, and what a caller must know is told through the ports.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, info, trace, warn};

/// What the client calls back, but for rebalances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context;

/// The client's remark that a property belongs to the other kind of client: ours are all given the same ones.
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
        // Told for every end of a partition, which is no error and comes often.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        // Told again and again, hundreds of times when nobody listened for a while, and always behind the one that says
        // why.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            debug!(target: "librdkafka", %error, "{reason}");
            return;
        }
        warn!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for Context {}

/// As [`Context`], and keeps what the client complained of last: its answer to a question that failed says only that
/// nobody answered, not why.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Mutex<Option<Complaint>>,
}

/// What the client complained of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    /// Of which kind.
    pub(super) code: RDKafkaErrorCode,
    /// In its words, which name the broker.
    pub(super) reason: String,
}

impl Complaints {
    /// The last complaint.
    pub(super) fn last(&self) -> Option<Complaint> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// It was answered, so what it complained of is over.
    pub(super) fn settle(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn keep(&self, complaint: Complaint) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(complaint);
    }
}

impl ClientContext for Complaints {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        Context.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // Follows the complaint that says why.
            None | Some(RDKafkaErrorCode::AllBrokersDown) => {}
            Some(code) => self.keep(Complaint {
                code,
                reason: reason.to_owned(),
            }),
        }
        Context.error(error, reason);
    }
}

impl ConsumerContext for Complaints {}
