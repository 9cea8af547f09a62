//! What every question about one key has in common: a counter and a key in its address, and parameters.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use stitch_common::cell::Counter;
use stitch_common::definition::{CounterDefinition, Definitions};

use super::path;
use crate::params;
use crate::problem::Problem;
use crate::query_string::Query;

/// A key of a counter that there is, and what else was asked.
pub(super) struct KeyRequest<'a> {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) definition: &'a CounterDefinition,
    pub(super) counter: Counter,
    pub(super) query: Query,
}

impl<'a> KeyRequest<'a> {
    /// Takes the parameters `known`. `example` is what works for a counter and a key, as far as there are any.
    pub(super) fn parse(
        definitions: &'a Definitions,
        parts: Result<Path<(String, String)>, PathRejection>,
        query: Option<&str>,
        known: &[&str],
        example: impl Fn(&str, Option<&str>) -> String,
    ) -> Result<Self, Problem> {
        let (name, key) = path(parts, &example("", Some("abc")))?;
        let example = example(&name, Some(&key));
        let definition = params::definition(definitions, &name, &example)?;
        Ok(Self {
            counter: params::counter(definition, &key, &example)?,
            query: Query::parse(query, known, None, example)?,
            definition,
            name,
            key,
        })
    }
}
