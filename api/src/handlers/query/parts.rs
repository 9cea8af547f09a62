//! The parts of a query: what each reads, and its answer.

use futures_util::stream::{FuturesOrdered, StreamExt};
use serde::Serialize;
use stitch_batch::layer::Layer;
use stitch_calendar::time::Time;
use stitch_calendar::time_zone::TimeZone;
use stitch_common::cell::{CellSlot, Counter};
use stitch_common::definition::CounterDefinition;

use crate::admission::KEYS_AT_ONCE;
use crate::app::{App, Now};
use crate::count_reader::Sum;
use crate::count_tables::LayerReads;
use crate::handlers::count::WindowFields;
use crate::handlers::series::{Page, SeriesRequest};
use crate::handlers::totals::{Totals, TotalsRequest};
use crate::layers::{LayerView, LayersUsed};
use crate::params::{self, Window};
use crate::problem::{Kind, Problem};
use crate::query_request::{QueryRequest, Select};

/// Points of all parts together, in series of the longest length.
const SERIES_MAX: usize = 20;
/// Cells that all parts together are added up from.
const CELLS_MAX: usize = 200_000;

/// An answer to a query.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    #[serde(flatten)]
    zone: &'a TimeZone,
    /// What each `count` is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<WindowFields>,
    /// What `counts` are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<SeriesFields>,
    parts: Vec<Part<'a>>,
    /// Whether Cassandra did not answer for some of them.
    #[serde(skip)]
    pub(super) lacks_reads: bool,
    #[serde(skip)]
    pub(super) layers_used: LayersUsed,
}

#[derive(Serialize)]
struct SeriesFields {
    granularity: &'static str,
    from: String,
    to: String,
    starts: Vec<String>,
}

#[derive(Serialize)]
struct Part<'a> {
    counter: &'a str,
    key: &'a str,
    #[serde(flatten)]
    result: PartResult<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum PartResult<'a> {
    Counts(Box<PartCounts>),
    Problem { problem: &'a Problem },
    Unread { problem: Problem },
}

/// What was selected; `counts` has one for each of the starts of the series.
#[derive(Default, Serialize)]
struct PartCounts {
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<Layer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Vec<i64>>,
    /// Of each of `counts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<Layer>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sum: Option<i64>,
    #[serde(flatten)]
    totals: Option<Totals>,
    #[serde(skip)]
    layers_used: LayersUsed,
}

/// What is read of each key of one counter: the windows of the count, of the series and of the totals, in this order.
struct CounterPlan {
    reads: LayerReads,
    window: Option<Window>,
    page: Option<Page>,
    totals: Option<TotalsRequest>,
    windows: Vec<Vec<CellSlot>>,
}

/// A part with its counter, and what is read of it; or why nothing is.
struct PartPlan<'a> {
    counter: &'a str,
    key: &'a str,
    read: Result<(Counter, usize), Problem>,
}

/// All parts of a query.
pub(super) struct Parts<'a> {
    zone: TimeZone,
    series: Option<SeriesRequest>,
    plans: Vec<Option<CounterPlan>>,
    parts: Vec<PartPlan<'a>>,
    pub(super) layers: LayerView,
}

impl<'a> Parts<'a> {
    /// # Errors
    /// The request is wrong in all of its parts, or asks for too much.
    pub(super) fn new(app: &App, request: &'a QueryRequest, now: Now) -> Result<Self, Problem> {
        let query = &request.query;
        let layers = app.layers(query, now)?;
        let now = now.time();
        let series = request
            .selects(Select::Series)
            .then(|| SeriesRequest::parse(query, now, app.limits.points_max))
            .transpose()?;
        let mut all = Self {
            zone: params::zone(query)?,
            series,
            plans: Vec::new(),
            parts: Vec::new(),
            layers,
        };
        for counter in &request.counters {
            let definition = params::definition(&app.definitions, counter, query.example());
            let planned = definition.and_then(|definition| {
                let plan = all.plan(app, request, definition, now)?;
                Ok((definition, plan))
            });
            let index = all.plans.len();
            for key in &request.keys {
                let read = match &planned {
                    Ok((definition, _)) => params::counter(definition, key, query.example())
                        .map(|counter| (counter, index)),
                    Err(problem) => Err(problem.clone()),
                };
                all.parts.push(PartPlan { counter, key, read });
            }
            all.plans.push(planned.ok().map(|(_, plan)| plan));
        }
        all.check_size(app, request)?;
        let first = all.parts.first().map(|part| &part.read);
        match first {
            Some(Err(problem)) if all.reads() == 0 => Err(problem.clone()),
            Some(_) | None => Ok(all),
        }
    }

    fn plan(
        &self,
        app: &App,
        request: &QueryRequest,
        definition: &CounterDefinition,
        now: Time,
    ) -> Result<CounterPlan, Problem> {
        let query = &request.query;
        let mut plan = CounterPlan {
            reads: self.layers.reads(&definition.name, query.example())?,
            window: None,
            page: None,
            totals: None,
            windows: Vec::new(),
        };
        if request.selects(Select::Count) {
            let (window, cells) = Window::parse(query, definition, &self.zone, now)?;
            plan.window = Some(window);
            plan.windows.push(cells);
        }
        if let Some(series) = &self.series {
            let mut page = series.page(query, definition)?;
            if page.end < series.to {
                let detail = format!(
                    "a series of a query is answered as a whole, and this one has more than {} points or is added up from \
                     more than {} buckets: name a later `from` or an earlier `to`, or page through the series of one key",
                    app.limits.points_max,
                    crate::handlers::series::CELLS_MAX
                );
                return Err(query.invalid(crate::params::FROM, detail));
            }
            plan.windows.append(&mut page.windows);
            plan.page = Some(page);
        }
        if request.selects(Select::Totals) {
            let mut totals = TotalsRequest::new(now, &self.zone, &definition.granularities);
            plan.windows.append(&mut totals.windows);
            plan.totals = Some(totals);
        }
        Ok(plan)
    }

    fn check_size(&self, app: &App, request: &QueryRequest) -> Result<(), Problem> {
        let refusal = |what, count, max| {
            let detail = format!(
                "all parts together have {count} {what}, one request may have {max}: name fewer keys, or a shorter time"
            );
            Err(request.query.invalid("key", detail))
        };
        let (mut points, mut cells) = (0, 0);
        for (_, plan) in self.planned() {
            points += plan.page.as_ref().map_or(0, |page| page.starts.len());
            cells += plan.windows.iter().map(Vec::len).sum::<usize>();
        }
        let points_max = SERIES_MAX * app.limits.points_max;
        if points > points_max {
            return refusal("points", points, points_max);
        }
        if cells > CELLS_MAX {
            return refusal("buckets", cells, CELLS_MAX);
        }
        Ok(())
    }

    fn planned(&self) -> impl Iterator<Item = (&Counter, &CounterPlan)> {
        let planned = self.parts.iter().filter_map(|part| part.read.as_ref().ok());
        planned.filter_map(|(counter, plan)| Some((counter, self.plans.get(*plan)?.as_ref()?)))
    }

    /// How many parts are read.
    pub(super) fn reads(&self) -> usize {
        self.planned().count()
    }

    /// The counters that are read.
    pub(super) fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.planned().map(|(counter, _)| counter)
    }

    /// Whether all periods have ended at `now`.
    pub(super) fn are_closed(&self, now: Time) -> bool {
        self.planned().all(|(_, plan)| {
            let window = plan.window.is_none_or(|window| window.is_closed(now));
            let series = plan.page.as_ref().is_none_or(|page| page.end <= now);
            window && series && plan.totals.is_none()
        })
    }

    /// Reads all parts.
    ///
    /// # Errors
    /// No part could be read.
    ///
    /// # Cancellation
    /// Cancels the reads.
    pub(super) async fn read(&self, app: &App) -> Result<Answer<'_>, Problem> {
        let mut parts = Vec::with_capacity(self.parts.len());
        let mut lacks_reads = false;
        let mut has_counts = false;
        let mut layers_used = LayersUsed::default();
        let mut waiting = self.parts.iter();
        let mut results = FuturesOrdered::new();
        loop {
            let free = KEYS_AT_ONCE - results.len();
            for part in waiting.by_ref().take(free) {
                results.push_back(self.result(app, part));
            }
            let Some(result) = results.next().await else {
                break;
            };
            lacks_reads |= matches!(result, PartResult::Unread { .. });
            if let PartResult::Counts(counts) = &result {
                has_counts = true;
                layers_used = layers_used.and(counts.layers_used);
            }
            let part = &self.parts[parts.len()];
            parts.push(Part {
                counter: part.counter,
                key: part.key,
                result,
            });
        }
        if !has_counts {
            let unread = parts.into_iter().find_map(|part| match part.result {
                PartResult::Unread { problem } => Some(problem),
                PartResult::Counts(_) | PartResult::Problem { .. } => None,
            });
            let otherwise = || Problem::new(Kind::StoreUnavailable, "nothing was read");
            return Err(unread.unwrap_or_else(otherwise));
        }
        let plan = self.planned().map(|(_, plan)| plan).next();
        let window = plan.and_then(|plan| plan.window);
        let page = plan.and_then(|plan| plan.page.as_ref());
        Ok(Answer {
            zone: &self.zone,
            window: window.map(|window| WindowFields::new(window, &self.zone)),
            series: self
                .series
                .as_ref()
                .zip(page)
                .map(|(series, page)| SeriesFields {
                    granularity: series.period.name(),
                    from: series.from.at(&self.zone),
                    to: series.to.at(&self.zone),
                    starts: page
                        .starts
                        .iter()
                        .map(|start| start.at(&self.zone))
                        .collect(),
                }),
            parts,
            lacks_reads,
            layers_used,
        })
    }

    async fn result<'b>(&'b self, app: &App, part: &'b PartPlan<'_>) -> PartResult<'b> {
        let (counter, plan) = match &part.read {
            Ok((counter, plan)) => (counter, self.plans[*plan].as_ref()),
            Err(problem) => return PartResult::Problem { problem },
        };
        let plan = plan.expect("a part that is read has a plan");
        match app.counts.sums(counter, &plan.windows, &plan.reads).await {
            Ok(sums) => PartResult::Counts(Box::new(plan.counts(&self.zone, &sums, &self.layers))),
            Err(error) => PartResult::Unread {
                problem: error.into(),
            },
        }
    }
}

impl CounterPlan {
    /// The sums of its windows as an answer.
    fn counts(&self, zone: &TimeZone, sums: &[Sum], layers: &LayerView) -> PartCounts {
        let (first, rest) = sums.split_at(usize::from(self.window.is_some()).min(sums.len()));
        let points = self.page.as_ref().map_or(0, |page| page.starts.len());
        let (points, totals) = rest.split_at(points.min(rest.len()));
        let series = self.page.is_some();
        let shown = |sum: &Sum| layers.shown(sum.layer);
        PartCounts {
            count: first.first().map(|sum| sum.count.0),
            layer: first.first().and_then(shown),
            counts: series.then(|| points.iter().map(|sum| sum.count.0).collect()),
            layers: series.then(|| points.iter().map(shown).collect()).flatten(),
            sum: series.then(|| {
                points
                    .iter()
                    .fold(0, |total, sum| sum.count.0.wrapping_add(total))
            }),
            totals: self
                .totals
                .as_ref()
                .map(|request| request.totals(zone, totals, layers)),
            layers_used: LayersUsed::of(sums),
        }
    }
}
