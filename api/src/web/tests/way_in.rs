//! How people get to a page, what it compares, and how long caches may keep it.

use super::pages::values;
use super::*;

async fn text(server: &TestServer, address: &str) -> String {
    let reply = server.get(address).await;
    assert_eq!(reply.status, 200, "{address}");
    String::from_utf8(reply.body).unwrap()
}

#[tokio::test]
async fn a_person_finds_the_page_of_a_key() {
    let server = TestServer::new("");
    let person = [("accept", "text/html,*/*")];
    let reply = server.get_with("/", &person).await;
    assert_eq!(
        (reply.status, reply.header("location"), reply.header("vary")),
        (303, "/stats", "accept")
    );
    let program = server.get("/").await;
    assert!(
        String::from_utf8(program.body)
            .unwrap()
            .contains("/v1/counters")
    );
    let index = text(&server, "/stats").await;
    for counter in ["plays", "visits"] {
        let address = format!("/stats/{counter}");
        assert!(
            values(&index, "href=\"").contains(&address.as_str()),
            "{index}"
        );
        assert!(
            index.contains(&format!("<option>{counter}</option>")),
            "{index}"
        );
    }
    for (query, page) in [
        (
            "counter=plays&key=a+b%2F%C3%A4",
            "/stats/plays/a%20b%2F%C3%A4",
        ),
        ("counter=visits&key=", "/stats/visits"),
        ("counter=plays&key=..", "/stats/plays?key=.."),
        (
            "counter=plays&key=%0D%0Aset-cookie:x",
            "/stats/plays/%0D%0Aset-cookie:x",
        ),
    ] {
        let reply = server.get(&format!("/stats?{query}")).await;
        assert_eq!(
            (reply.status, reply.header("location")),
            (303, page),
            "{query}"
        );
        assert_eq!(server.get(page).await.status, 200, "{page}");
    }
    assert_eq!(server.get("/stats?counter=nothing&key=a").await.status, 404);
    // The listener of operators leads to their page, and the other one not.
    assert!(index.contains("href=\"/operator\""));
    let apart = TestServer::new("STITCH_API__OPERATOR_LISTEN=127.0.0.1:0");
    assert!(!text(&apart, "/stats").await.contains("/operator"));
    let request = Request::get("/").header("accept", "text/html");
    let request = request.body(Body::empty()).unwrap();
    let led = super::reply(apart.operators.clone().oneshot(request).await.unwrap()).await;
    assert_eq!((led.status, led.header("location")), (303, "/operator"));
}

#[tokio::test]
async fn a_key_without_counts_says_so() {
    let server = TestServer::new("");
    let words = "Nothing is counted for this key";
    assert!(text(&server, "/stats/plays/a").await.contains(words));
    server.table.put("a", Granularity::All, "1970-01-01", 1);
    assert!(!text(&server, "/stats/plays/a").await.contains(words));
}

#[tokio::test]
async fn a_period_that_is_not_over_is_compared_with_the_same_part_of_the_one_before() {
    let server = TestServer::new("");
    // It is 10:15 on Sunday, the third of May.
    for (granularity, start, count) in [
        (Granularity::Hour, "2026-05-03T09:00:00Z", 3),
        (Granularity::Hour, "2026-05-03T10:00:00Z", 100),
        (Granularity::Day, "2026-05-03", 103),
        (Granularity::Hour, "2026-05-02T09:00:00Z", 2),
        (Granularity::Hour, "2026-05-02T10:00:00Z", 200),
        (Granularity::Day, "2026-05-02", 202),
        (Granularity::Hour, "2026-04-03T09:00:00Z", 7),
        (Granularity::Day, "2026-04-03", 777),
        (Granularity::Day, "2026-04-02", 1000),
    ] {
        server.table.put("a", granularity, start, count);
    }
    let totals = server.get("/v1/counters/plays/keys/a/totals").await.json();
    let so_far = |period: &str| totals["periods"][period]["so_far"].clone();
    let part = |count: i64, before: i64| serde_json::json!({"until": "2026-05-03T10:00:00Z", "count": count, "count_before": before});
    assert_eq!(so_far("day"), part(3, 2));
    assert_eq!(so_far("month"), part(205, 1007));
    assert_eq!((so_far("hour"), so_far("year")), (Value::Null, Value::Null));
    let page = text(&server, "/stats/plays/a").await;
    for part in [">3<", "yesterday until then", "(+50.0 %)", "so far"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // A query has the same, by the clocks of the zone.
    let address = "/v1/query?counter=plays&key=a&select=totals&time_zone=Europe/Berlin";
    let query = server.get(address).await.json();
    let day = &query["parts"][0]["periods"]["day"]["so_far"];
    let until = "2026-05-03T12:00:00+02:00";
    assert_eq!(
        *day,
        serde_json::json!({"until": until, "count": 3, "count_before": 2})
    );
    // By days, if hours are not kept.
    let visits = server.get("/v1/counters/visits/keys/a/totals").await.json();
    assert_eq!(
        visits["periods"]["month"]["so_far"]["until"],
        "2026-05-03T00:00:00Z"
    );
    assert_eq!(visits["periods"]["day"]["so_far"], Value::Null);
}

#[tokio::test]
async fn a_page_of_counts_has_a_version_and_may_be_shown_while_there_are_only_errors() {
    let server = TestServer::new("");
    for address in ["/stats/plays/a", "/stats/plays?key=a&key=b"] {
        let first = server.get(address).await;
        let kept = "public, max-age=1, stale-while-revalidate=5, stale-if-error=86400";
        assert_eq!(first.header("cache-control"), kept);
        let tag = first.header("etag").to_owned();
        // More events wait: the page that the client has is still right.
        server.set_freshness(&LightSnapshot::default(), 7);
        let again = server.get_with(address, &[("if-none-match", &tag)]).await;
        assert_eq!((again.status, again.header("etag")), (304, tag.as_str()));
        assert_eq!(again.header("stitch-freshness"), "live; behind_events=7");
        assert!(again.body.is_empty());
        let all = server.table.reads();
        server.table.put(
            "a",
            Granularity::All,
            "1970-01-01",
            i64::try_from(all).unwrap(),
        );
        let changed = server.get_with(address, &[("if-none-match", &tag)]).await;
        assert_eq!(changed.status, 200, "{address}");
        assert_ne!(changed.header("etag"), tag);
        server.set_freshness(&LightSnapshot::default(), 0);
    }
    // What went wrong is kept by nobody.
    *server.table.error.lock().unwrap() = Some(StoreError::Unavailable("x".to_owned()));
    let problem = server.get("/stats/plays/a").await;
    assert_eq!(
        (problem.status, problem.header("cache-control")),
        (503, "no-store")
    );
}
