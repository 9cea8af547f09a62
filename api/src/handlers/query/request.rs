//! Parses a query, from an address or a body, and says which address it has.

use axum::body::Body;
use serde::Deserialize;

use crate::app::App;
use crate::handlers::series::{FROM, TO};
use crate::params::{AT, GRANULARITY, LAYER, TIME_ZONE, UTC_OFFSET};
use crate::problem::Problem;
use crate::query_string::{Query, encoded};
use crate::request_body;

pub(super) const ADDRESS: &str = "/v1/query";
const COUNTER: &str = "counter";
const KEY: &str = "key";
const SELECT: &str = "select";
/// The parameters that may be given once, in the order of an address.
const ONCE: [&str; 7] = [GRANULARITY, AT, FROM, TO, TIME_ZONE, UTC_OFFSET, LAYER];

/// What is answered for each counter and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Select {
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
pub(super) struct QueryRequest {
    pub(super) counters: Vec<String>,
    pub(super) keys: Vec<String>,
    selection: Vec<Select>,
    pub(super) query: Query,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryBody {
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
    pub(super) fn from_address(app: &App, raw: Option<&str>) -> Result<Self, Problem> {
        let query = Query::parse(raw, &ONCE, &[COUNTER, KEY, SELECT], example(app))?;
        let all = |name: &str| query.all(name).map(str::to_owned).collect::<Vec<_>>();
        let (counters, keys, select) = (all(COUNTER), all(KEY), all(SELECT));
        Self::new(app, counters, keys, &select, query)
    }

    pub(super) fn from_key(
        app: &App,
        counter: String,
        key: String,
        raw: Option<&str>,
    ) -> Result<Self, Problem> {
        let query = Query::parse(raw, &ONCE, &[SELECT], example(app))?;
        let select: Vec<String> = query.all(SELECT).map(str::to_owned).collect();
        Self::new(app, vec![counter], vec![key], &select, query)
    }

    pub(super) async fn from_body(
        app: &App,
        raw: Option<&str>,
        body: Body,
    ) -> Result<Self, Problem> {
        let example = example(app);
        let names = 2 * app.limits.keys_max;
        let body: QueryBody =
            request_body::json(app.limits.request_timeout, raw, body, names, &example).await?;
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
        Self::new(app, body.counters, body.keys, &body.select, query)
    }

    fn new(
        app: &App,
        counters: Vec<String>,
        keys: Vec<String>,
        select: &[String],
        query: Query,
    ) -> Result<Self, Problem> {
        if counters.is_empty() {
            return Err(query.missing(COUNTER, "name one counter or several"));
        }
        if keys.is_empty() {
            return Err(query.missing(KEY, "name one key or several"));
        }
        let (parts, max) = (
            counters.len().saturating_mul(keys.len()),
            app.limits.keys_max,
        );
        if parts > max {
            let detail = format!(
                "{} counters and {} keys make {parts} parts, one request may have {max}",
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

    pub(super) fn selects(&self, select: Select) -> bool {
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
        Ok(())
    }

    /// The one address of this request: parameters in a fixed order, so that a CDN keeps one copy.
    pub(super) fn address(&self) -> String {
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
pub(super) fn example(app: &App) -> String {
    let first = app.definitions.counters.first();
    let counter = encoded(first.map_or("", |counter| &counter.name.0));
    format!("{ADDRESS}?{COUNTER}={counter}&{KEY}=abc&{SELECT}=totals")
}
