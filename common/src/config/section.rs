//! Reads the keys of a section: each reader takes a key with its default and bounds, and names it in its errors.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::document::{Document, Entries, Entry, Source, Value};
use crate::user_error::UserError;

/// The longest wait that can be configured: a longer one is a mistake in the unit.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// The longest age that HTTP caches distinguish from forever.
const YEAR_S: u64 = 365 * 24 * 60 * 60;

/// Declares a section: its struct, and how each field is read. A field is read by a method of [`Section`] with the names
/// of its keys and, after a semicolon, default, bounds and example. This is the only declaration of these keys.
macro_rules! section {
    (
        $(#[$doc:meta])*
        $vis:vis $name:ident($($context:ident: $context_type:ty)?) {
            $(
                $(#[$field_doc:meta])*
                $field:ident: $type:ty = $method:ident($($key:literal),* $(; $($argument:expr),+)?),
            )+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis struct $name {
            $($(#[$field_doc])* $vis $field: $type,)+
        }

        impl $name {
            pub(super) fn read(
                mut section: $crate::config::section::Section<'_>
                $(, $context: $context_type)?
            ) -> Result<Self, $crate::user_error::UserError> {
                section.allow(&[$($($key,)*)+])?;
                $(let $field = section.$method($($key,)* $($($argument),+)?)?;)+
                Ok(Self { $($field),+ })
            }
        }
    };
}
pub(super) use section;

/// A section of the configuration, from which keys are taken one by one.
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    /// With the sections around it, as in `kafka.client`; empty for the root.
    name: String,
    pub(super) source: Source<'a>,
    pub(super) entries: Entries<'a>,
}

/// A configured value.
pub(super) struct Given<'a, T> {
    pub(super) value: T,
    pub(super) source: Source<'a>,
}

impl<'a> Section<'a> {
    pub(super) const fn root(document: &'a Document<'a>, entries: Entries<'a>) -> Self {
        Self {
            document,
            name: String::new(),
            source: Source::File,
            entries,
        }
    }

    /// The section `key` of this one; an empty one, if it is missing.
    pub(super) fn section(&mut self, key: &str) -> Result<Self, UserError> {
        let (source, entries) = match self.entries.remove(key) {
            None => (Source::File, Entries::new()),
            Some(entry) => self.entries_of(key, entry)?,
        };
        Ok(self.inner(key, source, entries))
    }

    /// The array of sections `key`, if it is configured.
    pub(super) fn sections(
        &mut self,
        key: &str,
    ) -> Result<Option<Given<'a, Vec<Self>>>, UserError> {
        let Some(Entry { source, value }) = self.entries.remove(key) else {
            return Ok(None);
        };
        if let Value::Leaf(leaf) = value
            && let DeValue::Array(items) = leaf.into_inner()
        {
            let section = |item| {
                let (source, entries) = self.entries_of(key, Entry::new(item, source))?;
                Ok(self.inner(key, source, entries))
            };
            let value = items
                .into_iter()
                .map(section)
                .collect::<Result<_, UserError>>()?;
            return Ok(Some(Given { value, source }));
        }
        Err(self.mistyped(key, source, ": invalid type: expected an array of sections"))
    }

    fn inner(&self, key: &str, source: Source<'a>, entries: Entries<'a>) -> Self {
        Self {
            document: self.document,
            name: self.path(key),
            source,
            entries,
        }
    }

    fn entries_of(
        &self,
        key: &str,
        entry: Entry<'a>,
    ) -> Result<(Source<'a>, Entries<'a>), UserError> {
        match entry.value {
            Value::Section(entries) => Ok((entry.source, entries)),
            Value::Leaf(_) => {
                Err(self.mistyped(key, entry.source, ": invalid type: expected a section"))
            }
        }
    }

    /// Refuses every key but these.
    pub(super) fn allow(&self, keys: &[&str]) -> Result<(), UserError> {
        let unknown = self
            .entries
            .iter()
            .find(|(key, _)| !keys.contains(&key.as_str()));
        let Some((key, entry)) = unknown else {
            return Ok(());
        };
        let expected = keys.join("`, `");
        let what = format!(": unknown field, expected one of `{expected}`");
        Err(self.mistyped(key, entry.source, &what))
    }

    /// The name of `key` with the sections around it.
    fn path(&self, key: &str) -> String {
        match self.name.as_str() {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        }
    }

    /// An error about the value of `key` from `source`; `what` continues the sentence that starts with the key.
    pub(super) fn wrong(
        &self,
        key: &str,
        source: Source<'_>,
        what: &str,
        help: impl Into<String>,
    ) -> UserError {
        self.error(&self.path(key), source, what, help)
    }

    /// As [`Section::wrong`], for a subject that is not a key.
    pub(super) fn error(
        &self,
        subject: &str,
        source: Source<'_>,
        what: &str,
        help: impl Into<String>,
    ) -> UserError {
        let source = self.document.show(source);
        UserError::new(format!("{source}: {subject}{what}"), help.into())
    }

    /// An error about an unknown key or a value of another type.
    fn mistyped(&self, key: &str, source: Source<'_>, what: &str) -> UserError {
        let correct = match source {
            Source::Variable(variable) => format!("correct or unset {variable}"),
            Source::File | Source::Offset(_) => "correct the key or its value".to_owned(),
        };
        self.wrong(
            key,
            source,
            what,
            format!("{correct}; deploy/stitch.toml shows every key"),
        )
    }

    /// An error about a missing key.
    pub(super) fn missing(&self, key: &str, example: &str) -> UserError {
        let help = match self.name.as_str() {
            "" => format!("add {example}"),
            name => format!("add {example} to [{name}]"),
        };
        self.wrong(key, self.source, " is missing", help)
    }

    pub(super) fn deserialize<T: DeserializeOwned>(
        &self,
        key: &str,
        entry: Entry<'a>,
    ) -> Result<T, UserError> {
        let leaf = match entry.value {
            Value::Leaf(leaf) => leaf,
            // Only for the error: no value has this type.
            Value::Section(_) => Spanned::new(0..0, DeValue::Table(DeTable::new())),
        };
        T::deserialize(ValueDeserializer::from(leaf))
            .map_err(|error| self.mistyped(key, entry.source, &format!(": {}", error.message())))
    }

    /// The value of `key`, if it is configured.
    pub(super) fn value<T: DeserializeOwned>(
        &mut self,
        key: &str,
    ) -> Result<Option<Given<'a, T>>, UserError> {
        let Some(entry) = self.entries.remove(key) else {
            return Ok(None);
        };
        let source = entry.source;
        let value = self.deserialize(key, entry)?;
        Ok(Some(Given { value, source }))
    }

    pub(super) fn required<T: DeserializeOwned>(
        &mut self,
        key: &str,
        example: &str,
    ) -> Result<Given<'a, T>, UserError> {
        self.value(key)?.ok_or_else(|| self.missing(key, example))
    }

    /// A string that is not blank, if it is configured.
    pub(super) fn optional_text(
        &mut self,
        key: &str,
        example: &str,
    ) -> Result<Option<String>, UserError> {
        match self.value::<String>(key)? {
            Some(given) if given.value.trim().is_empty() => {
                Err(self.wrong(key, given.source, " is empty", format!("write {example}")))
            }
            given => Ok(given.map(|given| given.value)),
        }
    }

    /// A string that is not blank.
    pub(super) fn text(&mut self, key: &str, example: &str) -> Result<String, UserError> {
        self.optional_text(key, example)?
            .ok_or_else(|| self.missing(key, example))
    }

    /// A string that is not blank, or else `default`.
    pub(super) fn text_or(&mut self, key: &str, default: &str) -> Result<String, UserError> {
        let text = self.optional_text(key, &format!("{key} = \"{default}\""))?;
        Ok(text.unwrap_or_else(|| default.to_owned()))
    }

    /// Two strings of which neither may be configured without the other.
    pub(super) fn pair(
        &mut self,
        first: &str,
        second: &str,
    ) -> Result<Option<(String, String)>, UserError> {
        let example = |key: &str| format!("{key} = \"…\"");
        let pair = (
            self.optional_text(first, &example(first))?,
            self.optional_text(second, &example(second))?,
        );
        match pair {
            (None, None) => Ok(None),
            (Some(first), Some(second)) => Ok(Some((first, second))),
            (Some(_), None) => Err(self.missing(second, &example(second))),
            (None, Some(_)) => Err(self.missing(first, &example(first))),
        }
    }

    /// A number within bounds.
    pub(super) fn number(
        &mut self,
        key: &str,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> Result<u64, UserError> {
        let Some(Given { value, source }) = self.value(key)? else {
            return Ok(default);
        };
        if allowed.contains(&value) {
            return Ok(value);
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

    /// One of several names, in upper or lower case. `kind` says in errors what is named.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        key: &str,
        default: T,
        kind: &str,
        names: &[(T, &str)],
    ) -> Result<T, UserError> {
        let Some(Given { value, source }) = self.value::<String>(key)? else {
            return Ok(default);
        };
        let name = value.to_ascii_uppercase();
        let found = names.iter().find(|(_, known)| *known == name);
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
