//! When counts were last verified: what ZooKeeper keeps of restorations, for alerts. No answer to a reader depends on it.

use std::collections::BTreeMap;

use crate::audit_record::{self, AuditRecord};
use crate::audit_tally::AuditTally;
use crate::restoration_record::{self, RangeOutcome, RestorationRecord};
use chrono::{DateTime, Utc};
use stitch_common::clock::Clock;
use stitch_common::ports::Session;
use stitch_common::range::{RangeBits, RangeId};
use stitch_common::scope::Scope;
use stitch_protocol::{Error, NamespaceSession};

/// What is known about the correctness of counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// When a restoration last verified all counters of a range. Others have none among the records that are kept.
    pub verified: BTreeMap<RangeId, DateTime<Utc>>,
    /// The last audit of everything, by `plan` or by a restoration.
    pub audit: Option<LastAudit>,
}

/// The last audit of all counters of all ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastAudit {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// What it has found.
    pub found: AuditTally,
}

impl Verification {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub async fn read<S: Session, C: Clock>(
        session: &NamespaceSession<S, C>,
        bits: RangeBits,
    ) -> Result<Self, Error> {
        let restorations = restoration_record::records(session).await?;
        let audits = audit_record::records(session).await?;
        Ok(Self::new(bits, &restorations, &audits))
    }

    fn new(bits: RangeBits, records: &[RestorationRecord], audits: &[AuditRecord]) -> Self {
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
        let is_everything = |scope: &Scope| {
            let has_all_counters = scope.counter.is_none() && scope.key.is_none();
            has_all_counters && scope.ranges().count() == usize::from(bits.count())
        };
        let restored = records
            .iter()
            .filter(|record| is_everything(&record.scope))
            .filter_map(|record| Some((record.ended?, record.found?)));
        let audited = audits
            .iter()
            .filter(|record| is_everything(&record.scope))
            .map(|record| (record.ended, record.found()));
        let last = restored.chain(audited).max_by_key(|(at, _)| *at);
        Self {
            verified,
            audit: last.map(|(at, found)| LastAudit { at, found }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restoration_id::RestorationId;
    use crate::restoration_record::RestorationState;
    use stitch_common::cell::CounterName;
    use stitch_common::member::MemberId;
    use stitch_common::offset::Offsets;
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
        let bits = RangeBits::new(2).unwrap();
        let known = Verification::new(bits, &[first, second, third, runs], &[]);
        let expected = [
            (RangeId(0), at(100)),
            (RangeId(1), at(200)),
            (RangeId(3), at(10)),
        ];
        assert_eq!(known.verified, BTreeMap::from(expected));
    }

    #[test]
    fn the_last_audit_of_everything_counts_whether_a_restoration_followed_or_not() {
        let member = MemberId::new(1, 1);
        let bits = RangeBits::new(2).unwrap();
        let found = |wrong| AuditTally {
            judged: 10,
            wrong,
            unjudged: 0,
        };
        let audit = |ended, ranges: &[(u16, u64)], counter: Option<&str>| {
            let mut scope = Scope::of_ranges(ranges.iter().map(|(id, _)| RangeId(*id)).collect());
            scope.counter = counter.map(|name| CounterName(name.into()));
            AuditRecord {
                auditor: record(&member, None, &[]).holder,
                scope,
                exceptions: Vec::new(),
                ended: at(ended),
                cuts: Offsets::default(),
                generation: 1,
                ranges: ranges
                    .iter()
                    .map(|(id, wrong)| (RangeId(*id), found(*wrong)))
                    .collect(),
            }
        };
        let all = [(0, 1), (1, 0), (2, 2), (3, 0)];
        let audits = [
            audit(100, &all, None),
            audit(300, &all[..2], None),
            audit(400, &all, Some("plays")),
        ];
        let last = |records: &[RestorationRecord]| {
            let known = Verification::new(bits, records, &audits);
            known.audit.map(|last| (last.at, last.found.wrong))
        };
        assert_eq!(last(&[]), Some((at(100), 3)));
        let mut restored = record(&member, Some(200), &[]);
        restored.found = Some(found(7));
        assert_eq!(last(&[restored]), Some((at(200), 7)));
        assert_eq!(Verification::new(bits, &[], &[]).audit, None);
    }
}
