//! Sums that must agree: every event adds the same amount to its minute, quarter of an hour, hour, day, month, year and to *all*, so the buckets of a
//! shorter granularity add up to the bucket that contains them. Pure.
//!
//! What breaks this is wrong whatever the event log holds. The converse does not hold: an event that is missing, or counted
//! twice, in every granularity breaks no sum.

use std::collections::BTreeMap;

use stitch_common::cell::{Amount, Bucket, CellSlot, Count, EventTime, Granularity};

/// Which granularities of a counter definition add up to which: each to the next longer one that is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SumRule(Vec<(Granularity, Granularity)>);

impl SumRule {
    /// The rule of a definition with these granularities.
    pub(crate) fn of(granularities: &[Granularity]) -> Self {
        let is_counted = |granularity: &Granularity| granularities.contains(granularity);
        let counted: Vec<_> = Granularity::BY_LENGTH
            .into_iter()
            .filter(is_counted)
            .collect();
        Self(counted.windows(2).map(|pair| (pair[0], pair[1])).collect())
    }

    /// Whether there is nothing to compare: the definition has a single granularity.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The granularity whose buckets add up to one of `whole`.
    pub(crate) fn part_of(&self, whole: Granularity) -> Option<Granularity> {
        let pair = self.0.iter().find(|(_, longer)| *longer == whole);
        pair.map(|(part, _)| *part)
    }

    fn whole_of(&self, part: Granularity) -> Option<Granularity> {
        let pair = self.0.iter().find(|(shorter, _)| *shorter == part);
        pair.map(|(_, whole)| *whole)
    }
}

/// For one counter: by how much the parts of a bucket exceed it, where they do not agree with it.
///
/// Cells may come in any order. As the table orders them, it holds no more than the days, months and years of one counter:
/// a bucket is forgotten once its parts agree with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Differences(BTreeMap<CellSlot, Amount>);

impl Differences {
    /// Adds a cell of the counter.
    pub(crate) fn add(&mut self, rule: &SumRule, slot: CellSlot, count: Count) {
        if let Some(granularity) = rule.whole_of(slot.granularity) {
            let bucket = granularity.bucket(time_of(slot.bucket));
            let whole = CellSlot {
                granularity,
                bucket,
            };
            self.change(whole, Amount(count.0));
        }
        if rule.part_of(slot.granularity).is_some() {
            self.change(slot, Count(0).minus(count));
        }
    }

    fn change(&mut self, whole: CellSlot, amount: Amount) {
        let difference = self.0.entry(whole).or_default();
        *difference = difference.plus(amount);
        if difference.is_zero() {
            self.0.remove(&whole);
        }
    }

    /// Whether every sum agrees.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The time at the start of a bucket. A row that was written by hand may have any bucket: it is taken to the nearest year
/// that events can have, so that it breaks a sum there.
fn time_of(Bucket(ms): Bucket) -> EventTime {
    let ms = ms.clamp(EventTime::MIN_MS, EventTime::MAX_MS);
    EventTime::from_ms(ms).expect("clamped to the times that events can have")
}

/// Sums of one counter that did not agree in a scan, and what further reads showed of them. The pages of a scan, and
/// replicas, are read at different moments, so that an increment between them breaks a sum for that moment only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suspects(BTreeMap<CellSlot, Reads>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    /// Only the scan has read it.
    Scanned,
    /// Every further read showed this difference.
    Steady(Amount),
    /// Further reads showed several differences.
    Moving,
}

/// What is known of a suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SumVerdict {
    /// Every read showed that the parts exceed the bucket by this amount.
    Broken(Amount),
    /// Increments change it so often that no two reads agree.
    Unjudged,
}

impl Suspects {
    /// The sums that did not agree in a scan.
    pub(crate) fn of(scanned: Differences) -> Self {
        let slots = scanned.0.into_keys();
        Self(slots.map(|slot| (slot, Reads::Scanned)).collect())
    }

    /// Takes another read of the whole counter: a sum that agrees once is right.
    pub(crate) fn read_again(&mut self, read: &Differences) {
        self.0.retain(|slot, reads| {
            let Some(difference) = read.0.get(slot) else {
                return false;
            };
            *reads = match *reads {
                Reads::Scanned => Reads::Steady(*difference),
                Reads::Steady(known) if known == *difference => Reads::Steady(known),
                Reads::Steady(_) | Reads::Moving => Reads::Moving,
            };
            true
        });
    }

    /// Whether none is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is known of those that are left.
    pub(crate) fn verdicts(&self) -> impl Iterator<Item = (CellSlot, SumVerdict)> + '_ {
        self.0.iter().map(|(slot, reads)| {
            let verdict = match reads {
                Reads::Steady(difference) => SumVerdict::Broken(*difference),
                Reads::Scanned | Reads::Moving => SumVerdict::Unjudged,
            };
            (*slot, verdict)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_testkit::samples::slot_at;

    const HOUR_MS: i64 = 3_600_000;
    /// 2014-06-30T23:00:00Z.
    const LAST_HOUR_OF_JUNE: i64 = 1_404_169_200_000;

    fn added(rule: &SumRule, cells: &[(CellSlot, i64)]) -> Differences {
        let mut differences = Differences::default();
        for (slot, count) in cells {
            differences.add(rule, *slot, Count(*count));
        }
        differences
    }

    /// The cells of two events: one in the last hour of June, one in the first of July.
    fn cells() -> Vec<(CellSlot, i64)> {
        let mut counts = BTreeMap::new();
        for (ms, amount) in [(LAST_HOUR_OF_JUNE, 3), (LAST_HOUR_OF_JUNE + HOUR_MS, 4)] {
            for granularity in Granularity::EVERY {
                *counts.entry(slot_at(granularity, ms)).or_default() += amount;
            }
        }
        counts.into_iter().collect()
    }

    #[test]
    fn each_granularity_adds_up_to_the_next_longer_one_that_is_counted() {
        use Granularity::{All, Day, Hour, Month, Year};
        let rule = SumRule::of(&[All, Hour, Year]);
        assert_eq!(rule, SumRule(vec![(Hour, Year), (Year, All)]));
        assert_eq!(rule.part_of(All), Some(Year));
        assert_eq!(SumRule::of(&Granularity::EVERY).part_of(Month), Some(Day));
        assert!(SumRule::of(&[Day]).is_empty());
    }

    #[test]
    fn counts_of_events_agree_and_leave_nothing_in_memory() {
        let rule = SumRule::of(&Granularity::EVERY);
        assert!(added(&rule, &cells()).is_empty());
    }

    /// A table lists the buckets of a counter by the name of their granularity: the days first, then their hours, and so on.
    #[test]
    fn memory_does_not_grow_with_the_hours_of_a_counter_nor_with_the_number_of_counters() {
        use Granularity::{All, Day, Hour, Month, Year};
        let rule = SumRule::of(&[All, Hour, Day, Month, Year]);
        let days = |days: i64, hours: i64| {
            let mut counts = BTreeMap::new();
            for hour in (0..days).flat_map(|day| (0..hours).map(move |hour| 24 * day + hour)) {
                for granularity in [All, Hour, Day, Month, Year] {
                    let slot = slot_at(granularity, hour * HOUR_MS);
                    let at = (granularity.name(), slot);
                    counts.entry(at).or_insert((slot, 0)).1 += 1;
                }
            }
            counts.into_values().collect::<Vec<(CellSlot, i64)>>()
        };
        let most = |cells: &[(CellSlot, i64)]| {
            let mut differences = Differences::default();
            let held = cells.iter().map(|(slot, count)| {
                differences.add(&rule, *slot, Count(*count));
                differences.0.len()
            });
            let most = held.max().unwrap();
            // So the next counter of a scan begins with nothing.
            assert!(differences.is_empty());
            most
        };
        let year = days(365, 24);
        assert!(year.len() > 365 * 24);
        assert!(most(&year) <= 365 + 12 + 2, "{}", most(&year));
        assert_eq!(most(&year), most(&days(365, 1)));
    }

    #[test]
    fn every_cell_that_is_changed_or_lost_breaks_a_sum() {
        let rule = SumRule::of(&Granularity::EVERY);
        for index in 0..cells().len() {
            let mut changed = cells();
            changed[index].1 += 1;
            assert!(!added(&rule, &changed).is_empty(), "{:?}", changed[index]);
            let mut lost = cells();
            let (slot, _) = lost.remove(index);
            assert!(!added(&rule, &lost).is_empty(), "{slot:?}");
        }
    }

    #[test]
    fn a_wrong_day_breaks_its_own_sum_and_its_months() {
        let rule = SumRule::of(&Granularity::EVERY);
        let mut cells = cells();
        let day = slot_at(Granularity::Day, LAST_HOUR_OF_JUNE);
        let month = slot_at(Granularity::Month, LAST_HOUR_OF_JUNE);
        cells.iter_mut().find(|(slot, _)| *slot == day).unwrap().1 += 5;
        let wanted = BTreeMap::from([(day, Amount(-5)), (month, Amount(5))]);
        assert_eq!(added(&rule, &cells), Differences(wanted));
    }

    #[test]
    fn buckets_that_no_event_has_break_a_sum() {
        let rule = SumRule::of(&Granularity::EVERY);
        for (granularity, ms) in [
            (Granularity::Hour, i64::MAX),
            (Granularity::Day, i64::MIN),
            (Granularity::Day, HOUR_MS),
            (Granularity::All, 1),
        ] {
            let bucket = Bucket(ms);
            let slot = CellSlot {
                granularity,
                bucket,
            };
            assert!(!added(&rule, &[(slot, 1)]).is_empty(), "{slot:?}");
        }
    }

    #[test]
    fn sums_wrap_as_counters_do() {
        let rule = SumRule::of(&[Granularity::Hour, Granularity::All]);
        let hour = |hour| slot_at(Granularity::Hour, hour * HOUR_MS);
        let all = slot_at(Granularity::All, 0);
        let cells = [(all, i64::MIN), (hour(0), i64::MAX), (hour(1), 1)];
        assert!(added(&rule, &cells).is_empty());
    }

    #[test]
    fn a_suspect_is_broken_only_if_every_further_read_shows_the_same() {
        let slot = |day| slot_at(Granularity::Day, day * 24 * HOUR_MS);
        let read = |of: &[(i64, i64)]| {
            let of = of.iter().map(|(day, by)| (slot(*day), Amount(*by)));
            Differences(of.collect())
        };
        let mut suspects = Suspects::of(read(&[(0, 9), (1, 1), (2, 1)]));
        suspects.read_again(&read(&[(0, 5), (1, 1), (2, 1), (3, 8)]));
        suspects.read_again(&read(&[(0, 5), (1, 2)]));
        suspects.read_again(&read(&[(0, 5), (1, 1), (2, 1)]));
        let verdicts: Vec<_> = suspects.verdicts().collect();
        let broken = (slot(0), SumVerdict::Broken(Amount(5)));
        assert_eq!(verdicts, [broken, (slot(1), SumVerdict::Unjudged)]);
    }
}
