//! The sections that define what events count: `[ranges]`, `[event]` and `[[counter]]`.

use std::collections::BTreeMap;

use crate::section::{Given, Section, section};
use stitch_common::cell::{CounterName, Granularity};
use stitch_common::definition::{AmountSource, CounterDefinition, Definitions, EventAttributes};
use stitch_common::range::RangeBits;
use stitch_common::user_error::UserError;

const BITS_DEFAULT: u8 = 6;
/// A counter's name is part of every row's key.
const NAME_BYTES_MAX: usize = 256;

section! {
    pub(super) Ranges() {
        bits: RangeBits = range_bits("bits"),
    }
}

section! {
    pub(super) Event() {
        event_type: String = text_or("type"; "type"),
        time: String = text_or("time"; "time"),
    }
}

section! {
    Counter() {
        name: String = counter_name("name"; "name = \"plays\""),
        on: Vec<String> = event_types("on"; "on = [\"play\"]"),
        key: String = text("key"; "key = \"track\""),
        granularities: Vec<Granularity> = granularities("granularities"),
        amount: AmountSource = amount("amount", "amount_from"; &name),
    }
}

/// Reads `[ranges]`, `[event]` and `[[counter]]` of the root.
pub(super) fn definitions(root: &mut Section<'_>) -> Result<Definitions, UserError> {
    let ranges = Ranges::read(root.section("ranges")?)?;
    let event = Event::read(root.section("event")?)?;
    let attributes = EventAttributes {
        event_type: event.event_type,
        time: event.time,
    };
    Ok(Definitions::new(ranges.bits, attributes, counters(root)?))
}

fn counters(root: &mut Section<'_>) -> Result<Vec<CounterDefinition>, UserError> {
    let example = "a [[counter]] with name, on and key";
    let given = root.sections("counter")?;
    let given = given.ok_or_else(|| root.missing("counter", example))?;
    if given.value.is_empty() {
        return Err(root.wrong(
            "counter",
            given.source,
            " is empty",
            format!("add {example}"),
        ));
    }
    let mut counters = BTreeMap::<CounterName, CounterDefinition>::new();
    for section in given.value {
        let source = section.source;
        let counter = Counter::read(section)?;
        let definition = CounterDefinition {
            name: CounterName(counter.name.as_str().into()),
            on: counter.on,
            key: counter.key,
            granularities: counter.granularities,
            amount: counter.amount,
        };
        if counters
            .insert(definition.name.clone(), definition)
            .is_some()
        {
            let subject = format!("counter \"{}\"", counter.name);
            let help = "give every counter a name of its own, or merge the two";
            return Err(root.error(&subject, source, " is defined twice", help));
        }
    }
    Ok(counters.into_values().collect())
}

impl Section<'_> {
    fn range_bits(&mut self, key: &str) -> Result<RangeBits, UserError> {
        let source = self
            .entries
            .get(key)
            .map_or(self.source, |entry| entry.source);
        let bits = self
            .integer(key)?
            .map_or(BITS_DEFAULT.into(), |given| given.value);
        let valid = u8::try_from(bits).ok().and_then(RangeBits::new);
        valid.ok_or_else(|| {
            let what = format!(" = {bits} is not within 0 and {}", RangeBits::MAX);
            let help = format!("the default is {BITS_DEFAULT}, which makes 64 ranges");
            self.wrong(key, source, &what, help)
        })
    }

    fn counter_name(&mut self, key: &str, example: &str) -> Result<String, UserError> {
        let source = self
            .entries
            .get(key)
            .map_or(self.source, |entry| entry.source);
        let name = self.name(key, example)?.value;
        if name.len() > NAME_BYTES_MAX {
            let what = format!(" is longer than {NAME_BYTES_MAX} bytes");
            return Err(self.wrong(key, source, &what, "choose a shorter one"));
        }
        Ok(name)
    }

    fn event_types(&mut self, key: &str, example: &str) -> Result<Vec<String>, UserError> {
        let Given { value, source } = self
            .strings(key)?
            .ok_or_else(|| self.missing(key, example))?;
        let types: Vec<String> = value.into_iter().map(|given| given.value).collect();
        let problem = if types.is_empty() {
            " is empty"
        } else if types.iter().any(String::is_empty) {
            " has an empty event type"
        } else {
            return Ok(types);
        };
        let help = format!("name the event types that increment the counter: {example}");
        Err(self.wrong(key, source, problem, help))
    }

    fn granularities(&mut self, key: &str) -> Result<Vec<Granularity>, UserError> {
        let Some(Given {
            value: names,
            source,
        }) = self.strings(key)?
        else {
            return Ok(Granularity::DEFAULT.to_vec());
        };
        let known: Vec<_> = Granularity::EVERY.iter().map(|g| g.name()).collect();
        let help = format!("use some of {}", known.join(", "));
        if names.is_empty() {
            return Err(self.wrong(key, source, " is empty", help));
        }
        let granularity = |name: &Given<'_, String>| {
            Granularity::from_name(&name.value).ok_or_else(|| {
                let what = format!(": there is no granularity \"{}\"", name.value);
                self.wrong(key, name.source, &what, help.clone())
            })
        };
        names.iter().map(granularity).collect()
    }

    /// A fixed amount, or the attribute that has it.
    fn amount(
        &mut self,
        fixed: &str,
        attribute: &str,
        counter: &str,
    ) -> Result<AmountSource, UserError> {
        let amount = self.integer(fixed)?;
        let name = self.optional_text(attribute, "amount_from = \"bytes\"")?;
        match (amount, name) {
            (None, None) => Ok(AmountSource::Fixed(1)),
            (Some(given), None) => Ok(AmountSource::Fixed(given.value)),
            (None, Some(name)) => Ok(AmountSource::Attribute(name)),
            (Some(_), Some(_)) => {
                let subject = format!("counter \"{counter}\"");
                let what = " has both amount and amount_from";
                let help =
                    "keep amount for a fixed amount, or amount_from for an attribute that holds it";
                Err(self.error(&subject, self.source, what, help))
            }
        }
    }
}
