//! The layer that is configured, and for how long caches keep what is from which.

use super::layers::{BOTH, KEY, PURE, point, published, server};
use super::*;

/// What answers where a request does not say: on every address, and on the page.
#[tokio::test]
async fn the_configured_layer_answers_requests_that_name_none() {
    for (configured, all, yesterday) in [
        ("", (30, "realtime"), (120, "batch")),
        ("auto", (30, "realtime"), (120, "batch")),
        ("realtime", (30, "realtime"), (20, "realtime")),
        ("batch", (130, "batch"), (120, "batch")),
    ] {
        let layer = match configured {
            "" => String::new(),
            name => format!(" STITCH_API__LAYER={name}"),
        };
        let server = server(&format!("{BOTH}{layer}"));
        published(&server);
        let get = async |address: String| server.get(&address).await.json();
        assert_eq!(point(&get(KEY.to_owned()).await), all, "{configured}");
        let day = "granularity=day&at=2026-05-02";
        let one = get(format!("{KEY}?{day}")).await;
        assert_eq!(point(&one), yesterday, "{configured}");
        let several = get(format!("/v1/counters/plays/counts?key=a&{day}")).await;
        assert_eq!(point(&several["counts"][0]), yesterday, "{configured}");
        let query = get(format!("/v1/query?counter=plays&key=a&{day}")).await;
        assert_eq!(point(&query["parts"][0]), yesterday, "{configured}");
        let series = get(format!("{KEY}/series?from=2026-05-02&to=2026-05-03")).await;
        assert_eq!(point(&series["points"][0]), yesterday, "{configured}");
        let totals = get(format!("{KEY}/totals")).await;
        let before = &totals["periods"]["day"]["before"];
        assert_eq!(point(before), yesterday, "{configured}");
        assert_eq!(totals["total"], all.0, "{configured}");
        let page = server.get("/stats/plays/a").await;
        let page = String::from_utf8(page.body).unwrap();
        let in_batch = page.contains("data-text=\"day-before-layer\"> (batch)");
        assert_eq!(in_batch, yesterday.1 == "batch", "{configured}: {page}");
        // What a request says goes before it.
        for (asked, count) in [("realtime", 20), ("batch", 120)] {
            let answer = get(format!("{KEY}?{day}&layer={asked}")).await;
            assert_eq!(point(&answer), (count, asked), "{configured}");
        }
    }
}

/// For how long caches may keep an answer depends on the layer that it is from: batch is as it is until the next load.
#[tokio::test]
async fn caches_keep_what_is_closed_in_batch_and_ask_soon_for_what_may_grow() {
    let server = server(BOTH);
    published(&server);
    let uncertain = || {
        let mut snapshot = LightSnapshot::default();
        snapshot.uncertainty.marked.insert(range_of(&server, "a"));
        server.set_freshness(&snapshot, 0);
        published(&server);
    };
    let age = async |address: String| {
        let reply = server.get(&address).await;
        let header = reply.header("cache-control").to_owned();
        let mut parts = header.split(", ");
        assert_eq!(parts.next(), Some("public"));
        // A cache may go on with it while there are only errors, and says by `Age` how old it is then.
        assert!(header.contains("stale-if-error=86400"), "{header}");
        parts.next().unwrap().to_owned()
    };
    for is_uncertain in [false, true] {
        if is_uncertain {
            uncertain();
        }
        let closed = format!("{KEY}?granularity=day&at=2026-05-02");
        // What is known against counts in real time is not known against batch.
        assert_eq!(age(closed.clone()).await, "max-age=3600");
        let realtime = match is_uncertain {
            true => "max-age=1",
            false => "max-age=3600",
        };
        assert_eq!(age(format!("{closed}&layer=realtime")).await, realtime);
        let open = format!("{KEY}?granularity=day&at=2026-05-03");
        assert_eq!(age(open.clone()).await, "max-age=1");
        assert_eq!(age(format!("{open}&layer=batch")).await, "max-age=1");
    }
}

/// A day whose last hours the batch has not seen grows with the next one, whatever the clock says.
#[tokio::test]
async fn caches_ask_soon_for_a_period_whose_end_the_batch_has_not_seen() {
    let day = "granularity=day&at=2026-05-02";
    let points = "granularity=day&from=2026-05-01&to=2026-05-03";
    let addresses = [
        format!("{KEY}?{day}"),
        format!("/v1/counters/plays/counts?key=a&{day}"),
        format!("{KEY}/series?{points}"),
        format!("/v1/query?counter=plays&key=a&{day}"),
        format!("/v1/query?counter=plays&key=a&select=series&{points}"),
    ];
    for api in [&format!("{BOTH} STITCH_API__LAYER=batch"), PURE] {
        let server = server(api);
        for (as_of, age) in [
            ("2026-05-02T10:10:00Z", "max-age=1,"),
            ("2026-05-03T00:00:00Z", "max-age=3600,"),
        ] {
            server.publish_batch(as_of, &["plays"]);
            for address in &addresses {
                let reply = server.get(address).await;
                assert_eq!(reply.json()["freshness"]["state"], "batch", "{address}");
                let header = reply.header("cache-control");
                assert!(header.contains(age), "{as_of} {address}: {header}");
            }
        }
    }
}
