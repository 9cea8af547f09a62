//! What is refused before anything is restored (design, section 6), decided over values alone. Each protects counts
//! that are right.

use std::collections::BTreeMap;

use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Bounds, LogIdentity};
use stitch_common::range::RangeBits;
use stitch_common::user_error::UserError;
use stitch_protocol::definition_node::{Defined, NamespaceRecord};
use stitch_protocol::membership::Members;

use crate::plan::base_cut::BaseCut;
use crate::plan::file::Plan;

/// The log reaches back to its first event, and keeps every one.
///
/// # Errors
/// It does not: what it adds up to is not what should be counted.
pub(crate) fn log(
    identity: &LogIdentity,
    bounds: &BTreeMap<Partition, Bounds>,
) -> Result<(), UserError> {
    if identity.cleanup_policy.contains("compact") {
        let what = format!(
            "the topic \"{}\" is compacted (cleanup.policy={}): records are missing from it, so what it adds up to is \
             not what should be counted",
            identity.topic, identity.cleanup_policy
        );
        let help = "set cleanup.policy=delete and retention.ms=-1; counts of what was compacted away cannot be \
                       restored from the log";
        return Err(UserError::new(what, help));
    }
    let begins_late = bounds.iter().find(|(_, bounds)| bounds.begin > Offset(0));
    match begins_late {
        Some((partition, Bounds { begin, .. })) => {
            let what = format!(
                "the log of partition {partition} of \"{}\" begins at offset {begin}, not at its first event: what it \
                 adds up to is not what should be counted",
                identity.topic
            );
            let help = "set retention.ms=-1 and retention.bytes=-1, so that it loses no more; counts of what is \
                           gone cannot be restored from the log";
            Err(UserError::new(what, help))
        }
        None => Ok(()),
    }
}

/// Checkpoint fits what the group has committed and where the log ends. `committed` was read before progress, and
/// `bounds` after it: all three only grow.
///
/// # Errors
/// It does not: ZooKeeper was restored from an old copy, or the topic is another one.
pub(crate) fn progress(
    cut: &BaseCut,
    committed: &BTreeMap<Partition, Offset>,
    bounds: &BTreeMap<Partition, Bounds>,
    bits: RangeBits,
) -> Result<(), UserError> {
    let lost = "ZooKeeper was probably restored from an old copy: stop every processor and follow \
                docs/operations.md, \"progress is lost\"";
    for (&partition, progress) in cut.checkpoints() {
        let committed = committed.get(&partition).copied().unwrap_or_default();
        let Some(progress) = progress else {
            if committed > Offset(0) {
                let what = format!(
                    "partition {partition} has no progress in ZooKeeper, though its group has committed offset \
                     {committed}"
                );
                return Err(UserError::new(what, lost));
            }
            continue;
        };
        let (lowest, highest) = (progress.lowest(bits), progress.highest(bits));
        if committed > lowest {
            let what = format!(
                "progress of partition {partition} in ZooKeeper stands at {lowest}, behind offset {committed} that its \
                 group has committed"
            );
            return Err(UserError::new(what, lost));
        }
        let end = bounds
            .get(&partition)
            .map(|bounds| bounds.end)
            .unwrap_or_default();
        if highest > end {
            let what = format!(
                "progress of partition {partition} in ZooKeeper stands at {highest}, beyond the log's end at {end}"
            );
            let help = "the topic was probably made anew or cut off: give the new topic a namespace of its own, or \
                           follow docs/operations.md, \"the log is not the one that was counted\"";
            return Err(UserError::new(what, help));
        }
    }
    Ok(())
}

/// Every member that is alive counts by the definitions that are restored. One that has joined before `init --update`
/// would go on counting by others: what is proved now would not stay true.
///
/// # Errors
/// It does not.
pub(crate) fn members(members: &Members, defined: &Defined) -> Result<(), UserError> {
    let others = members.alive_by_other_definitions(defined.version);
    let others: Vec<_> = others.map(ToString::to_string).collect();
    if others.is_empty() {
        return Ok(());
    }
    let what = format!(
        "the definitions have changed, and members that are alive still count by the former ones: {}",
        others.join("; ")
    );
    Err(UserError::new(
        what,
        "restart them with the new configuration, then run this again",
    ))
}

/// A plan is carried out only where it was made.
///
/// # Errors
/// What is different.
pub(crate) fn plan(
    plan: &Plan,
    namespace: &str,
    record: &NamespaceRecord,
    log: &LogIdentity,
) -> Result<(), UserError> {
    let differs = |what: &str| {
        let what = format!("the plan was made for another {what}");
        let help = "make a new plan by `stitch-restorator plan --plan-file FILE`, look at it, and run that";
        Err(UserError::new(what, help))
    };
    if plan.namespace != namespace {
        return differs(&format!("namespace, \"{}\"", plan.namespace));
    }
    if plan.log.cluster != log.cluster
        || plan.log.topic != log.topic
        || !same_records(&plan.log, log)
    {
        return differs(&format!(
            "log (topic \"{}\" of Kafka cluster {})",
            plan.log.topic, plan.log.cluster
        ));
    }
    if plan.record.table != record.table {
        return differs("table");
    }
    if plan.record.generation != record.generation {
        return differs(&format!(
            "generation ({}, and now it is {})",
            plan.record.generation, record.generation
        ));
    }
    if plan.record.definitions != record.definitions {
        let lines = record
            .definitions
            .differences(&plan.record.definitions)
            .join("; ");
        return differs(&format!("set of definitions ({lines})"));
    }
    Ok(())
}

/// Every first record that was known then is still the first.
fn same_records(then: &LogIdentity, now: &LogIdentity) -> bool {
    let mut known = then.fingerprints.iter();
    known.all(|(partition, first)| now.fingerprints.get(partition) == Some(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use stitch_common::checkpoint::Checkpoint;
    use stitch_common::member::{MemberId, Role};
    use stitch_common::ports::{Fingerprint, TableIdentity};
    use stitch_protocol::membership::{Member, MemberRecord};
    use stitch_testkit::samples::{BITS, definitions, everything, offsets};

    const P: Partition = Partition(3);

    fn identity(policy: &str) -> LogIdentity {
        let first = Fingerprint {
            offset: Offset(0),
            timestamp_ms: Some(1),
            checksum: 7,
        };
        LogIdentity {
            cluster: "k".to_owned(),
            topic: "events".to_owned(),
            cleanup_policy: policy.to_owned(),
            fingerprints: BTreeMap::from([(P, first)]),
        }
    }

    fn bounds(begin: i64, end: i64) -> BTreeMap<Partition, Bounds> {
        let bounds = Bounds {
            begin: Offset(begin),
            end: Offset(end),
        };
        BTreeMap::from([(P, bounds)])
    }

    fn refused(result: Result<(), UserError>) -> String {
        let failure = result.unwrap_err();
        assert!(!failure.help.is_empty());
        failure.message
    }

    #[test]
    fn a_log_that_lost_its_beginning_or_is_compacted_is_refused() {
        assert_eq!(log(&identity("delete"), &bounds(0, 9)), Ok(()));
        assert!(refused(log(&identity("delete"), &bounds(1, 9))).contains("begins at offset 1"));
        assert!(refused(log(&identity("compact,delete"), &bounds(0, 9))).contains("compacted"));
    }

    fn judged(progress_at: Option<(i64, i64)>, committed: i64) -> Result<(), UserError> {
        let written = progress_at.map(|(a, b)| {
            Checkpoint::from_ranges(BITS, |range| Offset(if range.0 == 0 { a } else { b }))
        });
        let cut = BaseCut::new([P], [(P, written)]);
        let committed = BTreeMap::from([(P, Offset(committed))]);
        progress(&cut, &committed, &bounds(0, 9), BITS)
    }

    #[test]
    fn a_partition_without_progress_is_refused_if_its_group_has_commits() {
        assert_eq!(judged(None, 0), Ok(()));
        assert!(refused(judged(None, 4)).contains("no progress"));
    }

    #[test]
    fn progress_behind_the_commits_or_beyond_the_end_is_refused() {
        assert_eq!(judged(Some((4, 9)), 4), Ok(()));
        assert!(refused(judged(Some((4, 9)), 5)).contains("behind offset 5"));
        assert!(refused(judged(Some((4, 10)), 0)).contains("beyond the log's end at 9"));
    }

    #[test]
    fn a_living_member_with_other_definitions_is_refused_by_name_and_a_dead_one_is_not() {
        let (_, record) = made();
        let defined = Defined { record, version: 3 };
        let member = |session, alive, definition_version| Member {
            id: MemberId::of_session(session),
            alive,
            record: MemberRecord {
                role: Role::Processor,
                host: "h".to_owned(),
                process_id: 1,
                started: DateTime::from_timestamp(0, 0).unwrap(),
                session_timeout_ms: 6000,
                version: "0".to_owned(),
                definition_version,
            },
        };
        let listed = |members: Vec<Member>| Members {
            members,
            version: 0,
        };
        let good = listed(vec![member(1, true, 3), member(2, false, 2)]);
        assert_eq!(members(&good, &defined), Ok(()));
        let bad = listed(vec![member(1, true, 3), member(2, true, 2)]);
        let what = refused(members(&bad, &defined));
        let named = MemberId::of_session(2).to_string();
        assert!(what.contains(&named), "{what}");
    }

    fn made() -> (Plan, NamespaceRecord) {
        let record = NamespaceRecord {
            generation: 1,
            definitions: definitions(),
            log: identity("delete"),
            table: TableIdentity {
                cluster: "c".to_owned(),
                table: uuid::Uuid::from_u128(1),
            },
        };
        let plan = Plan {
            namespace: "plays".to_owned(),
            made: DateTime::from_timestamp(0, 0).unwrap(),
            record: record.clone(),
            log: identity("delete"),
            scope: everything(),
            cut: offsets(&[]),
            judged: 0,
            unjudged: 0,
            wrong: Vec::new(),
        };
        (plan, record)
    }

    #[test]
    fn a_plan_is_refused_elsewhere_than_where_it_was_made() {
        let (made, record) = made();
        let log = identity("delete");
        assert_eq!(plan(&made, "plays", &record, &log), Ok(()));
        assert!(refused(plan(&made, "skips", &record, &log)).contains("namespace"));
        let mut other = record.clone();
        other.generation = 2;
        assert!(refused(plan(&made, "plays", &other, &log)).contains("generation"));
        other = record.clone();
        other.table.table = uuid::Uuid::from_u128(2);
        assert!(refused(plan(&made, "plays", &other, &log)).contains("table"));
        other = record.clone();
        other.definitions.counters.pop();
        assert!(refused(plan(&made, "plays", &other, &log)).contains("plays"));
        let mut elsewhere = log.clone();
        elsewhere.cluster = "other".to_owned();
        assert!(refused(plan(&made, "plays", &record, &elsewhere)).contains("log"));
        let mut anew = log;
        anew.fingerprints.clear();
        assert!(refused(plan(&made, "plays", &record, &anew)).contains("log"));
    }

    #[test]
    fn a_partition_that_was_empty_when_the_plan_was_made_may_have_records_now() {
        let (mut made, record) = made();
        made.log.fingerprints.clear();
        assert_eq!(plan(&made, "plays", &record, &identity("delete")), Ok(()));
    }
}
