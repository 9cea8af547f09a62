//! Counter definitions: which events increment which counters. Every program of a namespace must have the same.

use serde::{Deserialize, Serialize};

use crate::cell::{CounterName, Granularity};
use crate::range::RangeBits;

/// The version of the decoder in [`crate::event`]. It is part of the definitions: programs that decode differently must
/// not count in one namespace. Increment it whenever a record could be accepted or counted differently.
pub const DECODER_VERSION: u32 = 1;

/// One kind of counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterDefinition {
    /// Unique in the namespace.
    pub name: CounterName,
    /// The event types that increment it.
    pub on: Vec<String>,
    /// The attribute that holds the key.
    pub key: String,
    /// The cells that one event increments.
    pub granularities: Vec<Granularity>,
    pub amount: AmountSource,
}

/// Where the amount of an increment comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AmountSource {
    /// A fixed amount; may be negative.
    Fixed(i64),
    /// An integer attribute of the event; may be negative.
    Attribute(String),
}

/// The names of the attributes that every event has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventAttributes {
    /// The attribute that holds the event type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The attribute that holds the event time.
    pub time: String,
}

impl Default for EventAttributes {
    fn default() -> Self {
        Self {
            event_type: "type".to_owned(),
            time: "time".to_owned(),
        }
    }
}

/// Everything that determines what an event counts: processes with equal definitions count equally.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definitions {
    /// [`DECODER_VERSION`] of the program that created them.
    pub decoder_version: u32,
    /// Fixed with the namespace.
    pub range_bits: RangeBits,
    /// The attributes that every event has.
    pub event: EventAttributes,
    /// The counters, in the order of their names.
    pub counters: Vec<CounterDefinition>,
}

impl Definitions {
    /// The definitions of this program for these counters. Their order, and that of their lists, is normalised.
    #[must_use]
    pub fn new(
        range_bits: RangeBits,
        event: EventAttributes,
        mut counters: Vec<CounterDefinition>,
    ) -> Self {
        counters.sort_by(|a, b| a.name.cmp(&b.name));
        for counter in &mut counters {
            counter.on.sort();
            counter.on.dedup();
            counter.granularities.sort();
            counter.granularities.dedup();
        }
        Self {
            decoder_version: DECODER_VERSION,
            range_bits,
            event,
            counters,
        }
    }

    /// The definition of this name.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<&CounterDefinition> {
        self.counters
            .iter()
            .find(|counter| &*counter.name.0 == name)
    }

    /// How `self`, the configured definitions, differs from `recorded`, those of the namespace: a line for each
    /// difference, none if they agree.
    #[must_use]
    pub fn differences(&self, recorded: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut compare = |what: &str, mine: String, theirs: String| {
            if mine != theirs {
                lines.push(format!("{what}: here {mine}, in the namespace {theirs}"));
            }
        };
        compare(
            "decoder version",
            self.decoder_version.to_string(),
            recorded.decoder_version.to_string(),
        );
        compare(
            "[ranges] bits",
            self.range_bits.bits().to_string(),
            recorded.range_bits.bits().to_string(),
        );
        compare(
            "[event] type",
            self.event.event_type.clone(),
            recorded.event.event_type.clone(),
        );
        compare(
            "[event] time",
            self.event.time.clone(),
            recorded.event.time.clone(),
        );
        let names = self
            .counters
            .iter()
            .chain(&recorded.counters)
            .map(|counter| &counter.name);
        for name in names.collect::<std::collections::BTreeSet<_>>() {
            let describe = |definitions: &Self| match definitions.counter(&name.0) {
                Some(counter) => counter.describe(),
                None => "not defined".to_owned(),
            };
            compare(
                &format!("counter \"{}\"", name.0),
                describe(self),
                describe(recorded),
            );
        }
        lines
    }

    /// The names of the counters that `self` adds to `recorded`, if that is the only difference.
    #[must_use]
    pub fn only_adds_to(&self, recorded: &Self) -> Option<Vec<CounterName>> {
        let same = self.decoder_version == recorded.decoder_version
            && self.range_bits == recorded.range_bits
            && self.event == recorded.event
            && recorded
                .counters
                .iter()
                .all(|counter| self.counter(&counter.name.0) == Some(counter));
        same.then(|| {
            let added = self
                .counters
                .iter()
                .filter(|c| recorded.counter(&c.name.0).is_none());
            added.map(|counter| counter.name.clone()).collect()
        })
    }
}

impl CounterDefinition {
    fn describe(&self) -> String {
        let granularities: Vec<_> = self.granularities.iter().map(|g| g.name()).collect();
        let amount = match &self.amount {
            AmountSource::Fixed(amount) => format!("amount {amount}"),
            AmountSource::Attribute(name) => format!("amount from \"{name}\""),
        };
        format!(
            "on {:?}, key \"{}\", {amount}, by {}",
            self.on,
            self.key,
            granularities.join(" ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(name: &str) -> CounterDefinition {
        CounterDefinition {
            name: CounterName(name.into()),
            on: vec!["play".to_owned(), "listen".to_owned()],
            key: "track".to_owned(),
            granularities: vec![Granularity::Hour, Granularity::All],
            amount: AmountSource::Fixed(1),
        }
    }

    fn definitions(counters: Vec<CounterDefinition>) -> Definitions {
        Definitions::new(
            RangeBits::new(6).unwrap(),
            EventAttributes::default(),
            counters,
        )
    }

    #[test]
    fn the_order_in_the_file_does_not_matter() {
        let mut turned = counter("a");
        turned.on.reverse();
        turned.granularities.reverse();
        let here = definitions(vec![counter("b"), turned]);
        let there = definitions(vec![counter("a"), counter("b")]);
        assert_eq!(here, there);
        assert!(here.differences(&there).is_empty());
    }

    #[test]
    fn every_difference_is_named() {
        let mut here = definitions(vec![counter("a"), counter("b")]);
        let there = definitions(vec![counter("a")]);
        assert_eq!(
            here.only_adds_to(&there),
            Some(vec![CounterName("b".into())])
        );
        here.event.time = "at".to_owned();
        here.counters[0].amount = AmountSource::Attribute("bytes".to_owned());
        let lines = here.differences(&there);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with("[event] time: here at"));
        assert!(lines[1].contains("amount from \"bytes\""));
        assert!(lines[2].contains("not defined"));
        assert_eq!(here.only_adds_to(&there), None);
    }
}
