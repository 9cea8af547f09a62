//! `--counter`, `--key` and `--ranges`: from what was written to a [`Scope`] that the configuration has.

use std::str::FromStr;

use clap::Args;
use stitch_common::cell::{Counter, CounterName, Key};
use stitch_common::definition::Definitions;
use stitch_common::range::RangeId;
use stitch_common::user_error::UserError;

use stitch_common::scope::Scope;

/// Which cells; all of the namespace if nothing is given.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ScopeArguments {
    /// Only the counters of this definition
    #[arg(long, value_name = "NAME")]
    counter: Option<String>,
    /// Only this key of it
    #[arg(long, value_name = "KEY", requires = "counter")]
    key: Option<String>,
    /// Only these ranges: the first and the last, or one alone
    #[arg(long, value_name = "A-B")]
    ranges: Option<Span>,
}

/// Ranges from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: u16,
    last: u16,
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let wrong = || format!("\"{text}\" is not the number of a range; write 3, or 0-15");
            text.trim().parse::<u16>().map_err(|_| wrong())
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (number(first)?, number(last)?);
        if last < first {
            return Err(format!("it is reversed; write {last}-{first}"));
        }
        Ok(Self { first, last })
    }
}

impl ScopeArguments {
    /// The scope, if `definitions` have it.
    pub(super) fn scope(self, definitions: &Definitions) -> Result<Scope, UserError> {
        let last = definitions.range_bits.count() - 1;
        let span = self.ranges.unwrap_or(Span { first: 0, last });
        if span.last > last {
            let what = format!("--ranges: there is no range {}", span.last);
            let bits = definitions.range_bits.bits();
            let help = format!("the namespace has the ranges 0-{last} ([ranges] bits = {bits})");
            return Err(UserError::new(what, help));
        }
        let mut scope = Scope {
            counter: self.counter.map(|name| CounterName(name.into())),
            key: self.key.map(|key| Key(key.into())),
            first: RangeId(span.first),
            last: RangeId(span.last),
        };
        if let Some(name) = &scope.counter {
            defined(name, definitions)?;
            if let Some(key) = &scope.key {
                let range = range_of(name, key, definitions)?;
                if !scope.ranges().any(|scoped| scoped == range) {
                    let what = format!(
                        "--key: \"{}\" lies in range {range}, which --ranges leaves out",
                        key.0
                    );
                    return Err(UserError::new(what, "leave --ranges out"));
                }
                (scope.first, scope.last) = (range, range);
            }
        }
        Ok(scope)
    }
}

fn defined(name: &CounterName, definitions: &Definitions) -> Result<(), UserError> {
    if definitions.counter(&name.0).is_some() {
        return Ok(());
    }
    let names: Vec<_> = definitions
        .counters
        .iter()
        .map(|counter| &*counter.name.0)
        .collect();
    let what = format!(
        "--counter: the configuration defines no counter \"{}\"",
        name.0
    );
    Err(UserError::new(
        what,
        format!("it defines {}", names.join(", ")),
    ))
}

fn range_of(
    name: &CounterName,
    key: &Key,
    definitions: &Definitions,
) -> Result<RangeId, UserError> {
    if key.0.is_empty() || key.0.len() > Key::BYTES_MAX {
        let what = format!(
            "--key: no key is empty or longer than {} bytes",
            Key::BYTES_MAX
        );
        return Err(UserError::new(
            what,
            "give the key as it stands in the events",
        ));
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
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let arguments = ScopeArguments {
            counter: given(counter),
            key: given(key),
            ranges: given(ranges).map(|text| text.parse().unwrap()),
        };
        arguments.scope(&definitions())
    }

    #[test]
    fn without_arguments_all_is_in_scope() {
        let scope = scope("", "", "").unwrap();
        assert_eq!((scope.first, scope.last), (RangeId(0), RangeId(63)));
        assert_eq!((scope.counter, scope.key), (None, None));
    }

    #[test]
    fn ranges_include_their_last_and_one_may_stand_alone() {
        let several = scope("plays", "", "3-5").unwrap();
        assert_eq!((several.first, several.last), (RangeId(3), RangeId(5)));
        let one = scope("", "", "63").unwrap();
        assert_eq!((one.first, one.last), (RangeId(63), RangeId(63)));
    }

    #[test]
    fn a_key_narrows_the_ranges_to_its_own() {
        let range = definitions()
            .range_bits
            .range_of(Counter::new("plays", "a").token());
        let scoped = scope("plays", "a", "").unwrap();
        assert_eq!((scoped.first, scoped.last), (range, range));
        let other = if range.0 == 0 { "1" } else { "0" };
        let failure = scope("plays", "a", other).unwrap_err();
        assert!(
            failure.message.contains(&format!("range {range}")),
            "{failure}"
        );
    }

    #[test]
    fn what_the_namespace_does_not_have_is_refused_by_name() {
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
    fn ranges_that_are_reversed_or_no_numbers_are_refused() {
        for (text, problem) in [
            ("5-3", "reversed"),
            ("a", "\"a\""),
            ("3-", "\"\""),
            ("-1", "\"\""),
            ("70000", "70000"),
        ] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
