//! A query of several counters and keys, as an address or a body gives it, and the address that it has.

use serde::Deserialize;
use stitch_common::cell::Granularity;
use stitch_common::definition::Definitions;

use crate::params::{self, AT, FROM, GRANULARITY, LAYER, TIME_ZONE, TO, UTC_OFFSET};
use crate::problem::Problem;
use crate::query_string::{Query, encoded};
use crate::request_body;

const ADDRESS: &str = "/v1/query";
const COUNTER: &str = "counter";
const KEY: &str = "key";
const SELECT: &str = "select";
/// The parameters that may be given once, in the order of an address.
const ONCE: [&str; 7] = [GRANULARITY, AT, FROM, TO, TIME_ZONE, UTC_OFFSET, LAYER];

/// What is answered for each counter and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// One count, of all time or of one period.
    Count,
    /// A count for each of several periods.
    Series,
    /// The total of all time, and the present periods with the previous ones.
    Totals,
}

impl Select {
    const EVERY: [(Self, &str); 3] = [
        (Self::Count, "count"),
        (Self::Series, "series"),
        (Self::Totals, "totals"),
    ];
}

/// Counters, keys, and what is answered for each of them.
#[derive(Debug)]
pub struct QueryRequest {
    pub counters: Vec<String>,
    pub keys: Vec<String>,
    selection: Vec<Select>,
    pub query: Query,
}

/// The same as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryBody {
    counters: Vec<String>,
    keys: Vec<String>,
    #[serde(default)]
    select: Vec<String>,
    #[serde(default, deserialize_with = "request_body::text")]
    granularity: Option<String>,
    #[serde(default, deserialize_with = "request_body::text")]
    at: Option<String>,
    #[serde(default, deserialize_with = "request_body::text")]
    from: Option<String>,
    #[serde(default, deserialize_with = "request_body::text")]
    to: Option<String>,
    #[serde(default, deserialize_with = "request_body::text")]
    time_zone: Option<String>,
    #[serde(default, deserialize_with = "request_body::text")]
    utc_offset: Option<String>,
    #[serde(default, deserialize_with = "request_body::text")]
    layer: Option<String>,
}

impl QueryRequest {
    /// Parses the query of an address; a request may have `parts_max` counters times keys, and `example` is one that works.
    ///
    /// # Errors
    /// A parameter is missing, unknown, invalid or without effect, or there are too many parts.
    pub fn from_address(
        raw: Option<&str>,
        parts_max: usize,
        example: String,
    ) -> Result<Self, Problem> {
        let query = Query::parse(raw, &ONCE, &[COUNTER, KEY, SELECT], example)?;
        let all = |name: &str| query.all(name).map(str::to_owned).collect::<Vec<_>>();
        let (counters, keys, select) = (all(COUNTER), all(KEY), all(SELECT));
        Self::new(parts_max, (counters, keys), &select, query)
    }

    /// Parses the query of the address of one key.
    ///
    /// # Errors
    /// As [`QueryRequest::from_address`].
    pub fn from_key(
        counter: String,
        key: String,
        raw: Option<&str>,
        parts_max: usize,
        example: String,
    ) -> Result<Self, Problem> {
        let query = Query::parse(raw, &ONCE, &[SELECT], example)?;
        let select: Vec<String> = query.all(SELECT).map(str::to_owned).collect();
        Self::new(parts_max, (vec![counter], vec![key]), &select, query)
    }

    /// Takes a body.
    ///
    /// # Errors
    /// As [`QueryRequest::from_address`].
    pub fn from_body(body: QueryBody, parts_max: usize, example: String) -> Result<Self, Problem> {
        let parameters = [
            (GRANULARITY, body.granularity),
            (AT, body.at),
            (FROM, body.from),
            (TO, body.to),
            (TIME_ZONE, body.time_zone),
            (UTC_OFFSET, body.utc_offset),
            (LAYER, body.layer),
        ];
        let query = Query::from_parameters(parameters, example);
        Self::new(parts_max, (body.counters, body.keys), &body.select, query)
    }

    fn new(
        parts_max: usize,
        (counters, keys): (Vec<String>, Vec<String>),
        select: &[String],
        query: Query,
    ) -> Result<Self, Problem> {
        if counters.is_empty() {
            return Err(query.missing(COUNTER, "name one counter or several"));
        }
        if keys.is_empty() {
            return Err(query.missing(KEY, "name one key or several"));
        }
        let parts = counters.len().saturating_mul(keys.len());
        if parts > parts_max {
            let detail = format!(
                "{} counters and {} keys make {parts} parts, one request may have {parts_max}",
                counters.len(),
                keys.len()
            );
            return Err(query.invalid(KEY, detail));
        }
        let request = Self {
            counters,
            keys,
            selection: selection(select, &query)?,
            query,
        };
        request.check_effect()?;
        Ok(request)
    }

    pub fn selects(&self, select: Select) -> bool {
        self.selection.contains(&select)
    }

    /// Refuses a parameter that would have no effect.
    fn check_effect(&self) -> Result<(), Problem> {
        let (count, series) = (self.selects(Select::Count), self.selects(Select::Series));
        let without_effect = [
            (GRANULARITY, count || series, "count or series"),
            (AT, count, "count"),
            (FROM, series, "series"),
            (TO, series, "series"),
        ];
        for (name, has_effect, needed) in without_effect {
            if self.query.get(name).is_some() && !has_effect {
                let detail =
                    format!("`{name}` has no effect: leave it out, or select {needed}, too");
                return Err(self.query.invalid(name, detail));
            }
        }
        // Periods begin by the clocks of a zone, and only totals have some without a granularity.
        let granularity = self.query.get(GRANULARITY);
        let is_of_all_time = granularity.is_none_or(|name| name == Granularity::All.name());
        let has_periods = series || self.selects(Select::Totals);
        match is_of_all_time && !has_periods {
            true => params::check_no_zone(&self.query),
            false => Ok(()),
        }
    }

    /// The one address of this request: parameters in a fixed order, so that a CDN keeps one copy.
    pub fn address(&self) -> String {
        let once = ONCE
            .into_iter()
            .filter_map(|name| Some((name, self.query.get(name)?)));
        let named = |name: &'static str| move |value: &String| (name, value.clone());
        let select = Select::EVERY.into_iter();
        let select = select.filter(|(select, _)| self.selects(*select));
        let repeated = self.counters.iter().map(named(COUNTER));
        let repeated = repeated.chain(self.keys.iter().map(named(KEY)));
        let repeated = repeated.chain(select.map(|(_, name)| (SELECT, name.to_owned())));
        let all = repeated.chain(once.map(|(name, value)| (name, value.to_owned())));
        let all: Vec<String> = all
            .map(|(name, value)| format!("{name}={}", encoded(&value)))
            .collect();
        format!("{ADDRESS}?{}", all.join("&"))
    }
}

/// What is selected; a count if nothing is.
fn selection(names: &[String], query: &Query) -> Result<Vec<Select>, Problem> {
    let select = |name: &String| {
        let mut every = Select::EVERY.into_iter();
        let found = every.find(|(_, known)| known == name);
        found.map(|(select, _)| select).ok_or_else(|| {
            let names = Select::EVERY.map(|(_, name)| name).join(", ");
            query.invalid(SELECT, format!("\"{name}\" is none of {names}"))
        })
    };
    if names.is_empty() {
        return Ok(vec![Select::Count]);
    }
    names.iter().map(select).collect()
}

/// The address of a query that works: the totals of a key.
pub fn example(definitions: &Definitions) -> String {
    let first = definitions.counters.first();
    let counter = encoded(first.map_or("", |counter| &counter.name.0));
    format!("{ADDRESS}?{COUNTER}={counter}&{KEY}=abc&{SELECT}=totals")
}
