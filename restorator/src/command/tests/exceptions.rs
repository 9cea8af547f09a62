//! What is shown while the operator accepts less is never called verified.

use stitch_common::output::{Exit, Report};
use stitch_common::ports::Level;
use stitch_config::{Config, WriteConsistency};
use stitch_control::restoration_record::RestorationState;

use crate::options::{DeclaredDead, Limits};
use crate::testing::world::Fake;

fn quorum(config: &mut Config) {
    config.restorator.read_level = Level::Quorum;
}

fn is_no_verification(fake: &Fake, declared_dead: &[DeclaredDead], named: &str) {
    fake.hold("a", 5);
    let report = fake.run_declaring(declared_dead).unwrap();
    assert_eq!(
        (report.outcome(), report.exit()),
        ("verified_with_exceptions", Exit::Exceptions)
    );
    assert_eq!((report.exit().code(), fake.held("a")), (3, 1));
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["exceptions"].to_string().contains(named), "{json}");
    assert_eq!(json["ranges"][0]["outcome"], "verified_with_exceptions");
    let mut text = Vec::new();
    report.text(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("exception: ") && text.contains(named),
        "{text}"
    );
    let record = fake.recorded();
    assert_eq!(record.state, RestorationState::VerifiedWithExceptions);
    assert!(record.exceptions.concat().contains(named), "{record:?}");
    assert!(
        fake.exists("/doubts/0-unverified"),
        "the range had a wrong cell, and is not verified"
    );
    let plan = fake.plan_declaring(declared_dead).unwrap();
    assert_eq!(
        (plan.outcome(), plan.exit()),
        ("nothing_wrong_with_exceptions", Exit::Exceptions)
    );
}

#[test]
fn what_a_majority_shows_or_what_is_declared_dead_leaves_out_has_an_outcome_of_its_own() {
    let fake = Fake::with(&["a"], "bits = 0", quorum);
    is_no_verification(&fake, &[], "QUORUM");
    let fake = Fake::with_plays(&["a"]);
    is_no_verification(&fake, &["10.0.0.12".parse().unwrap()], "10.0.0.12");
}

#[test]
fn a_majority_is_not_read_where_one_replica_acknowledges() {
    for level in [WriteConsistency::One, WriteConsistency::LocalOne] {
        let fake = Fake::with(&["a"], "bits = 0", |config| {
            quorum(config);
            config.cassandra.write_consistency = level;
        });
        fake.hold("a", 5);
        for failure in [
            fake.plan(None).unwrap_err(),
            fake.run(Limits::default()).unwrap_err(),
        ] {
            assert!(failure.message.contains(level.name()), "{failure}");
        }
        assert_eq!((fake.times("scan"), fake.times("increment")), (0, 0));
    }
}

#[test]
fn reading_majorities_is_refused_if_the_level_of_increments_was_raised_since() {
    let fake = Fake::with(
        "a".split(' ').collect::<Vec<_>>().as_slice(),
        "bits = 0",
        |config| {
            config.restorator.read_level = Level::Quorum;
        },
    );
    assert!(fake.plan(None).is_ok());
    fake.raise_consistency_from(WriteConsistency::One);
    let failure = fake.plan(None).unwrap_err();
    assert!(failure.message.contains("written at ONE"), "{failure}");
}

/// A process that writes at another level than the namespace's would break what reads rely on.
#[test]
fn another_level_of_increments_than_the_namespaces_is_a_mismatch() {
    let fake = Fake::with_plays(&["a"]);
    fake.define_consistency(WriteConsistency::EachQuorum);
    let failure = fake.plan(None).unwrap_err();
    assert!(
        failure
            .message
            .contains("write_consistency: here LOCAL_QUORUM"),
        "{failure}"
    );
    assert!(failure.help.contains("EACH_QUORUM"), "{failure}");
}
