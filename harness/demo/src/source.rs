//! Where the events of the story come from: made from a seed, or any file of JSON lines.

use std::path::Path;

use anyhow::{Result, ensure};
use stitch_harness::events::{COUNTERS, Generator, Record, Shape, lines};
use stitch_harness::test_namespace::counters_of;

/// For about so long events have to flow while counts are broken and restored.
const LIVE_SECONDS: usize = 100;
/// Made events arrive at this rate.
pub(crate) const PER_SECOND: u32 = 200;
/// Made events are of so many days, up to now: where people look at a timeline.
const DAYS: i64 = 400;
/// So many events arrive at once, if there are enough.
const BURST: usize = 3000;
/// Of a file, so much is there before the story begins.
const HISTORY_PERCENT: usize = 60;

/// Events for one story.
pub(crate) struct Source {
    /// What they are, in a sentence.
    pub(crate) what: String,
    /// What they count, as TOML.
    pub(crate) counters: String,
    /// Those that are in the topic before anything else happens.
    pub(crate) history: Vec<Record>,
    /// Those that arrive while the story goes on.
    pub(crate) live: Box<dyn Iterator<Item = Record> + Send>,
    /// So many of those arrive at once while a processor is killed.
    pub(crate) burst: usize,
    /// How fast the others arrive.
    pub(crate) per_second: u32,
    /// Whether they have an end; then all of them are counted before the story ends.
    pub(crate) finite: bool,
}

/// Listeners who play, like and buy tracks; one record in a hundred is of no use.
pub(crate) fn made(seed: u64) -> Result<Source> {
    const HISTORY: usize = 15_000;
    let mut generator = endless(seed, DAYS)?;
    Ok(Source {
        what: format!(
            "made events (seed {seed}): plays, likes and purchases of 1,000 tracks within the last {DAYS} days, \
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

/// Made events of so many days up to now, without an end.
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
        "{} has {} events: the story takes at least 100",
        events.display(),
        history.len()
    );
    let all = history.len();
    let live = history.split_off(all * HISTORY_PERCENT / 100);
    // The others have to last until the end.
    let burst = BURST.min(live.len() / 3);
    let per_second = u32::try_from((live.len() - burst) / LIVE_SECONDS)?.clamp(1, 500);
    Ok(Source {
        what: format!("the {all} events of {}", events.display()),
        counters: counters_of(config)?,
        history,
        live: Box::new(live.into_iter()),
        burst,
        per_second,
        finite: true,
    })
}
