//! The total of all time, and the present hour, day, week, month and year with the one before each, in one answer of
//! one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use stitch_calendar::period::Period;
use stitch_calendar::tiling;
use stitch_calendar::time::Time;
use stitch_calendar::time_zone::TimeZone;
use stitch_common::cell::{CellSlot, Count, Counter, Granularity};
use stitch_common::definition::CounterDefinition;
use stitch_common::ports::StoreError;

use super::key_request::KeyRequest;
use crate::app::App;
use crate::caching;
use crate::params::{self, TIME_ZONE, UTC_OFFSET};
use crate::problem::Problem;

#[derive(Serialize)]
struct Answer<'a> {
    counter: &'a str,
    key: &'a str,
    #[serde(flatten)]
    zone: &'a TimeZone,
    #[serde(flatten)]
    totals: Totals,
}

/// The total of all time, and the periods that can be added up from the kept granularities.
#[derive(Debug, Serialize)]
pub(crate) struct Totals {
    pub(crate) total: Option<i64>,
    pub(crate) periods: BTreeMap<&'static str, PeriodTotal>,
}

/// The present period so far, and the one before it.
#[derive(Debug, Serialize)]
pub(crate) struct PeriodTotal {
    start: String,
    pub(crate) count: i64,
    pub(crate) before: PreviousTotal,
}

/// The whole of the previous period.
#[derive(Debug, Serialize)]
pub(crate) struct PreviousTotal {
    start: String,
    pub(crate) count: i64,
}

/// What to read: for each period the window of the present one and that of the previous one, then that of all time.
pub(super) struct TotalsRequest {
    with_total: bool,
    periods: Vec<(Period, Time, Time)>,
    pub(super) windows: Vec<Vec<CellSlot>>,
}

pub(crate) async fn totals(
    State(app): State<Arc<App>>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let definitions = &app.definitions;
    let allowed = [TIME_ZONE, UTC_OFFSET];
    let request = KeyRequest::parse(
        definitions,
        path,
        query.as_deref(),
        &allowed,
        |name, key| params::example(definitions, name, key, "/totals"),
    )?;
    let zone = &params::zone(&request.query)?;
    let now = app.now();
    let (counter, definition) = (&request.counter, request.definition);
    let answer = Answer {
        counter: &request.name,
        key: &request.key,
        zone,
        totals: read(&app, counter, definition, now.time(), zone).await?,
    };
    let freshness = app.freshness().of_all([counter], now.moment);
    Ok(caching::respond(
        &app,
        Some(&headers),
        &answer,
        freshness,
        false,
    ))
}

/// Reads the totals of one key at `now`, in one read.
pub(crate) async fn read(
    app: &App,
    counter: &Counter,
    definition: &CounterDefinition,
    now: Time,
    zone: &TimeZone,
) -> Result<Totals, StoreError> {
    let request = TotalsRequest::new(now, zone, &definition.granularities);
    let counts = app.counts.sums(counter, &request.windows).await?;
    Ok(request.totals(zone, &counts))
}

impl TotalsRequest {
    pub(super) fn new(now: Time, zone: &TimeZone, kept: &[Granularity]) -> Self {
        let mut request = Self {
            with_total: kept.contains(&Granularity::All),
            periods: Vec::new(),
            windows: Vec::new(),
        };
        for period in Period::EVERY {
            let start = period.start(now, zone);
            let before = period.previous(start, zone);
            let end = period.next(start, zone);
            let windows = tiling::cover(start, end, kept).zip(tiling::cover(before, start, kept));
            if let Some((present, previous)) = windows {
                request.periods.push((period, start, before));
                request.windows.extend([present, previous]);
            }
        }
        if request.with_total {
            request.windows.push(vec![tiling::all()]);
        }
        request
    }

    pub(super) fn totals(&self, zone: &TimeZone, counts: &[Count]) -> Totals {
        let count = |at: usize| counts.get(at).copied().unwrap_or_default().0;
        let total = |(index, (period, start, before)): (usize, &(Period, Time, Time))| {
            let total = PeriodTotal {
                start: start.at(zone),
                count: count(2 * index),
                before: PreviousTotal {
                    start: before.at(zone),
                    count: count(2 * index + 1),
                },
            };
            (period.name(), total)
        };
        Totals {
            total: self.with_total.then(|| count(2 * self.periods.len())),
            periods: self.periods.iter().enumerate().map(total).collect(),
        }
    }
}
