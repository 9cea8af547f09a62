//! Parses the part that requests for one key have in common.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use stitch_common::cell::Counter;
use stitch_common::definition::{CounterDefinition, Definitions};

use super::path_parameters;
use crate::params;
use crate::problem::Problem;
use crate::query_string::Query;

/// A key of a defined counter, and the query.
pub(super) struct KeyRequest<'a> {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) definition: &'a CounterDefinition,
    pub(super) counter: Counter,
    pub(super) query: Query,
}

impl<'a> KeyRequest<'a> {
    /// Parses a request with the query parameters `allowed`. `example` makes the address of a request that works from a
    /// counter and a key, as far as these are known.
    pub(super) fn parse(
        definitions: &'a Definitions,
        path: Result<Path<(String, String)>, PathRejection>,
        query: Option<&str>,
        allowed: &[&str],
        example: impl Fn(&str, Option<&str>) -> String,
    ) -> Result<Self, Problem> {
        let (name, key) = path_parameters(path, &example("", Some("abc")))?;
        let example = example(&name, Some(&key));
        let definition = params::definition(definitions, &name, &example)?;
        Ok(Self {
            counter: params::counter(definition, &key, &example)?,
            query: Query::parse(query, allowed, &[], example)?,
            definition,
            name,
            key,
        })
    }
}
