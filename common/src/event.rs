//! The decoder of records. Processor and restorator share it, so both count the same.
//!
//! The result depends on the record and the definitions alone: never on the clock, on earlier records or on the
//! configuration of one process. A change that could decode any record differently must increment
//! [`crate::definition::DECODER_VERSION`].

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::cell::{Amount, CellSlot, Counter, CounterName, EventTime, Granularity, Key};
use crate::definition::{AmountSource, Definitions};
use crate::time::parse_rfc3339;

/// The result of decoding one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// No counter lists its type.
    Ignored,
    /// It increments these counters.
    Event(Event),
    /// It is invalid, and counts nowhere.
    Rejected(Rejection),
}

/// A record that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened.
    pub time: EventTime,
    /// Its increments; at most one for each definition.
    pub increments: Vec<Increment>,
}

/// The amount that one event adds to one counter, in one cell for each granularity of its definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Increment {
    /// The position of its definition in [`Definitions::counters`].
    pub definition: usize,
    pub counter: Counter,
    pub amount: Amount,
}

/// Why a record counts nowhere. Its text goes into the header `stitch-reason`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A Kafka tombstone.
    #[error("the record has no value")]
    NoValue,
    /// The value is not text.
    #[error("the value is not UTF-8")]
    NotUtf8,
    /// The value is not JSON, or something follows it.
    #[error("the value is not JSON: {0}")]
    NotJson(String),
    /// The value is JSON, but not an object.
    #[error("the value is not a JSON object")]
    NotAnObject,
    /// The time attribute is missing, of another kind, without an offset, or outside the years 1 to 9999.
    #[error(
        "attribute \"{0}\" is not a time (RFC 3339 with an offset, or whole milliseconds since 1970, in the years 1 to 9999)"
    )]
    Time(String),
    /// The event is after the last year whose minutes are counted, and one of its counters is kept by the minute.
    #[error(
        "attribute \"{0}\" is a time after the year {year}, and the counter \"{1}\" is kept by the minute, which ends there",
        year = EventTime::LAST_YEAR_OF_MINUTES
    )]
    MinuteTime(String, String),
    /// The key attribute of a counter is missing, empty, too long, or neither a string nor an integer.
    #[error(
        "attribute \"{0}\" is not a key (a non-empty string or an integer, at most 1024 bytes)"
    )]
    Key(String),
    /// The amount attribute of a counter is missing or not an integer of 64 bits.
    #[error("attribute \"{0}\" is not an amount (an integer of 64 bits)")]
    Amount(String),
}

/// Decodes records by one set of definitions.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// The attributes that any definition needs; [`Self::TYPE`] and [`Self::TIME`] come first.
    attributes: Vec<String>,
    counters: Vec<CompiledCounter>,
}

#[derive(Clone, Debug)]
struct CompiledCounter {
    name: CounterName,
    on: Vec<String>,
    key: usize,
    amount: CompiledAmount,
    /// Whether one of its granularities is the minute.
    by_minute: bool,
}

#[derive(Clone, Debug)]
enum CompiledAmount {
    Fixed(Amount),
    Attribute(usize),
}

impl Decoder {
    const TYPE: usize = 0;
    const TIME: usize = 1;

    #[must_use]
    pub fn new(definitions: &Definitions) -> Self {
        let event = &definitions.event;
        let mut attributes = vec![event.event_type.clone(), event.time.clone()];
        let mut slot = |name: &str| {
            let known = attributes.iter().position(|attribute| attribute == name);
            known.unwrap_or_else(|| {
                attributes.push(name.to_owned());
                attributes.len() - 1
            })
        };
        let counters = definitions
            .counters
            .iter()
            .map(|definition| CompiledCounter {
                name: definition.name.clone(),
                on: definition.on.clone(),
                key: slot(&definition.key),
                by_minute: definition.granularities.contains(&Granularity::Minute),
                amount: match &definition.amount {
                    AmountSource::Fixed(amount) => CompiledAmount::Fixed(Amount(*amount)),
                    AmountSource::Attribute(name) => CompiledAmount::Attribute(slot(name)),
                },
            })
            .collect();
        Self {
            attributes,
            counters,
        }
    }

    /// Decodes a record with this value.
    #[must_use]
    pub fn decode(&self, value: Option<&[u8]>) -> Decoded {
        match self.try_decode(value) {
            Ok(Some(event)) => Decoded::Event(event),
            Ok(None) => Decoded::Ignored,
            Err(rejection) => Decoded::Rejected(rejection),
        }
    }

    fn try_decode(&self, value: Option<&[u8]>) -> Result<Option<Event>, Rejection> {
        let bytes = value.ok_or(Rejection::NoValue)?;
        let text = std::str::from_utf8(bytes).map_err(|_| Rejection::NotUtf8)?;
        let values = self.attributes_of(text)?;
        let Some(event_type) = values[Self::TYPE].and_then(string) else {
            return Ok(None);
        };
        let mut listed = self
            .counters
            .iter()
            .enumerate()
            .filter(|(_, counter)| counter.on.iter().any(|on| *on == *event_type))
            .peekable();
        if listed.peek().is_none() {
            return Ok(None);
        }
        let name = |slot: usize| self.attributes[slot].clone();
        let time = values[Self::TIME]
            .and_then(time)
            .ok_or_else(|| Rejection::Time(name(Self::TIME)))?;
        let mut increments = Vec::with_capacity(self.counters.len());
        for (definition, counter) in listed {
            if counter.by_minute && time.ms() > EventTime::MAX_MS_OF_MINUTES {
                let counter = counter.name.0.to_string();
                return Err(Rejection::MinuteTime(name(Self::TIME), counter));
            }
            let key = values[counter.key]
                .and_then(key)
                .ok_or_else(|| Rejection::Key(name(counter.key)))?;
            let amount = match counter.amount {
                CompiledAmount::Fixed(amount) => amount,
                CompiledAmount::Attribute(slot) => Amount(
                    values[slot]
                        .and_then(integer)
                        .ok_or_else(|| Rejection::Amount(name(slot)))?,
                ),
            };
            let counter = Counter {
                name: counter.name.clone(),
                key,
            };
            increments.push(Increment {
                definition,
                counter,
                amount,
            });
        }
        Ok(Some(Event { time, increments }))
    }

    /// The raw text of each wanted top-level attribute. Of a repeated attribute the last one counts, as in most JSON
    /// parsers.
    fn attributes_of<'a>(&self, text: &'a str) -> Result<Vec<Option<&'a str>>, Rejection> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let wanted = Wanted(&self.attributes);
        let values = deserializer.deserialize_map(wanted).and_then(|values| {
            deserializer.end()?;
            Ok(values)
        });
        values.map_err(|error| match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) if !text.trim_start().starts_with('{') => Rejection::NotAnObject,
            Ok(_) | Err(_) => Rejection::NotJson(error.to_string()),
        })
    }
}

struct Wanted<'w>(&'w [String]);

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Vec<Option<&'de str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut values = vec![None; self.0.len()];
        while let Some(name) = map.next_key_seed(CowStr)? {
            match self.0.iter().position(|wanted| *wanted == *name) {
                Some(slot) => values[slot] = Some(map.next_value::<&'de RawValue>()?.get()),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(values)
    }
}

/// Borrows an attribute's name unless it has escapes.
struct CowStr;

impl<'de> serde::de::DeserializeSeed<'de> for CowStr {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

fn string(raw: &str) -> Option<Cow<'_, str>> {
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    serde::de::DeserializeSeed::deserialize(CowStr, &mut deserializer).ok()
}

/// The digits of a JSON integer, without a minus before 0. A number with a fraction or an exponent is no integer,
/// whatever its value.
fn integer_text(raw: &str) -> Option<&str> {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then_some(if digits == "0" { digits } else { raw })
}

fn integer(raw: &str) -> Option<i64> {
    integer_text(raw)?.parse().ok()
}

fn key(raw: &str) -> Option<Key> {
    let text = match integer_text(raw) {
        Some(digits) => Cow::Borrowed(digits),
        None => string(raw)?,
    };
    (!text.is_empty() && text.len() <= Key::BYTES_MAX).then(|| Key(text.into()))
}

fn time(raw: &str) -> Option<EventTime> {
    if let Some(ms) = integer(raw) {
        return EventTime::from_ms(ms);
    }
    parse_rfc3339(&string(raw)?)
}

/// The cell of `granularity` that `time` falls into.
#[must_use]
pub fn slot(granularity: Granularity, time: EventTime) -> CellSlot {
    CellSlot {
        granularity,
        bucket: granularity.bucket(time),
    }
}

#[cfg(test)]
mod tests;
