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
use stitch_api_request::query_size::QuerySize;

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
    /// Whether a later request may be answered in full: some of them lack what may come.
    #[serde(skip)]
    pub(super) is_partial: bool,
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

impl PartResult<'_> {
    /// Whether a later request may get more than this.
    fn may_pass(&self) -> bool {
        match self {
            Self::Counts(_) => false,
            Self::Problem { problem } => problem.kind.may_pass(),
            Self::Unread { .. } => true,
        }
    }
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
struct CounterPlan<'a> {
    definition: &'a CounterDefinition,
    reads: LayerReads,
    window: Option<Window>,
    page: Option<Page>,
    totals: Option<TotalsRequest>,
    windows: Vec<Vec<CellSlot>>,
}

impl CounterPlan<'_> {
    /// The size of each of its parts.
    fn size(&self) -> QuerySize {
        QuerySize {
            points: self.page.as_ref().map_or(0, |page| page.starts.len()),
            cells: self.windows.iter().map(Vec::len).sum(),
        }
    }
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
    /// One for each counter, however often it is named.
    plans: Vec<(&'a str, Result<CounterPlan<'a>, Problem>)>,
    parts: Vec<PartPlan<'a>>,
    pub(super) layers: LayerView,
}

impl<'a> Parts<'a> {
    /// # Errors
    /// The request is wrong in all of its parts, or asks for too much.
    pub(super) fn new(app: &'a App, request: &'a QueryRequest, now: Now) -> Result<Self, Problem> {
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
        let mut size = QuerySize::default();
        for counter in &request.counters {
            let index = all.plan_index(app, request, counter, now);
            let (_, plan) = &all.plans[index];
            let read = |key: &str| {
                let plan = plan.as_ref().map_err(Clone::clone)?;
                let counter = params::counter(plan.definition, key, query.example())?;
                Ok((counter, index))
            };
            for key in &request.keys {
                let read = read(key);
                if let (Ok(plan), Ok(_)) = (plan, &read) {
                    size.add(plan.size());
                }
                all.parts.push(PartPlan { counter, key, read });
            }
            // Before the next plan is made: all of them could take more memory than there is.
            size.check(app.limits.points_max, query)?;
        }
        let first = all.parts.first().map(|part| &part.read);
        match first {
            Some(Err(problem)) if all.reads() == 0 => Err(problem.clone()),
            Some(_) | None => Ok(all),
        }
    }

    /// The index of the plan of `counter`, which is made when it is named for the first time.
    fn plan_index(
        &mut self,
        app: &'a App,
        request: &QueryRequest,
        counter: &'a str,
        now: Time,
    ) -> usize {
        let known = self.plans.iter().position(|(name, _)| *name == counter);
        known.unwrap_or_else(|| {
            let definition = params::definition(&app.definitions, counter, request.query.example());
            let plan = definition.and_then(|definition| self.plan(app, request, definition, now));
            self.plans.push((counter, plan));
            self.plans.len() - 1
        })
    }

    fn plan(
        &self,
        app: &App,
        request: &QueryRequest,
        definition: &'a CounterDefinition,
        now: Time,
    ) -> Result<CounterPlan<'a>, Problem> {
        let query = &request.query;
        let mut plan = CounterPlan {
            definition,
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

    fn planned(&self) -> impl Iterator<Item = (&Counter, &CounterPlan<'a>)> {
        let planned = self.parts.iter().filter_map(|part| part.read.as_ref().ok());
        planned.filter_map(|(counter, index)| {
            let (_, plan) = self.plans.get(*index)?;
            Some((counter, plan.as_ref().ok()?))
        })
    }

    /// How many parts are read.
    pub(super) fn reads(&self) -> usize {
        self.planned().count()
    }

    /// The counters that are read.
    pub(super) fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.planned().map(|(counter, _)| counter)
    }

    /// Whether all periods have ended by `at`.
    pub(super) fn are_closed(&self, at: Time) -> bool {
        self.planned().all(|(_, plan)| {
            let window = plan.window.is_none_or(|window| window.is_closed(at));
            let series = plan.page.as_ref().is_none_or(|page| page.end <= at);
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
        let mut is_partial = false;
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
            is_partial |= result.may_pass();
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
            is_partial,
            layers_used,
        })
    }

    async fn result<'b>(&'b self, app: &App, part: &'b PartPlan<'_>) -> PartResult<'b> {
        let (counter, index) = match &part.read {
            Ok((counter, index)) => (counter, *index),
            Err(problem) => return PartResult::Problem { problem },
        };
        let (_, plan) = &self.plans[index];
        let plan = plan.as_ref().expect("a part that is read has a plan");
        match app.counts.sums(counter, &plan.windows, &plan.reads).await {
            Ok(sums) => PartResult::Counts(Box::new(plan.counts(&self.zone, &sums, &self.layers))),
            Err(error) => PartResult::Unread {
                problem: error.into(),
            },
        }
    }
}

impl CounterPlan<'_> {
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
