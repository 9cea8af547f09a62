//! How much one request may be added up from, above all of counters that are kept by short granularities alone.

use serde_json::json;

use super::*;

/// Every minute of a year would be half a million buckets, and every quarter of an hour 35,040.
const SHORT: &str = "\
    [[counter]]\nname = \"minutes\"\non = [\"play\"]\nkey = \"track\"\ngranularities = [\"minute\", \"all\"]\n\
    [[counter]]\nname = \"quarters\"\non = [\"play\"]\nkey = \"track\"\ngranularities = [\"quarter\", \"all\"]\n";
const BUCKETS_MAX: u64 = 200_000;

#[tokio::test]
async fn totals_leave_out_a_period_that_too_many_buckets_add_up_to() {
    let server = TestServer::with_counters("", SHORT);
    for (counter, expected) in [
        ("minutes", &["day", "hour", "minute", "quarter"][..]),
        ("quarters", &["day", "hour", "month", "quarter", "week"]),
        ("plays", &["day", "hour", "month", "week", "year"]),
    ] {
        let totals = format!("/v1/counters/{counter}/keys/a/totals");
        let totals = server.get(&totals).await.json();
        assert_eq!(totals["total"], 0, "{totals}");
        let periods = totals["periods"].as_object().unwrap();
        assert!(periods.keys().eq(expected), "{counter}: {totals}");
        assert!(periods["day"]["so_far"].is_object(), "{totals}");
    }
}

/// What the script of a page asks for is answered, of as many keys as are shown side by side.
#[tokio::test]
async fn pages_of_counters_that_are_kept_by_short_granularities_are_kept_up_to_date() {
    let server = TestServer::with_counters("", SHORT);
    let keys: Vec<_> = (0..8).map(|key| format!("key={key}")).collect();
    let keys = keys.join("&");
    for (counter, step, from) in [
        ("minutes", "minute", "2026-05-03T09:16:00Z"),
        ("quarters", "quarter", "2026-05-02T22:30:00Z"),
        ("plays", "hour", "2026-05-01T11:00:00Z"),
    ] {
        let page = server.get(&format!("/stats/{counter}?{keys}")).await;
        assert_eq!(page.status, 200);
        let rest = format!("select=series&select=totals&granularity={step}&from={from}");
        let query = format!("/v1/query?counter={counter}&{keys}&{rest}&time_zone=UTC");
        let reply = server.get(&query).await;
        assert_eq!(reply.status, 200, "{}", reply.json());
        assert_eq!(reply.json()["parts"].as_array().unwrap().len(), 8);
    }
}

#[tokio::test]
async fn a_count_over_too_many_buckets_is_a_problem_of_its_granularity() {
    let server = TestServer::with_counters("", SHORT);
    let keys: Vec<_> = (0..200).map(|key| key.to_string()).collect();
    let in_address = keys.join("&key=");
    for (counter, granularity) in [
        ("minutes", "week"),
        ("minutes", "year"),
        ("quarters", "year"),
    ] {
        let of = format!("granularity={granularity}&at=2025-05-01");
        let counts = format!("/v1/counters/{counter}/counts");
        let body = json!({"keys": keys, "granularity": granularity}).to_string();
        for reply in [
            server
                .get(&format!("/v1/counters/{counter}/keys/a?{of}"))
                .await,
            server.get(&format!("{counts}?{of}&key={in_address}")).await,
            server.post(&counts, body).await,
            server
                .get(&format!(
                    "/v1/counters/{counter}/keys/a/series?granularity={granularity}"
                ))
                .await,
            server
                .get(&format!("/v1/query?counter={counter}&key=a&{of}"))
                .await,
        ] {
            let problem = reply.json();
            assert_eq!(
                (reply.status, &problem["parameter"]),
                (400, &json!("granularity")),
                "{problem}"
            );
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("more than 10000"), "{detail}");
        }
    }
    assert_eq!(server.table.reads(), 0);
    let day = server
        .get("/v1/counters/minutes/keys/a?granularity=day")
        .await;
    assert_eq!(day.status, 200, "1,440 buckets");
}

/// Planning everything first would take more memory than there is: 1.2 million buckets of 16 bytes for each counter.
#[tokio::test]
async fn a_query_is_refused_as_soon_as_what_is_planned_of_it_is_too_much() {
    let counter = |number: usize| {
        format!(
            "[[counter]]\nname = \"hours{number}\"\non = [\"play\"]\nkey = \"track\"\ngranularities = [\"hour\"]\n"
        )
    };
    let counters: String = (0..40).map(counter).collect();
    let server = TestServer::with_counters("", &counters);
    let distinct: String = (0..40)
        .map(|number| format!("counter=hours{number}&"))
        .collect();
    for counters in [distinct, "counter=hours7&".repeat(200)] {
        let query = format!("/v1/query?{counters}key=a&select=totals");
        let problem = server.get(&query).await.json();
        assert_eq!(problem["parameter"], "key", "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        let (_, rest) = detail.split_once("at least ").unwrap();
        let planned: u64 = rest.split(' ').next().unwrap().parse().unwrap();
        // The totals of one of these counters are of less than 22,000.
        assert!(
            (BUCKETS_MAX..BUCKETS_MAX + 22_000).contains(&planned),
            "{detail}"
        );
    }
    assert_eq!(server.table.reads(), 0);
}

#[tokio::test]
async fn a_counter_that_is_named_again_is_answered_again_as_a_key_is() {
    let server = TestServer::new("");
    server.table.put("a", Granularity::All, "1970-01-01", 70);
    let query =
        "/v1/query?counter=plays&counter=nothing&counter=plays&counter=nothing&key=a&key=b&key=a";
    let answer = server.get(query).await.json();
    let parts = answer["parts"].as_array().unwrap();
    let counts: Vec<Option<i64>> = parts.iter().map(|part| part["count"].as_i64()).collect();
    let (plays, nothing) = ([Some(70), Some(0), Some(70)], [None; 3]);
    assert_eq!(counts, [plays, nothing, plays, nothing].concat());
    assert_eq!(parts[0], parts[6]);
    assert_eq!(parts[3]["problem"]["type"], parts[9]["problem"]["type"]);
}
