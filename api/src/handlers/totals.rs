//! The total of all time, and the present hour, day, week, month and year with the one before each, in one answer of
//! one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use stitch_batch::layer::Layer;
use stitch_calendar::period::Period;
use stitch_calendar::tiling;
use stitch_calendar::time::Time;
use stitch_calendar::time_zone::TimeZone;
use stitch_common::cell::{CellSlot, Counter, Granularity};
use stitch_common::definition::CounterDefinition;
use stitch_common::ports::StoreError;

use super::key_request::KeyRequest;
use crate::app::App;
use crate::caching;
use crate::count_reader::Sum;
use crate::count_tables::LayerReads;
use crate::layers::{LayerView, LayersUsed};
use crate::params::{self, LAYER, TIME_ZONE, UTC_OFFSET, WINDOW_CELLS_MAX};
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

/// The total of all time, and the periods that few enough cells of the kept granularities add up to.
#[derive(Debug, Serialize)]
pub(crate) struct Totals {
    pub(crate) total: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total_layer: Option<Layer>,
    pub(crate) periods: BTreeMap<&'static str, PeriodTotal>,
}

/// The present period so far, and the one before it.
#[derive(Debug, Serialize)]
pub(crate) struct PeriodTotal {
    start: String,
    pub(crate) count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) layer: Option<Layer>,
    pub(crate) before: PreviousTotal,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) so_far: Option<SoFar>,
}

/// The whole of the previous period.
#[derive(Debug, Serialize)]
pub(crate) struct PreviousTotal {
    start: String,
    pub(crate) count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) layer: Option<Layer>,
}

/// The present period and the one before it up to the same local time of each, so that a period that is not over can be
/// compared: up to the last whole hour, or day, that the kept granularities add up to.
#[derive(Debug, Serialize)]
pub(crate) struct SoFar {
    /// Where the part of the present period ends.
    pub(crate) until: String,
    pub(crate) count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) layer: Option<Layer>,
    /// Of the same part of the period before.
    pub(crate) count_before: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) layer_before: Option<Layer>,
}

/// A period to read.
struct PeriodRequest {
    period: Period,
    start: Time,
    before: Time,
    so_far: Option<Time>,
}

/// What to read: for each period the window of the present one and that of the previous one, then
/// their parts until the same moment, if there are any; last that of all time.
pub(super) struct TotalsRequest {
    with_total: bool,
    periods: Vec<PeriodRequest>,
    pub(super) windows: Vec<Vec<CellSlot>>,
}

pub(crate) async fn totals(
    State(app): State<Arc<App>>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let definitions = &app.definitions;
    let allowed = [TIME_ZONE, UTC_OFFSET, LAYER];
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
    let layers = app.layers(&request.query, now)?;
    let reads = layers.reads(&counter.name, request.query.example())?;
    let read = read(
        &app,
        (counter, &reads),
        definition,
        (now.time(), zone),
        &layers,
    );
    let (totals, used) = read.await?;
    let answer = Answer {
        counter: &request.name,
        key: &request.key,
        zone,
        totals,
    };
    let freshness = layers.freshness([counter], used);
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
    (counter, reads): (&Counter, &LayerReads),
    definition: &CounterDefinition,
    (now, zone): (Time, &TimeZone),
    layers: &LayerView,
) -> Result<(Totals, LayersUsed), StoreError> {
    let request = TotalsRequest::new(now, zone, &definition.granularities);
    let sums = app.counts.sums(counter, &request.windows, reads).await?;
    let totals = request.totals(zone, &sums, layers);
    Ok((totals, LayersUsed::of(&sums)))
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
            // A year of minutes is left out: whoever asks for totals did not ask for it.
            let windows = cells(start, end, kept).zip(cells(before, start, kept));
            if let Some((present, previous)) = windows {
                request.windows.extend([present, previous]);
                let so_far = so_far(period, start, before, now, zone, kept);
                request.periods.push(PeriodRequest {
                    period,
                    start,
                    before,
                    so_far: so_far.as_ref().map(|(until, _)| *until),
                });
                request
                    .windows
                    .extend(so_far.into_iter().flat_map(|(_, windows)| windows));
            }
        }
        if request.with_total {
            request.windows.push(vec![tiling::all()]);
        }
        request
    }

    pub(super) fn totals(&self, zone: &TimeZone, sums: &[Sum], layers: &LayerView) -> Totals {
        let mut sums = sums
            .iter()
            .map(|sum| (sum.count.0, layers.shown(sum.layer)));
        let mut next = || sums.next().unwrap_or_default();
        let total = |request: &PeriodRequest| {
            let ((count, layer), (count_before, layer_before)) = (next(), next());
            let so_far = request.so_far.map(|until| {
                let ((count, layer), (count_before, layer_before)) = (next(), next());
                SoFar {
                    until: until.at(zone),
                    count,
                    layer,
                    count_before,
                    layer_before,
                }
            });
            let total = PeriodTotal {
                start: request.start.at(zone),
                count,
                layer,
                before: PreviousTotal {
                    start: request.before.at(zone),
                    count: count_before,
                    layer: layer_before,
                },
                so_far,
            };
            (request.period.name(), total)
        };
        let periods = self.periods.iter().map(total).collect();
        let total = self.with_total.then(|| sums.next().unwrap_or_default());
        Totals {
            total: total.map(|(count, _)| count),
            total_layer: total.and_then(|(_, layer)| layer),
            periods,
        }
    }
}

/// The cells of a window; `None` if the kept granularities do not add up to it, or only in too many cells.
fn cells(start: Time, end: Time, kept: &[Granularity]) -> Option<Vec<CellSlot>> {
    tiling::cover(start, end, kept, WINDOW_CELLS_MAX).ok()
}

/// Where the part of the present period ends that is compared with the one before, and the windows of both. `None` for hours
/// and what is shorter, for years, which are made of too many cells, and while nothing of the period is over.
fn so_far(
    period: Period,
    start: Time,
    before: Time,
    now: Time,
    zone: &TimeZone,
    kept: &[Granularity],
) -> Option<(Time, [Vec<CellSlot>; 2])> {
    if !matches!(period, Period::Day | Period::Week | Period::Month) {
        return None;
    }
    [Period::Hour, Period::Day].into_iter().find_map(|unit| {
        let until = unit.start(now, zone);
        // A month may be longer than the one before.
        let until_before = zone.same_time(until, start, before).clamp(before, start);
        let part = cells(start, until, kept)?;
        let part_before = cells(before, until_before, kept)?;
        (until > start).then_some((until, [part, part_before]))
    })
}
