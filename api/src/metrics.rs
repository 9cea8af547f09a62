//! Every metric of the API: names, units, labels. `docs/operations/metrics.md` explains them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use chrono::DateTime;
use metrics::{
    Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use stitch_common::ports::StoreError;
use stitch_common::range::RangeBits;
use stitch_config::Audit;
use stitch_protocol::uncertainty::UncertaintyCause;

use crate::freshness::{BatchKnowledge, Freshness, State};
use stitch_control::verification::{LastAudit, Verification};

const REQUESTS: &str = "stitch_api_requests_total";
const SECONDS: &str = "stitch_api_request_seconds";
const IN_FLIGHT: &str = "stitch_api_requests_in_flight";
const SHED: &str = "stitch_api_requests_shed_total";
const READS: &str = "stitch_api_reads_total";
const COALESCED: &str = "stitch_api_reads_coalesced_total";
const CONNECTIONS: &str = "stitch_api_connections";
const BEHIND: &str = "stitch_api_behind_events";
const RANGES: &str = "stitch_api_ranges";
const DOUBTFUL: &str = "stitch_doubtful_ranges";
const TOKEN_FILE: &str = "stitch_api_tokens_file_usable";
const CERTIFICATE: &str = "stitch_api_certificate_usable";
const BATCH_AS_OF: &str = "stitch_api_batch_as_of_timestamp_seconds";
const BATCH_RECORD: &str = "stitch_api_batch_record_usable";
const AUDITED: &str = "stitch_audit_timestamp_seconds";
const WRONG: &str = "stitch_audit_wrong_cells";
const JUDGED: &str = "stitch_audit_judged_cells";
const UNJUDGED: &str = "stitch_audit_unjudged_cells";
const WRONG_MAX: &str = "stitch_audit_wrong_per_million_max";
const AUDITED_WITHIN: &str = "stitch_audit_audited_within_seconds";
const VERIFIED_WITHIN: &str = "stitch_audit_verified_within_seconds";
const VERIFIED: &str = "stitch_range_verified_timestamp_seconds";

/// The label `operation`; bounded, as labels must be.
const OPERATIONS: [&str; 10] = [
    "count",
    "counts",
    "query",
    "series",
    "totals",
    "counters",
    "freshness",
    "page",
    "status",
    "control",
];
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];
const OUTCOMES: [&str; 3] = ["read", "unavailable", "refused"];
const STATES: [State; 5] = [
    State::Live,
    State::Lagging,
    State::Uncertain,
    State::Restoring,
    State::Unknown,
];

/// The metrics of one operation. Looked up once: finding a metric by its labels costs more than counting.
pub(crate) struct Requests {
    /// In the order of [`CLASSES`].
    classes: [Counter; 4],
    seconds: Histogram,
}

impl Requests {
    pub(crate) fn new(operation: &'static str) -> Self {
        let class = |class| counter!(REQUESTS, "operation" => operation, "status" => class);
        Self {
            classes: CLASSES.map(class),
            seconds: histogram!(SECONDS, "operation" => operation),
        }
    }

    pub(crate) fn record(&self, status: StatusCode, took: Duration) {
        let [success, redirection, client_error, server_error] = &self.classes;
        let class = match status.as_u16() / 100 {
            2 => success,
            3 => redirection,
            4 => client_error,
            _ => server_error,
        };
        class.increment(1);
        self.seconds.record(took.as_secs_f64());
    }
}

pub(crate) fn in_flight(requests: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
    gauge!(IN_FLIGHT).set(requests as f64);
}

/// Whether the file of tokens can be used as it is now.
pub(crate) fn token_file_usable(usable: bool) {
    gauge!(TOKEN_FILE).set(if usable { 1.0 } else { 0.0 });
}

/// Whether the files of certificate and key can be used as they are now.
pub(crate) fn certificate_usable(usable: bool) {
    gauge!(CERTIFICATE).set(if usable { 1.0 } else { 0.0 });
}

/// Counts requests that were refused under overload.
pub(crate) struct Shed(Counter);

impl Shed {
    pub(crate) fn new() -> Self {
        Self(counter!(SHED))
    }

    pub(crate) fn increment(&self) {
        self.0.increment(1);
    }
}

/// Counts reads of the table, and those that were coalesced.
pub(crate) struct Reads {
    read: Counter,
    unavailable: Counter,
    refused: Counter,
    coalesced: Counter,
}

impl Reads {
    pub(crate) fn new() -> Self {
        let [read, unavailable, refused] =
            OUTCOMES.map(|outcome| counter!(READS, "outcome" => outcome));
        Self {
            read,
            unavailable,
            refused,
            coalesced: counter!(COALESCED),
        }
    }

    pub(crate) fn record(&self, error: Option<&StoreError>) {
        let outcome = match error {
            None => &self.read,
            Some(StoreError::Unavailable(_)) => &self.unavailable,
            Some(StoreError::Refused(_) | StoreError::Denied(_)) => &self.refused,
        };
        outcome.increment(1);
    }

    pub(crate) fn record_coalesced(&self) {
        self.coalesced.increment(1);
    }
}

pub(crate) fn connections(open: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
    gauge!(CONNECTIONS).set(open as f64);
}

/// The freshness of the namespace.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
pub(crate) fn freshness(
    whole: &Freshness,
    states: &BTreeMap<State, usize>,
    causes: &BTreeMap<UncertaintyCause, usize>,
) {
    // What is not known is no number.
    gauge!(BEHIND).set(whole.behind_events.map_or(f64::NAN, |behind| behind as f64));
    for state in STATES {
        let ranges = states.get(&state).copied().unwrap_or_default();
        gauge!(RANGES, "state" => state.name()).set(ranges as f64);
    }
    for (cause, ranges) in causes {
        gauge!(DOUBTFUL, "cause" => cause.name()).set(*ranges as f64);
    }
}

/// The as-of of the published batch, 0 where none is, and whether that is known at all.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
pub(crate) fn batch(known: &BatchKnowledge) {
    let published = known.record().and_then(|record| record.published.as_ref());
    let as_of = published.map_or(0, |generation| generation.as_of.timestamp());
    gauge!(BATCH_AS_OF).set(as_of as f64);
    let usable = known.failure().is_none();
    gauge!(BATCH_RECORD).set(if usable { 1.0 } else { 0.0 });
}

/// What is known about the correctness of counts: 0 where nothing is.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
pub(crate) fn verification(bits: RangeBits, known: &Verification) {
    for range in bits.ranges() {
        let when = known.verified.get(&range).map_or(0, DateTime::timestamp);
        gauge!(VERIFIED, "range" => range.to_string()).set(when as f64);
    }
    if let Some(LastAudit { at, found }) = known.audit {
        gauge!(AUDITED).set(at.timestamp() as f64);
        gauge!(WRONG).set(found.wrong as f64);
        gauge!(JUDGED).set(found.judged as f64);
        gauge!(UNJUDGED).set(found.unjudged as f64);
    }
}

/// The objective that audits are held to.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
pub(crate) fn objective(audit: &Audit) {
    describe_gauge!(
        WRONG_MAX,
        "how many of a million cells that an audit judged may be wrong"
    );
    describe_gauge!(
        AUDITED_WITHIN,
        "how long ago all counts may have been audited"
    );
    describe_gauge!(
        VERIFIED_WITHIN,
        "how long ago a restoration may have verified a range"
    );
    gauge!(WRONG_MAX).set(audit.wrong_per_million_max as f64);
    gauge!(AUDITED_WITHIN).set(audit.audited_within.as_secs_f64());
    gauge!(VERIFIED_WITHIN).set(audit.verified_within.as_secs_f64());
}

/// Registers every metric at start, so that zeros show.
pub(crate) fn register() {
    describe_counter!(REQUESTS, "requests by operation and class of status");
    describe_histogram!(SECONDS, "duration of requests");
    describe_counter!(SHED, "requests refused because too many were in flight");
    describe_counter!(READS, "reads of one counter, by outcome");
    describe_counter!(COALESCED, "reads spared because the same one was in flight");
    describe_gauge!(CONNECTIONS, "open connections");
    describe_gauge!(
        BEHIND,
        "records that may still have to be counted in the range that is furthest behind"
    );
    describe_gauge!(RANGES, "ranges by the freshness state of their counts");
    describe_gauge!(DOUBTFUL, "ranges whose counts may be wrong, by cause");
    for cause in UncertaintyCause::every() {
        gauge!(DOUBTFUL, "cause" => cause.name()).set(0.0);
    }
    for operation in OPERATIONS {
        for class in CLASSES {
            counter!(REQUESTS, "operation" => operation, "status" => class).increment(0);
        }
    }
    for outcome in OUTCOMES {
        counter!(READS, "outcome" => outcome).increment(0);
    }
    for state in STATES {
        gauge!(RANGES, "state" => state.name()).set(0.0);
    }
    counter!(SHED).increment(0);
    counter!(COALESCED).increment(0);
    describe_gauge!(
        VERIFIED,
        "when a restoration last verified a range, in seconds since 1970"
    );
    describe_gauge!(
        TOKEN_FILE,
        "whether the file of tokens can be used as it is now; 0: the last good one is in use"
    );
    describe_gauge!(
        CERTIFICATE,
        "whether the files of certificate and key can be used as they are now; 0: the last good ones are in use"
    );
    describe_gauge!(
        BATCH_AS_OF,
        "the time that the published batch counts are of, in seconds since 1970; 0: none are published"
    );
    gauge!(BATCH_AS_OF).set(0.0);
    describe_gauge!(
        BATCH_RECORD,
        "whether the record of what is published in batch can be used; 0: nothing is served from batch"
    );
    gauge!(BATCH_RECORD).set(1.0);
    describe_gauge!(
        AUDITED,
        "when all counts were last audited, by plan or by run, in seconds since 1970"
    );
    describe_gauge!(WRONG, "wrong cells that the last audit of all counts found");
    describe_gauge!(JUDGED, "cells that the last audit of all counts judged");
    describe_gauge!(
        UNJUDGED,
        "cells that the last audit of all counts could not judge"
    );
    for gauge in [AUDITED, WRONG, JUDGED, UNJUDGED] {
        gauge!(gauge).set(0.0);
    }
    gauge!(CONNECTIONS).set(0.0);
    gauge!(BEHIND).set(0.0);
}
