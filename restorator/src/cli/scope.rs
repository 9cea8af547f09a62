//! `--counter`, `--key`, `--ranges` and `--doubtful`: parsed, and checked against the configuration, into a [`Scope`].

use std::str::FromStr;

use clap::Args;
use stitch_common::cell::{Counter, CounterName, Key};
use stitch_common::definition::Definitions;
use stitch_common::plain_number::plain_number;
use stitch_common::printable::printable;
use stitch_common::range::RangeId;
use stitch_common::scope::{RangeSet, Scope};
use stitch_common::user_error::UserError;

/// The scope of a command; the whole namespace without any of them.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ScopeArguments {
    /// Only the counters of this definition
    #[arg(long, value_name = "NAME")]
    counter: Option<String>,
    /// Only this key of that counter
    #[arg(
        long,
        value_name = "KEY",
        requires = "counter",
        allow_hyphen_values = true
    )]
    key: Option<String>,
    /// Only ranges whose counts are uncertain, as `status` lists them; success if there are none
    #[arg(long, conflicts_with_all = ["ranges", "key"])]
    doubtful: bool,
    /// Only these ranges: first and last, or a single one
    #[arg(long, value_name = "A-B")]
    ranges: Option<RangeSpan>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RangeSpan {
    first: u16,
    last: u16,
}

impl FromStr for RangeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let invalid = || format!("\"{text}\" is not the number of a range; write 3, or 0-15");
            plain_number::<u16>(text).ok_or_else(invalid)
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (number(first)?, number(last)?);
        if last < first {
            return Err(format!("the range is reversed; write {last}-{first}"));
        }
        Ok(Self { first, last })
    }
}

impl ScopeArguments {
    /// Whether only those ranges of the scope are wanted whose counts are uncertain.
    pub(super) const fn only_doubtful(&self) -> bool {
        self.doubtful
    }

    /// The scope, if the namespace of `definitions` has it.
    pub(super) fn scope(self, definitions: &Definitions) -> Result<Scope, UserError> {
        let last = definitions.range_bits.count() - 1;
        let span = self.ranges.unwrap_or(RangeSpan { first: 0, last });
        if span.last > last {
            let message = format!("--ranges: there is no range {}", span.last);
            let bits = definitions.range_bits.bits();
            let help = format!("the namespace has the ranges 0-{last} ([ranges] bits = {bits})");
            return Err(UserError::new(message, help));
        }
        let mut scope = Scope {
            counter: self.counter.map(|name| CounterName(name.into())),
            key: self.key.map(|key| Key(key.into())),
            ranges: RangeSet::interval(RangeId(span.first), RangeId(span.last)),
        };
        if let Some(name) = &scope.counter {
            check_defined(name, definitions)?;
            if let Some(key) = &scope.key {
                let range = range_of(name, key, definitions)?;
                if !scope.ranges().any(|scoped| scoped == range) {
                    let message = format!(
                        "--key: \"{}\" is in range {range}, which --ranges leaves out",
                        printable(&key.0)
                    );
                    return Err(UserError::new(message, "leave --ranges out"));
                }
                scope.ranges = RangeSet::interval(range, range);
            }
        }
        Ok(scope)
    }
}

fn check_defined(name: &CounterName, definitions: &Definitions) -> Result<(), UserError> {
    if definitions.counter(&name.0).is_some() {
        return Ok(());
    }
    let names: Vec<_> = definitions
        .counters
        .iter()
        .map(|counter| &*counter.name.0)
        .collect();
    let message = format!(
        "--counter: the configuration defines no counter \"{}\"",
        printable(&name.0)
    );
    let help = format!("it defines {}", names.join(", "));
    Err(UserError::new(message, help))
}

fn range_of(
    name: &CounterName,
    key: &Key,
    definitions: &Definitions,
) -> Result<RangeId, UserError> {
    if key.0.is_empty() || key.0.len() > Key::BYTES_MAX {
        let message = format!(
            "--key: no key is empty or longer than {} bytes",
            Key::BYTES_MAX
        );
        let help = "give the key as it is in the events";
        return Err(UserError::new(message, help));
    }
    let counter = Counter::new(name.0.clone(), key.0.clone());
    Ok(definitions.range_bits.range_of(counter.token()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::cell::Granularity;
    use stitch_common::definition::{AmountSource, CounterDefinition, EventAttributes};
    use stitch_common::range::RangeBits;

    fn definitions() -> Definitions {
        let counter = |name: &str| CounterDefinition {
            name: CounterName(name.into()),
            on: vec!["play".to_owned()],
            key: "track".to_owned(),
            granularities: vec![Granularity::All],
            amount: AmountSource::Fixed(1),
        };
        let bits = RangeBits::new(6).unwrap();
        let counters = vec![counter("plays"), counter("bytes")];
        Definitions::new(bits, EventAttributes::default(), counters)
    }

    fn scope(counter: &str, key: &str, ranges: &str) -> Result<Scope, UserError> {
        let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let arguments = ScopeArguments {
            counter: optional(counter),
            key: optional(key),
            doubtful: false,
            ranges: optional(ranges).map(|text| text.parse().unwrap()),
        };
        arguments.scope(&definitions())
    }

    #[test]
    fn without_arguments_the_whole_namespace_is_in_scope() {
        let scope = scope("", "", "").unwrap();
        assert_eq!(scope.ranges.to_string(), "0-63");
        assert_eq!((scope.counter, scope.key), (None, None));
    }

    #[test]
    fn ranges_include_their_last_and_may_be_a_single_one() {
        let several = scope("plays", "", "3-5").unwrap();
        assert_eq!(several.ranges.to_string(), "3-5");
        let one = scope("", "", "63").unwrap();
        assert_eq!(one.ranges.to_string(), "63");
    }

    #[test]
    fn a_key_narrows_the_ranges_to_its_own() {
        let range = definitions()
            .range_bits
            .range_of(Counter::new("plays", "a").token());
        let scoped = scope("plays", "a", "").unwrap();
        assert_eq!(scoped.ranges, RangeSet::interval(range, range));
        let other = if range.0 == 0 { "1" } else { "0" };
        let failure = scope("plays", "a", other).unwrap_err();
        assert!(
            failure.message.contains(&format!("range {range}")),
            "{failure}"
        );
    }

    #[test]
    fn unknown_ranges_counters_and_keys_are_refused_by_name() {
        let failure = scope("", "", "10-64").unwrap_err();
        assert!(failure.message.contains("no range 64"), "{failure}");
        assert!(failure.help.contains("0-63"), "{failure}");
        let failure = scope("players", "", "").unwrap_err();
        assert!(failure.message.contains("players"), "{failure}");
        assert!(failure.help.contains("bytes, plays"), "{failure}");
        let failure = scope("plays", &"k".repeat(1025), "").unwrap_err();
        assert!(failure.message.contains("1024"), "{failure}");
    }

    #[test]
    fn reversed_ranges_and_ranges_that_are_no_numbers_are_refused() {
        for (text, problem) in [
            ("5-3", "reversed"),
            ("a", "\"a\""),
            ("3-", "\"\""),
            ("-1", "\"\""),
            ("70000", "70000"),
            (" 3", "\" 3\""),
            ("+3", "\"+3\""),
            ("0-015", "\"015\""),
        ] {
            let error = text.parse::<RangeSpan>().unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
