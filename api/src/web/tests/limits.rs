use std::pin::Pin;

use futures_util::future::join_all;

use super::*;

const KEY: &str = "/v1/counters/plays/keys/a";

/// Requests that are on their way and will not be answered before more happens.
async fn begun<F: Future>(requests: impl IntoIterator<Item = F>) -> Vec<Pin<Box<F>>> {
    let mut begun: Vec<_> = requests.into_iter().map(Box::pin).collect();
    for request in &mut begun {
        assert!(futures_util::poll!(request).is_pending());
    }
    begun
}

/// Not for want of an answer, which is 503, too, but for want of a place.
fn assert_refused(got: &Got, what: &str) {
    assert_eq!(
        (got.status, got.header("retry-after")),
        (503, "1"),
        "{what}"
    );
    assert_eq!(got.json()["type"], "/problems/overload", "{what}");
}

#[tokio::test]
async fn many_who_ask_for_one_cell_at_one_moment_cost_one_read() {
    let here = Here::new("");
    here.table.put("a", Granularity::All, "1970-01-01", 7);
    here.table.withheld.send_replace(true);
    let asking = join_all((0..100).map(|_| here.get(KEY)));
    let release = async {
        while here.table.reads() == 0 {
            tokio::task::yield_now().await;
        }
        here.table.withheld.send_replace(false);
    };
    let (all, ()) = tokio::join!(asking, release);
    assert!(all.iter().all(|got| got.json()["count"] == 7));
    assert_eq!(here.table.reads(), 1);
    here.get(KEY).await;
    assert_eq!(
        here.table.reads(),
        2,
        "nothing is kept once it was answered"
    );
}

#[tokio::test(start_paused = true)]
async fn what_goes_beyond_the_limit_is_refused_in_a_moment_and_what_is_within_is_answered() {
    let here = Here::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=3");
    here.table.withheld.send_replace(true);
    let within = begun((0..3).map(|_| here.get(KEY))).await;
    let began = tokio::time::Instant::now();
    let beyond = here.get("/v1/counters/plays/keys/b").await;
    assert_eq!(began.elapsed(), here.config.api.admission_timeout);
    assert_refused(&beyond, "a fourth");
    assert_eq!(beyond.header("content-type"), "application/problem+json");
    assert_eq!(beyond.header("cache-control"), "no-store");
    assert_eq!(beyond.header("x-content-type-options"), "nosniff");
    assert_eq!(here.table.reads(), 1, "refused before anything was read");
    assert_eq!(
        here.get("/health").await.status,
        200,
        "health is not counted among them"
    );
    here.table.withheld.send_replace(false);
    assert!(join_all(within).await.iter().all(|got| got.status == 200));
    assert_eq!(here.get(KEY).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_gets_the_place_that_becomes_free_in_the_order_of_coming() {
    let here = Here::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=1");
    here.table.withheld.send_replace(true);
    let addresses = ["a", "b", "c"].map(|key| format!("/v1/counters/plays/keys/{key}"));
    let waiting = begun(addresses.iter().map(|address| here.get(address))).await;
    let [first, second, mut third] = <[_; 3]>::try_from(waiting).ok().unwrap();
    assert_eq!(here.table.reads(), 1, "the others are not begun");
    here.table.withheld.send_replace(false);
    assert_eq!(first.await.status, 200);
    assert!(
        futures_util::poll!(&mut third).is_pending(),
        "the second came before it"
    );
    assert_eq!(second.await.status, 200);
    assert_eq!(third.await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_looks_after_this_server_is_never_refused() {
    let here = Here::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=1");
    here.table.withheld.send_replace(true);
    let _within = begun([here.get(KEY)]).await;
    for address in [
        "/health",
        "/healthz",
        "/ready",
        "/readyz",
        "/metrics",
        "/openapi.json",
    ] {
        assert_eq!(here.get(address).await.status, 200, "{address}");
    }
    for (address, _, _) in counted() {
        let address = address.replace("{counter}", "plays").replace("{key}", "b");
        let got = here.get(&address).await;
        assert_refused(&got, &address);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_can_be_read_by_the_pages_that_may_read_counts() {
    let here = Here::new(
        "STITCH_API__REQUESTS_IN_FLIGHT_MAX=1 STITCH_API__CORS_ORIGINS=[\"https://a.example\"]",
    );
    here.table.withheld.send_replace(true);
    let _within = begun([here.get(KEY)]).await;
    let got = here.get_with(KEY, &[("origin", "https://a.example")]).await;
    assert_refused(&got, "one of another host's page");
    assert_eq!(
        got.header("access-control-allow-origin"),
        "https://a.example"
    );
}

/// Two hundred keys.
fn page() -> String {
    let keys: Vec<_> = (0..200).map(|n| format!("key=k{n}")).collect();
    format!("/v1/counters/plays/counts?{}", keys.join("&"))
}

#[tokio::test(start_paused = true)]
async fn a_request_for_many_counts_takes_the_places_of_those_that_could_read_as_much() {
    let here = Here::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=40");
    here.table.withheld.send_replace(true);
    let page = page();
    let one = begun([here.get(&page)]).await;
    let reads = here.table.reads();
    let another = here.get(&page).await;
    assert_refused(&another, "another page");
    assert_eq!(
        here.table.reads(),
        reads,
        "refused before anything was read"
    );
    let beside = begun((0..8).map(|_| here.get(KEY))).await;
    assert_refused(&here.get(KEY).await, "32 places and 8 are all");
    here.table.withheld.send_replace(false);
    assert!(join_all(beside).await.iter().all(|got| got.status == 200));
    assert!(join_all(one).await.iter().all(|got| got.status == 200));
}

#[tokio::test(start_paused = true)]
async fn keys_in_a_body_take_as_many_places_as_those_in_an_address() {
    let here = Here::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=40");
    here.table.withheld.send_replace(true);
    let ask = || here.post("/v1/counters/plays/counts", r#"{"keys": ["a", "b"]}"#);
    let one = begun([ask()]).await;
    assert_refused(&ask().await, "one more beside 32 of 40 places");
    here.table.withheld.send_replace(false);
    assert!(join_all(one).await.iter().all(|got| got.status == 200));
    assert_eq!(ask().await.status, 200);
}

#[tokio::test]
async fn a_request_for_many_counts_has_room_alone_however_few_places_there_are() {
    let here = Here::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=1");
    assert_eq!(here.get(&page()).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_takes_its_place_and_its_read_with_it() {
    let here = Here::new("STITCH_API__REQUESTS_IN_FLIGHT_MAX=1");
    here.table.withheld.send_replace(true);
    let gone = begun([here.get(KEY)]).await;
    assert_refused(&here.get(KEY).await, "one beside it");
    drop(gone);
    assert_eq!(here.table.given_up.load(Ordering::SeqCst), 1);
    here.table.withheld.send_replace(false);
    assert_eq!(here.get(KEY).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_says_nothing_costs_the_time_of_a_request_and_no_more() {
    let here = Here::new("STITCH_API__REQUEST_TIMEOUT_MS=2000");
    here.table.withheld.send_replace(true);
    let began = tokio::time::Instant::now();
    let got = here.get(KEY).await;
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!((got.status, got.header("retry-after")), (503, "1"));
    assert_eq!(got.json()["type"], "/problems/store-unavailable");
    assert_eq!(here.table.given_up.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn reads_beyond_the_limit_wait_for_those_within() {
    let here = Here::new("STITCH_API__READS_IN_FLIGHT_MAX=5");
    here.table.withheld.send_replace(true);
    let address = page();
    let mut asking = Box::pin(here.get(&address));
    assert!(futures_util::poll!(&mut asking).is_pending());
    assert_eq!(here.table.reads(), 5);
    here.table.withheld.send_replace(false);
    assert_eq!(asking.await.status, 200);
    assert_eq!(here.table.reads(), 200);
}

#[tokio::test]
async fn with_tokens_only_those_who_know_one_may_read() {
    let here = Here::new("STITCH_API__TOKENS=[\"0123456789abcdef\",\"fedcba9876543210\"]");
    let with = async |value: &str| here.get_with(KEY, &[("authorization", value)]).await;
    assert_eq!(with("Bearer fedcba9876543210").await.status, 200);
    assert_eq!(
        with("bearer 0123456789abcdef")
            .await
            .header("cache-control"),
        "private, max-age=1"
    );
    for wrong in [
        "Bearer fedcba987654321",
        "Bearer ",
        "Basic fedcba9876543210",
        "fedcba9876543210",
    ] {
        let got = with(wrong).await;
        assert_eq!(
            (got.status, got.header("www-authenticate")),
            (401, "Bearer"),
            "{wrong}"
        );
    }
    assert_eq!(here.get("/metrics").await.status, 401);
    assert_eq!(here.get("/health").await.status, 200);
    assert_eq!(here.table.reads(), 2);
}

#[tokio::test]
async fn pages_of_other_hosts_read_only_if_they_are_named() {
    const ORIGIN: &[(&str, &str)] = &[("origin", "https://a.example")];
    let allowed = "access-control-allow-origin";
    let none = Here::new("");
    assert_eq!(none.get_with(KEY, ORIGIN).await.header(allowed), "");
    let named = Here::new("STITCH_API__CORS_ORIGINS=[\"https://a.example\"]");
    let got = named.get_with(KEY, ORIGIN).await;
    assert_eq!(got.header(allowed), "https://a.example");
    assert!(
        got.header("access-control-expose-headers")
            .contains("stitch-freshness")
    );
    let other = named
        .get_with(KEY, &[("origin", "https://b.example")])
        .await;
    assert_eq!(other.header(allowed), "");
    let all = Here::new("STITCH_API__CORS_ORIGINS=[\"*\"]");
    assert_eq!(all.get_with(KEY, ORIGIN).await.header(allowed), "*");
}
