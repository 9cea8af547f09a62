//! Why counts of ranges are uncertain, for people.

use std::collections::BTreeMap;

use stitch_common::range::RangeId;

use super::Status;
use super::text::time;

impl Status {
    /// Why counts of each uncertain range may be wrong, but for dead members, which concern every range.
    #[must_use]
    pub fn reasons(&self) -> BTreeMap<RangeId, Vec<String>> {
        let markers = self.in_doubt_markers.iter();
        let markers = markers.map(|marker| (marker.range, "in-doubt marker".to_owned()));
        let doubts = self.doubts.iter().map(|doubt| {
            let reason = format!("{} since {}", doubt.cause, time(doubt.since));
            (doubt.range, reason)
        });
        let pending = self.takeovers_pending.iter();
        let pending = pending.flat_map(|takeover| takeover.ranges.iter());
        let pending = pending.map(|range| (*range, "takeover pending".to_owned()));
        let backfills = self.backfills_pending.iter().flat_map(|pending| {
            let reason = format!("backfill of {} pending", pending.counter);
            pending
                .ranges
                .iter()
                .map(move |range| (*range, reason.clone()))
        });
        let mut reasons = BTreeMap::<RangeId, Vec<String>>::new();
        for (range, reason) in markers.chain(doubts).chain(pending).chain(backfills) {
            reasons.entry(range).or_default().push(reason);
        }
        for range in &self.uncertain {
            reasons.entry(*range).or_default();
        }
        reasons
    }
}
