//! `[processor]`, `[restorator]` and `[http]`: limits, all with defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::Section;
use crate::config::document::Document;
use crate::config::raw::{self, Given};
use crate::config::{Http, Kafka, Processor, Restorator};
use crate::ports::Level;
use crate::user_error::UserError;

pub(super) fn processor(
    document: &Document<'_>,
    given: Given<raw::Processor>,
    kafka: &Kafka,
) -> Result<Processor, UserError> {
    let (section, raw) = Section::open(document, "processor", given);
    let stop_timeout = stop_timeout(&section, raw.stop_timeout_ms, kafka)?;
    let drain_timeout = drain_timeout(&section, raw.drain_timeout_ms, stop_timeout)?;
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
        drain_timeout,
        stop_timeout,
        checkpoint_interval: section.milliseconds(
            "checkpoint_interval_ms",
            raw.checkpoint_interval_ms,
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
) -> Result<Duration, UserError> {
    let session = kafka.session_timeout().map_err(|value| {
        let what = format!("session.timeout.ms = \"{value}\" is not a number of milliseconds");
        let help = "write \"session.timeout.ms\" = 45000 in [kafka.client], or leave it out";
        UserError::new(what, help)
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
    let help = "shorten it, or set \"session.timeout.ms\" in [kafka.client] above it";
    let key = section.key("stop_timeout_ms");
    Err(section.document.wrong(span, &key, &what, help))
}

/// What settles on the way to a stop must leave time for the rest of it.
fn drain_timeout(
    section: &Section<'_>,
    given: Given<u64>,
    stop: Duration,
) -> Result<Duration, UserError> {
    let default = (stop / 2).min(Duration::from_secs(2)).as_millis();
    let default = u64::try_from(default).expect("at most 2,000");
    let span = given.as_ref().map(toml::Spanned::span);
    let timeout = section.milliseconds("drain_timeout_ms", given, default, 1)?;
    if span.is_none() || timeout < stop {
        return Ok(timeout);
    }
    let (timeout, stop) = (timeout.as_millis(), stop.as_millis());
    let what = format!(" = {timeout} is not below processor.stop_timeout_ms = {stop}");
    let key = section.key("drain_timeout_ms");
    let help = "shorten it, or lengthen processor.stop_timeout_ms";
    Err(section.document.wrong(span, &key, &what, help))
}

pub(super) fn restorator(
    document: &Document<'_>,
    given: Given<raw::Restorator>,
) -> Result<Restorator, UserError> {
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
        quiescence_timeout: section.milliseconds(
            "quiescence_timeout_ms",
            raw.quiescence_timeout_ms,
            300_000,
            1000,
        )?,
        dirty_cells_target: section.count(
            "dirty_cells_target",
            raw.dirty_cells_target,
            1000,
            0..=100_000_000,
        )?,
        read_level: Level::All,
        journal: journal.map_or_else(|| PathBuf::from("stitch-journal"), PathBuf::from),
    })
}

pub(super) fn http(document: &Document<'_>, given: Given<raw::Http>) -> Result<Http, UserError> {
    let (section, raw) = Section::open(document, "http", given);
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listen = section.listen(raw.listen, default, "listen = \"127.0.0.1:9464\"")?;
    Ok(Http { listen })
}
