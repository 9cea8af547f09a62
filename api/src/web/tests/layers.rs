//! Batch and real time: which of them a point comes from, and as of when.

use serde_json::json;

use super::*;

pub(super) const BOTH: &str = "STITCH_BATCH__ENABLED=true";
pub(super) const PURE: &str = "STITCH_BATCH__ENABLED=true STITCH_BATCH__REALTIME=false";
/// Less the allowance of an hour, all of the second of May is closed, and nothing of the third from nine on.
const AS_OF: &str = "2026-05-03T10:10:00Z";
pub(super) const KEY: &str = "/v1/counters/plays/keys/a";

/// Batch has 100 more than real time in every cell, so that a count shows where it comes from.
pub(super) fn server(api: &str) -> TestServer {
    let server = TestServer::new(api);
    for (granularity, start, count) in [
        (Granularity::All, "1970-01-01", 30),
        (Granularity::Day, "2026-05-02", 20),
        (Granularity::Day, "2026-05-03", 10),
        (Granularity::Hour, "2026-05-03T08:00:00Z", 3),
        (Granularity::Hour, "2026-05-03T09:00:00Z", 7),
    ] {
        server.table.put("a", granularity, start, count);
        server.batch.put("a", granularity, start, count + 100);
    }
    server
}

pub(super) fn published(server: &TestServer) {
    server.publish_batch(AS_OF, &["plays"]);
}

pub(super) fn point(answer: &Value) -> (i64, &str) {
    let count = answer["count"].as_i64().unwrap();
    (count, answer["layer"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_closed_count_is_batch_and_one_that_may_grow_is_real_time() {
    let server = server(BOTH);
    published(&server);
    let day = |at: &str| format!("{KEY}?granularity=day&at={at}");
    let reply = server.get(&day("2026-05-02")).await;
    let closed = reply.json();
    assert_eq!(point(&closed), (120, "batch"));
    assert_eq!(closed["freshness"]["state"], "batch");
    assert_eq!(closed["freshness"]["as_of"], "2026-05-03T10:10:00.000Z");
    let batch = json!({"as_of": "2026-05-03T10:10:00.000Z", "generation": "totals-1"});
    assert_eq!(closed["freshness"]["batch"], batch);
    let header = reply.header("stitch-freshness");
    assert_eq!(header, "batch; as_of=2026-05-03T10:10:00.000Z");
    assert!(reply.header("cache-control").contains("max-age=3600"));
    let open = server.get(&day("2026-05-03")).await.json();
    assert_eq!(point(&open), (10, "realtime"));
    assert_eq!(open["freshness"]["state"], "live");
    assert_eq!(open["freshness"]["batch"], Value::Null);
    let all = server.get(KEY).await.json();
    assert_eq!(point(&all), (30, "realtime"));
}

#[tokio::test]
async fn a_layer_that_is_asked_for_answers_for_every_point() {
    let server = server(BOTH);
    published(&server);
    for (layer, all, yesterday) in [
        ("realtime", (30, "realtime"), (20, "realtime")),
        ("batch", (130, "batch"), (120, "batch")),
        ("auto", (30, "realtime"), (120, "batch")),
    ] {
        let answer = server.get(&format!("{KEY}?layer={layer}")).await.json();
        assert_eq!(point(&answer), all, "{layer}");
        let counts = "/v1/counters/plays/counts";
        let rest = format!("granularity=day&at=2026-05-02&layer={layer}");
        let answer = server.get(&format!("{counts}?key=a&{rest}")).await.json();
        assert_eq!(point(&answer["counts"][0]), yesterday, "{layer}");
        let body = json!({"keys": ["a"], "granularity": "day", "at": "2026-05-02", "layer": layer});
        let answer = server.post(counts, body.to_string()).await.json();
        assert_eq!(point(&answer["counts"][0]), yesterday, "{layer}");
        let query = format!("/v1/query?counter=plays&key=a&{rest}");
        let answer = server.get(&query).await.json();
        assert_eq!(point(&answer["parts"][0]), yesterday, "{layer}");
        let body = json!({
            "counters": ["plays"], "keys": ["a"], "granularity": "day", "at": "2026-05-02", "layer": layer
        });
        let reply = server.post("/v1/query", body.to_string()).await;
        assert_eq!(point(&reply.json()["parts"][0]), yesterday, "{layer}");
        let address = reply.header("content-location");
        assert!(address.ends_with(&format!("layer={layer}")), "{address}");
    }
}

#[tokio::test]
async fn every_point_of_a_series_and_of_totals_says_its_layer() {
    let server = server(BOTH);
    published(&server);
    let hours = "granularity=hour&from=2026-05-03T08:00:00Z&to=2026-05-03T10:00:00Z";
    let series = server.get(&format!("{KEY}/series?{hours}")).await.json();
    let points = series["points"].as_array().unwrap();
    let points: Vec<_> = points.iter().map(point).collect();
    assert_eq!(points, [(103, "batch"), (7, "realtime")]);
    assert_eq!(series["freshness"]["state"], "live");
    assert_eq!(series["freshness"]["batch"]["generation"], "totals-1");
    let totals = server.get(&format!("{KEY}/totals")).await.json();
    assert_eq!(
        (&totals["total"], &totals["total_layer"]),
        (&json!(30), &json!("realtime"))
    );
    let day = &totals["periods"]["day"];
    assert_eq!(point(day), (10, "realtime"));
    assert_eq!(point(&day["before"]), (120, "batch"));
    let so_far = &day["so_far"];
    assert_eq!(so_far["layer"], "realtime");
    assert_eq!(so_far["layer_before"], "batch");
    let query = format!("/v1/query?counter=plays&key=a&select=series&select=totals&{hours}");
    let part = server.get(&query).await.json()["parts"][0].clone();
    assert_eq!(part["counts"], json!([103, 7]));
    assert_eq!(part["layers"], json!(["batch", "realtime"]));
    assert_eq!(part["periods"], totals["periods"]);
    // The next page is of the same layer.
    let paged = format!("{KEY}/series?{hours}&limit=1&layer=batch");
    let next = server.get(&paged).await.json()["next"].clone();
    let next = server.get(next.as_str().unwrap()).await.json();
    assert_eq!(point(&next["points"][0]), (107, "batch"));
}

/// The detail of the problem that batch counts cannot be served.
pub(super) async fn batch_unavailable(server: &TestServer, address: &str) -> String {
    let reply = server.get(address).await;
    let problem = reply.json();
    assert_eq!(
        (reply.status, &problem["type"]),
        (503, &json!("/problems/batch-unavailable"))
    );
    problem["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn before_anything_is_published_auto_is_real_time_and_batch_a_problem() {
    let server = server(BOTH);
    let closed = format!("{KEY}?granularity=day&at=2026-05-02");
    assert_eq!(point(&server.get(&closed).await.json()), (20, "realtime"));
    let detail = batch_unavailable(&server, &format!("{closed}&layer=batch")).await;
    assert!(detail.contains("`stitch-batch run`"), "{detail}");
    // A generation of another table is none of this server's.
    server.publish(AS_OF, &["plays"], "another");
    assert_eq!(point(&server.get(&closed).await.json()), (20, "realtime"));
    // One that lacks the counter does not answer for it, and does for others of the same query.
    server.publish_batch(AS_OF, &["visits"]);
    let query =
        "/v1/query?counter=plays&counter=visits&key=a&granularity=day&at=2026-05-02&layer=batch";
    let answer = server.get(query).await.json();
    let [plays, visits] = [0, 1].map(|part| &answer["parts"][part]);
    assert_eq!(plays["problem"]["type"], "/problems/batch-unavailable");
    assert_eq!(point(visits), (0, "batch"));
}

/// The next load adds the counter: until then caches must not keep that it lacks.
#[tokio::test]
async fn an_answer_with_a_part_that_may_have_batch_counts_soon_is_not_cached() {
    let server = server(BOTH);
    server.publish_batch(AS_OF, &["visits"]);
    let rest = "key=a&granularity=day&at=2026-05-02&layer=batch";
    let partial = format!("/v1/query?counter=plays&counter=visits&{rest}");
    let reply = server.get(&partial).await;
    assert_eq!(
        (
            reply.status,
            reply.header("cache-control"),
            reply.header("etag")
        ),
        (200, "no-store", "")
    );
    server.publish_batch(AS_OF, &["plays", "visits"]);
    let whole = server.get(&partial).await;
    assert!(whole.header("cache-control").contains("max-age=3600"));
    // What is wrong remains so.
    let wrong = format!("/v1/query?counter=nothing&counter=visits&{rest}");
    let wrong = server.get(&wrong).await;
    assert!(wrong.header("cache-control").contains("max-age=3600"));
}

#[tokio::test]
async fn a_layer_that_is_unknown_or_missing_is_a_problem_that_names_it() {
    let server = server("");
    for (layer, detail) in [
        ("fast", "none of auto, realtime, batch"),
        ("batch", "batch.enabled is false"),
    ] {
        let reply = server.get(&format!("{KEY}?layer={layer}")).await;
        let problem = reply.json();
        assert_eq!(
            (reply.status, &problem["parameter"]),
            (400, &json!("layer"))
        );
        let text = problem["detail"].as_str().unwrap();
        assert!(text.contains(detail), "{text}");
    }
    // Without batch, points do not say what is the same for all.
    let answer = server.get(&format!("{KEY}?layer=auto")).await.json();
    assert_eq!((point(&answer), &answer["layer"]), ((30, ""), &Value::Null));
}

#[tokio::test]
async fn while_the_cluster_of_batch_is_away_or_refuses_closed_points_are_real_time_and_say_so() {
    let server = server(BOTH);
    published(&server);
    let closed = format!("{KEY}?granularity=day&at=2026-05-02");
    for (error, status, kind) in [
        (
            StoreError::Unavailable("10.0.0.9".to_owned()),
            503,
            "/problems/store-unavailable",
        ),
        (
            StoreError::Refused("10.0.0.9".to_owned()),
            500,
            "/problems/store-error",
        ),
        (
            StoreError::Denied(UserError::new("10.0.0.9", "a password")),
            500,
            "/problems/store-error",
        ),
    ] {
        *server.batch.error.lock().unwrap() = Some(error);
        let answer = server.get(&closed).await.json();
        assert_eq!(point(&answer), (20, "realtime"));
        assert_eq!(answer["freshness"]["state"], "live");
        let reply = server.get(&format!("{closed}&layer=batch")).await;
        assert_eq!(
            (reply.status, &reply.json()["type"]),
            (status, &json!(kind))
        );
    }
    *server.batch.error.lock().unwrap() = None;
    let answer = server.get(&closed).await.json();
    assert_eq!(point(&answer), (120, "batch"));
}

#[tokio::test]
async fn purely_in_batch_everything_is_answered_from_it() {
    let server = server(PURE);
    batch_unavailable(&server, KEY).await;
    published(&server);
    let all = server.get(KEY).await.json();
    assert_eq!(point(&all), (130, "batch"));
    assert_eq!(all["freshness"]["as_of"], "2026-05-03T10:10:00.000Z");
    let freshness = server.get("/v1/freshness").await.json();
    assert_eq!(freshness["freshness"]["state"], "batch");
    assert_eq!(freshness["ranges"], json!({}));
    let reply = server.get(&format!("{KEY}?layer=realtime")).await;
    let problem = reply.json();
    assert_eq!(
        (reply.status, &problem["parameter"]),
        (400, &json!("layer"))
    );
    assert_eq!(server.get("/stats/plays/a").await.status, 200);
    assert_eq!(server.table.reads(), 0);
}

#[tokio::test]
async fn another_generation_is_another_version_of_an_answer() {
    let server = server(BOTH);
    published(&server);
    let closed = format!("{KEY}?granularity=day&at=2026-05-02");
    let tag = server.get(&closed).await.header("etag").to_owned();
    let known = [("if-none-match", tag.as_str())];
    assert_eq!(server.get_with(&closed, &known).await.status, 304);
    server.publish_batch("2026-05-03T10:14:00Z", &["plays"]);
    assert_eq!(server.get_with(&closed, &known).await.status, 200);
}

#[tokio::test]
async fn a_page_says_in_words_which_of_its_numbers_are_batch_and_as_of_when() {
    let text = |reply: Reply| String::from_utf8(reply.body).unwrap();
    let server_of_both = server(BOTH);
    let before = text(server_of_both.get("/stats/plays/a").await);
    assert!(!before.contains("(batch)"), "{before}");
    published(&server_of_both);
    let both = text(server_of_both.get("/stats/plays/a").await);
    let yesterday = "120</span><span data-key=\"0\" data-text=\"day-before-layer\"> (batch)";
    for part in [
        "Periods that ended are from batch, as of 2026-05-03T10:10:00.000Z",
        yesterday,
    ] {
        assert!(both.contains(part), "{part}: {both}");
    }
    let pure = server(PURE);
    published(&pure);
    let pure = text(pure.get("/stats/plays/a").await);
    assert!(
        pure.contains("Counted in batch, as of 2026-05-03T10:10"),
        "{pure}"
    );
}

#[tokio::test]
async fn until_the_cluster_of_batch_has_answered_counts_in_real_time_are_served() {
    let server = server(BOTH);
    published(&server);
    let [_, batch] = &server.connections;
    let connected = batch.send_replace(TableState::Awaited);
    let closed = format!("{KEY}?granularity=day&at=2026-05-02");
    assert_eq!(point(&server.get(&closed).await.json()), (20, "realtime"));
    let reply = server.get(&format!("{closed}&layer=batch")).await;
    assert_eq!(
        (reply.status, &reply.json()["type"]),
        (503, &json!("/problems/store-unavailable"))
    );
    // Load balancers send requests here: most of them are answered.
    let ready = server.get("/ready").await;
    let text = String::from_utf8(ready.body).unwrap();
    assert_eq!(ready.status, 200);
    assert!(text.contains("batch counts are not served yet"), "{text}");
    batch.send_replace(connected);
    assert_eq!(point(&server.get(&closed).await.json()), (120, "batch"));
    let text = String::from_utf8(server.get("/ready").await.body).unwrap();
    assert!(!text.contains("batch"), "{text}");
}

#[tokio::test]
async fn while_the_record_of_batch_cannot_be_used_counts_in_real_time_are_served_and_known() {
    let text = |reply: Reply| String::from_utf8(reply.body).unwrap();
    for (api, ready) in [(BOTH, 200), (PURE, 503)] {
        let server = server(api);
        published(&server);
        let snapshot = FreshnessSnapshot::clone(&server.freshness.borrow());
        let failure = UserError::new("/stitch/plays/batch is damaged", "delete it");
        let unusable = snapshot.with_batch(BatchKnowledge::Unusable(failure));
        server.freshness.send_replace(Arc::new(unusable));
        let closed = format!("{KEY}?granularity=day&at=2026-05-02");
        if api == BOTH {
            let answer = server.get(&closed).await.json();
            assert_eq!(point(&answer), (20, "realtime"));
            assert_eq!(answer["freshness"]["state"], "live");
        }
        let detail = batch_unavailable(&server, &format!("{closed}&layer=batch")).await;
        assert!(detail.contains("cannot be used"), "{detail}");
        let reply = server.get("/ready").await;
        assert_eq!(reply.status, ready);
        let text = text(reply);
        assert!(text.contains("cannot be used"), "{text}");
        // The node is for the log.
        assert!(!text.contains("/stitch"), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_waits_for_cassandra_is_alive_and_says_what_it_waits_for() {
    for (api, awaited, table) in [
        ("", 0, "counts"),
        (BOTH, 0, "counts"),
        (PURE, 1, "batch_counts"),
    ] {
        let server = server(api);
        published(&server);
        let connected = server.connections[awaited].send_replace(TableState::Awaited);
        assert_eq!(server.get("/health").await.status, 200);
        let ready = server.get("/ready").await;
        let text = String::from_utf8(ready.body).unwrap();
        assert_eq!(ready.status, 503, "{text}");
        assert!(
            text.contains(&format!("Cassandra (table {table})")),
            "{text}"
        );
        let reply = server.get(KEY).await;
        assert_eq!(
            (
                reply.status,
                reply.header("retry-after"),
                &reply.json()["type"]
            ),
            (503, "1", &json!("/problems/store-unavailable"))
        );
        server.connections[awaited].send_replace(connected);
        assert_eq!(server.get(KEY).await.status, 200);
        assert_eq!(server.get("/ready").await.status, 200);
    }
}

#[tokio::test]
async fn a_server_that_does_not_know_how_fresh_counts_are_says_which_server_cannot_be_read() {
    let server = server("");
    let bits = server.config.definitions.range_bits;
    let unknown = FreshnessSnapshot::empty(bits).with_failure("Kafka cannot be read");
    server.freshness.send_replace(Arc::new(unknown));
    let ready = server.get("/ready").await;
    let text = String::from_utf8(ready.body).unwrap();
    assert_eq!(ready.status, 503, "{text}");
    assert!(text.ends_with("Kafka cannot be read\n"), "{text}");
    assert_eq!(server.get(KEY).await.status, 200);
}

#[tokio::test]
async fn a_server_that_has_known_how_fresh_counts_are_stays_ready_while_zookeeper_is_away() {
    let server = server("");
    let bits = server.config.definitions.range_bits;
    let long_ago = Moment::new(Duration::from_secs(900));
    let known = FreshnessSnapshot::purely_in_batch(bits, long_ago);
    let unknown = known.with_failure("ZooKeeper cannot be read");
    server.freshness.send_replace(Arc::new(unknown));
    let count = server.get(KEY).await;
    assert_eq!(count.status, 200);
    assert_eq!(count.json()["freshness"]["state"], "unknown");
    let ready = server.get("/ready").await;
    let text = String::from_utf8(ready.body).unwrap();
    assert_eq!(ready.status, 200, "{text}");
    assert!(text.ends_with("ZooKeeper cannot be read\n"), "{text}");
}
