//! The file and the values from the environment as one TOML document in which every value knows where it stands.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::overrides::Override;
use crate::user_error::UserError;

/// One TOML document.
pub(super) struct Document<'a> {
    name: &'a str,
    text: &'a str,
    overrides: &'a [Override],
    table: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    /// The file `name` with `text`, and `overrides` in it.
    pub(super) fn new(
        name: &'a str,
        text: &'a str,
        overrides: &'a [Override],
    ) -> Result<Self, UserError> {
        let table = DeTable::parse(text);
        let mut document = Self {
            name,
            text,
            overrides,
            table: Spanned::new(0..text.len(), DeTable::new()),
        };
        document.table = table.map_err(|error| {
            let place = document.place(error.span());
            let help = "correct it; deploy/stitch.toml is an annotated example";
            UserError::new(format!("{place}: no valid TOML: {}", error.message()), help)
        })?;
        for one in overrides {
            let table = insert(document.table.get_mut(), &one.path, one);
            table.map_err(|what| {
                let help = format!("correct or unset {}", one.variable);
                UserError::new(format!("{}: {what}", one.variable), help)
            })?;
        }
        Ok(document)
    }

    /// The document as `T`.
    pub(super) fn deserialize<T: DeserializeOwned>(&self) -> Result<T, UserError> {
        T::deserialize(Deserializer::from(self.table.clone())).map_err(|error| {
            let span = error.span();
            let help = match self.variable(span.clone()) {
                Some(variable) => format!("correct or unset {variable}"),
                None => "correct the key or its value".to_owned(),
            };
            self.wrong(
                span.clone(),
                &span
                    .map(|span| key_at(self.table.get_ref(), &span))
                    .unwrap_or_default(),
                &format!(": {}", error.message()),
                format!("{help}; deploy/stitch.toml shows every key"),
            )
        })
    }

    /// Says that `key`, which stands at `span`, is wrong: `what` goes on where the key ends.
    pub(super) fn wrong(
        &self,
        span: Option<Range<usize>>,
        key: &str,
        what: &str,
        help: impl Into<String>,
    ) -> UserError {
        let place = self.place(span);
        UserError::new(format!("{place}: {key}{what}"), help.into())
    }

    /// File and line, or the variable.
    fn place(&self, span: Option<Range<usize>>) -> String {
        if let Some(variable) = self.variable(span.clone()) {
            return variable.to_owned();
        }
        match span.and_then(|span| self.text.get(..span.start)) {
            Some(before) => {
                let line = before.matches('\n').count() + 1;
                format!("{}, line {line}", self.name)
            }
            None => self.name.to_owned(),
        }
    }

    fn variable(&self, span: Option<Range<usize>>) -> Option<&'a str> {
        let start = span?.start;
        let found = self
            .overrides
            .iter()
            .find(|one| one.span().contains(&start));
        found.map(|one| one.variable.as_str())
    }
}

/// Puts the value of `one` at `path`; levels that are missing are made.
fn insert<'a>(table: &mut DeTable<'a>, path: &[String], one: &'a Override) -> Result<(), String> {
    let Some((level, below)) = path.split_first() else {
        return Err("it names no key".to_owned());
    };
    let key = Spanned::new(one.span(), level.clone().into());
    if below.is_empty() {
        let parsed = DeTable::parse(&one.text).map_err(|error| error.message().to_owned())?;
        let value = parsed.into_inner().into_iter().next();
        let (_, value) = value.ok_or_else(|| "it has no value".to_owned())?;
        // Removed first: the map would keep the file's key and with it the file's line.
        table.remove(level.as_str());
        table.insert(key, value);
        return Ok(());
    }
    if !table.contains_key(level.as_str()) {
        let empty = DeValue::Table(DeTable::new());
        table.insert(key, Spanned::new(one.span(), empty));
    }
    match table.get_mut(level.as_str()).map(Spanned::get_mut) {
        Some(DeValue::Table(inner)) => insert(inner, below, one),
        Some(_) | None => Err(format!(
            "\"{level}\" is no section; it can be set as a whole only"
        )),
    }
}

/// The key that `span` is, or is the value of, with its sections.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> String {
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    for (key, value) in table {
        let tables: Vec<&DeTable<'_>> = if let Some(inner) = value.get_ref().as_table() {
            vec![inner]
        } else if let Some(entries) = value.get_ref().as_array() {
            entries
                .iter()
                .filter_map(|entry| entry.get_ref().as_table())
                .collect()
        } else {
            Vec::new()
        };
        let mut within = tables.into_iter().map(|inner| key_at(inner, span));
        let within = within.find(|found| !found.is_empty());
        if let Some(within) = within {
            return format!("{}.{within}", key.get_ref());
        }
        if holds(key.span()) || holds(value.span()) {
            return key.get_ref().to_string();
        }
    }
    String::new()
}
