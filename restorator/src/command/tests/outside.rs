//! What comes from outside: keys that try to control a terminal, and rows that Stitch did not write.

use std::collections::BTreeMap;

use stitch_common::cell::CounterName;
use stitch_common::output::{self, Output, Report};

use super::restored;
use crate::testing::world::Fake;

#[test]
fn a_key_controls_no_terminal_and_is_in_json_as_it_is() {
    let key = "x\u{1b}[2K\r\n0 cells judged";
    let fake = Fake::with_plays(&["a"]);
    fake.hold(key, 5);
    let written = |output| {
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let report = fake.plan(None);
        output::write("plan", &report, output, &mut out, &mut errors).unwrap();
        String::from_utf8(out).unwrap()
    };
    let text = written(Output::Text);
    assert!(text.contains("plays/x\\u{1b}[2K\\r\\n0 cells"), "{text}");
    assert!(
        !text.lines().any(|line| line.starts_with("0 cells")),
        "{text}"
    );
    let json: serde_json::Value = serde_json::from_str(&written(Output::Json)).unwrap();
    assert_eq!(json["wrong"]["named"][0]["key"], key);
    fake.deleted.borrow_mut().insert(key.to_owned());
    let message = restored(&fake).error().unwrap().message.clone();
    assert!(!message.chars().any(char::is_control), "{message}");
}

#[test]
fn rows_that_no_event_increments_are_counted_and_left_alone() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    let name = CounterName("plays, granularity minute".into());
    fake.foreign.borrow_mut().insert(name.clone(), 3);
    let report = restored(&fake);
    assert_eq!((report.outcome(), fake.held("a")), ("verified", 1));
    assert_eq!(report.unnamed_counters, BTreeMap::from([(name, 3)]));
}
