use super::*;
use stitch_common::printable::is_printable;

/// Requests that are at the edge of what is valid: address, status, invalid parameter, words of the detail; `-` for none.
const INVALID: &str = "
/v1/counters/nothing/keys/a | 404 | counter | none of plays, visits
/v1/counters/nothing/keys/a/series | 404 | counter | plays
/v1/counters/nothing/counts?key=a | 404 | counter | plays
/v1/counters/plays/keys/%ff | 400 | key | UTF-8
/v1/counters/%ff/keys/a | 400 | counter | UTF-8
/v1/counters/%ff/counts?key=a | 400 | counter | UTF-8
/stats/%ff/a | 400 | counter | UTF-8
/v1/counters/plays/keys/a?granularty=day | 400 | granularty | takes granularity, at, time_zone, utc_offset
/v1/counters/plays/keys/a?granularity=second | 400 | granularity | none of minute, quarter, hour, day
/v1/counters/plays/keys/a?at=2026-05-01 | 400 | at | name another granularity
/v1/counters/plays/keys/a?granularity=day&at=yesterday | 400 | at | 2026-05-01T12:00:00Z
/v1/counters/plays/keys/a?granularity=day&utc_offset=2 | 400 | utc_offset | +02:00
/v1/counters/plays/keys/a?granularity=day&utc_offset=%2B05:30 | 400 | utc_offset | also kept by quarter
/v1/counters/plays/keys/a?granularity=day&time_zone=Asia/Kolkata | 400 | time_zone | also kept by quarter
/v1/counters/plays/keys/a?granularity=day&at=1880-05-01&time_zone=Europe/Berlin | 400 | time_zone | whole minutes of UTC
/v1/counters/plays/keys/a?granularity=day&time_zone=Europe/Bonn | 400 | time_zone | no time zone
/v1/counters/plays/keys/a?granularity=day&time_zone=europe/berlin | 400 | time_zone | written Europe/Berlin
/v1/counters/plays/keys/a?granularity=day&utc_offset=Z&time_zone=Europe/Berlin | 400 | utc_offset | leave out
/v1/counters/plays/keys/a?granularity=day&utc_offset=%2B05:20 | 400 | utc_offset | whole quarters
/v1/counters/plays/keys/a?time_zone=Europe/Berlin | 400 | time_zone | no effect on a count of granularity `all`
/v1/counters/plays/keys/a?granularity=all&utc_offset=Z | 400 | utc_offset | no effect
/v1/counters/plays/counts?key=a&utc_offset=%2B02:00 | 400 | utc_offset | no effect
/v1/query?counter=plays&key=a&time_zone=Europe/Berlin | 400 | time_zone | no effect
/v1/query?counter=plays&key=a&select=count&granularity=all&utc_offset=Z | 400 | utc_offset | no effect
/v1/query?counter=plays&key=a&select=count&select=totals&time_zone=Europe/Berlin | 200 | - | -
/v1/query?counter=plays&key=a&select=totals&utc_offset=%2B02:00 | 200 | - | -
/v1/counters/plays/keys/a?granularity=minute | 400 | granularity | no minute can be added up
/v1/counters/plays/keys/a?granularity=day&granularity=day | 400 | granularity | twice
/v1/counters/visits/keys/a | 400 | granularity | kept by day, month
/v1/counters/visits/keys/a?granularity=hour | 400 | granularity | no hour can be added up
/v1/counters/visits/keys/a?granularity=day&utc_offset=-02:00 | 400 | utc_offset | also kept by hour
/v1/counters/plays/counts | 400 | key | name one key
/v1/counters/plays/counts?key=a&key= | 400 | key | 1 to 1024 bytes
/v1/counters/plays/keys/a/series?granularity=all | 400 | granularity | none of minute, quarter, hour
/v1/counters/plays/keys/a/series?from=2026-05-02&to=2026-05-02 | 400 | from | is not before
/v1/counters/plays/keys/a/series?to=0002-01-01 | 200 | - | -
/v1/counters/plays/keys/a/series?limit=0 | 400 | limit | within 1 and 1000
/v1/counters/plays/keys/a/series?limit=1001 | 400 | limit | within 1 and 1000
/v1/counters/plays/keys/a/series?limit=%2B5 | 400 | limit | within 1 and 1000
/v1/counters/plays/keys/a/series?limit=+5 | 400 | limit | within 1 and 1000
/v1/counters/plays/keys/a/series?limit=007 | 400 | limit | within 1 and 1000
/v1/counters/plays/keys/a/series?limit=%D9%A5 | 400 | limit | within 1 and 1000
/v1/counters/plays/keys/a/series?limit=5&limit=5 | 400 | limit | twice
/v1/counters/plays/keys/a/series?from=2026-05-%201 | 400 | from | 2026-05-01
/v1/counters/plays/keys/a?granularity=Day | 400 | granularity | none of minute, quarter, hour, day
/v1/counters/plays/keys/a?granularity=%20day | 400 | granularity | none of minute, quarter, hour, day
/v1/counters/plays/keys/a?Granularity=day | 400 | Granularity | takes granularity
/v1/counters/visits/keys/a/series?granularity=hour | 400 | granularity | kept by day, month
/v1/counters/plays/keys/a/totals?at=2026-05-01 | 400 | at | takes time_zone, utc_offset
/v1/counters?page=2 | 400 | page | takes no parameters
/v1/counters/plays | 404 | - | is not an address of this server
/v2/counters | 404 | - | is not an address of this server
/problems/bad-luck | 404 | - | invalid-parameter
";

#[tokio::test]
async fn every_problem_names_the_parameter_and_shows_a_request_that_works() {
    let server = TestServer::new("");
    for line in INVALID.trim().lines() {
        let columns: Vec<&str> = line.split(" | ").collect();
        let [address, status, parameter, words] = columns[..] else {
            panic!("{line}");
        };
        let status: u16 = status.parse().unwrap();
        let reply = server.get(address).await;
        assert_eq!(
            reply.status,
            status,
            "{address}: {}",
            String::from_utf8_lossy(&reply.body)
        );
        if status == 200 {
            continue;
        }
        assert_eq!(
            reply.header("content-type"),
            "application/problem+json",
            "{address}"
        );
        let problem = reply.json();
        assert_eq!(
            problem["parameter"].as_str().unwrap_or("-"),
            parameter,
            "{problem}"
        );
        assert!(
            problem["detail"].as_str().unwrap().contains(words),
            "{problem}"
        );
        assert_eq!(problem["status"], status);
        let example = problem["example"]
            .as_str()
            .unwrap_or_else(|| panic!("{problem}"));
        assert_eq!(
            server.get(example).await.status,
            200,
            "{address}: {example}"
        );
        let explained = server.get(problem["type"].as_str().unwrap()).await;
        assert_eq!(explained.status, 200, "{problem}");
    }
}

#[tokio::test]
async fn no_answer_in_json_drives_a_terminal_and_each_still_says_what_it_said() {
    /// A control character of C1, a mark that turns the text, an invisible one beyond 16 bits, DEL.
    const ODD: &str = "a\u{9b}1m\u{202e}\u{2066}\u{e0041}\u{7f}";
    const SENT: &str = "a%C2%9B1m%E2%80%AE%E2%81%A6%F3%A0%81%81%7F";
    let server = TestServer::new("");
    let addresses = [
        format!("/v1/counters/plays/keys/{SENT}"),
        format!("/v1/counters/plays/keys/{SENT}/series"),
        format!("/v1/counters/plays/counts?key={SENT}"),
        format!("/v1/counters/{SENT}/keys/a"),
        format!("/v1/counters/plays/keys/a?granularity={SENT}"),
        format!("/v1/counters/plays/keys/a?at={SENT}&granularity=day"),
        format!("/v1/counters/plays/keys/a?time_zone={SENT}&granularity=day"),
        format!("/v1/counters/plays/keys/a?{SENT}=1"),
        format!("/v1/{SENT}"),
    ];
    for address in addresses {
        let reply = server.get(&address).await;
        let body = String::from_utf8(reply.body.to_vec()).unwrap();
        assert!(body.chars().all(is_printable), "{address}: {body:?}");
        if reply.status == 200 {
            let said = reply.json().to_string();
            assert!(
                said.contains(&serde_json::to_string(ODD).unwrap()),
                "{said:?}"
            );
        }
    }
}

#[tokio::test]
async fn too_many_keys_and_too_large_bodies_are_refused_with_the_limit() {
    let server = TestServer::new("STITCH_API__KEYS_MAX=2");
    let reply = server
        .get("/v1/counters/plays/counts?key=a&key=b&key=c")
        .await;
    assert_eq!(reply.status, 400);
    assert!(
        reply.json()["detail"]
            .as_str()
            .unwrap()
            .contains("may name 2")
    );
    let body = format!("{{\"keys\": [\"{}\"]}}", "x".repeat(20_000));
    let reply = server.post("/v1/counters/plays/counts", body).await;
    assert_eq!(
        (reply.status, &reply.json()["type"]),
        (413, &"/problems/payload-too-large".into())
    );
    assert_eq!(server.table.reads(), 0);
}

#[tokio::test]
async fn an_invalid_body_is_a_problem() {
    let server = TestServer::new("");
    for (body, parameter) in [
        ("", None),
        ("[]", None),
        ("{\"keys\": [1]}", None),
        ("{\"keys\": [\"a\"], \"key\": 1}", None),
        ("{\"keys\": [\"a\"], \"at\": null}", None),
        ("{\"keys\": []}", Some("key")),
        (
            "{\"keys\": [\"a\"], \"time_zone\": \"Europe/Berlin\"}",
            Some("time_zone"),
        ),
        (
            "{\"keys\": [\"a\"], \"granularity\": \"minute\"}",
            Some("granularity"),
        ),
    ] {
        let reply = server.post("/v1/counters/plays/counts", body).await;
        let problem = reply.json();
        assert_eq!(
            (reply.status, problem["parameter"].as_str()),
            (400, parameter),
            "{body}: {problem}"
        );
        assert_eq!(
            server
                .get(problem["example"].as_str().unwrap())
                .await
                .status,
            200
        );
    }
}

#[tokio::test]
async fn a_method_that_is_not_allowed_is_answered_with_those_that_are() {
    let server = TestServer::new("");
    for (address, allowed) in [
        ("/v1/counters/plays/keys/a", "GET,HEAD"),
        ("/v1/counters/plays/counts", "GET,HEAD,POST"),
        ("/metrics", "GET,HEAD"),
    ] {
        let request = Request::delete(address).body(Body::empty()).unwrap();
        let reply = server.send(request).await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, allowed),
            "{address}"
        );
        assert_eq!(reply.json()["type"], "/problems/method-not-allowed");
    }
}

#[tokio::test]
async fn errors_of_cassandra_are_reported_without_its_hosts() {
    let server = TestServer::new("");
    for (error, status, kind) in [
        (
            StoreError::Unavailable("10.0.0.7".to_owned()),
            503,
            "/problems/store-unavailable",
        ),
        (
            StoreError::Refused("10.0.0.7".to_owned()),
            500,
            "/problems/store-error",
        ),
    ] {
        *server.table.error.lock().unwrap() = Some(error);
        let reply = server.get("/v1/counters/plays/keys/a").await;
        assert_eq!(
            (reply.status, &reply.json()["type"]),
            (status, &kind.into())
        );
        assert!(!reply.json().to_string().contains("10.0.0.7"));
        assert_eq!(reply.header("cache-control"), "no-store");
    }
}
