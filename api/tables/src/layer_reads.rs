//! Where an answer is read from: which layer has which points, and which table each layer has to be.

use stitch_api_freshness::FreshnessSnapshot;
use stitch_batch::layer::{Layer, LayerRule};
use stitch_batch::record::BatchRecord;
use stitch_common::clock::Moment;

use crate::{Reliance, TableId};

/// Where an answer is read from.
#[derive(Clone, Debug)]
pub struct LayerReads {
    /// Which layer answers for which points.
    pub rule: LayerRule,
    batch: Option<TableId>,
    realtime: Option<TableId>,
    at: Moment,
    /// When the freshness was read that the answer says. A count that was read before that may lack what the freshness vouches
    /// for, above all a correction.
    pub freshness_read_at: Option<Moment>,
}

impl LayerReads {
    /// Reads by `rule`, at `at`: of the table that has what is `published`, and of the one that `snapshot` knows to be counted
    /// in.
    pub fn new(
        rule: LayerRule,
        published: Option<&BatchRecord>,
        snapshot: &FreshnessSnapshot,
        at: Moment,
    ) -> Self {
        Self {
            rule,
            batch: published.map(|record| TableId::of(&record.table)),
            realtime: snapshot.table().map(TableId::of),
            at,
            freshness_read_at: snapshot.read_at(),
        }
    }

    /// What a read of a layer relies on.
    pub fn reliance(&self, layer: Layer) -> Reliance {
        let table = match layer {
            Layer::Batch => self.batch.clone(),
            Layer::Realtime => self.realtime.clone(),
        };
        Reliance { table, at: self.at }
    }

    /// The same, all of it in real time.
    #[must_use]
    pub fn in_realtime(&self) -> Self {
        let rule = LayerRule::Every(Layer::Realtime);
        Self {
            rule,
            ..self.clone()
        }
    }
}
