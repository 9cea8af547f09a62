//! The sections of the configuration: which keys each has, and errors that name file, line and key. No error shows a
//! value that may be a secret. What reads the keys is in [`crate::value`].

use crate::document::{Document, Entries, Entry, Source, Value};
use stitch_common::user_error::UserError;

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
            /// The names of its keys.
            pub(super) const KEYS: &'static [&'static str] = &[$($($key,)*)+];

            pub(super) fn read(
                mut section: $crate::section::Section<'_>
                $(, $context: $context_type)?
            ) -> Result<Self, stitch_common::user_error::UserError> {
                section.allow(Self::KEYS)?;
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
        let found = value.kind();
        let Some(items) = value.into_array() else {
            let what = format!(": invalid type: found {found}, expected an array of sections");
            return Err(self.mistyped(key, source, &what));
        };
        let section = |item| {
            let (source, entries) = self.entries_of(key, Entry::new(item, source))?;
            Ok(self.inner(key, source, entries))
        };
        let value = items
            .into_iter()
            .map(section)
            .collect::<Result<_, UserError>>()?;
        Ok(Some(Given { value, source }))
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
            other @ (Value::Leaf(_) | Value::Text(_)) => {
                let what = format!(": invalid type: found {}, expected a section", other.kind());
                Err(self.mistyped(key, entry.source, &what))
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
    pub(super) fn mistyped(&self, key: &str, source: Source<'_>, what: &str) -> UserError {
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

    /// An error about a value of another type, which it does not show: it may be a secret.
    pub(super) fn not_a(
        &self,
        key: &str,
        source: Source<'_>,
        found: &str,
        wanted: &str,
    ) -> UserError {
        let what = format!(": invalid type: found {found}, expected {wanted}");
        self.mistyped(key, source, &what)
    }
}
