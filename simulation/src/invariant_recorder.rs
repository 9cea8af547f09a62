//! The product's own invariants: it counts those that it finds broken, and continues. This recorder turns them into
//! findings.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use stitch_common::invariant::Invariant;

use crate::world::checker::{Finding, Kind};

const BROKEN: &str = "stitch_invariants_broken_total";

/// Records the counters of broken invariants, and no other metric.
#[derive(Default)]
struct BrokenRecorder {
    broken: [Arc<BrokenCount>; Invariant::EVERY.len()],
}

#[derive(Default)]
struct BrokenCount(AtomicU64);

impl CounterFn for BrokenCount {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl Recorder for BrokenRecorder {
    fn describe_counter(&self, _key: KeyName, _unit: Option<Unit>, _text: SharedString) {}
    fn describe_gauge(&self, _key: KeyName, _unit: Option<Unit>, _text: SharedString) {}
    fn describe_histogram(&self, _key: KeyName, _unit: Option<Unit>, _text: SharedString) {}

    fn register_counter(&self, key: &Key, _metadata: &Metadata<'_>) -> Counter {
        if key.name() != BROKEN {
            return Counter::noop();
        }
        let named = |invariant: &&Invariant| {
            key.labels()
                .any(|label| label.value() == invariant.number())
        };
        let position = Invariant::EVERY.iter().position(|one| named(&one));
        position.map_or_else(Counter::noop, |position| {
            Counter::from_arc(Arc::clone(&self.broken[position]))
        })
    }

    fn register_gauge(&self, _key: &Key, _metadata: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _key: &Key, _metadata: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Does `work`, and returns the first invariant that the product found broken meanwhile, or how it panicked.
pub(crate) fn first_broken(work: impl FnOnce()) -> Option<Finding> {
    let recorder = BrokenRecorder::default();
    let result = catch_unwind(AssertUnwindSafe(|| {
        metrics::with_local_recorder(&recorder, work);
    }));
    let broken = |index: &usize| recorder.broken[*index].0.load(Ordering::Relaxed) > 0;
    let first = (0..Invariant::EVERY.len()).find(broken);
    if let Some(first) = first {
        let what = "found by the product itself";
        return Some(Finding::broken(Invariant::EVERY[first], what));
    }
    result.err().map(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| {
            payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
        });
        Finding::new(Kind::Panicked, text.unwrap_or_default())
    })
}
