use super::*;
use std::time::Duration;

#[test]
fn no_wrong_cell_and_a_day_and_two_hours_are_the_objective_unless_it_is_set() {
    let audit = parse(LEAST).unwrap().audit;
    assert_eq!(audit.wrong_per_million_max, 0);
    let day_and_two_hours = Duration::from_secs(93_600);
    assert_eq!(audit.audited_within, day_and_two_hours);
    assert_eq!(audit.verified_within, day_and_two_hours);
    let set = "[audit]\nwrong_per_million_max = 5\naudited_within_hours = 2\nverified_within_hours = 8760";
    let audit = parse(&format!("{LEAST}{set}")).unwrap().audit;
    assert_eq!(audit.wrong_per_million_max, 5);
    assert_eq!(audit.audited_within, Duration::from_secs(7200));
    assert_eq!(audit.verified_within, Duration::from_secs(365 * 24 * 3600));
}

#[test]
fn an_objective_that_nothing_can_meet_or_miss_is_refused() {
    for (wrong, key) in [
        ("wrong_per_million_max = 1000001", "wrong_per_million_max"),
        ("audited_within_hours = 0", "audited_within_hours"),
        ("verified_within_hours = 9000", "verified_within_hours"),
    ] {
        let error = parse(&format!("{LEAST}[audit]\n{wrong}\n")).unwrap_err();
        assert!(error.message.contains(key), "{error:?}");
        assert!(error.help.contains("the default is"), "{error:?}");
    }
}
