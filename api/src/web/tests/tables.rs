//! The tables are dropped and made again while they are served.

use serde_json::json;

use super::layers::{BOTH, KEY, batch_unavailable, point, published, server};
use super::*;

/// The same table of these counts under another identity, as a table that was dropped and made again has it.
fn made_again(server: &TestServer, layer: usize) -> TableState {
    let sources = [&server.table, &server.batch];
    let connection = Connection {
        source: Arc::clone(sources[layer]) as Arc<dyn CountSource>,
        table: table_of("made again"),
    };
    TableState::Connected {
        connection,
        checked: moment(),
    }
}

#[tokio::test]
async fn batch_counts_of_a_table_that_was_dropped_or_made_again_are_not_served() {
    let closed = format!("{KEY}?granularity=day&at=2026-05-02");
    for is_made_again in [false, true] {
        let server = server(BOTH);
        published(&server);
        let [_, batch] = &server.connections;
        let connected = batch.send_replace(match is_made_again {
            true => made_again(&server, 1),
            false => TableState::Lost,
        });
        assert_eq!(point(&server.get(&closed).await.json()), (20, "realtime"));
        batch_unavailable(&server, &format!("{closed}&layer=batch")).await;
        assert_eq!(server.batch.reads(), 0);
        let ready = server.get("/ready").await;
        let text = String::from_utf8(ready.body).unwrap();
        assert_eq!(ready.status, 200);
        assert!(
            text.contains("batch counts are not served: the table batch_counts"),
            "{text}"
        );
        batch.send_replace(connected);
        assert_eq!(point(&server.get(&closed).await.json()), (120, "batch"));
    }
}

#[tokio::test]
async fn counts_of_a_table_that_was_dropped_or_made_again_are_not_served() {
    for (api, ready) in [("", 503), (BOTH, 200)] {
        for is_made_again in [false, true] {
            let server = server(api);
            published(&server);
            let [realtime, _] = &server.connections;
            let connected = realtime.send_replace(match is_made_again {
                true => made_again(&server, 0),
                false => TableState::Lost,
            });
            let reply = server.get(KEY).await;
            assert_eq!(
                (reply.status, &reply.json()["type"]),
                (500, &json!("/problems/store-error"))
            );
            assert_eq!(server.table.reads(), 0);
            // What is over is served in batch, where there is any.
            let reply = server.get("/ready").await;
            let text = String::from_utf8(reply.body).unwrap();
            assert_eq!(reply.status, ready, "{text}");
            assert!(text.contains("served: the table counts"), "{text}");
            if api == BOTH {
                let closed = format!("{KEY}?granularity=day&at=2026-05-02");
                assert_eq!(point(&server.get(&closed).await.json()), (120, "batch"));
            }
            realtime.send_replace(connected);
            assert_eq!(server.get(KEY).await.status, 200);
        }
    }
}

#[tokio::test]
async fn counts_are_not_served_if_it_has_not_been_known_for_long_which_table_they_are_of() {
    let server = server(BOTH);
    published(&server);
    for (age, status) in [(10, 200), (11, 503)] {
        for state in &server.connections {
            let then = Moment::new(Duration::from_secs(1000 - age));
            state.send_modify(|state| match state {
                TableState::Connected { checked, .. } => *checked = then,
                TableState::Awaited | TableState::Lost => {}
            });
        }
        for layer in ["realtime", "batch"] {
            let reply = server.get(&format!("{KEY}?layer={layer}")).await;
            assert_eq!(reply.status, status, "{layer} {age}");
        }
    }
}
