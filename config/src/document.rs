//! The file and the variables of the environment as one tree, in which every value knows where it comes from.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use crate::overrides::Override;
use stitch_common::user_error::UserError;

/// The configuration file.
pub(super) struct Document<'a> {
    name: &'a str,
    text: &'a str,
}

/// The origin of a value or of a section.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// The file as a whole.
    File,
    /// This byte of the file.
    Offset(usize),
    /// A variable of the environment.
    Variable(&'a str),
}

/// The keys of a section with their values.
pub(super) type Entries<'a> = BTreeMap<String, Entry<'a>>;

/// The value of a key.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) source: Source<'a>,
    pub(super) value: Value<'a>,
}

/// A section, any other TOML value, or the text of a variable, which is read as what the key wants.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Section(Entries<'a>),
    Leaf(Spanned<DeValue<'a>>),
    Text(&'a str),
}

impl<'a> Value<'a> {
    /// The string; a variable is one, character by character.
    pub(super) fn into_string(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.to_owned()),
            Self::Leaf(value) => string(value.into_inner()),
            Self::Section(_) => None,
        }
    }

    /// The integer, also of a variable that is one in TOML.
    pub(super) fn into_integer(self) -> Option<DeInteger<'a>> {
        match self {
            Self::Text(text) => integer(DeValue::parse(text).ok()?.into_inner()),
            Self::Leaf(value) => integer(value.into_inner()),
            Self::Section(_) => None,
        }
    }

    /// The array, also of a variable that is one in TOML.
    pub(super) fn into_array(self) -> Option<DeArray<'a>> {
        match self {
            Self::Text(text) => array(DeValue::parse(text.trim()).ok()?.into_inner()),
            Self::Leaf(value) => array(value.into_inner()),
            Self::Section(_) => None,
        }
    }

    /// The boolean, also of a variable that is one in TOML.
    pub(super) fn into_boolean(self) -> Option<bool> {
        match self {
            Self::Text(text) => boolean(&DeValue::parse(text).ok()?.into_inner()),
            Self::Leaf(value) => boolean(value.get_ref()),
            Self::Section(_) => None,
        }
    }

    /// What it is, for errors that do not show it: it may be a secret.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Section(_) => "a section",
            Self::Text(_) => "a text",
            Self::Leaf(value) => kind(value.get_ref()),
        }
    }
}

/// The text of a TOML string.
pub(super) fn string(value: DeValue<'_>) -> Option<String> {
    if let DeValue::String(text) = value {
        Some(text.into_owned())
    } else {
        None
    }
}

fn integer(value: DeValue<'_>) -> Option<DeInteger<'_>> {
    if let DeValue::Integer(number) = value {
        Some(number)
    } else {
        None
    }
}

const fn boolean(value: &DeValue<'_>) -> Option<bool> {
    if let DeValue::Boolean(on) = value {
        Some(*on)
    } else {
        None
    }
}

fn array(value: DeValue<'_>) -> Option<DeArray<'_>> {
    if let DeValue::Array(items) = value {
        Some(items)
    } else {
        None
    }
}

/// What a TOML value is.
pub(super) const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction or an exponent",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or a time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a section",
    }
}

impl<'a> Source<'a> {
    /// The source of a part of the value from this source.
    pub(super) fn of_part<T>(self, part: &Spanned<T>) -> Self {
        match self {
            Self::Variable(variable) => Self::Variable(variable),
            Self::File | Self::Offset(_) => Self::Offset(part.span().start),
        }
    }
}

impl<'a> Document<'a> {
    /// Parses the file `name` with this text, and puts the values of `overrides` into it.
    pub(super) fn parse(
        name: &'a str,
        text: &'a str,
        overrides: &'a [Override],
    ) -> Result<(Self, Entries<'a>), UserError> {
        let document = Self { name, text };
        let table = DeTable::parse(text).map_err(|error| {
            let offset = error
                .span()
                .map_or(Source::File, |span| Source::Offset(span.start));
            let source = document.show(offset);
            let help = "correct it; deploy/stitch.toml is an annotated example";
            UserError::new(
                format!("{source}: no valid TOML: {}", error.message()),
                help,
            )
        })?;
        let mut entries = entries(table.into_inner(), Source::File);
        for one in overrides {
            let source = Source::Variable(&one.variable);
            let entry = Entry {
                source,
                value: Value::Text(&one.text),
            };
            insert(&mut entries, &one.path, entry).map_err(|what| {
                let help = format!("correct or unset {}", one.variable);
                UserError::new(format!("{}: {what}", one.variable), help)
            })?;
        }
        Ok((document, entries))
    }

    /// File and line, or the variable.
    pub(super) fn show(&self, source: Source<'_>) -> String {
        match source {
            Source::Variable(variable) => variable.to_owned(),
            Source::File => self.name.to_owned(),
            Source::Offset(offset) => {
                let before = self.text.as_bytes().iter().take(offset);
                let line = before.filter(|byte| **byte == b'\n').count() + 1;
                format!("{}, line {line}", self.name)
            }
        }
    }
}

impl<'a> Entry<'a> {
    /// The entry for `value`, which is part of a value from `source`.
    pub(super) fn new(value: Spanned<DeValue<'a>>, source: Source<'a>) -> Self {
        let source = source.of_part(&value);
        let span = value.span();
        let inner = value.into_inner();
        let value = if let DeValue::Table(table) = inner {
            Value::Section(entries(table, source))
        } else {
            Value::Leaf(Spanned::new(span, inner))
        };
        Self { source, value }
    }
}

fn entries<'a>(table: DeTable<'a>, source: Source<'a>) -> Entries<'a> {
    let entry =
        |(key, value): (Spanned<_>, _)| (String::from(key.into_inner()), Entry::new(value, source));
    table.into_iter().map(entry).collect()
}

/// Puts `entry` at `path`, and creates the sections that are missing.
fn insert<'a>(entries: &mut Entries<'a>, path: &[String], entry: Entry<'a>) -> Result<(), String> {
    let Some((key, below)) = path.split_first() else {
        return Err("it names no key".to_owned());
    };
    if below.is_empty() {
        entries.insert(key.clone(), entry);
        return Ok(());
    }
    let section = entries.entry(key.clone()).or_insert_with(|| Entry {
        source: entry.source,
        value: Value::Section(Entries::new()),
    });
    match &mut section.value {
        Value::Section(inner) => insert(inner, below, entry),
        Value::Leaf(_) | Value::Text(_) => Err(format!(
            "\"{key}\" is no section; it can be set as a whole only"
        )),
    }
}
