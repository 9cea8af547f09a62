//! The refusals before anything is restored (design, section 6), decided over values alone. Each protects counts that
//! are right.

use std::collections::BTreeMap;

use stitch_common::log_history;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Bounds, Level, LogIdentity};
use stitch_common::range::RangeBits;
use stitch_common::user_error::UserError;
use stitch_config::WriteConsistency;
use stitch_protocol::definition_node::{NamespaceRecord, StoredDefinition};
use stitch_protocol::membership::Members;
use stitch_protocol::namespace::ValidatedNamespace;
use stitch_protocol::start_offset;

use crate::plan::base_cut::BaseCut;
use crate::plan::file::Plan;
use crate::unverified::Unverified;

/// Refuses a log that does not keep every event. Whether it reaches back far enough depends on archive and totals.
pub(crate) fn log(validated: &ValidatedNamespace) -> Result<(), UserError> {
    log_history::keeps_events(&validated.observed.log)
}

/// Refuses to read majorities where an acknowledged increment need not be on any of the replicas that are read.
pub(crate) fn read_level(level: Level, writes: WriteConsistency) -> Result<(), UserError> {
    if level == Level::All || writes.meets_majorities() {
        return Ok(());
    }
    let message = format!(
        "increments are written at {}, so a majority of replicas need not have them: reading at QUORUM shows nothing",
        writes.name()
    );
    let help = "start every Cassandra node, and run it without --read-consistency";
    Err(UserError::new(message, help))
}

/// Refuses checkpoints that do not fit the group's commits or the log's end. `committed` was read before the
/// checkpoints, and `bounds` after them: all three only grow.
///
/// # Errors
/// ZooKeeper was restored from an old copy, or the topic is another one.
pub(crate) fn checkpoints(
    cut: &BaseCut,
    committed: &BTreeMap<Partition, Offset>,
    bounds: &BTreeMap<Partition, Bounds>,
    bits: RangeBits,
) -> Result<(), UserError> {
    for (&partition, checkpoint) in cut.checkpoints() {
        let committed = committed.get(&partition).copied();
        let end = bounds.get(&partition).map(|bounds| bounds.end);
        let end = end.unwrap_or_default();
        start_offset::check(partition, checkpoint, committed, end, bits)
            .map_err(|refusal| UserError::from(&refusal))?;
    }
    Ok(())
}

/// Refuses to restore while a partition has no checkpoint: no range could be verified.
pub(crate) fn no_checkpoint_is_missing(cut: &BaseCut) -> Result<(), UserError> {
    match cut.without_checkpoint().next() {
        Some(partition) => Err(UserError::from(&Unverified::NoCheckpoint(partition))),
        None => Ok(()),
    }
}

/// Whether every checkpoint is within the log as Kafka reports it.
pub(crate) fn is_within(
    cut: &BaseCut,
    bounds: &BTreeMap<Partition, Bounds>,
    bits: RangeBits,
) -> bool {
    cut.checkpoints().all(|(partition, checkpoint)| {
        let end = bounds.get(partition).map(|bounds| bounds.end);
        checkpoint.is_none_or(|it| it.highest(bits) <= end.unwrap_or_default())
    })
}

/// Refuses living members that count by other definitions than those that are restored. One that has joined before
/// `init --update` would go on counting by them: what is verified now would not stay true.
pub(crate) fn members(members: &Members, definition: &StoredDefinition) -> Result<(), UserError> {
    let others = members.alive_by_other_definitions(definition.version);
    let others: Vec<_> = others.map(ToString::to_string).collect();
    if others.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the definitions have changed, and members that are alive still count by the former ones: {}",
        others.join("; ")
    );
    Err(UserError::new(
        message,
        "restart them with the new configuration, then run this again",
    ))
}

/// Refuses a plan that was made for another namespace, log, table, generation or set of definitions.
pub(crate) fn plan(
    plan: &Plan,
    namespace: &str,
    record: &NamespaceRecord,
    log: &LogIdentity,
) -> Result<(), UserError> {
    let differs = |difference: &str| {
        let message = format!("the plan was made for another {difference}");
        let help =
            "make a new plan by `stitch-restorator plan --plan-file FILE`, review it, and run that";
        Err(UserError::new(message, help))
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

/// Whether every first record of the plan's log is still the first.
fn same_records(then: &LogIdentity, now: &LogIdentity) -> bool {
    let mut first_records = then.fingerprints.iter();
    first_records.all(|(partition, first)| now.fingerprints.get(partition) == Some(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use stitch_common::member::{MemberId, Role};
    use stitch_common::ports::{Fingerprint, TableIdentity};
    use stitch_protocol::membership::{Member, MemberRecord};
    use stitch_testkit::samples::{BITS, definitions, everything, offsets, stored_checkpoint};

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
        let error = result.unwrap_err();
        assert!(!error.help.is_empty());
        error.message
    }

    fn checked(checkpoint: Option<(i64, i64)>, committed: i64) -> Result<(), UserError> {
        let stored = checkpoint.map(|(a, b)| stored_checkpoint(a, b));
        let cut = BaseCut::new([P], [(P, stored)]);
        let committed = BTreeMap::from([(P, Offset(committed))]);
        checkpoints(&cut, &committed, &bounds(0, 9), BITS)
    }

    #[test]
    fn reading_majorities_of_what_one_replica_acknowledged_is_refused() {
        for (writes, name) in WriteConsistency::EVERY {
            assert_eq!(read_level(Level::All, writes), Ok(()), "{name}");
        }
        assert_eq!(
            read_level(Level::Quorum, WriteConsistency::LocalQuorum),
            Ok(())
        );
        let message = refused(read_level(Level::Quorum, WriteConsistency::LocalOne));
        assert!(message.contains("LOCAL_ONE"), "{message}");
    }

    #[test]
    fn a_partition_without_checkpoint_is_refused_if_its_group_has_commits() {
        assert_eq!(checked(None, 0), Ok(()));
        assert!(refused(checked(None, 4)).contains("no checkpoint"));
    }

    #[test]
    fn a_restoration_without_every_checkpoint_is_refused_and_names_the_partition() {
        let checkpoint = stored_checkpoint(3, 3);
        let cut = |of_3| BaseCut::new([P], [(P, of_3), (Partition(4), Some(checkpoint.clone()))]);
        assert_eq!(
            no_checkpoint_is_missing(&cut(Some(checkpoint.clone()))),
            Ok(())
        );
        let message = refused(no_checkpoint_is_missing(&cut(None)));
        assert!(message.contains("partition 3"), "{message}");
    }

    #[test]
    fn a_checkpoint_behind_the_commits_or_beyond_the_end_is_refused() {
        assert_eq!(checked(Some((4, 9)), 4), Ok(()));
        assert!(refused(checked(Some((4, 9)), 5)).contains("behind offset 5"));
        assert!(refused(checked(Some((4, 10)), 0)).contains("beyond the log's end at 9"));
    }

    #[test]
    fn a_living_member_with_other_definitions_is_refused_by_name_and_a_dead_one_is_not() {
        let (_, record) = plan_and_record();
        let definition = StoredDefinition { record, version: 3 };
        let member = |session, alive, definition_version| Member {
            id: MemberId::new(session, 0),
            alive,
            record: MemberRecord {
                role: Role::Processor,
                host: "h".to_owned(),
                process_id: 1,
                started: DateTime::from_timestamp(0, 0).unwrap(),
                session_timeout_ms: 6000,
                keepalive_interval_ms: 5000,
                keepalive_timeout_ms: 5000,
                version: "0".to_owned(),
                definition_version,
            },
        };
        let listed = |members: Vec<Member>| Members {
            members,
            version: 0,
        };
        let good = listed(vec![member(1, true, 3), member(2, false, 2)]);
        assert_eq!(members(&good, &definition), Ok(()));
        let bad = listed(vec![member(1, true, 3), member(2, true, 2)]);
        let message = refused(members(&bad, &definition));
        let named = MemberId::new(2, 0).to_string();
        assert!(message.contains(&named), "{message}");
    }

    fn plan_and_record() -> (Plan, NamespaceRecord) {
        let record = NamespaceRecord {
            generation: 1,
            definitions: definitions(),
            log: identity("delete"),
            table: TableIdentity {
                cluster: "c".to_owned(),
                table: uuid::Uuid::from_u128(1),
            },
            write_consistency: stitch_config::WriteConsistency::LocalQuorum,
            raised_from: None,
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
        };
        (plan, record)
    }

    #[test]
    fn a_plan_that_was_made_for_another_namespace_is_refused() {
        let (made, record) = plan_and_record();
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
        let mut without_record = log;
        without_record.fingerprints.clear();
        assert!(refused(plan(&made, "plays", &record, &without_record)).contains("log"));
    }

    #[test]
    fn a_partition_that_was_empty_when_the_plan_was_made_may_have_records_now() {
        let (mut made, record) = plan_and_record();
        made.log.fingerprints.clear();
        assert_eq!(plan(&made, "plays", &record, &identity("delete")), Ok(()));
    }
}
