//! When counts were last verified: what ZooKeeper keeps of restorations, for alerts. No answer to a reader depends on it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use stitch_common::clock::Clock;
use stitch_common::ports::Session;
use stitch_common::range::RangeId;
use stitch_control::restoration_record::{self, RangeOutcome, RestorationRecord};
use stitch_protocol::{Error, NamespaceSession};

/// How often it is read: restorations take minutes.
pub(crate) const READ_EVERY: Duration = Duration::from_secs(60);

/// What is known about the correctness of counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verification {
    /// When a restoration last verified all counters of a range. Others have none among the records that are kept.
    pub(crate) verified: BTreeMap<RangeId, DateTime<Utc>>,
}

impl Verification {
    pub(crate) async fn read<S: Session, C: Clock>(
        session: &NamespaceSession<S, C>,
    ) -> Result<Self, Error> {
        Ok(Self::new(&restoration_record::records(session).await?))
    }

    fn new(records: &[RestorationRecord]) -> Self {
        let mut verified = BTreeMap::new();
        // What was verified for one counter or one key says nothing about the others.
        let whole = records
            .iter()
            .filter(|record| record.scope.counter.is_none() && record.scope.key.is_none());
        for record in whole {
            // One that runs has verified some ranges at a time between its start and now.
            let when = record.ended.unwrap_or(record.holder.started);
            for (range, outcome) in &record.ranges {
                if matches!(outcome, RangeOutcome::Verified { .. }) {
                    let latest = verified.entry(*range).or_insert(when);
                    *latest = when.max(*latest);
                }
            }
        }
        Self { verified }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::cell::CounterName;
    use stitch_common::member::MemberId;
    use stitch_common::offset::Offsets;
    use stitch_common::range::RangeBits;
    use stitch_common::scope::Scope;
    use stitch_control::restoration_record::{RestorationId, RestorationState};
    use stitch_protocol::restoration::LockHolder;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn record(
        member: &MemberId,
        ended: Option<i64>,
        ranges: &[(u16, RangeOutcome)],
    ) -> RestorationRecord {
        let bits = RangeBits::new(2).unwrap();
        RestorationRecord {
            id: RestorationId::new(at(10), member),
            holder: LockHolder {
                member: member.clone(),
                host: "a".to_owned(),
                process_id: 1,
                started: at(10),
            },
            scope: Scope::of_ranges(bits.ranges().collect()),
            exceptions: Vec::new(),
            state: RestorationState::Unverified,
            ended: ended.map(at),
            cuts: Offsets::default(),
            generation: 1,
            identity: 0,
            found: None,
            control: Vec::new(),
            ranges: ranges
                .iter()
                .map(|(range, outcome)| (RangeId(*range), outcome.clone()))
                .collect(),
        }
    }

    fn verified() -> RangeOutcome {
        RangeOutcome::Verified {
            corrected: 0,
            locked_ms: 1,
        }
    }

    #[test]
    fn a_range_is_verified_when_the_last_restoration_that_verified_all_of_it_ended() {
        let member = MemberId::new(1, 1);
        let unverified = RangeOutcome::Unverified {
            why: "b".to_owned(),
        };
        let excepted = RangeOutcome::VerifiedWithExceptions {
            corrected: 0,
            locked_ms: 1,
        };
        let first = record(&member, Some(100), &[(0, verified()), (1, verified())]);
        let second = record(
            &member,
            Some(200),
            &[(0, unverified), (1, verified()), (2, excepted)],
        );
        let mut third = record(&member, Some(300), &[(0, verified()), (3, verified())]);
        third.scope.counter = Some(CounterName("plays".into()));
        let runs = record(&member, None, &[(3, verified())]);
        let known = Verification::new(&[first, second, third, runs]);
        let expected = [
            (RangeId(0), at(100)),
            (RangeId(1), at(200)),
            (RangeId(3), at(10)),
        ];
        assert_eq!(known.verified, BTreeMap::from(expected));
    }
}
