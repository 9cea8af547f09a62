//! What Kafka's client says by itself goes to the log of the program.
//!
//! Its errors are warnings here: the client goes on by itself, and what a caller must know is told through the ports.

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
        warn!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for Context {}
