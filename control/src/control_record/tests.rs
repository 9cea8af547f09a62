use super::*;
use stitch_common::member::MemberId;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn restoration(seconds: i64) -> RestorationId {
    RestorationId::new(at(seconds), &MemberId::new(1, 2))
}

fn request(seconds: i64) -> ControlRequest {
    ControlRequest {
        by: "ann@host".to_owned(),
        at: at(seconds),
        reason: "load".to_owned(),
    }
}

/// The record after these commands to a restoration, one second after the other.
fn after(commands: &[ControlCommand], running: Option<&RestorationId>) -> ControlRecord {
    let mut record = ControlRecord::default();
    for (second, command) in (1..).zip(commands) {
        record = record
            .after(*command, request(second), running, None)
            .unwrap();
    }
    record
}

#[test]
fn resume_lifts_a_pause_and_a_hold_and_leaves_the_throttle() {
    let runs = restoration(0);
    let throttle = ControlCommand::Throttle(Some(CorrectionRate(7)));
    let hold = ControlCommand::HoldUntil(at(100));
    let held = after(&[throttle, ControlCommand::Pause, hold], Some(&runs));
    assert!(held.pause.is_some() && held.hold.is_some());
    let resumed = held.after(ControlCommand::Resume, request(9), Some(&runs), None);
    let resumed = resumed.unwrap();
    assert_eq!((&resumed.pause, &resumed.hold), (&None, &None));
    assert_eq!(resumed.throttle.as_ref().unwrap().rate.0, 7);
    let off = resumed.after(
        ControlCommand::Throttle(None),
        request(9),
        Some(&runs),
        None,
    );
    assert_eq!(off.unwrap().throttle, None);
}

#[test]
fn orders_to_one_restoration_mean_nothing_to_another_but_a_hold_does() {
    let (one, other) = (restoration(0), restoration(50));
    let hold = ControlCommand::HoldUntil(at(100));
    let record = after(&[ControlCommand::Pause, hold], Some(&one));
    let of_other = record.clone().of(Some(&other));
    assert_eq!(of_other.pause, None);
    assert_eq!(of_other.hold, record.hold);
    assert_eq!(record.clone().of(Some(&one)), record);
    assert_eq!(record.clone().at(at(99)).hold, record.hold);
    assert_eq!(record.at(at(100)).hold, None, "it has ended");
    // Nor is a pause of one a pause of the other that could be lifted.
    let of_one = after(&[ControlCommand::Pause], Some(&one));
    let refused = of_one.after(ControlCommand::Resume, request(60), Some(&other), None);
    assert_eq!(refused, Err(ControlRefusal::NothingToResume));
}

/// Its session is lost, and it is about to go on as a new member, with the orders that it has.
#[test]
fn orders_to_a_restoration_stay_and_can_be_lifted_while_it_has_no_session() {
    let one = restoration(0);
    let paused = after(&[ControlCommand::Pause], Some(&one));
    let hold = ControlCommand::HoldUntil(at(100));
    let held = paused.clone().after(hold, request(2), None, None).unwrap();
    assert_eq!(held.clone().of(Some(&one)).pause, paused.pause);
    let refused = held
        .clone()
        .after(ControlCommand::Abort, request(3), None, None);
    assert_eq!(refused, Err(ControlRefusal::NothingRuns));
    let resumed = held.after(ControlCommand::Resume, request(4), None, None);
    let resumed = resumed.unwrap().of(Some(&one));
    assert_eq!((resumed.pause, resumed.hold), (None, None));
}

#[test]
fn a_command_that_changes_nothing_is_refused_with_the_reason() {
    let runs = restoration(0);
    let empty = ControlRecord::default;
    for command in [
        ControlCommand::Pause,
        ControlCommand::Abort,
        ControlCommand::Throttle(None),
    ] {
        let refused = empty().after(command, request(1), None, None);
        assert_eq!(refused, Err(ControlRefusal::NothingRuns), "{command}");
    }
    let past = ControlCommand::HoldUntil(at(1));
    let refused = empty().after(past, request(1), None, None);
    assert_eq!(refused, Err(ControlRefusal::Past(at(1))));
    let refused = empty().after(ControlCommand::Pause, request(1), Some(&runs), Some("x"));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("restoration x does not run") && text.contains(runs.as_str()));
    let named = empty().after(
        ControlCommand::Pause,
        request(1),
        Some(&runs),
        Some(runs.as_str()),
    );
    let again = named
        .unwrap()
        .after(ControlCommand::Pause, request(2), Some(&runs), None);
    let text = UserError::from(again.unwrap_err()).message;
    assert_eq!(
        text,
        "it is already paused by ann@host at 1970-01-01T00:00:01Z: load"
    );
}

#[test]
fn a_restoration_takes_notice_of_each_change_once_with_who_and_why() {
    let runs = restoration(0);
    let commands = |commands: &[ControlCommand]| after(commands, Some(&runs));
    let named = |old: &ControlRecord, new: &ControlRecord| {
        let events = ControlEvent::between(old, new, at(200));
        let name = |event: ControlEvent| (event.command, event.request.is_some());
        events.into_iter().map(name).collect::<Vec<_>>()
    };
    let empty = ControlRecord::default();
    let throttle = ControlCommand::Throttle(Some(CorrectionRate(7)));
    let paused = commands(&[ControlCommand::Pause, throttle]);
    let seen = named(&empty, &paused);
    let expected = [("throttle 7".to_owned(), true), ("pause".to_owned(), true)];
    assert_eq!(seen, expected);
    assert_eq!(named(&paused, &paused), []);
    let resumed = commands(&[ControlCommand::Pause, ControlCommand::Resume]);
    let expected = [
        ("throttle off".to_owned(), false),
        ("resume".to_owned(), false),
    ];
    assert_eq!(named(&paused, &resumed), expected);
    let held = commands(&[ControlCommand::HoldUntil(at(100))]);
    let expected = [("hold-until 1970-01-01T00:01:40Z".to_owned(), true)];
    assert_eq!(named(&empty, &held), expected);
    assert_eq!(named(&held, &empty), [("hold ended".to_owned(), false)]);
    let aborted = commands(&[ControlCommand::Abort]);
    assert_eq!(named(&empty, &aborted), [("abort".to_owned(), true)]);
}
