//! A time series, a page at a time: every period has a point, also where nothing was counted.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::{HeaderValue, LINK};
use axum::response::Response;
use serde::Serialize;
use stitch_common::cell::{CellSlot, Count};
use stitch_common::definition::CounterDefinition;

use super::key_request::KeyRequest;
use crate::app::App;
use crate::calendar::{Period, Time, UtcOffset};
use crate::params::{self, GRANULARITY, UTC_OFFSET};
use crate::problem::Problem;
use crate::query_string::{Query, encoded};
use crate::web::caching;

const FROM: &str = "from";
const TO: &str = "to";
const LIMIT: &str = "limit";
/// Points that are shown if nobody says from when on.
const POINTS_DEFAULT: i32 = 30;
/// A page ends early at so many cells: a year at another offset is many.
const CELLS_MAX: usize = 20_000;

#[derive(Serialize)]
struct Answer<'a> {
    counter: &'a str,
    key: &'a str,
    granularity: &'static str,
    utc_offset: UtcOffset,
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
}

/// What is asked for.
#[derive(Debug)]
struct Span {
    period: Period,
    offset: UtcOffset,
    from: Time,
    to: Time,
    limit: usize,
}

/// One page: where each point starts and what it adds up from, and where the next page begins.
struct Page {
    starts: Vec<Time>,
    stretches: Vec<Vec<CellSlot>>,
    behind: Time,
}

pub(crate) async fn series(
    State(app): State<Arc<App>>,
    parts: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let definitions = &app.definitions;
    let known = [GRANULARITY, FROM, TO, UTC_OFFSET, LIMIT];
    let one = KeyRequest::parse(definitions, parts, query.as_deref(), &known, |name, key| {
        let rest = works(definitions.counter(name).or(definitions.counters.first()));
        params::example(definitions, name, key, &rest)
    })?;
    let (name, key) = (&*one.name, &*one.key);
    let now = app.now();
    let span = Span::parse(&one.query, now.time(), app.limits.points_max)?;
    let page = span.page(&one.query, one.definition)?;
    let counts = app.counts.sums(&one.counter, &page.stretches).await?;
    let next = (page.behind < span.to).then(|| span.next(name, key, page.behind));
    let answer = span.answer(name, key, &page, &counts, next.clone());
    let freshness = app.board().of_all([&one.counter], now.moment);
    let closed = page.behind <= now.time();
    let mut response = caching::answer(&app, &headers, &answer, freshness, closed);
    let link = next.map(|next| HeaderValue::from_str(&format!("<{next}>; rel=\"next\"")));
    if let Some(Ok(link)) = link {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// What works for a counter: a month by a period that it is kept by; the count alone, if it is kept by none.
fn works(definition: Option<&CounterDefinition>) -> String {
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

impl Span {
    fn parse(query: &Query, now: Time, points_max: usize) -> Result<Self, Problem> {
        let period = params::period(query, query.get(GRANULARITY).unwrap_or(Period::Day.name()))?;
        let offset = params::offset(query)?;
        let end = |time: Time| {
            let start = period.start(time, offset);
            if start == time {
                start
            } else {
                period.next(start, offset)
            }
        };
        let present = || period.next(period.start(now, offset), offset);
        let to = params::time(query, TO, offset)?.map_or_else(present, end);
        let from = match params::time(query, FROM, offset)? {
            Some(from) => period.start(from, offset),
            None => period.shifted(to, -POINTS_DEFAULT, offset),
        };
        if from >= to {
            let detail = format!("{} is not before {}", from.at(offset), to.at(offset));
            return Err(query.wrong(FROM, detail));
        }
        let limit = match query.get(LIMIT) {
            None => points_max,
            Some(text) => {
                let limit = text
                    .parse()
                    .ok()
                    .filter(|limit| (1..=points_max).contains(limit));
                limit.ok_or_else(|| {
                    query.wrong(
                        LIMIT,
                        format!("\"{text}\" is not within 1 and {points_max}"),
                    )
                })?
            }
        };
        Ok(Self {
            period,
            offset,
            from,
            to,
            limit,
        })
    }

    fn page(&self, query: &Query, definition: &CounterDefinition) -> Result<Page, Problem> {
        let mut page = Page {
            starts: Vec::new(),
            stretches: Vec::new(),
            behind: self.from,
        };
        let mut cells = 0;
        while page.behind < self.to && page.starts.len() < self.limit && cells < CELLS_MAX {
            let (start, end) = (page.behind, self.period.next(page.behind, self.offset));
            let stretch = params::tiled(query, definition, self.period, start, end, self.offset)?;
            cells += stretch.len();
            page.starts.push(start);
            page.stretches.push(stretch);
            page.behind = end;
        }
        Ok(page)
    }

    /// The address of the page that begins there.
    fn next(&self, name: &str, key: &str, from: Time) -> String {
        let (from, to) = (from.at(self.offset), self.to.at(self.offset));
        let rest = format!(
            "/series?granularity={}&from={}&to={}&utc_offset={}&limit={}",
            self.period.name(),
            encoded(&from),
            encoded(&to),
            encoded(&self.offset.to_string()),
            self.limit
        );
        params::address(name, Some(key), &rest)
    }

    fn answer<'a>(
        &self,
        counter: &'a str,
        key: &'a str,
        page: &Page,
        counts: &[Count],
        next: Option<String>,
    ) -> Answer<'a> {
        let point = |(start, count): (&Time, &Count)| Point {
            start: start.at(self.offset),
            count: count.0,
        };
        Answer {
            counter,
            key,
            granularity: self.period.name(),
            utc_offset: self.offset,
            from: self.from.at(self.offset),
            to: self.to.at(self.offset),
            points: page.starts.iter().zip(counts).map(point).collect(),
            sum: counts
                .iter()
                .fold(0, |sum, count| count.0.wrapping_add(sum)),
            next,
        }
    }
}
