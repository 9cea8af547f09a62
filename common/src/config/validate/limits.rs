//! `[processor]`, `[restorator]` and `[http]`: limits, all with defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::Section;
use crate::config::document::Document;
use crate::config::raw::{self, Given};
use crate::config::{Http, Kafka, Processor, Restorator};
use crate::ports::Level;
use crate::user_error::Failure;

pub(super) fn processor(
    document: &Document<'_>,
    given: Given<raw::Processor>,
    kafka: &Kafka,
) -> Result<Processor, Failure> {
    let (section, raw) = Section::open(document, "processor", given);
    let stop_timeout = stop_timeout(&section, raw.stop_timeout_ms, kafka)?;
    let settle_timeout = settle_timeout(&section, raw.settle_timeout_ms, stop_timeout)?;
    Ok(Processor {
        requests_in_flight_max: section.count(
            "requests_in_flight_max",
            raw.requests_in_flight_max,
            128,
            1..=16_384,
        )?,
        window_events_max: section.count(
            "window_events_max",
            raw.window_events_max,
            500_000,
            1..=100_000_000,
        )?,
        window_bytes_max: section.mebibytes("window_mib_max", raw.window_mib_max, 64)?,
        window_counters_max: section.count(
            "window_counters_max",
            raw.window_counters_max,
            50_000,
            1..=100_000_000,
        )?,
        batch_bytes_max: section.count(
            "batch_bytes_max",
            raw.batch_bytes_max,
            4096,
            1..=1_048_576,
        )?,
        settle_timeout,
        stop_timeout,
        progress_interval: section.milliseconds(
            "progress_interval_ms",
            raw.progress_interval_ms,
            500,
            10,
        )?,
    })
}

/// A clean stop that took as long as Kafka's session would find its partitions taken already. Its default follows a
/// shorter session; one that was written down and is too long is an error.
fn stop_timeout(
    section: &Section<'_>,
    given: Given<u64>,
    kafka: &Kafka,
) -> Result<Duration, Failure> {
    let session = kafka.session_timeout().map_err(|value| {
        let what = format!("session.timeout.ms = \"{value}\" is not a number of milliseconds");
        let way_out = "write \"session.timeout.ms\" = 45000 in [kafka.client], or leave it out";
        Failure::new(what, way_out)
    })?;
    let default = (session / 2).min(Duration::from_secs(20)).as_millis();
    let default = u64::try_from(default).expect("at most 20,000");
    let span = given.as_ref().map(toml::Spanned::span);
    let timeout = section.milliseconds("stop_timeout_ms", given, default, 1)?;
    if timeout < session {
        return Ok(timeout);
    }
    let (timeout, session) = (timeout.as_millis(), session.as_millis());
    let what = format!(" = {timeout} is not below Kafka's session timeout of {session} ms");
    let way_out = "shorten it, or set \"session.timeout.ms\" in [kafka.client] above it";
    let key = section.key("stop_timeout_ms");
    Err(section.document.wrong(span, &key, &what, way_out))
}

/// What settles on the way to a stop must leave time for the rest of it.
fn settle_timeout(
    section: &Section<'_>,
    given: Given<u64>,
    stop: Duration,
) -> Result<Duration, Failure> {
    let default = (stop / 2).min(Duration::from_secs(2)).as_millis();
    let default = u64::try_from(default).expect("at most 2,000");
    let span = given.as_ref().map(toml::Spanned::span);
    let timeout = section.milliseconds("settle_timeout_ms", given, default, 1)?;
    if span.is_none() || timeout < stop {
        return Ok(timeout);
    }
    let (timeout, stop) = (timeout.as_millis(), stop.as_millis());
    let what = format!(" = {timeout} is not below processor.stop_timeout_ms = {stop}");
    let key = section.key("settle_timeout_ms");
    let way_out = "shorten it, or lengthen processor.stop_timeout_ms";
    Err(section.document.wrong(span, &key, &what, way_out))
}

pub(super) fn restorator(
    document: &Document<'_>,
    given: Given<raw::Restorator>,
) -> Result<Restorator, Failure> {
    let (section, raw) = Section::open(document, "restorator", given);
    let journal = section.optional_text("journal", raw.journal, "journal = \"stitch-journal\"")?;
    Ok(Restorator {
        memory_bytes_max: section.mebibytes("memory_mib_max", raw.memory_mib_max, 1024)?,
        requests_in_flight_max: section.count(
            "requests_in_flight_max",
            raw.requests_in_flight_max,
            64,
            1..=16_384,
        )?,
        ranges_in_flight_max: section.count(
            "ranges_in_flight_max",
            raw.ranges_in_flight_max,
            2,
            1..=4096,
        )?,
        lock_target: section.milliseconds("lock_target_ms", raw.lock_target_ms, 500, 10)?,
        cells_per_lock_max: section.count(
            "cells_per_lock_max",
            raw.cells_per_lock_max,
            5000,
            1..=100_000_000,
        )?,
        range_timeout: section.milliseconds(
            "range_timeout_ms",
            raw.range_timeout_ms,
            60_000,
            100,
        )?,
        calm_timeout: section.milliseconds(
            "calm_timeout_ms",
            raw.calm_timeout_ms,
            300_000,
            1000,
        )?,
        unjudged_cells_target: section.count(
            "unjudged_cells_target",
            raw.unjudged_cells_target,
            1000,
            0..=100_000_000,
        )?,
        read_level: Level::All,
        journal: journal.map_or_else(|| PathBuf::from("stitch-journal"), PathBuf::from),
    })
}

pub(super) fn http(document: &Document<'_>, given: Given<raw::Http>) -> Result<Http, Failure> {
    let (section, raw) = Section::open(document, "http", given);
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listen = section.listen(raw.listen, default, "listen = \"127.0.0.1:9464\"")?;
    Ok(Http { listen })
}
