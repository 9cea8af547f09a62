use stitch_common::event::{Decoded, Decoder, slot};

use super::*;
use crate::params;

const DAY: Granularity = Granularity::Day;
const HOUR: Granularity = Granularity::Hour;

fn counts(series: &Value) -> Vec<i64> {
    let points = series["points"].as_array().unwrap().iter();
    points
        .map(|point| point["count"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_count_is_of_all_time_or_of_one_period() {
    let server = TestServer::new("");
    server.table.put("a/b", Granularity::All, "1970-01-01", 70);
    server.table.put("a/b", DAY, "2026-05-03", 7);
    server
        .table
        .put("a/b", Granularity::Month, "2026-04-01", 30);
    let key = "/v1/counters/plays/keys/a%2Fb";
    let all = server.get(key).await.json();
    assert_eq!((&all["count"], &all["key"]), (&70.into(), &"a/b".into()));
    assert_eq!(all["granularity"], "all");
    assert_eq!(all["freshness"]["state"], "live");
    assert_eq!(all["freshness"]["as_of"], "2026-05-03T10:15:30.000Z");
    let day = server.get(&format!("{key}?granularity=day")).await.json();
    assert_eq!(day["count"], 7, "without a time it is the present one");
    assert_eq!(day["start"], "2026-05-03T00:00:00Z");
    assert_eq!(day["end"], "2026-05-04T00:00:00Z");
    let month = server
        .get(&format!("{key}?granularity=month&at=2026-04-30"))
        .await
        .json();
    assert_eq!(month["count"], 30);
    let never = server.get("/v1/counters/plays/keys/never").await;
    assert_eq!((never.status, &never.json()["count"]), (200, &0.into()));
}

#[tokio::test]
async fn a_count_that_is_added_up_from_several_cells_wraps_too() {
    let server = TestServer::new("");
    server
        .table
        .put("a", HOUR, "2026-05-01T00:00:00Z", i64::MAX);
    server.table.put("a", HOUR, "2026-05-01T01:00:00Z", 2);
    let query = "granularity=day&at=2026-05-01&utc_offset=%2B01:00";
    let reply = server
        .get(&format!("/v1/counters/plays/keys/a?{query}"))
        .await
        .json();
    assert_eq!(reply["count"], i64::MIN + 1);
}

#[tokio::test]
async fn a_day_at_another_offset_is_added_up_from_hours() {
    let server = TestServer::new("");
    server.table.put("a", HOUR, "2026-04-30T22:00:00Z", 1);
    server.table.put("a", HOUR, "2026-05-01T21:00:00Z", 10);
    server.table.put("a", HOUR, "2026-05-01T22:00:00Z", 100);
    let query = "granularity=day&at=2026-05-01&utc_offset=%2B02:00";
    let reply = server
        .get(&format!("/v1/counters/plays/keys/a?{query}"))
        .await
        .json();
    assert_eq!(
        (&reply["count"], &reply["start"]),
        (&11.into(), &"2026-05-01T00:00:00+02:00".into())
    );
    // An unencoded + is accepted as well.
    let reply = server
        .get("/v1/counters/plays/keys/a?granularity=day&at=2026-05-01&utc_offset=+02:00")
        .await;
    assert_eq!(reply.json()["count"], 11);
}

#[tokio::test]
async fn counts_are_in_the_order_of_the_keys_of_the_request() {
    let server = TestServer::new("");
    server.table.put("a", DAY, "2026-05-01", 1);
    server.table.put("ä &", DAY, "2026-05-01", 2);
    let reply = server
        .get("/v1/counters/plays/counts?granularity=day&at=2026-05-01&key=%C3%A4+%26&key=c&key=a")
        .await;
    let expected = serde_json::json!([
        {"key": "ä &", "count": 2}, {"key": "c", "count": 0}, {"key": "a", "count": 1}
    ]);
    assert_eq!(reply.json()["counts"], expected);
    let body = r#"{"keys": ["ä &", "c", "a"], "granularity": "day", "at": "2026-05-01"}"#;
    let posted = server.post("/v1/counters/plays/counts", body).await;
    assert_eq!((posted.status, &posted.json()["counts"]), (200, &expected));
    let dots = server
        .post("/v1/counters/plays/counts", r#"{"keys": ["..", "."]}"#)
        .await;
    assert_eq!(dots.status, 200);
}

#[tokio::test]
async fn a_series_has_a_point_for_every_period_and_pages_follow_each_other() {
    let server = TestServer::new("");
    for (day, count) in [("2026-02-27", 1), ("2026-03-01", 3), ("2026-03-05", 9)] {
        server.table.put("a", DAY, day, count);
    }
    let series = "/v1/counters/plays/keys/a/series";
    let reply = server
        .get(&format!(
            "{series}?granularity=day&from=2026-02-27&to=2026-03-05"
        ))
        .await
        .json();
    assert_eq!(counts(&reply), [1, 0, 3, 0, 0, 0], "the end is exclusive");
    assert_eq!((&reply["sum"], &reply["next"]), (&4.into(), &Value::Null));
    let (mut paged, mut pages) = (Vec::new(), 0);
    let mut next =
        format!("{series}?granularity=day&from=2026-02-27&to=2026-03-05&limit=4&utc_offset=-03:00");
    loop {
        let page = server.get(&next).await;
        assert_eq!(page.status, 200, "{next}");
        let json = page.json();
        paged.extend(
            json["points"]
                .as_array()
                .unwrap()
                .iter()
                .map(|point| point["start"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        match json["next"].as_str() {
            Some(address) => {
                assert_eq!(page.header("link"), format!("<{address}>; rel=\"next\""));
                address.clone_into(&mut next);
            }
            None => break,
        }
    }
    assert_eq!((pages, paged.len()), (2, 6));
    assert_eq!(paged[4], "2026-03-03T00:00:00-03:00");
}

#[tokio::test]
async fn a_page_ends_early_where_its_points_are_of_many_cells() {
    let server = TestServer::new("");
    // Years at another offset are months, with days and hours at their ends.
    let mut next = "/v1/counters/plays/keys/a/series?granularity=year&from=1500-01-01&to=2300-01-01&utc_offset=%2B05:00"
        .to_owned();
    let mut pages = Vec::new();
    loop {
        let page = server.get(&next).await.json();
        pages.push(counts(&page).len());
        match page["next"].as_str() {
            Some(address) => address.clone_into(&mut next),
            None => break,
        }
    }
    assert!(pages.len() > 1, "800 points are fewer than a page may have");
    assert_eq!(pages.iter().sum::<usize>(), 800);
}

#[tokio::test]
async fn without_from_and_to_a_series_ends_with_the_present_period() {
    let server = TestServer::new("");
    let reply = server
        .get("/v1/counters/plays/keys/a/series?granularity=month")
        .await
        .json();
    assert_eq!(counts(&reply).len(), 30);
    assert_eq!(reply["to"], "2026-06-01T00:00:00Z");
    assert_eq!(reply["from"], "2023-12-01T00:00:00Z");
}

#[tokio::test]
async fn weeks_are_added_up_from_days() {
    let server = TestServer::new("");
    server.table.put("a", DAY, "2026-04-26", 1);
    server.table.put("a", DAY, "2026-04-27", 2);
    server.table.put("a", DAY, "2026-05-03", 3);
    let reply = server
        .get("/v1/counters/plays/keys/a/series?granularity=week&from=2026-04-24&to=2026-05-04")
        .await;
    assert_eq!(counts(&reply.json()), [1, 5]);
}

#[tokio::test]
async fn totals_show_each_period_and_the_one_before() {
    let server = TestServer::new("");
    server.table.put("a", Granularity::All, "1970-01-01", 1000);
    for (granularity, start, count) in [
        (DAY, "2026-05-03", 1),
        (DAY, "2026-05-02", 2),
        (DAY, "2026-04-26", 50),
        (Granularity::Month, "2026-05-01", 3),
        (Granularity::Month, "2026-04-01", 100),
        (Granularity::Year, "2025-01-01", 7),
        (HOUR, "2026-05-03T10:00:00Z", 4),
    ] {
        server.table.put("a", granularity, start, count);
    }
    let reply = server.get("/v1/counters/plays/keys/a/totals").await.json();
    let of = |period: &str| {
        let total = &reply["periods"][period];
        (
            total["count"].as_i64().unwrap(),
            total["before"]["count"].as_i64().unwrap(),
        )
    };
    assert_eq!(reply["total"], 1000);
    assert_eq!(of("hour"), (4, 0));
    assert_eq!(of("day"), (1, 2));
    assert_eq!(of("week"), (3, 50));
    assert_eq!(of("month"), (3, 100));
    assert_eq!(of("year"), (0, 7));
    assert_eq!(server.table.reads(), 1, "all totals are of one moment");
    let visits = server.get("/v1/counters/visits/keys/a/totals").await.json();
    assert_eq!(visits["total"], Value::Null);
    assert!(visits["periods"]["hour"].is_null() && visits["periods"]["week"].is_object());
}

#[tokio::test]
async fn every_answer_has_the_freshness_of_its_own_counts() {
    let server = TestServer::new("");
    let mut snapshot = LightSnapshot::default();
    snapshot.locked.insert(range_of(&server, "a"));
    server.set_freshness(&snapshot, 12);
    let other = (0..)
        .map(|n| format!("k{n}"))
        .find(|key| range_of(&server, key) != range_of(&server, "a"))
        .unwrap();
    let state = async |address: String| {
        let reply = server.get(&address).await;
        let freshness = reply.json()["freshness"].clone();
        let state = freshness["state"].as_str().unwrap().to_owned();
        assert_eq!(
            reply.header("stitch-freshness"),
            format!("{state}; behind_events=12")
        );
        assert_eq!(freshness["behind_events"], 12);
        state
    };
    assert_eq!(
        state("/v1/counters/plays/keys/a".to_owned()).await,
        "restoring"
    );
    assert_eq!(
        state(format!("/v1/counters/plays/keys/{other}")).await,
        "live"
    );
    let both = format!("/v1/counters/plays/counts?key={other}&key=a");
    assert_eq!(state(both).await, "restoring");
    let whole = server.get("/v1/freshness").await.json();
    assert_eq!(
        whole["ranges"],
        serde_json::json!({"live": 63, "restoring": 1})
    );
    server
        .freshness
        .send_replace(Arc::new(FreshnessSnapshot::empty(
            server.config.definitions.range_bits,
        )));
    let reply = server.get("/v1/counters/plays/keys/a").await;
    assert_eq!(reply.json()["freshness"]["state"], "unknown");
    assert_eq!(reply.json()["freshness"]["behind_events"], Value::Null);
    assert_eq!(
        (reply.status, server.get("/ready").await.status),
        (200, 503)
    );
}

#[tokio::test]
async fn an_uncertain_answer_says_why_and_whole_freshness_how_many_ranges() {
    let server = TestServer::new("");
    let mut snapshot = LightSnapshot::default();
    snapshot.uncertainty.marked.insert(range_of(&server, "a"));
    server.set_freshness(&snapshot, 0);
    let count = server.get("/v1/counters/plays/keys/a").await.json();
    let cause = serde_json::json!([{"cause": "in-doubt-marker", "since": null}]);
    assert_eq!(count["freshness"]["state"], "uncertain");
    assert_eq!(count["freshness"]["causes"], cause);
    let whole = server.get("/v1/freshness").await.json();
    assert_eq!(whole["freshness"]["causes"], cause);
    assert_eq!(whole["doubtful"], serde_json::json!({"in-doubt-marker": 1}));
    server.set_freshness(&LightSnapshot::default(), 0);
    let whole = server.get("/v1/freshness").await.json();
    assert_eq!(whole["doubtful"], serde_json::json!({}));
    assert_eq!(whole["freshness"]["causes"], Value::Null);
}

#[tokio::test]
async fn counts_of_closed_periods_may_be_cached_for_long_only_while_they_are_live() {
    let server = TestServer::new("");
    let day = |day: &str| format!("/v1/counters/plays/keys/a?granularity=day&at={day}");
    let cached = async |address: &str| {
        let reply = server.get(address).await;
        let header = reply.header("cache-control");
        let stale = ", stale-while-revalidate=5, stale-if-error=86400";
        header.strip_suffix(stale).expect(header).to_owned()
    };
    assert_eq!(cached(&day("2026-05-02")).await, "public, max-age=3600");
    assert_eq!(cached(&day("2026-05-03")).await, "public, max-age=1");
    assert_eq!(
        cached("/v1/counters/plays/keys/a").await,
        "public, max-age=1"
    );
    let series = |to: &str| format!("/v1/counters/plays/keys/a/series?from=2026-04-01&to={to}");
    assert_eq!(cached(&series("2026-05-03")).await, "public, max-age=3600");
    assert_eq!(cached(&series("2026-05-04")).await, "public, max-age=1");
    let mut snapshot = LightSnapshot::default();
    snapshot.uncertainty.marked.insert(range_of(&server, "a"));
    server.set_freshness(&snapshot, 0);
    assert_eq!(cached(&day("2026-05-02")).await, "public, max-age=1");
}

/// Its last events may be in the log, and not in the count that is called live.
#[tokio::test]
async fn counts_of_a_period_that_has_just_ended_are_cached_as_those_of_an_open_one() {
    // It is a quarter past ten.
    let addresses = [
        "/v1/counters/plays/keys/a?granularity=hour&at=2026-05-03T09:00:00Z",
        "/v1/counters/plays/keys/a/series?granularity=hour&from=2026-05-03T08:00:00Z&to=2026-05-03T10:00:00Z",
        "/v1/counters/plays/counts?granularity=hour&at=2026-05-03T09:00:00Z&key=a",
    ];
    for (lagging_after_ms, age) in [(5_000, "max-age=3600"), (930_000, "max-age=1,")] {
        let server = TestServer::new(&format!("STITCH_API__LAGGING_AFTER_MS={lagging_after_ms}"));
        for address in addresses {
            let reply = server.get(address).await;
            let cached = reply.header("cache-control");
            assert!(cached.contains(age), "{address}: {cached}");
        }
    }
}

#[tokio::test]
async fn a_client_with_the_current_version_gets_304() {
    let server = TestServer::new("");
    server.table.put("a", Granularity::All, "1970-01-01", 1);
    let address = "/v1/counters/plays/keys/a";
    let first = server.get(address).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    server.set_freshness(&LightSnapshot::default(), 5);
    let again = server.get_with(address, &[("if-none-match", &tag)]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("stitch-freshness"), "live; behind_events=5");
    let listed = format!("\"x\", {}", tag.trim_start_matches("W/"));
    assert_eq!(
        server
            .get_with(address, &[("if-none-match", &listed)])
            .await
            .status,
        304
    );
    server.table.put("a", Granularity::All, "1970-01-01", 2);
    let other = server.get_with(address, &[("if-none-match", &tag)]).await;
    assert_eq!((other.status, &other.json()["count"]), (200, &2.into()));
    let tag = other.header("etag").to_owned();
    let mut snapshot = LightSnapshot::default();
    snapshot.uncertainty.has_dead_members = true;
    server.set_freshness(&snapshot, 5);
    let doubtful = server.get_with(address, &[("if-none-match", &tag)]).await;
    assert_eq!(doubtful.status, 200, "another state is another version");
    let tag = doubtful.header("etag").to_owned();
    snapshot.uncertainty.has_dead_members = false;
    snapshot.uncertainty.marked.insert(range_of(&server, "a"));
    server.set_freshness(&snapshot, 5);
    let doubtful = server.get_with(address, &[("if-none-match", &tag)]).await;
    assert_eq!(doubtful.status, 200, "another cause is another version");
}

#[tokio::test]
async fn a_post_is_answered_in_full_whatever_version_the_client_has() {
    let server = TestServer::new("");
    let address = "/v1/counters/plays/counts";
    let tag = server.get(&format!("{address}?key=a")).await;
    let tag = tag.header("etag").to_owned();
    for known in ["*", &tag] {
        let request = Request::post(address)
            .header("if-none-match", known)
            .body(Body::from(r#"{"keys": ["a"]}"#))
            .unwrap();
        let reply = server.send(request).await;
        assert_eq!((reply.status, reply.header("etag")), (200, ""), "{known}");
        assert_eq!(reply.json()["counts"][0]["key"], "a");
    }
}

#[tokio::test]
async fn answers_are_compressed_as_the_client_accepts() {
    let server = TestServer::new("");
    let series = "/v1/counters/plays/keys/a/series?granularity=hour&from=2026-04-01&to=2026-05-01";
    let plain = server.get(series).await;
    for (encoding, magic) in [("gzip", &[0x1f, 0x8b][..]), ("br", &[])] {
        let compressed = server
            .get_with(series, &[("accept-encoding", encoding)])
            .await;
        assert_eq!(compressed.header("content-encoding"), encoding);
        assert!(compressed.body.len() * 4 < plain.body.len() && compressed.body.starts_with(magic));
        assert_eq!(compressed.header("etag"), plain.header("etag"));
    }
}

#[tokio::test]
async fn sums_wrap_as_cassandras_do() {
    let server = TestServer::new("");
    server.table.put("a", DAY, "2026-05-01", i64::MAX);
    server.table.put("a", DAY, "2026-05-02", 1);
    let reply = server
        .get("/v1/counters/plays/keys/a/series?from=2026-05-01&to=2026-05-03")
        .await;
    assert_eq!(reply.json()["sum"], i64::MIN);
}

/// Puts one event at `time` into every cell that the decoder counts it in.
fn put_event(server: &TestServer, key: &str, time: &str) {
    let decoder = Decoder::new(&server.config.definitions);
    let record = format!("{{\"type\":\"play\",\"time\":\"{time}\",\"track\":\"{key}\"}}");
    let Decoded::Event(event) = decoder.decode(Some(record.as_bytes())) else {
        panic!("{record}");
    };
    let mut cells = server.table.cells.lock().unwrap();
    for granularity in Granularity::EVERY {
        let slot = slot(granularity, event.time);
        cells.insert((Counter::new("plays", key), slot), 1);
    }
}

/// The sum of all pages of a series.
async fn sum_of_pages(server: &TestServer, first: String) -> i64 {
    let (mut sum, mut next) = (0, Some(first));
    while let Some(address) = next {
        let page = server.get(&address).await;
        assert_eq!(page.status, 200, "{address}: {}", page.json());
        sum += page.json()["sum"].as_i64().unwrap();
        next = page.json()["next"].as_str().map(str::to_owned);
    }
    sum
}

#[tokio::test]
async fn every_event_that_is_counted_can_be_asked_for() {
    let server = TestServer::new("");
    let encoded = crate::query_string::encoded;
    for (key, time, from, to) in [
        (
            "first",
            "0001-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "0001-02-01",
        ),
        (
            "last",
            "9999-12-31T23:59:59Z",
            "9999-12-01",
            "9999-12-31T23:59:59Z",
        ),
        ("leap", "2016-12-31T23:59:60Z", "2016-12-01", "2017-01-03"),
    ] {
        put_event(&server, key, time);
        let address = params::address("plays", Some(key), "");
        for offset in (-14..=14).map(|hours| encoded(&format!("{hours:+03}:00"))) {
            for period in ["hour", "day", "week", "month", "year"] {
                let rest = format!("granularity={period}&utc_offset={offset}");
                let at = format!("{address}?{rest}&at={}", encoded(time));
                assert_eq!(server.get(&at).await.json()["count"], 1, "{at}");
                let (from, to) = (encoded(from), encoded(to));
                let series = format!("{address}/series?{rest}&to={to}");
                let bounded = format!("{series}&from={from}&limit=500");
                assert_eq!(sum_of_pages(&server, bounded).await, 1, "{rest}");
                sum_of_pages(&server, format!("{series}&limit=1")).await;
            }
        }
    }
}

#[tokio::test]
async fn a_series_begins_with_the_first_event_that_can_be() {
    let server = TestServer::new("");
    put_event(&server, "a", "0001-01-01T00:00:00Z");
    for offset in ["Z", "-14:00", "%2B14:00"] {
        let first = format!(
            "/v1/counters/plays/keys/a/series?granularity=year&to=0003-01-01&limit=1&utc_offset={offset}"
        );
        assert_eq!(sum_of_pages(&server, first).await, 1, "{offset}");
    }
}
