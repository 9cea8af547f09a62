//! Local time: every point of two years equals a recount by Python's zoneinfo.

use std::process::Command;

use stitch_common::cell::EventTime;
use stitch_common::event::slot;

use super::*;
use crate::query_string::encoded;

/// As in `api/tests/recount_zones.py`: the first quarter of an hour, in milliseconds since 1970, and the end.
const FROM_MS: i64 = 1_703_894_400_000;
const TO_MS: i64 = 1_767_657_600_000;
const QUARTER_MS: i64 = 900_000;

/// Berlin is at whole hours, so that the hours of UTC are enough; the others need quarters of an hour.
const ZONES: [&str; 5] = [
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/St_Johns",
];

fn recount() -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recount_zones.py");
    let output = Command::new("python3").arg(script).args(ZONES).output();
    let output = output.expect("python3 is on the path");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Counts the events of the recount, as a processor does.
fn fill(server: &TestServer, counter: &str) {
    let definition = server.config.definitions.counter(counter).unwrap();
    let counter = Counter::new(counter, "a");
    let mut cells = server.table.cells.lock().unwrap();
    for (number, ms) in (0..).zip((FROM_MS..TO_MS).step_by(900_000)) {
        // Not at the beginning of the quarter, as events are.
        let time = EventTime::from_ms(ms + number % QUARTER_MS).unwrap();
        for granularity in &definition.granularities {
            let cell = (counter.clone(), slot(*granularity, time));
            *cells.entry(cell).or_default() += number * 7919 % 13;
        }
    }
}

/// Every point of a series of two local years, page by page.
async fn points(server: &TestServer, counter: &str, period: &str, zone: &str) -> Vec<Value> {
    let mut points = Vec::new();
    let mut next = Some(format!(
        "/v1/counters/{counter}/keys/a/series?granularity={period}&from=2024-01-01&to=2026-01-01&time_zone={}",
        encoded(zone)
    ));
    while let Some(address) = next {
        let page = server.get(&address).await.json();
        assert_eq!(page["time_zone"], zone, "{page}");
        let more = page["points"].as_array().unwrap().iter();
        points.extend(more.map(|point| serde_json::json!([point["start"], point["count"]])));
        next = page["next"].as_str().map(str::to_owned);
    }
    points
}

#[tokio::test]
async fn every_point_of_two_years_equals_the_recount_of_zoneinfo() {
    let server = TestServer::with_counters(
        "STITCH_API__POINTS_MAX=10000",
        "[[counter]]\nname = \"quarters\"\non = [\"play\"]\nkey = \"track\"\n\
         granularities = [\"quarter\", \"hour\", \"day\", \"month\"]\n",
    );
    fill(&server, "plays");
    fill(&server, "quarters");
    let recount = recount();
    let mut compared = 0;
    for zone in ZONES {
        for (period, expected) in recount[zone].as_object().unwrap() {
            let expected = expected.as_array().unwrap();
            // The finest that is kept of plays is an hour.
            let counter = if zone == ZONES[0] && period != "quarter" {
                "plays"
            } else {
                "quarters"
            };
            let found = points(&server, counter, period, zone).await;
            for (found, expected) in found.iter().zip(expected) {
                assert_eq!(found, expected, "{zone} {period}");
            }
            assert_eq!(found.len(), expected.len(), "{zone} {period}");
            compared += found.len();
        }
    }
    // Two years have 70,176 quarters of an hour and 17,544 hours.
    assert!(
        compared > ZONES.len() * (70_176 + 17_544),
        "{compared} points"
    );
}
