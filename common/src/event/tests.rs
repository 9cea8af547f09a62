#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else comes out fails the test"
)]

use proptest::prelude::*;

use super::*;
use crate::definition::{CounterDefinition, EventAttributes};
use crate::range::RangeBits;

fn decoder() -> Decoder {
    let counter = |name: &str, on: &str, key: &str, amount| CounterDefinition {
        name: CounterName(name.into()),
        on: vec![on.to_owned()],
        key: key.to_owned(),
        granularities: vec![Granularity::All],
        amount,
    };
    Decoder::new(&Definitions::new(
        RangeBits::new(0).unwrap(),
        EventAttributes::default(),
        vec![
            counter(
                "bytes",
                "hit",
                "host",
                AmountSource::Attribute("bytes".to_owned()),
            ),
            counter("hits", "hit", "url", AmountSource::Fixed(1)),
            counter("plays", "play", "track", AmountSource::Fixed(-2)),
        ],
    ))
}

fn decode(json: &str) -> Decoded {
    decoder().decode(Some(json.as_bytes()))
}

fn event(json: &str) -> Event {
    match decode(json) {
        Decoded::Event(event) => event,
        other => panic!("{json}: {other:?}"),
    }
}

fn play(track: &str, time: &str) -> Decoded {
    decode(&format!(
        r#"{{"type":"play","track":{track},"time":{time}}}"#
    ))
}

fn key_of(track: &str) -> Option<String> {
    match play(track, "0") {
        Decoded::Event(event) => Some(event.increments[0].counter.key.0.to_string()),
        Decoded::Rejected(Rejection::Key(name)) if name == "track" => None,
        other => panic!("{other:?}"),
    }
}

fn time_of(time: &str) -> Option<i64> {
    match play("\"t\"", time) {
        Decoded::Event(event) => Some(event.time.ms()),
        Decoded::Rejected(Rejection::Time(_)) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_increments_every_counter_that_lists_its_type() {
    let hit = event(r#"{"type":"hit","time":5,"url":"/","host":"h","bytes":-7,"more":[{}]}"#);
    let increments: Vec<_> = hit
        .increments
        .iter()
        .map(|i| (i.counter.to_string(), i.amount.0, i.definition))
        .collect();
    assert_eq!(
        increments,
        [("bytes/h".to_owned(), -7, 0), ("hits//".to_owned(), 1, 1)]
    );
}

#[test]
fn a_type_that_no_counter_lists_is_ignored_even_if_other_attributes_are_invalid() {
    for json in [
        r#"{"type":"skip"}"#,
        "{}",
        r#"{"type":7,"time":"x"}"#,
        r#"{"type":null}"#,
    ] {
        assert_eq!(decode(json), Decoded::Ignored, "{json}");
    }
}

#[test]
fn one_unusable_counter_rejects_the_whole_record() {
    assert_eq!(
        decode(r#"{"type":"hit","time":5,"url":"/","host":"h"}"#),
        Decoded::Rejected(Rejection::Amount("bytes".to_owned()))
    );
    assert_eq!(
        decode(r#"{"type":"hit","time":5,"host":"h","bytes":1}"#),
        Decoded::Rejected(Rejection::Key("url".to_owned()))
    );
}

#[test]
fn values_that_are_no_json_object_are_rejected_each_with_its_reason() {
    assert_eq!(
        decoder().decode(None),
        Decoded::Rejected(Rejection::NoValue)
    );
    assert_eq!(
        decoder().decode(Some(b"\xff{}")),
        Decoded::Rejected(Rejection::NotUtf8)
    );
    for json in ["[1]", "null", " \"{}\"", "1"] {
        assert_eq!(
            decode(json),
            Decoded::Rejected(Rejection::NotAnObject),
            "{json}"
        );
    }
    for json in [
        "",
        "{",
        "{} {}",
        "{\"a\":nan}",
        "{'a':1}",
        "[1",
        "\u{feff}{}",
        "{\"a\":1,}",
    ] {
        let decoded = decode(json);
        assert!(
            matches!(decoded, Decoded::Rejected(Rejection::NotJson(_))),
            "{json}: {decoded:?}"
        );
    }
}

#[test]
fn a_key_is_a_non_empty_string_or_an_integer() {
    assert_eq!(key_of("\"a b\"").as_deref(), Some("a b"));
    assert_eq!(key_of(r#""\u00e4\n""#).as_deref(), Some("ä\n"));
    assert_eq!(key_of("17").as_deref(), Some("17"));
    assert_eq!(key_of("-0").as_deref(), Some("0"));
    assert_eq!(
        key_of("123456789012345678901234567890").as_deref(),
        Some("123456789012345678901234567890")
    );
    for bad in [
        "\"\"",
        "1.0",
        "1e3",
        "true",
        "null",
        "[]",
        "{\"a\":1}",
        r#""\ud800""#,
    ] {
        assert_eq!(key_of(bad), None, "{bad}");
    }
    let longest = "ä".repeat(512);
    assert_eq!(key_of(&format!("\"{longest}\"")), Some(longest.clone()));
    assert_eq!(key_of(&format!("\"{longest}a\"")), None);
}

#[test]
fn an_event_of_a_counter_by_the_minute_ends_with_the_last_year_of_minutes() {
    let decoder = |granularity| {
        Decoder::new(&Definitions::new(
            RangeBits::new(0).unwrap(),
            EventAttributes::default(),
            vec![CounterDefinition {
                name: CounterName("plays".into()),
                on: vec!["play".to_owned()],
                key: "track".to_owned(),
                granularities: vec![granularity],
                amount: AmountSource::Fixed(1),
            }],
        ))
    };
    let at = |ms: i64| format!("{{\"type\": \"play\", \"track\": 1, \"time\": {ms}}}");
    let last = at(EventTime::MAX_MS_OF_MINUTES);
    let after = at(EventTime::MAX_MS_OF_MINUTES + 1);
    let by_minute = decoder(Granularity::Minute);
    assert!(matches!(
        by_minute.decode(Some(last.as_bytes())),
        Decoded::Event(_)
    ));
    assert_eq!(
        by_minute.decode(Some(after.as_bytes())),
        Decoded::Rejected(Rejection::MinuteTime("time".to_owned(), "plays".to_owned()))
    );
    let by_quarter = decoder(Granularity::Quarter);
    assert!(matches!(
        by_quarter.decode(Some(after.as_bytes())),
        Decoded::Event(_)
    ));
    let end = parse_rfc3339("7000-12-31T23:59:59.999Z").unwrap();
    assert_eq!(end.ms(), EventTime::MAX_MS_OF_MINUTES);
}

#[test]
fn a_time_is_rfc_3339_with_an_offset_or_milliseconds() {
    assert_eq!(time_of("\"1970-01-01T00:00:01Z\""), Some(1000));
    assert_eq!(time_of("\"1970-01-01t02:00:01.2345+02:00\""), Some(1234));
    assert_eq!(time_of("\"1969-12-31T23:59:59.999Z\""), Some(-1));
    assert_eq!(time_of("-1"), Some(-1));
    assert_eq!(time_of("\"0001-01-01T00:00:00Z\""), Some(EventTime::MIN_MS));
    assert_eq!(
        time_of("\"9999-12-31T23:59:59.9999Z\""),
        Some(EventTime::MAX_MS)
    );
    assert_eq!(
        time_of(&EventTime::MAX_MS.to_string()),
        Some(EventTime::MAX_MS)
    );
    let bad = [
        "\"1970-01-01T00:00:01\"",
        "\"1970-01-01\"",
        "\"0001-01-01T00:00:00+00:01\"",
        "\"9999-12-31T23:59:59-00:01\"",
        "\"1970-02-30T00:00:00Z\"",
        "253402300800000",
        "-62135596800001",
        "99999999999999999999",
        "1.5",
        "1e3",
        "null",
        "\"\"",
    ];
    for bad in bad {
        assert_eq!(time_of(bad), None, "{bad}");
    }
}

#[test]
fn a_leap_second_belongs_to_the_second_before() {
    assert_eq!(
        time_of("\"2016-12-31T23:59:60Z\""),
        time_of("\"2016-12-31T23:59:59.999Z\"")
    );
    assert_eq!(
        time_of("\"2016-12-31T23:59:60.5Z\""),
        time_of("\"2016-12-31T23:59:59.999Z\"")
    );
}

#[test]
fn amounts_are_integers_of_64_bits() {
    let amount = |text: &str| match decode(&format!(
        r#"{{"type":"hit","time":0,"url":"u","host":"h","bytes":{text}}}"#
    )) {
        Decoded::Event(event) => Some(event.increments[0].amount.0),
        Decoded::Rejected(Rejection::Amount(_)) => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(amount("9223372036854775807"), Some(i64::MAX));
    assert_eq!(amount("-9223372036854775808"), Some(i64::MIN));
    assert_eq!(amount("-0"), Some(0));
    for bad in ["9223372036854775808", "1.0", "1e2", "\"1\"", "null", "true"] {
        assert_eq!(amount(bad), None, "{bad}");
    }
}

#[test]
fn the_last_one_of_a_repeated_attribute_counts() {
    let twice = event(r#"{"type":"skip","track":"a","type":"play","time":0,"track":"b"}"#);
    assert_eq!(&*twice.increments[0].counter.key.0, "b");
}

#[test]
fn attributes_are_read_under_escaped_names_and_only_at_the_top() {
    let escaped = event(r#"{"in":{"track":"x"},"typ\u0065":"play","time":0,"track":"a"}"#);
    assert_eq!(&*escaped.increments[0].counter.key.0, "a");
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let verdict = decoder().decode(Some(&bytes));
        prop_assert_eq!(verdict.clone(), decoder().decode(Some(&bytes)));
    }

    #[test]
    fn every_string_round_trips_as_a_key(text in "\\PC{1,80}") {
        let json = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(key_of(&json), Some(text));
    }
}
