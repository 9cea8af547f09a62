//! Strict parsing of parameters: each problem names the parameter and shows a request that works.

use stitch_calendar::period::Period;
use stitch_calendar::tiling::{self, TilingError};
use stitch_calendar::time::Time;
use stitch_calendar::time_zone::{NamedZone, TimeZone};
use stitch_calendar::utc_offset::{UtcOffset, UtcOffsetError};
use stitch_common::cell::{CellSlot, Counter, Granularity, Key};
use stitch_common::definition::{CounterDefinition, Definitions};
use stitch_config::LayerChoice;

use crate::problem::{Kind, Problem};
use crate::query_string::{Query, encoded};

pub const GRANULARITY: &str = "granularity";
pub const AT: &str = "at";
pub const FROM: &str = "from";
pub const TO: &str = "to";
pub const TIME_ZONE: &str = "time_zone";
pub const UTC_OFFSET: &str = "utc_offset";
pub const LAYER: &str = "layer";

/// The most cells that one window may add up from. A year of hours has 8,784; a year of minutes would be half a million rows
/// for each key.
pub const WINDOW_CELLS_MAX: usize = 10_000;

/// The parameter `layer`, if it is there.
pub fn layer(query: &Query) -> Result<Option<LayerChoice>, Problem> {
    let Some(text) = query.get(LAYER) else {
        return Ok(None);
    };
    let mut every = LayerChoice::EVERY.into_iter();
    let found = every.find(|(_, name)| *name == text);
    found.map(|(choice, _)| Some(choice)).ok_or_else(|| {
        let names = LayerChoice::EVERY.map(|(_, name)| name).join(", ");
        query.invalid(LAYER, format!("\"{text}\" is none of {names}"))
    })
}

/// The address of a counter, or of one of its keys.
pub fn address(counter: &str, key: Option<&str>, rest: &str) -> String {
    let key = key
        .map(|key| format!("/keys/{}", encoded(key)))
        .unwrap_or_default();
    format!("/v1/counters/{}{key}{rest}", encoded(counter))
}

/// The address of a request that works: of the named counter, or of the first one if it is not defined; of the same key,
/// if it is valid.
pub fn example(definitions: &Definitions, counter: &str, key: Option<&str>, rest: &str) -> String {
    let found = definitions
        .counter(counter)
        .or(definitions.counters.first());
    let counter = found.map_or(counter, |found| &found.name.0);
    let key = key.map(|key| if key_is_valid(key) { key } else { "abc" });
    address(counter, key, rest)
}

/// As [`example`], for requests that must name a granularity if the counter is not kept for all time.
pub fn example_of_one(
    definitions: &Definitions,
    counter: &str,
    key: Option<&str>,
    rest: &str,
) -> String {
    let address = example(definitions, counter, key, rest);
    let found = definitions
        .counter(counter)
        .or(definitions.counters.first());
    let kept = found
        .map(|found| found.granularities.as_slice())
        .unwrap_or_default();
    match kept.first() {
        Some(first) if !kept.contains(&Granularity::All) => {
            let joint = if address.contains('?') { '&' } else { '?' };
            format!("{address}{joint}{GRANULARITY}={}", first.name())
        }
        Some(_) | None => address,
    }
}

fn key_is_valid(key: &str) -> bool {
    (1..=Key::BYTES_MAX).contains(&key.len())
}

/// Looks up the definition of `counter`.
pub fn definition<'a>(
    definitions: &'a Definitions,
    counter: &str,
    example: &str,
) -> Result<&'a CounterDefinition, Problem> {
    definitions.counter(counter).ok_or_else(|| {
        let names: Vec<&str> = definitions
            .counters
            .iter()
            .map(|counter| &*counter.name.0)
            .collect();
        let detail = format!("\"{counter}\" is none of {}", names.join(", "));
        Problem::new(Kind::UnknownCounter, detail)
            .about("counter")
            .with_example(example)
    })
}

/// The counter of `key`, if that is valid.
pub fn counter(
    definition: &CounterDefinition,
    key: &str,
    example: &str,
) -> Result<Counter, Problem> {
    if key_is_valid(key) {
        return Ok(Counter::new(&*definition.name.0, key));
    }
    let detail = format!("a key has 1 to {} bytes of UTF-8", Key::BYTES_MAX);
    Err(Problem::new(Kind::InvalidParameter, detail)
        .about("key")
        .with_example(example))
}

/// The parameter `time_zone` or `utc_offset`; UTC if both are missing.
pub fn zone(query: &Query) -> Result<TimeZone, Problem> {
    match (query.get(TIME_ZONE), query.get(UTC_OFFSET)) {
        (None, None) => Ok(TimeZone::UTC),
        (Some(name), None) => {
            let zone = NamedZone::of(name).map(TimeZone::Named);
            zone.map_err(|error| query.invalid(TIME_ZONE, error.to_string()))
        }
        (None, Some(text)) => offset(query, text).map(TimeZone::Fixed),
        (Some(_), Some(_)) => {
            let detail = "a time zone has its own offsets: leave out `utc_offset`, or `time_zone`";
            Err(query.invalid(UTC_OFFSET, detail))
        }
    }
}

fn offset(query: &Query, text: &str) -> Result<UtcOffset, Problem> {
    UtcOffset::parse(text).map_err(|error| {
        let detail = match error {
            UtcOffsetError::Malformed => {
                format!("\"{text}\" is not an offset like Z, +02:00 or -05:00")
            }
            UtcOffsetError::NotWholeQuarters => {
                format!(
                    "\"{text}\" is not an offset of whole quarters of an hour, as all in use are"
                )
            }
        };
        query.invalid(UTC_OFFSET, detail)
    })
}

/// The zone as a part of an address.
pub fn zone_parameter(zone: &TimeZone) -> String {
    match zone {
        TimeZone::Fixed(offset) => format!("{UTC_OFFSET}={}", encoded(&offset.to_string())),
        TimeZone::Named(zone) => format!("{TIME_ZONE}={}", encoded(zone.name())),
    }
}

/// The parameter `name` as a time.
pub fn time(query: &Query, name: &str, zone: &TimeZone) -> Result<Option<Time>, Problem> {
    let Some(text) = query.get(name) else {
        return Ok(None);
    };
    let parsed = Time::parse(text, zone);
    parsed.map(Some).ok_or_else(|| {
        let detail = format!(
            "\"{text}\" is neither a date like 2026-05-01 nor a time with an offset like 2026-05-01T12:00:00Z, of the \
             years 1 to 9999"
        );
        query.invalid(name, detail)
    })
}

/// The span of time that a count is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    All,
    Period {
        period: Period,
        start: Time,
        end: Time,
    },
}

impl Window {
    /// Parses `granularity` and `at`: the period around `at`, or the present one if there is no `at`. Also returns the
    /// cells that it adds up from.
    pub fn parse(
        query: &Query,
        definition: &CounterDefinition,
        zone: &TimeZone,
        now: Time,
    ) -> Result<(Self, Vec<CellSlot>), Problem> {
        let at = time(query, AT, zone)?;
        let name = query.get(GRANULARITY).unwrap_or(Granularity::All.name());
        if name == Granularity::All.name() {
            if at.is_some() {
                let detail = "`at` has no meaning for granularity `all`: leave it out, or name another granularity";
                return Err(query.invalid(AT, detail));
            }
            if !definition.granularities.contains(&Granularity::All) {
                return Err(query.missing(GRANULARITY, kept(definition)));
            }
            return Ok((Self::All, vec![tiling::all()]));
        }
        let period = period(query, name)?;
        let start = period.start(at.unwrap_or(now), zone);
        let end = period.next(start, zone);
        let cells = cells(query, definition, period, start, end, zone)?;
        Ok((Self::Period { period, start, end }, cells))
    }

    /// Refuses the zone of a request that asks for this window alone, if it would have no effect.
    ///
    /// # Errors
    /// Of all time there is one count, whatever clocks show.
    pub fn check_zone(self, query: &Query) -> Result<(), Problem> {
        match self {
            Self::All => check_no_zone(query),
            Self::Period { .. } => Ok(()),
        }
    }

    /// Whether it has ended by `at`: any further event would be a late one.
    pub fn is_closed(self, at: Time) -> bool {
        match self {
            Self::All => false,
            Self::Period { end, .. } => end <= at,
        }
    }
}

/// The period called `name`.
pub fn period(query: &Query, name: &str) -> Result<Period, Problem> {
    Period::from_name(name).ok_or_else(|| {
        let names = Period::EVERY.map(Period::name).join(", ");
        query.invalid(GRANULARITY, format!("\"{name}\" is none of {names}"))
    })
}

/// Refuses the parameter of a zone, of a request that asks for nothing but counts of all time.
pub(crate) fn check_no_zone(query: &Query) -> Result<(), Problem> {
    let mut zone = [TIME_ZONE, UTC_OFFSET].into_iter();
    match zone.find(|name| query.get(name).is_some()) {
        None => Ok(()),
        Some(name) => {
            let detail = format!(
                "`{name}` has no effect on a count of granularity `all`: leave it out, or name another granularity"
            );
            Err(query.invalid(name, detail))
        }
    }
}

/// The cells that the window from `start` to `end` adds up from, at most [`WINDOW_CELLS_MAX`].
///
/// # Errors
/// The kept granularities do not add up to it, or only in too many cells.
pub fn cells(
    query: &Query,
    definition: &CounterDefinition,
    period: Period,
    start: Time,
    end: Time,
    zone: &TimeZone,
) -> Result<Vec<CellSlot>, Problem> {
    let kept_granularities = &definition.granularities;
    let cover = |start, end| tiling::cover(start, end, kept_granularities, WINDOW_CELLS_MAX);
    cover(start, end).map_err(|error| {
        let (kept, name) = (kept(definition), period.name());
        let (start_text, end_text) = (start.at(zone), end.at(zone));
        match error {
            TilingError::TooManyCells { max } => {
                let detail = format!(
                    "{kept}, and the {name} from {start_text} to {end_text} is added up from more than {max} of these \
                     buckets, which is the limit for one count: ask for shorter periods"
                );
                return query.invalid(GRANULARITY, detail);
            }
            TilingError::Unfit => {}
        }
        let at_utc = period.start(start, &TimeZone::UTC);
        let next = period.next(at_utc, &TimeZone::UTC);
        if *zone == TimeZone::UTC || cover(at_utc, next).is_err() {
            let detail = format!("{kept}, and no {name} can be added up from that");
            return query.invalid(GRANULARITY, detail);
        }
        let detail = match tiling::finest(start, end) {
            Some(finest) => format!(
                "{kept} at UTC, and the {name} from {start_text} to {end_text} can be added up only where it is also kept by \
                 {}: name another zone, or none",
                finest.name()
            ),
            None => format!(
                "the {name} from {start_text} to {end_text} does not begin and end at whole minutes of UTC: before there were \
                 time zones, local clocks did not; ask for later ones, or name no zone"
            ),
        };
        query.invalid(zone_name(zone), detail)
    })
}

/// The name of the parameter that `zone` comes from.
fn zone_name(zone: &TimeZone) -> &'static str {
    match zone {
        TimeZone::Fixed(_) => UTC_OFFSET,
        TimeZone::Named(_) => TIME_ZONE,
    }
}

fn kept(definition: &CounterDefinition) -> String {
    let names: Vec<_> = definition
        .granularities
        .iter()
        .map(|kept| kept.name())
        .collect();
    format!(
        "the counter \"{}\" is kept by {}",
        definition.name.0,
        names.join(", ")
    )
}
