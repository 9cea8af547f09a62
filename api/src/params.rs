//! Strict parsing of parameters: each problem names the parameter and shows a request that works.

use stitch_common::cell::{CellSlot, Counter, Granularity, Key};
use stitch_common::definition::{CounterDefinition, Definitions};

use crate::problem::{Kind, Problem};
use crate::query_string::{Query, encoded};
use stitch_calendar::period::Period;
use stitch_calendar::tiling;
use stitch_calendar::time::Time;
use stitch_calendar::utc_offset::{UtcOffset, UtcOffsetError};

pub(crate) const GRANULARITY: &str = "granularity";
pub(crate) const AT: &str = "at";
pub(crate) const UTC_OFFSET: &str = "utc_offset";

/// The address of a counter, or of one of its keys.
pub(crate) fn address(counter: &str, key: Option<&str>, rest: &str) -> String {
    let key = key
        .map(|key| format!("/keys/{}", encoded(key)))
        .unwrap_or_default();
    format!("/v1/counters/{}{key}{rest}", encoded(counter))
}

/// The address of a request that works: of the named counter, or of the first one if it is not defined; of the same key,
/// if it is valid.
pub(crate) fn example(
    definitions: &Definitions,
    counter: &str,
    key: Option<&str>,
    rest: &str,
) -> String {
    let found = definitions
        .counter(counter)
        .or(definitions.counters.first());
    let counter = found.map_or(counter, |found| &found.name.0);
    let key = key.map(|key| if key_is_valid(key) { key } else { "abc" });
    address(counter, key, rest)
}

/// As [`example`], for requests that must name a granularity if the counter is not kept for all time.
pub(crate) fn example_of_one(
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
pub(crate) fn definition<'a>(
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
pub(crate) fn counter(
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

/// The parameter `utc_offset`; UTC if it is missing.
pub(crate) fn offset(query: &Query) -> Result<UtcOffset, Problem> {
    let Some(text) = query.get(UTC_OFFSET) else {
        return Ok(UtcOffset::default());
    };
    UtcOffset::parse(text).map_err(|error| {
        let detail = match error {
            UtcOffsetError::Malformed => {
                format!("\"{text}\" is not an offset like Z, +02:00 or -05:00")
            }
            UtcOffsetError::NotWholeHours => {
                format!("\"{text}\" does not fit the buckets, which begin at whole hours of UTC")
            }
        };
        query.invalid(UTC_OFFSET, detail)
    })
}

/// The parameter `name` as a time.
pub(crate) fn time(query: &Query, name: &str, offset: UtcOffset) -> Result<Option<Time>, Problem> {
    let Some(text) = query.get(name) else {
        return Ok(None);
    };
    let parsed = Time::parse(text, offset);
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
pub(crate) enum Window {
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
    pub(crate) fn parse(
        query: &Query,
        definition: &CounterDefinition,
        offset: UtcOffset,
        now: Time,
    ) -> Result<(Self, Vec<CellSlot>), Problem> {
        let at = time(query, AT, offset)?;
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
        let start = period.start(at.unwrap_or(now), offset);
        let end = period.next(start, offset);
        let cells = cells(query, definition, period, start, end, offset)?;
        Ok((Self::Period { period, start, end }, cells))
    }

    /// Whether it has ended at `now`: any further event would be a late one.
    pub(crate) fn is_closed(self, now: Time) -> bool {
        match self {
            Self::All => false,
            Self::Period { end, .. } => end <= now,
        }
    }
}

/// The period called `name`.
pub(crate) fn period(query: &Query, name: &str) -> Result<Period, Problem> {
    Period::from_name(name).ok_or_else(|| {
        let names = Period::EVERY.map(Period::name).join(", ");
        query.invalid(GRANULARITY, format!("\"{name}\" is none of {names}"))
    })
}

/// The cells that the window from `start` to `end` adds up from.
pub(crate) fn cells(
    query: &Query,
    definition: &CounterDefinition,
    period: Period,
    start: Time,
    end: Time,
    offset: UtcOffset,
) -> Result<Vec<CellSlot>, Problem> {
    tiling::cover(start, end, &definition.granularities).ok_or_else(|| {
        let at_utc = period.start(start, UtcOffset::default());
        let next = period.next(at_utc, UtcOffset::default());
        let kept = kept(definition);
        if offset.is_utc() || tiling::cover(at_utc, next, &definition.granularities).is_none() {
            let detail = format!("{kept}, and no {} can be added up from that", period.name());
            query.invalid(GRANULARITY, detail)
        } else {
            let detail = format!("{kept} at UTC: for another offset hours would have to be kept");
            query.invalid(UTC_OFFSET, detail)
        }
    })
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
