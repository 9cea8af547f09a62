//! Which cells an event counts: the configuration file, implemented again as simply as possible.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::value::RawValue;

use super::time::{bucket_ms, instant_ms};
use super::{CellId, Cells};

const KEY_BYTES_MAX: usize = 1024;

/// `[event]` and every `[[counter]]` of a configuration file.
#[derive(Clone, Debug)]
pub struct Rules {
    type_attribute: String,
    time_attribute: String,
    counters: Vec<CounterRule>,
}

#[derive(Clone, Debug)]
struct CounterRule {
    name: String,
    on: Vec<String>,
    key: String,
    granularities: Vec<String>,
    amount: AmountRule,
}

#[derive(Clone, Debug)]
enum AmountRule {
    Fixed(i64),
    From(String),
}

type Attributes = HashMap<String, Box<RawValue>>;

impl Rules {
    /// Reads the rules of a configuration file.
    pub fn read(config: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(config)
            .with_context(|| format!("the configuration {}", config.display()))?;
        Self::parse(&text)
    }

    /// Parses the text of a configuration file.
    pub fn parse(text: &str) -> Result<Self> {
        let config: toml::Table = text.parse()?;
        let attribute = |name: &str| match config.get("event").and_then(|event| event.get(name)) {
            Some(value) => string(value),
            None => Ok(name.to_owned()),
        };
        let counters = config
            .get("counter")
            .and_then(toml::Value::as_array)
            .context("[[counter]]")?;
        Ok(Self {
            type_attribute: attribute("type")?,
            time_attribute: attribute("time")?,
            counters: counters
                .iter()
                .map(CounterRule::parse)
                .collect::<Result<_>>()?,
        })
    }

    /// Adds the cells of this record to `cells`; an unusable record adds nothing.
    pub fn count(&self, value: Option<&[u8]>, cells: &mut Cells) {
        for (id, amount) in self.cells_of(value).unwrap_or_default() {
            let cell = cells.entry(id).or_default();
            *cell = cell.wrapping_add(amount);
        }
    }

    /// Whether this record is rejected: of a counted type, or unreadable, and unusable.
    pub fn rejects(&self, value: Option<&[u8]>) -> bool {
        self.cells_of(value).is_none()
    }

    fn cells_of(&self, value: Option<&[u8]>) -> Option<Vec<(CellId, i64)>> {
        let text = std::str::from_utf8(value?).ok()?;
        let event: Attributes = serde_json::from_str(text).ok()?;
        let kind = event
            .get(&self.type_attribute)
            .and_then(|raw| text_of(raw))
            .unwrap_or_default();
        let counters: Vec<&CounterRule> = self
            .counters
            .iter()
            .filter(|counter| counter.on.contains(&kind))
            .collect();
        if counters.is_empty() {
            return Some(Vec::new());
        }
        let at_ms = instant_ms(event.get(&self.time_attribute)?.get())?;
        let mut cells = Vec::new();
        for counter in counters {
            let key = key_of(event.get(&counter.key)?)?;
            let amount = match &counter.amount {
                AmountRule::Fixed(amount) => *amount,
                AmountRule::From(attribute) => integer_of(event.get(attribute)?)?.parse().ok()?,
            };
            for granularity in &counter.granularities {
                let id = CellId {
                    counter: counter.name.clone(),
                    key: key.clone(),
                    granularity: granularity.clone(),
                    bucket_ms: bucket_ms(granularity, at_ms)?,
                };
                cells.push((id, amount));
            }
        }
        Some(cells)
    }
}

impl CounterRule {
    fn parse(value: &toml::Value) -> Result<Self> {
        let field = |name: &str| value.get(name).with_context(|| format!("counter: {name}"));
        let granularities = match value.get("granularities") {
            Some(list) => strings(list)?,
            None => ["hour", "day", "month", "year", "all"]
                .map(str::to_owned)
                .into(),
        };
        let amount = match (value.get("amount"), value.get("amount_from")) {
            (None, None) => AmountRule::Fixed(1),
            (Some(fixed), None) => AmountRule::Fixed(fixed.as_integer().context("amount")?),
            (None, Some(attribute)) => AmountRule::From(string(attribute)?),
            (Some(_), Some(_)) => bail!("amount and amount_from"),
        };
        Ok(Self {
            name: string(field("name")?)?,
            on: strings(field("on")?)?,
            key: string(field("key")?)?,
            granularities,
            amount,
        })
    }
}

fn string(value: &toml::Value) -> Result<String> {
    Ok(value.as_str().context("a text is expected")?.to_owned())
}

fn strings(value: &toml::Value) -> Result<Vec<String>> {
    let list = value.as_array().context("a list is expected")?;
    list.iter().map(string).collect()
}

fn text_of(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// The decimal text of a JSON integer of any length.
fn integer_of(raw: &RawValue) -> Option<&str> {
    let text = raw.get();
    let number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let integer = number && !text.contains(['.', 'e', 'E']);
    integer.then_some(if text == "-0" { "0" } else { text })
}

fn key_of(raw: &RawValue) -> Option<String> {
    let key = match integer_of(raw) {
        Some(digits) => digits.to_owned(),
        None => text_of(raw)?,
    };
    (!key.is_empty() && key.len() <= KEY_BYTES_MAX).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{COUNTERS, bad_records};

    fn count(value: &str) -> Vec<(String, i64)> {
        let mut cells = Cells::new();
        let rules = Rules::parse(COUNTERS).unwrap();
        rules.count(Some(value.as_bytes()), &mut cells);
        let name = |id: CellId| format!("{} {} {}", id.counter, id.key, id.granularity);
        cells
            .into_iter()
            .map(|(id, value)| (name(id), value))
            .collect()
    }

    #[test]
    fn an_event_counts_for_every_counter_and_granularity_that_lists_it() {
        let cells = count(r#"{"type":"play","time":0,"track":"a","listener":7}"#);
        let names: Vec<&str> = cells.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "activity 7 all",
                "activity 7 day",
                "plays a all",
                "plays a day",
                "plays a hour",
                "plays a month",
                "plays a year"
            ]
        );
        assert!(cells.iter().all(|(_, value)| *value == 1));
    }

    #[test]
    fn an_amount_from_an_attribute_may_be_negative() {
        let cells =
            count(r#"{"type":"purchase","time":"1969-12-31T23:59:59Z","track":7,"cents":-5}"#);
        let expected = [
            ("revenue 7 all".to_owned(), -5),
            ("revenue 7 month".to_owned(), -5),
        ];
        assert_eq!(cells, expected);
    }

    #[test]
    fn a_type_that_no_counter_lists_is_ignored_not_rejected() {
        let rules = Rules::parse(COUNTERS).unwrap();
        assert!(!rules.rejects(Some(b"{\"type\":\"search\"}")));
        assert!(!rules.rejects(Some(b"{}")));
    }

    #[test]
    fn every_kind_of_bad_record_is_rejected_as_a_whole() {
        let rules = Rules::parse(COUNTERS).unwrap();
        for (what, record) in bad_records() {
            assert!(rules.rejects(record.value.as_deref()), "{what}");
        }
    }
}
