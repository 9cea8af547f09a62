//! What a request finds of the layers: which one answers for which points, and how fresh its counts are.

use std::sync::Arc;

use chrono::SecondsFormat;
use stitch_batch::layer::{Layer, LayerError, Layers};
use stitch_batch::record::{BatchRecord, Generation};
use stitch_calendar::time::Time;
use stitch_common::cell::{Counter, CounterName};
use stitch_common::clock::Moment;
use stitch_common::ports::TableIdentity;
use stitch_config::LayerChoice;

use crate::count_tables::LayerReads;
pub(crate) use crate::count_tables::LayersUsed;
use crate::freshness::{BatchAsOf, Freshness, FreshnessSnapshot};
use crate::params::LAYER;
use crate::problem::{Kind, Problem};

/// The layers at the time of a request.
#[derive(Clone)]
pub(crate) struct LayerView {
    layers: Layers,
    choice: LayerChoice,
    snapshot: Arc<FreshnessSnapshot>,
    /// Of the table that this server reads.
    published: Option<Arc<BatchRecord>>,
    at: Moment,
}

impl LayerView {
    /// A generation of a table that this server does not read is none.
    pub(crate) fn new(
        layers: Layers,
        choice: LayerChoice,
        snapshot: Arc<FreshnessSnapshot>,
        is_read: impl Fn(&TableIdentity) -> bool,
        at: Moment,
    ) -> Self {
        let record = snapshot.batch().record();
        let record = record.filter(|record| is_read(&record.table));
        Self {
            published: record.cloned(),
            layers,
            choice,
            snapshot,
            at,
        }
    }

    fn generation(&self) -> Option<&Generation> {
        let record = self.published.as_ref()?;
        record.published.as_ref()
    }

    /// Where the points of `counter` are read from. `example` is a request that works.
    pub(crate) fn reads(
        &self,
        counter: &CounterName,
        example: &str,
    ) -> Result<LayerReads, Problem> {
        let rule = self.layers.rule(self.choice, self.generation(), counter);
        let is_usable = self.snapshot.batch().failure().is_none();
        let rule = rule.map_err(|error| problem(error, is_usable, &counter.0, example))?;
        let published = self.published.as_deref();
        Ok(LayerReads::new(rule, published, &self.snapshot, self.at))
    }

    /// The layer as a point says it: where there is no batch, no point says any.
    pub(crate) fn shown(&self, layer: Layer) -> Option<Layer> {
        self.layers.has_batch().then_some(layer)
    }

    /// How fresh an answer is that has points of these layers.
    pub(crate) fn freshness<'a>(
        &self,
        counters: impl IntoIterator<Item = &'a Counter>,
        used: LayersUsed,
    ) -> Freshness {
        let realtime = || self.snapshot.of_all(counters, self.at);
        self.combined(used, realtime)
    }

    /// Until when an answer of these layers may be of all events: a moment ago in real time, since events of the last seconds
    /// are still being counted, and the as-of of the batch that it has counts of, which may be long before. A period that ended
    /// later grows soon, or with the next batch.
    pub(crate) fn counted_until(&self, used: LayersUsed, now: Time) -> Time {
        let generation = self.generation().filter(|_| used.batch);
        let as_of = generation.map(|generation| Time(generation.as_of.timestamp_millis()));
        let settling = if used.realtime {
            i64::try_from(self.snapshot.settling().as_millis()).unwrap_or(i64::MAX)
        } else {
            0
        };
        let settled = Time(now.0.saturating_sub(settling));
        as_of.map_or(settled, |as_of| as_of.min(settled))
    }

    /// How fresh all counts are.
    pub(crate) fn freshness_of_all(&self) -> Freshness {
        let used = LayersUsed {
            batch: true,
            realtime: self.layers.has_realtime(),
        };
        self.combined(used, || self.snapshot.summary(self.at).0)
    }

    fn combined(&self, used: LayersUsed, realtime: impl FnOnce() -> Freshness) -> Freshness {
        let as_of = self.generation().filter(|_| used.batch).map(as_of);
        match as_of {
            Some(as_of) if !used.realtime => Freshness::of_batch(as_of),
            batch => Freshness {
                batch,
                ..realtime()
            },
        }
    }
}

fn as_of(generation: &Generation) -> BatchAsOf {
    BatchAsOf {
        as_of: generation
            .as_of
            .to_rfc3339_opts(SecondsFormat::Millis, true),
        generation: generation.totals.clone(),
    }
}

/// `is_usable` says whether the record of what is published can be used.
fn problem(error: LayerError, is_usable: bool, counter: &str, example: &str) -> Problem {
    let (kind, detail) = match error {
        LayerError::NoBatch => (
            Kind::InvalidParameter,
            "this namespace has no batch counts (batch.enabled is false): leave `layer` out, or ask for realtime".to_owned(),
        ),
        LayerError::NoRealtime => (
            Kind::InvalidParameter,
            "this namespace is purely in batch (batch.realtime is false): leave `layer` out, or ask for batch".to_owned(),
        ),
        LayerError::NotPublished if !is_usable => (
            Kind::BatchUnavailable,
            "the record of what is published in batch cannot be used: the log of this server says why, and what an \
             operator does"
                .to_owned(),
        ),
        LayerError::NotPublished => (
            Kind::BatchUnavailable,
            "no batch counts are published for the table that this server reads: an operator runs `stitch-batch run`"
                .to_owned(),
        ),
        LayerError::NotInGeneration => (
            Kind::BatchUnavailable,
            format!("the published batch does not have the counter \"{counter}\": the next `stitch-batch run` adds it"),
        ),
    };
    Problem::new(kind, detail)
        .about(LAYER)
        .with_example(example)
}
