//! Reads the values of keys: each reader takes a key with its default and bounds, and names it in its errors.
//!
//! A value is taken as it stands, or refused: nothing is checked in one form and used in another.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use crate::document::{self, Entry, Value, kind};
use crate::section::{Given, Section};
use stitch_common::printable::is_printable;
use stitch_common::user_error::UserError;

/// The longest wait that can be configured: a longer one is a mistake in the unit.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// The longest age that HTTP caches distinguish from forever.
const YEAR_S: u64 = 365 * 24 * 60 * 60;

impl<'a> Section<'a> {
    /// The string `key`, if it is configured: as it stands.
    pub(super) fn string(&mut self, key: &str) -> Result<Option<Given<'a, String>>, UserError> {
        let Some(Entry { source, value }) = self.entries.remove(key) else {
            return Ok(None);
        };
        let found = value.kind();
        let text = value.into_string();
        let value = text.ok_or_else(|| self.not_a(key, source, found, "a string"))?;
        Ok(Some(Given { value, source }))
    }

    /// The integer `key`, if it is configured.
    pub(super) fn integer(&mut self, key: &str) -> Result<Option<Given<'a, i64>>, UserError> {
        let Some(Entry { source, value }) = self.entries.remove(key) else {
            return Ok(None);
        };
        let found = value.kind();
        let number = value.into_integer();
        let number = number.ok_or_else(|| self.not_a(key, source, found, "an integer"))?;
        let value = i64_of(&number)
            .ok_or_else(|| self.mistyped(key, source, ": the integer has more than 64 bits"))?;
        Ok(Some(Given { value, source }))
    }

    /// The strings of the list `key`, if it is configured. A variable has them separated by commas, without the blanks
    /// around them, or as a TOML array.
    pub(super) fn strings(
        &mut self,
        key: &str,
    ) -> Result<Option<Given<'a, Vec<Given<'a, String>>>>, UserError> {
        const WANTED: &str = "an array of strings";
        let Some(Entry { source, value }) = self.entries.remove(key) else {
            return Ok(None);
        };
        let found = value.kind();
        if let Value::Text(text) = value
            && !text.trim_start().starts_with('[')
        {
            let given = |item: &str| Given {
                value: item.trim().to_owned(),
                source,
            };
            let value = text.split(',').map(given).collect();
            return Ok(Some(Given { value, source }));
        }
        let items = value.into_array();
        let items = items.ok_or_else(|| self.not_a(key, source, found, WANTED))?;
        let string = |item: Spanned<DeValue<'a>>| -> Result<_, UserError> {
            let source = source.of_part(&item);
            let found = format!("{} in it", kind(item.get_ref()));
            let value = document::string(item.into_inner());
            let value = value.ok_or_else(|| self.not_a(key, source, &found, WANTED))?;
            Ok(Given { value, source })
        };
        let value = items
            .into_iter()
            .map(string)
            .collect::<Result<_, UserError>>()?;
        Ok(Some(Given { value, source }))
    }

    /// The string `key`, if it is configured: not blank, without blanks around it and without control characters, which
    /// nobody would see.
    pub(super) fn optional_given(
        &mut self,
        key: &str,
        example: &str,
    ) -> Result<Option<Given<'a, String>>, UserError> {
        let Some(given) = self.string(key)? else {
            return Ok(None);
        };
        let text = given.value.as_str();
        let problem = if text.trim().is_empty() {
            " is empty"
        } else if text.trim() != text {
            " has a blank or a line end at its beginning or end"
        } else if text.contains(|c: char| c.is_control()) {
            " has a control character"
        } else {
            return Ok(Some(given));
        };
        Err(self.wrong(key, given.source, problem, format!("write {example}")))
    }

    /// As [`Section::optional_given`], but required.
    pub(super) fn given(
        &mut self,
        key: &str,
        example: &str,
    ) -> Result<Given<'a, String>, UserError> {
        self.optional_given(key, example)?
            .ok_or_else(|| self.missing(key, example))
    }

    /// A name that is shown to people: as [`Section::given`], without invisible characters.
    pub(super) fn name(
        &mut self,
        key: &str,
        example: &str,
    ) -> Result<Given<'a, String>, UserError> {
        let given = self.given(key, example)?;
        if given.value.chars().all(is_printable) {
            return Ok(given);
        }
        let what = " has a character that is invisible or turns the direction of writing";
        Err(self.wrong(key, given.source, what, format!("write {example}")))
    }

    /// [`Section::optional_given`], without its source.
    pub(super) fn optional_text(
        &mut self,
        key: &str,
        example: &str,
    ) -> Result<Option<String>, UserError> {
        Ok(self.optional_given(key, example)?.map(|given| given.value))
    }

    /// [`Section::given`], without its source.
    pub(super) fn text(&mut self, key: &str, example: &str) -> Result<String, UserError> {
        Ok(self.given(key, example)?.value)
    }

    /// As [`Section::optional_text`], or else `default`.
    pub(super) fn text_or(&mut self, key: &str, default: &str) -> Result<String, UserError> {
        let text = self.optional_text(key, &format!("{key} = \"{default}\""))?;
        Ok(text.unwrap_or_else(|| default.to_owned()))
    }

    /// A number within bounds.
    pub(super) fn number(
        &mut self,
        key: &str,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> Result<u64, UserError> {
        let Some(Given { value, source }) = self.integer(key)? else {
            return Ok(default);
        };
        if let Some(number) = u64::try_from(value)
            .ok()
            .filter(|number| allowed.contains(number))
        {
            return Ok(number);
        }
        let (least, most) = allowed.into_inner();
        let what = format!(" = {value} is not within {least} and {most}");
        Err(self.wrong(key, source, &what, format!("the default is {default}")))
    }

    /// A number of things within bounds.
    pub(super) fn count(
        &mut self,
        key: &str,
        default: u32,
        allowed: RangeInclusive<u32>,
    ) -> Result<usize, UserError> {
        let (least, most) = allowed.into_inner();
        let number = self.number(key, default.into(), least.into()..=most.into())?;
        Ok(usize::try_from(number).expect("at most 32 bits are allowed"))
    }

    /// A size in MiB, as bytes.
    pub(super) fn mebibytes(&mut self, key: &str, default: u32) -> Result<usize, UserError> {
        Ok(self.count(key, default, 1..=1 << 20)? << 20)
    }

    /// A time in milliseconds, from `least` to a day.
    pub(super) fn milliseconds(
        &mut self,
        key: &str,
        default: u64,
        least: u64,
    ) -> Result<Duration, UserError> {
        Ok(Duration::from_millis(self.number(
            key,
            default,
            least..=DAY_MS,
        )?))
    }

    /// A time in seconds, up to a year.
    pub(super) fn seconds(&mut self, key: &str, default: u64) -> Result<Duration, UserError> {
        Ok(Duration::from_secs(self.number(
            key,
            default,
            0..=YEAR_S,
        )?))
    }

    /// A boolean, or else `default`.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> Result<bool, UserError> {
        let Some(Entry { source, value }) = self.entries.remove(key) else {
            return Ok(default);
        };
        let found = value.kind();
        let on = value.into_boolean();
        on.ok_or_else(|| self.not_a(key, source, found, "true or false"))
    }

    /// One of several names, in upper or lower case. `kind` says in errors what is named.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        key: &str,
        default: T,
        kind: &str,
        names: &[(T, &str)],
    ) -> Result<T, UserError> {
        let Some(Given { value, source }) = self.string(key)? else {
            return Ok(default);
        };
        let mut names_known = names.iter();
        let found = names_known.find(|(_, known)| known.eq_ignore_ascii_case(&value));
        found.map(|(choice, _)| *choice).ok_or_else(|| {
            let known: Vec<_> = names.iter().map(|(_, name)| *name).collect();
            let what = format!(" = \"{value}\" is no {kind}");
            self.wrong(
                key,
                source,
                &what,
                format!("use one of {}", known.join(", ")),
            )
        })
    }
}

/// The integer, if it has 64 bits.
fn i64_of(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}
