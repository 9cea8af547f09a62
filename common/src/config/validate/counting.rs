//! `[ranges]`, `[event]` and `[[counter]]`: what events count.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use super::Section;
use crate::cell::{CounterName, Granularity};
use crate::config::raw::{self, Given};
use crate::definition::{AmountSource, CounterDefinition, Definitions, EventAttributes};
use crate::range::RangeBits;
use crate::user_error::UserError;

const BITS_DEFAULT: u8 = 6;
/// A counter's name is part of every row's key.
const NAME_BYTES_MAX: usize = 256;

pub(super) fn definitions(
    root: &Section<'_>,
    ranges: Given<raw::Ranges>,
    event: Given<raw::Event>,
    counters: Given<Vec<Spanned<raw::Counter>>>,
) -> Result<Definitions, UserError> {
    let bits = range_bits(root, ranges)?;
    let (section, raw) = Section::open(root.document, "event", event);
    let mut attributes = EventAttributes::default();
    if let Some(name) = raw.event_type {
        attributes.event_type = section.text("type", name, "type = \"type\"")?;
    }
    if let Some(name) = raw.time {
        attributes.time = section.text("time", name, "time = \"time\"")?;
    }
    Ok(Definitions::new(bits, attributes, all(root, counters)?))
}

fn range_bits(root: &Section<'_>, given: Given<raw::Ranges>) -> Result<RangeBits, UserError> {
    let (section, raw) = Section::open(root.document, "ranges", given);
    let bits = match &raw.bits {
        None => Some(BITS_DEFAULT),
        Some(bits) => u8::try_from(*bits.get_ref()).ok(),
    };
    match (bits.and_then(RangeBits::new), &raw.bits) {
        (Some(bits), _) => Ok(bits),
        (None, Some(given)) => {
            let what = format!(
                " = {} is not within 0 and {}",
                given.get_ref(),
                RangeBits::MAX
            );
            let help = format!("the default is {BITS_DEFAULT}, which makes 64 ranges");
            Err(section.wrong("bits", given, &what, help))
        }
        (None, None) => Err(section.missing("bits", "bits = 6")),
    }
}

fn all(
    root: &Section<'_>,
    given: Given<Vec<Spanned<raw::Counter>>>,
) -> Result<Vec<CounterDefinition>, UserError> {
    let example = "a [[counter]] with name, on and key";
    let given = root.required("counter", given, example)?;
    if given.get_ref().is_empty() {
        return Err(root.wrong("counter", &given, " is empty", format!("add {example}")));
    }
    let mut counters = BTreeMap::<CounterName, CounterDefinition>::new();
    for entry in given.into_inner() {
        let span = entry.span();
        let counter = one(root, entry)?;
        let name = counter.name.clone();
        if counters.insert(name.clone(), counter).is_some() {
            let key = format!("counter \"{}\"", name.0);
            let help = "give every counter a name of its own, or merge the two";
            let what = " is defined twice";
            return Err(root.document.wrong(Some(span), &key, what, help));
        }
    }
    Ok(counters.into_values().collect())
}

fn one(root: &Section<'_>, entry: Spanned<raw::Counter>) -> Result<CounterDefinition, UserError> {
    let section = Section {
        document: root.document,
        name: "counter",
        span: Some(entry.span()),
    };
    let span = entry.span();
    let raw = entry.into_inner();
    let name = section.required("name", raw.name, "name = \"plays\"")?;
    if name.get_ref().len() > NAME_BYTES_MAX {
        let what = format!(" is longer than {NAME_BYTES_MAX} bytes");
        return Err(section.wrong("name", &name, &what, "choose a shorter one"));
    }
    let name = section.text("name", name, "name = \"plays\"")?;
    let key = section.required("key", raw.key, "key = \"track\"")?;
    Ok(CounterDefinition {
        on: event_types(&section, raw.on)?,
        key: section.text("key", key, "key = \"track\"")?,
        granularities: granularities(&section, raw.granularities)?,
        amount: amount(&section, &name, span, raw.amount, raw.amount_from)?,
        name: CounterName(name.into()),
    })
}

fn event_types(section: &Section<'_>, given: Given<Vec<String>>) -> Result<Vec<String>, UserError> {
    let example = "on = [\"play\"]";
    let on = section.required("on", given, example)?;
    let problem = if on.get_ref().is_empty() {
        " is empty"
    } else if on.get_ref().iter().any(String::is_empty) {
        " has an empty event type"
    } else {
        return Ok(on.into_inner());
    };
    let help = format!("name the event types that increment the counter: {example}");
    Err(section.wrong("on", &on, problem, help))
}

fn granularities(
    section: &Section<'_>,
    given: Given<Vec<Spanned<String>>>,
) -> Result<Vec<Granularity>, UserError> {
    let Some(given) = given else {
        return Ok(Granularity::EVERY.to_vec());
    };
    let known: Vec<_> = Granularity::EVERY.iter().map(|g| g.name()).collect();
    let help = format!("use some of {}", known.join(", "));
    if given.get_ref().is_empty() {
        return Err(section.wrong("granularities", &given, " is empty", help));
    }
    let granularity = |name: &Spanned<String>| {
        Granularity::from_name(name.get_ref()).ok_or_else(|| {
            let what = format!(": there is no granularity \"{}\"", name.get_ref());
            section.wrong("granularities", name, &what, help.clone())
        })
    };
    given.get_ref().iter().map(granularity).collect()
}

fn amount(
    section: &Section<'_>,
    counter: &str,
    span: Range<usize>,
    fixed: Given<i64>,
    attribute: Given<String>,
) -> Result<AmountSource, UserError> {
    match (fixed, attribute) {
        (None, None) => Ok(AmountSource::Fixed(1)),
        (Some(fixed), None) => Ok(AmountSource::Fixed(fixed.into_inner())),
        (None, Some(name)) => {
            let name = section.text("amount_from", name, "amount_from = \"bytes\"")?;
            Ok(AmountSource::Attribute(name))
        }
        (Some(_), Some(_)) => {
            let key = format!("counter \"{counter}\"");
            let what = " has both amount and amount_from";
            let help =
                "keep amount for a fixed amount, or amount_from for an attribute that holds it";
            Err(section.document.wrong(Some(span), &key, what, help))
        }
    }
}
