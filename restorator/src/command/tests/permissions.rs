//! What the role may not do is refused before the log is read.

use crate::options::Limits;
use crate::testing::world::Fake;

fn without(right: &'static str) -> Fake {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.forbidden.set(Some(right));
    fake
}

#[test]
fn a_role_that_may_not_read_is_refused_before_the_log_is_read() {
    let fake = without("SELECT");
    let planned = fake.plan(None).unwrap_err();
    assert!(planned.message.contains("may not read counts"), "{planned}");
    assert!(
        planned.help.contains("GRANT SELECT ON KEYSPACE \"k\""),
        "{planned}"
    );
    assert_eq!(fake.times("feed"), 0);
    let fake = without("SELECT");
    assert_eq!(fake.run(Limits::default()).unwrap_err(), planned);
}

#[test]
fn a_role_that_may_not_modify_is_refused_before_the_log_is_read_and_may_still_plan() {
    for (right, message, keyspace) in [
        ("MODIFY", "may not correct counts", "\"k\""),
        (
            "MODIFY on probes",
            "may not probe the nodes",
            "\"k_probes\"",
        ),
    ] {
        let fake = without(right);
        let refused = fake.run(Limits::default()).unwrap_err();
        assert!(refused.message.contains(message), "{refused}");
        assert!(
            refused
                .help
                .contains(&format!("GRANT MODIFY ON KEYSPACE {keyspace}")),
            "{refused}"
        );
        assert_eq!(fake.times("feed"), 0);
        assert!(!fake.exists("__WRIT__") && !fake.exists("/members/"));
        assert!(without(right).plan(None).is_ok());
    }
}
