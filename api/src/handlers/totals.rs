//! The numbers above everything else: all that was counted, and this hour, day, week, month and year against the one
//! before, in one answer of one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use stitch_common::cell::{CellSlot, Count, Counter, Granularity};
use stitch_common::definition::CounterDefinition;
use stitch_common::ports::StoreError;

use super::key_request::KeyRequest;
use crate::app::App;
use crate::calendar::{Period, Time, UtcOffset};
use crate::params::{self, UTC_OFFSET};
use crate::problem::Problem;
use crate::tiling;
use crate::web::caching;

#[derive(Serialize)]
struct Answer<'a> {
    counter: &'a str,
    key: &'a str,
    utc_offset: UtcOffset,
    #[serde(flatten)]
    totals: Totals,
}

/// All that was counted, and the periods that can be added up from what is kept.
#[derive(Debug, Serialize)]
pub(crate) struct Totals {
    pub(crate) total: Option<i64>,
    pub(crate) periods: BTreeMap<&'static str, This>,
}

/// A period that goes on, and the one before it.
#[derive(Debug, Serialize)]
pub(crate) struct This {
    start: String,
    pub(crate) count: i64,
    pub(crate) before: Before,
}

/// The whole of the period before.
#[derive(Debug, Serialize)]
pub(crate) struct Before {
    start: String,
    pub(crate) count: i64,
}

/// The stretches that are read: of each period this one and the one before.
struct Asked {
    total: bool,
    periods: Vec<(Period, Time, Time)>,
    stretches: Vec<Vec<CellSlot>>,
}

pub(crate) async fn totals(
    State(app): State<Arc<App>>,
    parts: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let definitions = &app.definitions;
    let known = [UTC_OFFSET];
    let one = KeyRequest::parse(definitions, parts, query.as_deref(), &known, |name, key| {
        params::example(definitions, name, key, "/totals")
    })?;
    let offset = params::offset(&one.query)?;
    let now = app.now();
    let answer = Answer {
        counter: &one.name,
        key: &one.key,
        utc_offset: offset,
        totals: read(&app, &one.counter, one.definition, now.time(), offset).await?,
    };
    let freshness = app.board().of_all([&one.counter], now.moment);
    Ok(caching::answer(&app, &headers, &answer, freshness, false))
}

/// The totals of one key as they are at `now`, read at once.
pub(crate) async fn read(
    app: &App,
    counter: &Counter,
    definition: &CounterDefinition,
    now: Time,
    offset: UtcOffset,
) -> Result<Totals, StoreError> {
    let asked = Asked::at(now, offset, &definition.granularities);
    let counts = app.counts.sums(counter, &asked.stretches).await?;
    Ok(asked.told(offset, &counts))
}

impl Asked {
    /// What can be added up from what is kept.
    fn at(now: Time, offset: UtcOffset, kept: &[Granularity]) -> Self {
        let mut asked = Self {
            total: kept.contains(&Granularity::All),
            periods: Vec::new(),
            stretches: Vec::new(),
        };
        for period in Period::EVERY {
            let start = period.start(now, offset);
            let before = period.shifted(start, -1, offset);
            let end = period.next(start, offset);
            let tiles = tiling::cover(start, end, kept).zip(tiling::cover(before, start, kept));
            if let Some((this, last)) = tiles {
                asked.periods.push((period, start, before));
                asked.stretches.extend([this, last]);
            }
        }
        if asked.total {
            asked.stretches.push(vec![tiling::all()]);
        }
        asked
    }

    fn told(&self, offset: UtcOffset, counts: &[Count]) -> Totals {
        let count = |at: usize| counts.get(at).copied().unwrap_or_default().0;
        let this = |(index, (period, start, before)): (usize, &(Period, Time, Time))| {
            let this = This {
                start: start.at(offset),
                count: count(2 * index),
                before: Before {
                    start: before.at(offset),
                    count: count(2 * index + 1),
                },
            };
            (period.name(), this)
        };
        Totals {
            total: self.total.then(|| count(2 * self.periods.len())),
            periods: self.periods.iter().enumerate().map(this).collect(),
        }
    }
}
