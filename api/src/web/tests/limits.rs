use std::convert::Infallible;
use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::future::join_all;

use super::*;

const KEY: &str = "/v1/counters/plays/keys/a";

/// Starts requests that stay in flight until the table answers.
async fn in_flight<F: Future>(requests: impl IntoIterator<Item = F>) -> Vec<Pin<Box<F>>> {
    let mut in_flight: Vec<_> = requests.into_iter().map(Box::pin).collect();
    for request in &mut in_flight {
        assert!(futures_util::poll!(request).is_pending());
    }
    in_flight
}

/// Shed for lack of permits, and not for lack of an answer, which is 503 as well.
fn assert_refused(reply: &Reply, what: &str) {
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (503, "1"),
        "{what}"
    );
    assert_eq!(reply.json()["type"], "/problems/overload", "{what}");
}

#[tokio::test]
async fn concurrent_requests_for_one_cell_cost_one_read() {
    let server = TestServer::new("");
    server.table.put("a", Granularity::All, "1970-01-01", 7);
    server.table.delayed.send_replace(true);
    let requests = join_all((0..100).map(|_| server.get(KEY)));
    let release = async {
        while server.table.reads() == 0 {
            tokio::task::yield_now().await;
        }
        server.table.delayed.send_replace(false);
    };
    let (all, ()) = tokio::join!(requests, release);
    assert!(all.iter().all(|reply| reply.json()["count"] == 7));
    assert_eq!(server.table.reads(), 1);
    server.get(KEY).await;
    assert_eq!(server.table.reads(), 2, "completed reads are not kept");
}

/// Else the second would say of a count from before a correction what is known since.
#[tokio::test]
async fn a_request_that_knows_a_later_freshness_joins_no_earlier_read() {
    let server = TestServer::new("");
    server.table.put("a", Granularity::All, "1970-01-01", 7);
    server.table.delayed.send_replace(true);
    let earlier = in_flight([server.get(KEY)]).await;
    let mut history = History::new(server.config.api.lagging_after);
    history.record(Moment::new(Duration::from_secs(1001)), Default::default());
    let bits = server.config.definitions.range_bits;
    let snapshot = FreshnessSnapshot::new(bits, &LightSnapshot::default(), &history);
    let snapshot = snapshot.with_table(table_of("realtime"));
    server.freshness.send_replace(Arc::new(snapshot));
    let later = in_flight([server.get(KEY)]).await;
    server.table.delayed.send_replace(false);
    let replies = join_all(earlier.into_iter().chain(later)).await;
    assert!(replies.iter().all(|reply| reply.json()["count"] == 7));
    assert_eq!(server.table.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_limit_are_refused_after_the_admission_timeout() {
    let server = TestServer::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=3");
    server.table.delayed.send_replace(true);
    let within = in_flight((0..3).map(|_| server.get(KEY))).await;
    let began = tokio::time::Instant::now();
    let beyond = server.get("/v1/counters/plays/keys/b").await;
    assert_eq!(began.elapsed(), server.config.api.admission_timeout);
    assert_refused(&beyond, "the fourth");
    assert_eq!(beyond.header("content-type"), "application/problem+json");
    assert_eq!(beyond.header("cache-control"), "no-store");
    assert_eq!(beyond.header("x-content-type-options"), "nosniff");
    assert_eq!(server.table.reads(), 1, "refused before anything was read");
    assert_eq!(
        server.get("/health").await.status,
        200,
        "health needs no permit"
    );
    server.table.delayed.send_replace(false);
    assert!(
        join_all(within)
            .await
            .iter()
            .all(|reply| reply.status == 200)
    );
    assert_eq!(server.get(KEY).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_get_permits_in_the_order_of_their_arrival() {
    let server = TestServer::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=1");
    server.table.delayed.send_replace(true);
    let addresses = ["a", "b", "c"].map(|key| format!("/v1/counters/plays/keys/{key}"));
    let waiting = in_flight(addresses.iter().map(|address| server.get(address))).await;
    let [first, second, mut third] = <[_; 3]>::try_from(waiting).ok().unwrap();
    assert_eq!(server.table.reads(), 1, "the others wait");
    server.table.delayed.send_replace(false);
    assert_eq!(first.await.status, 200);
    assert!(
        futures_util::poll!(&mut third).is_pending(),
        "the second arrived before it"
    );
    assert_eq!(second.await.status, 200);
    assert_eq!(third.await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn monitoring_requests_are_never_refused() {
    let server = TestServer::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=1");
    server.table.delayed.send_replace(true);
    let _within = in_flight([server.get(KEY)]).await;
    for address in [
        "/health",
        "/healthz",
        "/ready",
        "/readyz",
        "/metrics",
        "/openapi.json",
    ] {
        assert_eq!(server.get(address).await.status, 200, "{address}");
    }
    let operator = operator_routes().1.into_iter();
    for (address, _, _) in count_routes().1.into_iter().chain(operator) {
        let address = address.replace("{counter}", "plays").replace("{key}", "b");
        let reply = server.get(&address).await;
        assert_refused(&reply, &address);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_can_be_read_by_every_origin_that_may_read_counts() {
    let server = TestServer::new(
        "STITCH_API__REQUESTS_IN_FLIGHT_MAX=1 STITCH_API__CORS_ORIGINS=[\"https://a.example\"]",
    );
    server.table.delayed.send_replace(true);
    let _within = in_flight([server.get(KEY)]).await;
    let reply = server
        .get_with(KEY, &[("origin", "https://a.example")])
        .await;
    assert_refused(&reply, "a request of another origin");
    assert_eq!(
        reply.header("access-control-allow-origin"),
        "https://a.example"
    );
}

/// Two hundred keys.
fn page() -> String {
    let keys: Vec<_> = (0..200).map(|n| format!("key=k{n}")).collect();
    format!("/v1/counters/plays/counts?{}", keys.join("&"))
}

#[tokio::test(start_paused = true)]
async fn a_request_for_many_counts_takes_a_permit_for_each_key_it_reads_at_once() {
    let server = TestServer::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=40");
    server.table.delayed.send_replace(true);
    let page = page();
    let one = in_flight([server.get(&page)]).await;
    let reads = server.table.reads();
    let another = server.get(&page).await;
    assert_refused(&another, "another page");
    assert_eq!(
        server.table.reads(),
        reads,
        "refused before anything was read"
    );
    let others = in_flight((0..8).map(|_| server.get(KEY))).await;
    assert_refused(&server.get(KEY).await, "32 and 8 permits are all");
    server.table.delayed.send_replace(false);
    assert!(
        join_all(others)
            .await
            .iter()
            .all(|reply| reply.status == 200)
    );
    assert!(join_all(one).await.iter().all(|reply| reply.status == 200));
}

#[tokio::test(start_paused = true)]
async fn keys_in_a_body_take_as_many_permits_as_keys_in_an_address() {
    let server = TestServer::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=40");
    let keys: Vec<_> = (0..200).map(|n| format!("k{n}")).collect();
    let counts = serde_json::json!({ "keys": keys }).to_string();
    let query = serde_json::json!({ "counters": ["plays"], "keys": keys }).to_string();
    let in_address = format!("/v1/query?counter=plays&key={}", keys.join("&key="));
    for number in 0..3 {
        server.table.delayed.send_replace(true);
        let send = async || match number {
            0 => {
                server
                    .post("/v1/counters/plays/counts", counts.clone())
                    .await
            }
            1 => server.post("/v1/query", query.clone()).await,
            _ => server.get(&in_address).await,
        };
        let one = in_flight([send()]).await;
        assert_refused(&send().await, "one more while 32 of 40 permits are taken");
        server.table.delayed.send_replace(false);
        assert!(join_all(one).await.iter().all(|reply| reply.status == 200));
        assert_eq!(send().await.status, 200);
    }
}

/// A body that begins and never ends.
fn endless_body() -> Body {
    let begin = futures_util::stream::iter([Ok::<_, Infallible>("{\"keys\": [")]);
    Body::from_stream(begin.chain(futures_util::stream::pending()))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_takes_no_permit_and_ends_soon() {
    const ADDRESS: &str = "/v1/counters/plays/counts";
    const ONE_KEY: &str = r#"{"keys": ["a"]}"#;
    let server = TestServer::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=4");
    let slow = in_flight((0..40).map(|_| server.post(ADDRESS, endless_body()))).await;
    assert_eq!(server.get(KEY).await.status, 200, "all permits are left");
    assert_eq!(server.post(ADDRESS, ONE_KEY).await.status, 200);
    let began = tokio::time::Instant::now();
    for reply in join_all(slow).await {
        assert_eq!((reply.status, reply.header("connection")), (408, "close"));
        assert_eq!(reply.json()["type"], "/problems/request-timeout");
    }
    assert!(began.elapsed() <= Duration::from_secs(1));
    assert_eq!(server.table.reads(), 2);
}

/// However small it is, once it is there it is a request as any other.
#[tokio::test(start_paused = true)]
async fn a_request_whose_body_has_arrived_takes_a_permit() {
    let server = TestServer::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=1");
    for (address, body) in [
        ("/v1/counters/plays/counts", r#"{"keys": ["b"]}"#),
        ("/v1/query", r#"{"counters": ["plays"], "keys": ["b"]}"#),
    ] {
        server.table.delayed.send_replace(true);
        let one = in_flight([server.post(address, body)]).await;
        assert_refused(&server.get(KEY).await, address);
        let reads = server.table.reads();
        assert_refused(&server.post(address, endless_body()).await, address);
        assert_eq!(server.table.reads(), reads);
        server.table.delayed.send_replace(false);
        assert!(join_all(one).await.iter().all(|reply| reply.status == 200));
        assert_eq!(server.get(KEY).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_leaves_half_of_the_request_timeout_for_the_read() {
    let server = TestServer::new("STITCH_API__REQUEST_TIMEOUT_MS=4000");
    let trickle = futures_util::stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Some((Ok::<_, Infallible>(" "), ()))
    });
    let began = tokio::time::Instant::now();
    let reply = server
        .post("/v1/counters/plays/counts", Body::from_stream(trickle))
        .await;
    assert_eq!(reply.json()["type"], "/problems/request-timeout");
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}

#[tokio::test]
async fn a_request_for_many_counts_is_answered_however_few_permits_there_are() {
    let server = TestServer::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=1");
    assert_eq!(server.get(&page()).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_releases_its_permit_and_its_read() {
    let server = TestServer::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=1");
    server.table.delayed.send_replace(true);
    let request = in_flight([server.get(KEY)]).await;
    assert_refused(&server.get(KEY).await, "a second request");
    drop(request);
    assert_eq!(server.table.cancelled.load(Ordering::SeqCst), 1);
    server.table.delayed.send_replace(false);
    assert_eq!(server.get(KEY).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_costs_the_request_timeout_and_no_more() {
    let server = TestServer::new("STITCH_API__REQUEST_TIMEOUT_MS=2000");
    server.table.delayed.send_replace(true);
    let began = tokio::time::Instant::now();
    let reply = server.get(KEY).await;
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
    assert_eq!(reply.json()["type"], "/problems/store-unavailable");
    assert_eq!(server.table.cancelled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn reads_beyond_the_limit_wait() {
    let server = TestServer::new("STITCH_API__READS_IN_FLIGHT_MAX=5");
    server.table.delayed.send_replace(true);
    let address = page();
    let mut request = Box::pin(server.get(&address));
    assert!(futures_util::poll!(&mut request).is_pending());
    assert_eq!(server.table.reads(), 5);
    server.table.delayed.send_replace(false);
    assert_eq!(request.await.status, 200);
    assert_eq!(server.table.reads(), 200);
}

#[tokio::test]
async fn with_tokens_only_requests_with_a_known_token_are_answered() {
    let server = TestServer::new("STITCH_API__TOKENS=[\"0123456789abcdef\",\"fedcba9876543210\"]");
    let with = async |value: &str| server.get_with(KEY, &[("authorization", value)]).await;
    assert_eq!(with("Bearer fedcba9876543210").await.status, 200);
    assert_eq!(
        with("bearer 0123456789abcdef")
            .await
            .header("cache-control"),
        "private, max-age=1, stale-while-revalidate=5, stale-if-error=86400"
    );
    for wrong in [
        "Bearer fedcba987654321",
        "Bearer ",
        "Basic fedcba9876543210",
        "fedcba9876543210",
    ] {
        let reply = with(wrong).await;
        assert_eq!(
            (reply.status, reply.header("www-authenticate")),
            (401, "Bearer"),
            "{wrong}"
        );
    }
    assert_eq!(server.get("/metrics").await.status, 401);
    assert_eq!(server.get("/health").await.status, 200);
    assert_eq!(server.table.reads(), 2);
}

#[tokio::test]
async fn other_origins_may_read_only_if_they_are_configured() {
    const ORIGIN: &[(&str, &str)] = &[("origin", "https://a.example")];
    let allowed = "access-control-allow-origin";
    let none = TestServer::new("");
    assert_eq!(none.get_with(KEY, ORIGIN).await.header(allowed), "");
    let named = TestServer::new("STITCH_API__CORS_ORIGINS=[\"https://a.example\"]");
    let reply = named.get_with(KEY, ORIGIN).await;
    assert_eq!(reply.header(allowed), "https://a.example");
    assert!(
        reply
            .header("access-control-expose-headers")
            .contains("stitch-freshness")
    );
    let other = named
        .get_with(KEY, &[("origin", "https://b.example")])
        .await;
    assert_eq!(other.header(allowed), "");
    let all = TestServer::new("STITCH_API__CORS_ORIGINS=[\"*\"]");
    assert_eq!(all.get_with(KEY, ORIGIN).await.header(allowed), "*");
    for address in [
        "/operator",
        "/operator/status.json",
        "/metrics",
        "/stats/plays/a",
        "/health",
        "/",
    ] {
        for origins in [&named, &all] {
            let reply = origins.get_with(address, ORIGIN).await;
            assert_eq!(
                (reply.status, reply.header(allowed)),
                (200, ""),
                "{address}"
            );
        }
    }
}
