//! Logs as plain text on standard error, metrics in Prometheus' format on request.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use stitch_common::user_error::UserError;

/// The variables with the log filter; the first that is set counts.
const FILTERS: [&str; 2] = ["STITCH_LOG", "RUST_LOG"];
/// The filter if none is set: of the client libraries only warnings.
const FILTER_DEFAULT: &str = "info,zookeeper_client=warn,scylla=warn";

/// Bucket bounds of histograms in seconds: from one request to a quiescence barrier.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0,
];

/// Starts logging to standard error. Call it once, before anything else.
///
/// # Errors
/// The filter is invalid, or logging has been started already.
pub fn start_logs() -> Result<(), UserError> {
    let set = |name: &&str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let filter = match FILTERS.into_iter().find(set) {
        None => EnvFilter::new(FILTER_DEFAULT),
        Some(name) => EnvFilter::builder()
            .with_env_var(name)
            .try_from_env()
            .map_err(|error| {
                let what = format!("{name} is not a filter of logs: {error}");
                UserError::new(
                    what,
                    "write a level or some targets: info, or info,stitch_common=debug",
                )
            })?,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .map_err(|error| {
            UserError::new(format!("logging cannot be started: {error}"), "report this")
        })
}

/// Starts collecting metrics, and returns the handle that renders them. Call it once.
///
/// # Errors
/// Metrics are being collected already.
pub fn metrics_handle() -> Result<PrometheusHandle, UserError> {
    let failure = |error: &dyn std::fmt::Display| {
        UserError::new(
            format!("metrics cannot be collected: {error}"),
            "report this",
        )
    };
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .map_err(|error| failure(&error))?
        .install_recorder()
        .map_err(|error| failure(&error))
}
