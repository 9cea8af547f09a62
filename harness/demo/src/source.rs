//! The events of the story: generated from a seed, or read from a file of JSON lines.

use std::path::Path;

use anyhow::{Result, ensure};
use stitch_harness::events::{COUNTERS, Generator, Record, Shape, lines};
use stitch_harness::test_namespace::counters_of;

/// How long, about, events have to keep arriving while counts are corrupted and restored.
const LIVE_SECONDS: usize = 100;
/// Generated events arrive at this rate.
pub(crate) const PER_SECOND: u32 = 200;
/// Generated events are spread over this many days up to now: the part of a timeline that people look at.
const DAYS: i64 = 400;
/// Events that arrive at once, if there are enough.
const BURST: usize = 3000;
/// The share of a file that is in the topic before the story begins.
const HISTORY_PERCENT: usize = 60;

/// Events for one story.
pub(crate) struct Source {
    /// Described in a sentence.
    pub(crate) description: String,
    /// The counters' definitions, as TOML.
    pub(crate) counters: String,
    /// Events that are in the topic before anything else happens.
    pub(crate) history: Vec<Record>,
    /// Events that arrive during the story.
    pub(crate) live: Box<dyn Iterator<Item = Record> + Send>,
    /// How many of those arrive at once while a processor is killed.
    pub(crate) burst: usize,
    /// The rate of the others.
    pub(crate) per_second: u32,
    /// Whether `live` ends; then all of it is counted before the story ends.
    pub(crate) finite: bool,
}

/// Plays, likes and purchases of tracks; one record in a hundred is unusable.
pub(crate) fn generated(seed: u64) -> Result<Source> {
    const HISTORY: usize = 15_000;
    let mut generator = endless(seed, DAYS)?;
    Ok(Source {
        description: format!(
            "generated (seed {seed}): plays, likes and purchases of 1,000 tracks within the last {DAYS} days, \
             some tracks far more popular than others, refunds among them, one record in 100 unusable"
        ),
        counters: COUNTERS.to_owned(),
        history: generator.by_ref().take(HISTORY).collect(),
        live: Box::new(generator),
        burst: BURST,
        per_second: PER_SECOND,
        finite: false,
    })
}

/// Endless generated events, spread over this many days up to now.
pub(crate) fn endless(seed: u64, days: i64) -> Result<Generator> {
    const DAY_MS: i64 = 86_400_000;
    let span_ms = days * DAY_MS;
    Generator::new(Shape {
        seed,
        bad_share: 0.01,
        start_ms: chrono::Utc::now().timestamp_millis() - span_ms,
        span_ms,
        ..Shape::default()
    })
}

/// The events of a file, in its order.
pub(crate) fn file(events: &Path, config: &Path) -> Result<Source> {
    let mut history = lines(events)?;
    ensure!(
        history.len() >= 100,
        "{} has {} events: the demo needs at least 100",
        events.display(),
        history.len()
    );
    let all = history.len();
    let live = history.split_off(all * HISTORY_PERCENT / 100);
    // The others have to last until the end.
    let burst = BURST.min(live.len() / 3);
    let per_second = u32::try_from((live.len() - burst) / LIVE_SECONDS)?.clamp(1, 500);
    Ok(Source {
        description: format!("the {all} events of {}", events.display()),
        counters: counters_of(config)?,
        history,
        live: Box::new(live.into_iter()),
        burst,
        per_second,
        finite: true,
    })
}
