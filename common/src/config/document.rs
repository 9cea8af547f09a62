//! The file and the variables of the environment as one tree, in which every value knows where it comes from.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::overrides::Override;
use crate::user_error::UserError;

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

/// A section, or any other TOML value.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Section(Entries<'a>),
    Leaf(Spanned<DeValue<'a>>),
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
            insert(&mut entries, &one.path, Entry::new(one.value(), source)).map_err(|what| {
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
        Value::Leaf(_) => Err(format!(
            "\"{key}\" is no section; it can be set as a whole only"
        )),
    }
}
