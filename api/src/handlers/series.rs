//! A time series, one page at a time. Every period has a point, also where nothing was counted.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::{HeaderValue, LINK};
use axum::response::Response;
use serde::Serialize;
use stitch_batch::layer::Layer;
use stitch_calendar::period::Period;
use stitch_calendar::time::Time;
use stitch_calendar::time_zone::TimeZone;
use stitch_common::cell::CellSlot;
use stitch_common::definition::CounterDefinition;
use stitch_common::plain_number::plain_number;

use super::key_request::KeyRequest;
use crate::app::App;
use crate::caching;
use crate::count_reader::Sum;
use crate::layers::{LayerView, LayersUsed};
use crate::params::{self, FROM, GRANULARITY, LAYER, TIME_ZONE, TO, UTC_OFFSET};
use crate::problem::Problem;
use crate::query_string::{Query, encoded};

const LIMIT: &str = "limit";
/// Points before `to` if there is no `from`.
const POINTS_DEFAULT: i32 = 30;
/// A page ends early at this many cells: a year at another offset takes many.
pub(super) const CELLS_MAX: usize = 20_000;

#[derive(Serialize)]
struct Answer<'a> {
    counter: &'a str,
    key: &'a str,
    granularity: &'static str,
    #[serde(flatten)]
    zone: &'a TimeZone,
    from: String,
    to: String,
    points: Vec<Point>,
    sum: i64,
    next: Option<String>,
}

#[derive(Serialize)]
struct Point {
    start: String,
    count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<Layer>,
}

#[derive(Debug)]
pub(super) struct SeriesRequest {
    pub(super) period: Period,
    zone: TimeZone,
    pub(super) from: Time,
    pub(super) to: Time,
    limit: usize,
}

/// One page: where each point starts, the cells that it adds up from, and where the page ends.
pub(super) struct Page {
    pub(super) starts: Vec<Time>,
    pub(super) windows: Vec<Vec<CellSlot>>,
    pub(super) end: Time,
}

pub(crate) async fn series(
    State(app): State<Arc<App>>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let definitions = &app.definitions;
    let allowed = [GRANULARITY, FROM, TO, TIME_ZONE, UTC_OFFSET, LAYER, LIMIT];
    let request = KeyRequest::parse(
        definitions,
        path,
        query.as_deref(),
        &allowed,
        |name, key| {
            let rest = example(definitions.counter(name).or(definitions.counters.first()));
            params::example(definitions, name, key, &rest)
        },
    )?;
    let (name, key) = (&*request.name, &*request.key);
    let now = app.now();
    let series = SeriesRequest::parse(&request.query, now.time(), app.limits.points_max)?;
    let page = series.page(&request.query, request.definition)?;
    let layers = app.layers(&request.query, now)?;
    let reads = layers.reads(&request.counter.name, request.query.example())?;
    let windows = &page.windows;
    let sums = app.counts.sums(&request.counter, windows, &reads).await?;
    let next = (page.end < series.to).then(|| {
        let layer = request.query.get(LAYER);
        series.next(name, key, page.end, layer)
    });
    let answer = series.answer((name, key), &page, (&sums, &layers), next.clone());
    let used = LayersUsed::of(&sums);
    let freshness = layers.freshness([&request.counter], used);
    let closed = page.end <= layers.counted_until(used, now.time());
    let mut response = caching::respond(&app, Some(&headers), &answer, freshness, closed);
    let link = next.map(|next| HeaderValue::from_str(&format!("<{next}>; rel=\"next\"")));
    if let Some(Ok(link)) = link {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// The rest of an address that works for a counter: a month by a period that it is kept by, or else its count alone.
fn example(definition: Option<&CounterDefinition>) -> String {
    let kept = |period: &Period| {
        let granularity = period.granularity();
        definition.is_some_and(|d| granularity.is_some_and(|g| d.granularities.contains(&g)))
    };
    let mut periods = [Period::Day, Period::Month, Period::Hour, Period::Year].into_iter();
    match periods.find(kept) {
        Some(period) => {
            let period = period.name();
            format!("/series?granularity={period}&from=2026-01-01&to=2026-02-01")
        }
        None => String::new(),
    }
}

impl SeriesRequest {
    pub(super) fn parse(query: &Query, now: Time, points_max: usize) -> Result<Self, Problem> {
        let period = params::period(query, query.get(GRANULARITY).unwrap_or(Period::Day.name()))?;
        let zone = params::zone(query)?;
        let round_up = |time: Time| {
            let start = period.start(time, &zone);
            if start == time {
                start
            } else {
                period.next(start, &zone)
            }
        };
        let to = match params::time(query, TO, &zone)? {
            Some(to) => round_up(to),
            None => period.next(period.start(now, &zone), &zone),
        };
        let from = match params::time(query, FROM, &zone)? {
            Some(from) => period.start(from, &zone),
            // Nothing is before the first period that an event can lie in.
            None => {
                let first = period.start(Time::FIRST, &zone);
                period.shifted(to, -POINTS_DEFAULT, &zone).max(first)
            }
        };
        if from >= to {
            let detail = format!("{} is not before {}", from.at(&zone), to.at(&zone));
            return Err(query.invalid(FROM, detail));
        }
        Ok(Self {
            period,
            zone,
            from,
            to,
            limit: limit(query, points_max)?,
        })
    }

    pub(super) fn page(
        &self,
        query: &Query,
        definition: &CounterDefinition,
    ) -> Result<Page, Problem> {
        let mut page = Page {
            starts: Vec::new(),
            windows: Vec::new(),
            end: self.from,
        };
        let mut cells = 0;
        while page.end < self.to && page.starts.len() < self.limit && cells < CELLS_MAX {
            let (start, end) = (page.end, self.period.next(page.end, &self.zone));
            let window = params::cells(query, definition, self.period, start, end, &self.zone)?;
            cells += window.len();
            page.starts.push(start);
            page.windows.push(window);
            page.end = end;
        }
        Ok(page)
    }

    /// The address of the page that begins at `from`.
    fn next(&self, name: &str, key: &str, from: Time, layer: Option<&str>) -> String {
        let [from, to] = [from, self.to].map(|time| time.parameter(&self.zone));
        let layer = layer.map(|layer| format!("&{LAYER}={layer}"));
        let rest = format!(
            "/series?granularity={}&from={}&to={}&{}{}&limit={}",
            self.period.name(),
            encoded(&from),
            encoded(&to),
            params::zone_parameter(&self.zone),
            layer.unwrap_or_default(),
            self.limit
        );
        params::address(name, Some(key), &rest)
    }

    fn answer<'a>(
        &'a self,
        (counter, key): (&'a str, &'a str),
        page: &Page,
        (sums, layers): (&[Sum], &LayerView),
        next: Option<String>,
    ) -> Answer<'a> {
        let point = |(start, sum): (&Time, &Sum)| Point {
            start: start.at(&self.zone),
            count: sum.count.0,
            layer: layers.shown(sum.layer),
        };
        Answer {
            counter,
            key,
            granularity: self.period.name(),
            zone: &self.zone,
            from: self.from.at(&self.zone),
            to: self.to.at(&self.zone),
            points: page.starts.iter().zip(sums).map(point).collect(),
            sum: sums
                .iter()
                .fold(0, |total, sum| sum.count.0.wrapping_add(total)),
            next,
        }
    }
}

fn limit(query: &Query, max: usize) -> Result<usize, Problem> {
    let Some(text) = query.get(LIMIT) else {
        return Ok(max);
    };
    let limit = plain_number(text).filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| query.invalid(LIMIT, format!("\"{text}\" is not within 1 and {max}")))
}
