//! Which layer answers for a point: batch counts, or those in real time. Nothing here waits.

use std::time::Duration;

use serde::Serialize;
use stitch_common::cell::{CellSlot, CounterName, EventTime, Granularity};
use stitch_config::{Batch, LayerChoice};

use crate::record::Generation;

/// Where a count comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The table of batch counts.
    Batch,
    /// The table of counts.
    Realtime,
}

/// The layers that a namespace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    has_batch: bool,
    has_realtime: bool,
    closed_after: Duration,
}

/// Why a layer cannot answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerError {
    /// The namespace has no batch counts.
    NoBatch,
    /// The namespace is purely in batch.
    NoRealtime,
    /// No generation is published.
    NotPublished,
    /// The published generation does not have the counter.
    NotInGeneration,
}

/// Which layer answers for which points of one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerRule {
    /// One layer for all of them.
    Every(Layer),
    /// Batch for what ended by this moment, in milliseconds since 1970; real time for the rest.
    ClosedInBatch {
        /// The moment.
        until_ms: i64,
    },
}

impl Layers {
    /// The layers of a configuration.
    #[must_use]
    pub const fn new(batch: &Batch) -> Self {
        Self {
            has_batch: batch.enabled,
            has_realtime: batch.realtime,
            closed_after: batch.closed_after,
        }
    }

    /// Whether there are batch counts, so that a point has to say where it comes from.
    #[must_use]
    pub const fn has_batch(&self) -> bool {
        self.has_batch
    }

    /// Whether anything counts in real time.
    #[must_use]
    pub const fn has_realtime(&self) -> bool {
        self.has_realtime
    }

    /// The rule for a counter. Until a generation is published that has all of the counter, `auto` is real time.
    ///
    /// # Errors
    /// The layer that was asked for is not there.
    pub fn rule(
        &self,
        choice: LayerChoice,
        published: Option<&Generation>,
        counter: &CounterName,
    ) -> Result<LayerRule, LayerError> {
        match choice {
            LayerChoice::Realtime if !self.has_realtime => Err(LayerError::NoRealtime),
            LayerChoice::Realtime => Ok(LayerRule::Every(Layer::Realtime)),
            LayerChoice::Batch => self.batch(published, counter),
            LayerChoice::Auto if !self.has_realtime => self.batch(published, counter),
            LayerChoice::Auto => {
                let whole =
                    published.filter(|generation| self.has_batch && generation.has(counter));
                Ok(
                    whole.map_or(LayerRule::Every(Layer::Realtime), |generation| {
                        LayerRule::ClosedInBatch {
                            until_ms: generation.closed_until_ms(self.closed_after),
                        }
                    }),
                )
            }
        }
    }

    fn batch(
        &self,
        published: Option<&Generation>,
        counter: &CounterName,
    ) -> Result<LayerRule, LayerError> {
        if !self.has_batch {
            return Err(LayerError::NoBatch);
        }
        let generation = published.ok_or(LayerError::NotPublished)?;
        // One that is counted from a later offset on is there, as far as the records reach.
        if generation.has(counter) || generation.later.contains(counter) {
            return Ok(LayerRule::Every(Layer::Batch));
        }
        Err(LayerError::NotInGeneration)
    }
}

impl LayerRule {
    /// The layer of a point that adds up from these cells: from one layer alone, because the sum of two would be neither's.
    #[must_use]
    pub fn layer(self, cells: &[CellSlot]) -> Layer {
        match self {
            Self::Every(layer) => layer,
            Self::ClosedInBatch { until_ms } => {
                // The last one is looked at first: as a rule the cells are in order.
                let mut cells = cells.iter().rev();
                if cells.all(|cell| is_closed(*cell, until_ms)) {
                    Layer::Batch
                } else {
                    Layer::Realtime
                }
            }
        }
    }
}

/// Whether a bucket ended at this moment or before. That of all time never ends.
#[must_use]
pub fn is_closed(slot: CellSlot, until_ms: i64) -> bool {
    const MINUTE_MS: i64 = 60_000;
    const HOUR_MS: i64 = 60 * MINUTE_MS;
    const DAY_MS: i64 = 24 * HOUR_MS;
    // Longer than one bucket and shorter than two: the moment lies in the next one.
    let length = match slot.granularity {
        Granularity::All => return false,
        Granularity::Minute => MINUTE_MS,
        Granularity::Quarter => 15 * MINUTE_MS,
        Granularity::Hour => HOUR_MS,
        Granularity::Day => DAY_MS,
        Granularity::Month => 31 * DAY_MS,
        Granularity::Year => 366 * DAY_MS,
    };
    let next = EventTime::from_ms(slot.bucket.0.saturating_add(length));
    next.is_some_and(|next| slot.granularity.bucket(next).0 <= until_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeZone, Utc};
    use stitch_common::cell::Bucket;
    use stitch_common::offset::Offsets;
    use stitch_common::ports::WriteTime;
    use stitch_common::time::parse_rfc3339;

    #[test]
    fn a_bucket_is_closed_when_the_next_one_has_begun() {
        let ms = |text: &str| parse_rfc3339(text).unwrap().ms();
        for (granularity, start, end) in [
            (
                Granularity::Minute,
                "2026-05-01T10:59:00Z",
                "2026-05-01T11:00:00Z",
            ),
            (
                Granularity::Quarter,
                "2026-05-01T10:45:00Z",
                "2026-05-01T11:00:00Z",
            ),
            (
                Granularity::Hour,
                "2026-05-01T10:00:00Z",
                "2026-05-01T11:00:00Z",
            ),
            (
                Granularity::Day,
                "2026-05-01T00:00:00Z",
                "2026-05-02T00:00:00Z",
            ),
            (
                Granularity::Month,
                "2026-02-01T00:00:00Z",
                "2026-03-01T00:00:00Z",
            ),
            (
                Granularity::Month,
                "2026-05-01T00:00:00Z",
                "2026-06-01T00:00:00Z",
            ),
            (
                Granularity::Year,
                "2024-01-01T00:00:00Z",
                "2025-01-01T00:00:00Z",
            ),
            (
                Granularity::Year,
                "2026-01-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
        ] {
            let slot = CellSlot {
                granularity,
                bucket: Bucket(ms(start)),
            };
            assert!(is_closed(slot, ms(end)), "{start}");
            assert!(!is_closed(slot, ms(end) - 1), "{start}");
        }
        let all = CellSlot {
            granularity: Granularity::All,
            bucket: Bucket(0),
        };
        assert!(!is_closed(all, i64::MAX));
    }

    const AS_OF: &str = "2026-05-03T10:15:00Z";

    fn generation() -> Generation {
        let as_of = DateTime::parse_from_rfc3339(AS_OF).unwrap().to_utc();
        Generation {
            totals: "a".to_owned(),
            cut: Offsets::default(),
            as_of,
            written: WriteTime(1),
            rows: 0,
            digest: String::new(),
            counters: vec![CounterName("plays".into())],
            later: vec![CounterName("likes".into())],
            published_at: Utc.timestamp_opt(as_of.timestamp() + 5, 0).unwrap(),
        }
    }

    fn layers(has_batch: bool, has_realtime: bool) -> Layers {
        Layers {
            has_batch,
            has_realtime,
            closed_after: Duration::from_secs(900),
        }
    }

    fn hour(start: &str) -> CellSlot {
        CellSlot {
            granularity: Granularity::Hour,
            bucket: Bucket(parse_rfc3339(start).unwrap().ms()),
        }
    }

    #[test]
    fn closed_points_are_batch_and_the_rest_is_real_time() {
        let counter = CounterName("plays".into());
        let rule = layers(true, true).rule(LayerChoice::Auto, Some(&generation()), &counter);
        let rule = rule.unwrap();
        // As-of less a quarter of an hour is ten.
        let closed = hour("2026-05-03T09:00:00Z");
        let open = hour("2026-05-03T10:00:00Z");
        assert_eq!(rule.layer(&[closed]), Layer::Batch);
        assert_eq!(rule.layer(&[open]), Layer::Realtime);
        assert_eq!(rule.layer(&[closed, open]), Layer::Realtime);
        assert_eq!(rule.layer(&[open, closed]), Layer::Realtime);
        let all = CellSlot {
            granularity: Granularity::All,
            bucket: Bucket(0),
        };
        assert_eq!(rule.layer(&[all]), Layer::Realtime);
    }

    #[test]
    fn without_a_generation_that_has_the_counter_auto_is_real_time_and_batch_is_refused() {
        let generation = generation();
        let every = |layer| Ok(LayerRule::Every(layer));
        for (published, counter, batch) in [
            (None, "plays", Err(LayerError::NotPublished)),
            (Some(&generation), "skips", Err(LayerError::NotInGeneration)),
            // Not all of it is there: batch shows what is, and `auto` does not take it for whole.
            (Some(&generation), "likes", every(Layer::Batch)),
        ] {
            let counter = CounterName(counter.into());
            let of = |layers: Layers, choice| layers.rule(choice, published, &counter);
            let both = layers(true, true);
            assert_eq!(of(both, LayerChoice::Auto), every(Layer::Realtime));
            assert_eq!(of(both, LayerChoice::Realtime), every(Layer::Realtime));
            assert_eq!(of(both, LayerChoice::Batch), batch);
            // Purely in batch there is nothing to fall back on.
            assert_eq!(of(layers(true, false), LayerChoice::Auto), batch);
        }
    }

    #[test]
    fn a_layer_that_the_namespace_does_not_have_is_refused() {
        let counter = CounterName("plays".into());
        let generation = generation();
        let of = |layers: Layers, choice| layers.rule(choice, Some(&generation), &counter);
        assert_eq!(
            of(layers(false, true), LayerChoice::Batch),
            Err(LayerError::NoBatch)
        );
        let realtime = LayerRule::Every(Layer::Realtime);
        assert_eq!(of(layers(false, true), LayerChoice::Auto), Ok(realtime));
        assert_eq!(
            of(layers(true, false), LayerChoice::Realtime),
            Err(LayerError::NoRealtime)
        );
        let batch = LayerRule::Every(Layer::Batch);
        assert_eq!(of(layers(true, false), LayerChoice::Auto), Ok(batch));
    }
}
