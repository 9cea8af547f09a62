//! Several counters and keys in one request.

use serde_json::json;

use super::*;
use crate::query_string::encoded;

const DAY: Granularity = Granularity::Day;

fn server() -> TestServer {
    let server = TestServer::with_counters(
        "",
        "[[counter]]\nname = \"likes\"\non = [\"like\"]\nkey = \"track\"\n",
    );
    server.table.put("a", Granularity::All, "1970-01-01", 70);
    server.table.put("a", DAY, "2026-05-03", 7);
    server.table.put("b", DAY, "2026-05-03", 3);
    server.table.put("b", DAY, "2026-05-02", 4);
    server
}

#[tokio::test]
async fn counts_of_several_counters_and_keys_are_one_request_and_a_read_each() {
    let server = server();
    let address = "/v1/query?counter=plays&counter=likes&key=b&key=a&granularity=day";
    let reply = server.get(address).await;
    assert_eq!(reply.status, 200);
    let answer = reply.json();
    let expected = json!([
        {"counter": "plays", "key": "b", "count": 3}, {"counter": "plays", "key": "a", "count": 7},
        {"counter": "likes", "key": "b", "count": 0}, {"counter": "likes", "key": "a", "count": 0},
    ]);
    assert_eq!(answer["parts"], expected);
    assert_eq!(answer["window"]["start"], "2026-05-03T00:00:00Z");
    assert_eq!(answer["freshness"]["state"], "live");
    assert_eq!(server.table.reads(), 4);
}

/// The parts of a query are what the other addresses answer, in any zone.
#[tokio::test]
async fn series_and_totals_are_those_of_each_key() {
    let server = server();
    let zone = "time_zone=Europe/Berlin";
    let rest = "granularity=day&from=2026-04-01&to=2026-06-01";
    let query =
        format!("/v1/query?counter=plays&key=a&key=b&select=totals&select=series&{rest}&{zone}");
    let answer = server.get(&query).await.json();
    assert_eq!(answer["time_zone"], "Europe/Berlin");
    for part in answer["parts"].as_array().unwrap() {
        let key = format!("/v1/counters/plays/keys/{}", part["key"].as_str().unwrap());
        let series = server
            .get(&format!("{key}/series?{rest}&{zone}"))
            .await
            .json();
        let totals = server.get(&format!("{key}/totals?{zone}")).await.json();
        let points = series["points"].as_array().unwrap();
        let starts: Vec<&Value> = points.iter().map(|point| &point["start"]).collect();
        let counts: Vec<&Value> = points.iter().map(|point| &point["count"]).collect();
        assert_eq!(answer["series"]["starts"], json!(starts));
        assert_eq!(part["counts"], json!(counts));
        assert_eq!(part["sum"], series["sum"]);
        assert_eq!(
            (&part["total"], &part["periods"]),
            (&totals["total"], &totals["periods"])
        );
        // A link to a key opens this address.
        let rest = query.split("key=b&").nth(1).unwrap();
        let alone = server.get(&format!("{key}/query?{rest}")).await.json();
        assert_eq!(alone["parts"], json!([part]));
    }
}

#[tokio::test]
async fn a_part_that_is_wrong_has_a_problem_and_the_others_are_answered() {
    let server = server();
    let address = "/v1/query?counter=nothing&counter=plays&counter=visits&key=a&key=";
    let reply = server
        .get(&format!("{address}&granularity=hour&at=2026-05-03"))
        .await;
    assert_eq!(reply.status, 200);
    let answer = reply.json();
    let problems: Vec<Option<&str>> = answer["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["problem"]["type"].as_str())
        .collect();
    let (unknown, invalid) = ("/problems/unknown-counter", "/problems/invalid-parameter");
    assert_eq!(
        problems,
        [
            Some(unknown),
            Some(unknown),
            None,
            Some(invalid),
            Some(invalid),
            Some(invalid)
        ]
    );
    let all_wrong = server.get("/v1/query?counter=nothing&key=a").await;
    assert_eq!(
        (all_wrong.status, &all_wrong.json()["type"]),
        (404, &unknown.into())
    );
}

#[tokio::test]
async fn what_cassandra_does_not_answer_is_a_problem_of_its_part_and_not_cached() {
    let server = server();
    *server.table.failing.lock().unwrap() = Some("b".to_owned());
    let reply = server.get("/v1/query?counter=plays&key=a&key=b").await;
    assert_eq!(
        (reply.status, reply.header("cache-control")),
        (200, "no-store")
    );
    assert_eq!(reply.header("etag"), "");
    let answer = reply.json();
    assert_eq!(answer["parts"][0]["count"], 70);
    assert_eq!(
        answer["parts"][1]["problem"]["type"],
        "/problems/store-unavailable"
    );
    let none = server.get("/v1/query?counter=plays&key=b").await;
    assert_eq!((none.status, none.header("retry-after")), (503, "1"));
}

#[tokio::test]
async fn a_query_has_one_address_whatever_the_order_of_its_parameters() {
    let server = server();
    let canonical = "/v1/query?counter=plays&key=b&key=a&select=count&granularity=day&at=2026-05-03&time_zone=Europe%2FBerlin";
    let turned =
        "/v1/query?time_zone=Europe/Berlin&key=b&at=2026-05-03&counter=plays&granularity=day&key=a";
    let body = json!({
        "counters": ["plays"], "keys": ["b", "a"], "granularity": "day", "at": "2026-05-03", "time_zone": "Europe/Berlin",
    });
    let replies = [
        server.get(canonical).await,
        server.get(turned).await,
        server.post("/v1/query", body.to_string()).await,
    ];
    for reply in &replies {
        assert_eq!(reply.header("content-location"), canonical);
        assert_eq!(reply.json(), replies[0].json());
    }
    let [get, turned, post] = &replies;
    assert_eq!(get.header("etag"), turned.header("etag"));
    assert_eq!(post.header("cache-control"), "no-store");
    let known = server
        .get_with(canonical, &[("if-none-match", get.header("etag"))])
        .await;
    assert_eq!(known.status, 304);
}

#[tokio::test]
async fn a_query_is_refused_with_the_limit_that_it_exceeds() {
    let server = TestServer::new("STITCH_API__KEYS_MAX=3 STITCH_API__POINTS_MAX=40");
    let span = |days: i64| {
        let from = DateTime::parse_from_rfc3339(NOW).unwrap() - chrono::Duration::days(days);
        format!(
            "select=series&granularity=day&from={}",
            from.format("%Y-%m-%d")
        )
    };
    for (rest, parameter, words) in [
        ("counter=plays".to_owned(), "key", "name one key"),
        ("key=a".to_owned(), "counter", "name one counter"),
        (
            "counter=plays&counter=visits&key=a&key=b".to_owned(),
            "key",
            "4 parts, one request may have 3",
        ),
        (
            format!("counter=plays&key=a&{}", span(60)),
            "from",
            "more than 40 points",
        ),
        (
            "counter=plays&key=a&select=sum".to_owned(),
            "select",
            "none of count, series, totals",
        ),
        (
            "counter=plays&key=a&select=totals&at=2026-05-01".to_owned(),
            "at",
            "select count, too",
        ),
        (
            "counter=plays&key=a&from=2026-05-01".to_owned(),
            "from",
            "select series, too",
        ),
        (
            "counter=plays&key=a&select=totals&granularity=day".to_owned(),
            "granularity",
            "select count or series, too",
        ),
    ] {
        let reply = server.get(&format!("/v1/query?{rest}")).await;
        let problem = reply.json();
        assert_eq!(
            (reply.status, problem["parameter"].as_str()),
            (400, Some(parameter)),
            "{problem}"
        );
        assert!(
            problem["detail"].as_str().unwrap().contains(words),
            "{problem}"
        );
        let example = problem["example"].as_str().unwrap();
        assert_eq!(server.get(example).await.status, 200, "{example}");
    }
    assert_eq!(
        server
            .get(&format!("/v1/query?counter=plays&key=a&{}", span(30)))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn the_buckets_and_the_points_of_all_parts_together_are_limited() {
    let server = TestServer::new("STITCH_API__POINTS_MAX=1000");
    let keys: String = (0..100)
        .map(|key| format!("&key={}", encoded(&key.to_string())))
        .collect();
    let days = "select=series&granularity=day&from=2024-01-01&to=2026-01-01";
    let points = server
        .get(&format!("/v1/query?counter=plays&{days}{keys}"))
        .await
        .json();
    let detail = points["detail"].as_str().unwrap();
    assert!(
        detail.contains("73100 points, one request may have 20000"),
        "{detail}"
    );
    let years = "select=series&granularity=month&from=2014-01-01&to=2026-01-01&utc_offset=-05:00";
    let cells = server
        .get(&format!("/v1/query?counter=plays&{years}{keys}"))
        .await
        .json();
    let detail = cells["detail"].as_str().unwrap();
    assert!(
        detail.contains("buckets, one request may have 200000"),
        "{detail}"
    );
    assert_eq!(server.table.reads(), 0);
}
