use super::*;

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
    let here = Here::new("");
    here.table.put("a/b", Granularity::All, "1970-01-01", 70);
    here.table.put("a/b", DAY, "2026-05-03", 7);
    here.table.put("a/b", Granularity::Month, "2026-04-01", 30);
    let key = "/v1/counters/plays/keys/a%2Fb";
    let all = here.get(key).await.json();
    assert_eq!((&all["count"], &all["key"]), (&70.into(), &"a/b".into()));
    assert_eq!(all["granularity"], "all");
    assert_eq!(all["freshness"]["state"], "live");
    assert_eq!(all["freshness"]["as_of"], "2026-05-03T10:15:30.000Z");
    let day = here.get(&format!("{key}?granularity=day")).await.json();
    assert_eq!(day["count"], 7, "without a time it is the present one");
    assert_eq!(day["start"], "2026-05-03T00:00:00Z");
    assert_eq!(day["end"], "2026-05-04T00:00:00Z");
    let month = here
        .get(&format!("{key}?granularity=month&at=2026-04-30"))
        .await
        .json();
    assert_eq!(month["count"], 30);
    let never = here.get("/v1/counters/plays/keys/never").await;
    assert_eq!((never.status, &never.json()["count"]), (200, &0.into()));
}

#[tokio::test]
async fn a_count_that_is_added_up_from_several_cells_wraps_too() {
    let here = Here::new("");
    here.table.put("a", HOUR, "2026-05-01T00:00:00Z", i64::MAX);
    here.table.put("a", HOUR, "2026-05-01T01:00:00Z", 2);
    let query = "granularity=day&at=2026-05-01&utc_offset=%2B01:00";
    let got = here
        .get(&format!("/v1/counters/plays/keys/a?{query}"))
        .await
        .json();
    assert_eq!(got["count"], i64::MIN + 1);
}

#[tokio::test]
async fn a_day_elsewhere_is_added_up_from_hours() {
    let here = Here::new("");
    here.table.put("a", HOUR, "2026-04-30T22:00:00Z", 1);
    here.table.put("a", HOUR, "2026-05-01T21:00:00Z", 10);
    here.table.put("a", HOUR, "2026-05-01T22:00:00Z", 100);
    let query = "granularity=day&at=2026-05-01&utc_offset=%2B02:00";
    let got = here
        .get(&format!("/v1/counters/plays/keys/a?{query}"))
        .await
        .json();
    assert_eq!(
        (&got["count"], &got["start"]),
        (&11.into(), &"2026-05-01T00:00:00+02:00".into())
    );
    // What people write by hand means the same.
    let got = here
        .get("/v1/counters/plays/keys/a?granularity=day&at=2026-05-01&utc_offset=+02:00")
        .await;
    assert_eq!(got.json()["count"], 11);
}

#[tokio::test]
async fn many_counts_stand_in_the_order_in_which_they_were_asked_for() {
    let here = Here::new("");
    here.table.put("a", DAY, "2026-05-01", 1);
    here.table.put("ä &", DAY, "2026-05-01", 2);
    let got = here
        .get("/v1/counters/plays/counts?granularity=day&at=2026-05-01&key=%C3%A4+%26&key=c&key=a")
        .await;
    let expected = serde_json::json!([
        {"key": "ä &", "count": 2}, {"key": "c", "count": 0}, {"key": "a", "count": 1}
    ]);
    assert_eq!(got.json()["counts"], expected);
    let body = r#"{"keys": ["ä &", "c", "a"], "granularity": "day", "at": "2026-05-01"}"#;
    let posted = here.post("/v1/counters/plays/counts", body).await;
    assert_eq!((posted.status, &posted.json()["counts"]), (200, &expected));
    let dots = here
        .post("/v1/counters/plays/counts", r#"{"keys": ["..", "."]}"#)
        .await;
    assert_eq!(dots.status, 200);
}

#[tokio::test]
async fn a_series_has_a_point_for_every_period_and_pages_follow_each_other() {
    let here = Here::new("");
    for (day, count) in [("2026-02-27", 1), ("2026-03-01", 3), ("2026-03-05", 9)] {
        here.table.put("a", DAY, day, count);
    }
    let series = "/v1/counters/plays/keys/a/series";
    let got = here
        .get(&format!(
            "{series}?granularity=day&from=2026-02-27&to=2026-03-05"
        ))
        .await
        .json();
    assert_eq!(counts(&got), [1, 0, 3, 0, 0, 0], "the end is not shown");
    assert_eq!((&got["sum"], &got["next"]), (&4.into(), &Value::Null));
    let (mut paged, mut pages) = (Vec::new(), 0);
    let mut next =
        format!("{series}?granularity=day&from=2026-02-27&to=2026-03-05&limit=4&utc_offset=-03:00");
    loop {
        let page = here.get(&next).await;
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
    let here = Here::new("");
    // Years elsewhere are months, and days and hours at their ends.
    let mut next = "/v1/counters/plays/keys/a/series?granularity=year&from=1500-01-01&to=2300-01-01&utc_offset=%2B05:00"
        .to_owned();
    let mut pages = Vec::new();
    loop {
        let page = here.get(&next).await.json();
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
    let here = Here::new("");
    let got = here
        .get("/v1/counters/plays/keys/a/series?granularity=month")
        .await
        .json();
    assert_eq!(counts(&got).len(), 30);
    assert_eq!(got["to"], "2026-06-01T00:00:00Z");
    assert_eq!(got["from"], "2023-12-01T00:00:00Z");
}

#[tokio::test]
async fn weeks_are_added_up_from_days() {
    let here = Here::new("");
    here.table.put("a", DAY, "2026-04-26", 1);
    here.table.put("a", DAY, "2026-04-27", 2);
    here.table.put("a", DAY, "2026-05-03", 3);
    let got = here
        .get("/v1/counters/plays/keys/a/series?granularity=week&from=2026-04-24&to=2026-05-04")
        .await;
    assert_eq!(counts(&got.json()), [1, 5]);
}

#[tokio::test]
async fn totals_show_each_period_beside_the_one_before() {
    let here = Here::new("");
    here.table.put("a", Granularity::All, "1970-01-01", 1000);
    for (granularity, start, count) in [
        (DAY, "2026-05-03", 1),
        (DAY, "2026-05-02", 2),
        (DAY, "2026-04-26", 50),
        (Granularity::Month, "2026-05-01", 3),
        (Granularity::Month, "2026-04-01", 100),
        (Granularity::Year, "2025-01-01", 7),
        (HOUR, "2026-05-03T10:00:00Z", 4),
    ] {
        here.table.put("a", granularity, start, count);
    }
    let got = here.get("/v1/counters/plays/keys/a/totals").await.json();
    let of = |period: &str| {
        let this = &got["periods"][period];
        (
            this["count"].as_i64().unwrap(),
            this["before"]["count"].as_i64().unwrap(),
        )
    };
    assert_eq!(got["total"], 1000);
    assert_eq!(of("hour"), (4, 0));
    assert_eq!(of("day"), (1, 2));
    assert_eq!(of("week"), (3, 50));
    assert_eq!(of("month"), (3, 100));
    assert_eq!(of("year"), (0, 7));
    assert_eq!(here.table.reads(), 1, "all of it is of one moment");
    let visits = here.get("/v1/counters/visits/keys/a/totals").await.json();
    assert_eq!(visits["total"], Value::Null);
    assert!(visits["periods"]["hour"].is_null() && visits["periods"]["week"].is_object());
}

#[tokio::test]
async fn every_answer_says_how_it_stands_with_its_own_counts() {
    let here = Here::new("");
    let mut glance = Glance::default();
    glance.locked.insert(range_of(&here, "a"));
    here.show(&glance, 12);
    let beside = (0..)
        .map(|n| format!("k{n}"))
        .find(|key| range_of(&here, key) != range_of(&here, "a"));
    let beside = beside.unwrap();
    let state = async |address: String| {
        let got = here.get(&address).await;
        let freshness = got.json()["freshness"].clone();
        let state = freshness["state"].as_str().unwrap().to_owned();
        assert_eq!(
            got.header("stitch-freshness"),
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
        state(format!("/v1/counters/plays/keys/{beside}")).await,
        "live"
    );
    let both = format!("/v1/counters/plays/counts?key={beside}&key=a");
    assert_eq!(state(both).await, "restoring");
    let whole = here.get("/v1/freshness").await.json();
    assert_eq!(
        whole["ranges"],
        serde_json::json!({"live": 63, "restoring": 1})
    );
    here.board.send_replace(Arc::new(FreshnessSnapshot::blank(
        here.config.definitions.range_bits,
    )));
    let got = here.get("/v1/counters/plays/keys/a").await;
    assert_eq!(got.json()["freshness"]["state"], "unknown");
    assert_eq!(got.json()["freshness"]["behind_events"], Value::Null);
    assert_eq!((got.status, here.get("/ready").await.status), (200, 503));
}

#[tokio::test]
async fn what_is_over_may_be_kept_for_long_unless_something_may_change_it() {
    let here = Here::new("");
    let day = |day: &str| format!("/v1/counters/plays/keys/a?granularity=day&at={day}");
    let kept = async |address: &str| here.get(address).await.header("cache-control").to_owned();
    assert_eq!(kept(&day("2026-05-02")).await, "public, max-age=3600");
    assert_eq!(kept(&day("2026-05-03")).await, "public, max-age=1");
    assert_eq!(kept("/v1/counters/plays/keys/a").await, "public, max-age=1");
    let series = |to: &str| format!("/v1/counters/plays/keys/a/series?from=2026-04-01&to={to}");
    assert_eq!(kept(&series("2026-05-03")).await, "public, max-age=3600");
    assert_eq!(kept(&series("2026-05-04")).await, "public, max-age=1");
    let mut glance = Glance::default();
    glance.marked.insert(range_of(&here, "a"));
    here.show(&glance, 0);
    assert_eq!(kept(&day("2026-05-02")).await, "public, max-age=1");
}

#[tokio::test]
async fn what_a_client_has_already_is_not_sent_again() {
    let here = Here::new("");
    here.table.put("a", Granularity::All, "1970-01-01", 1);
    let address = "/v1/counters/plays/keys/a";
    let first = here.get(address).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    here.show(&Glance::default(), 5);
    let again = here.get_with(address, &[("if-none-match", &tag)]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("stitch-freshness"), "live; behind_events=5");
    let listed = format!("\"x\", {}", tag.trim_start_matches("W/"));
    assert_eq!(
        here.get_with(address, &[("if-none-match", &listed)])
            .await
            .status,
        304
    );
    here.table.put("a", Granularity::All, "1970-01-01", 2);
    let other = here.get_with(address, &[("if-none-match", &tag)]).await;
    assert_eq!((other.status, &other.json()["count"]), (200, &2.into()));
    let tag = other.header("etag").to_owned();
    let glance = Glance {
        dead_members: 1,
        ..Glance::default()
    };
    here.show(&glance, 5);
    let doubtful = here.get_with(address, &[("if-none-match", &tag)]).await;
    assert_eq!(doubtful.status, 200, "another word is another answer");
}

#[tokio::test]
async fn answers_are_packed_as_the_client_likes() {
    let here = Here::new("");
    let series = "/v1/counters/plays/keys/a/series?granularity=hour&from=2026-04-01&to=2026-05-01";
    let plain = here.get(series).await;
    for (encoding, magic) in [("gzip", &[0x1f, 0x8b][..]), ("br", &[])] {
        let packed = here
            .get_with(series, &[("accept-encoding", encoding)])
            .await;
        assert_eq!(packed.header("content-encoding"), encoding);
        assert!(packed.body.len() * 4 < plain.body.len() && packed.body.starts_with(magic));
        assert_eq!(packed.header("etag"), plain.header("etag"));
    }
}

#[tokio::test]
async fn sums_wrap_as_cassandras_do() {
    let here = Here::new("");
    here.table.put("a", DAY, "2026-05-01", i64::MAX);
    here.table.put("a", DAY, "2026-05-02", 1);
    let got = here
        .get("/v1/counters/plays/keys/a/series?from=2026-05-01&to=2026-05-03")
        .await;
    assert_eq!(got.json()["sum"], i64::MIN);
}
