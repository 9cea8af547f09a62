//! The operator's page, and its JSON object.

use stitch_app::status::{LockKind, LockState, RestorationOutcome};
use stitch_common::member::Role;
use stitch_common::output;
use stitch_common::user_error::UserError;
use stitch_control::control_record::ControlRequest;

use super::pages::values;
use super::*;
use crate::operator::{PAGE, STATUS};
use crate::testing::{
    backfill, doubt, healthy, lock, marker, member, restoration, restorer, takeover,
};

async fn shown(server: &TestServer) -> String {
    let reply = server.get(PAGE).await;
    assert_eq!(reply.status, 200);
    String::from_utf8(reply.body).unwrap()
}

#[tokio::test]
async fn the_page_shows_the_status() {
    let server = TestServer::new("");
    let mut status = healthy();
    status
        .locks
        .push(lock(3, 2, LockKind::Exclusive, LockState::Held));
    status
        .locks
        .push(lock(4, 2, LockKind::Exclusive, LockState::Waiting));
    status.in_doubt_markers.push(marker(9));
    status.doubts = vec![doubt(9), doubt(11), doubt(12)];
    status.takeovers_pending.push(takeover(&[9, 20]));
    status.backfills_pending.push(backfill(&[9, 21]));
    status.restoring = Some(restorer(2));
    status.restorations = vec![
        restoration(RestorationOutcome::Running, 11),
        restoration(RestorationOutcome::DriftRemains, 63),
    ];
    server.set_status(Ok(status));
    let page = shown(&server).await;
    for part in [
        "<h1>plays</h1>",
        "<b>57 counting</b>",
        "<b>1 being restored</b>",
        "<b>1 locked</b>",
        "<b>5 uncertain</b>",
        "<th scope=\"row\">9 11–12</th><td>takeover</td><td>2026-05-03 10:15:00Z</td>",
        "partition 0, offsets 5 to 9",
        "<th scope=\"row\">9 20</th><td>takeover pending</td><td>–</td><td>–</td>",
        "<th scope=\"row\">9 21</th><td>backfill of likes pending</td><td>2026-05-03 10:15:00Z</td>",
        "A restoration is running",
        "12 of 64 ranges are done, 1,234 cells corrected",
        "<progress max=\"64\" value=\"12\">",
        "drift remains",
        "Process 8 on elsewhere",
        ">1,000,000<",
        "processor",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    server.set_status(Ok(healthy()));
    let page = shown(&server).await;
    assert!(page.contains("No restoration is running") && page.contains("<b>64 counting</b>"));
    assert!(!page.contains("<progress"));
}

#[tokio::test]
async fn purely_in_batch_there_is_no_map_of_ranges() {
    for (environment, is_shown) in [("", true), (super::layers::PURE, false)] {
        let server = TestServer::new(environment);
        server.set_status(Ok(healthy()));
        let page = shown(&server).await;
        assert_eq!(page.contains("Map of the ranges"), is_shown, "{page}");
        assert_eq!(page.contains("Purely in batch"), !is_shown, "{page}");
    }
}

#[tokio::test]
async fn a_dead_member_makes_every_range_uncertain_and_is_listed() {
    let server = TestServer::new("");
    let mut status = healthy();
    let mut dead = member(3, Role::Processor);
    dead.host = "<b>there</b>".to_owned();
    status.dead_members.push(dead);
    server.set_status(Ok(status));
    let page = shown(&server).await;
    assert!(page.contains("<b>64 uncertain</b>"), "{page}");
    assert!(page.contains("&lt;b&gt;there&lt;/b&gt;"), "{page}");
}

#[tokio::test]
async fn a_paused_restoration_is_shown_with_who_paused_it_and_why() {
    let server = TestServer::new("");
    let mut status = healthy();
    status.restoring = Some(restorer(2));
    status.restorations = vec![restoration(RestorationOutcome::Paused, 3)];
    status.control.pause = Some(ControlRequest {
        by: "ann@desk".to_owned(),
        at: crate::testing::time("2026-05-03T10:16:00Z"),
        reason: "<load>".to_owned(),
    });
    server.set_status(Ok(status));
    let page = shown(&server).await;
    let line = "It is paused by ann@desk at 2026-05-03T10:16:00Z: &lt;load&gt;";
    assert!(page.contains(line), "{page}");
    assert!(page.contains("4 of 64 ranges are done"), "{page}");
}

#[tokio::test]
async fn ranges_lag_by_the_same_snapshot_as_in_answers() {
    let server = TestServer::new("");
    // The clock stands still: everything beyond the checkpoint has been waiting for too long.
    let snapshot = LightSnapshot::default();
    let mut history = History::new(Duration::from_secs(5));
    let bounds = Bounds {
        begin: Offset(0),
        end: Offset(41),
    };
    for second in [990, 1000] {
        let moment = Moment::new(Duration::from_secs(second));
        history.record(moment, [(Partition(0), bounds)].into());
    }
    let bits = server.config.definitions.range_bits;
    let snapshot = FreshnessSnapshot::new(bits, &snapshot, &history);
    server.freshness.send_replace(Arc::new(snapshot));
    let page = shown(&server).await;
    assert!(page.contains("<b>64 lagging</b>"), "{page}");
    server
        .freshness
        .send_replace(Arc::new(FreshnessSnapshot::empty(bits)));
    assert!(shown(&server).await.contains("<b>64 unknown</b>"));
}

#[tokio::test]
async fn the_object_is_the_one_that_the_command_prints() {
    let server = TestServer::new("");
    let reply = server.get(STATUS).await;
    assert_eq!(reply.header("content-type"), "application/json");
    let printed = output::object("status", &healthy()).unwrap();
    assert_eq!(reply.body, printed);
    let object = reply.json();
    assert_eq!(
        (&object["command"], &object["ranges"]),
        (&"status".into(), &64.into())
    );
    let description: Value = serde_json::from_str(super::super::pages::OPENAPI).unwrap();
    let described = &description["components"]["schemas"]["Status"];
    let fields = |object: &Value| object.as_object().unwrap().keys().cloned().collect();
    let (shown, known): (BTreeSet<String>, _) = (fields(&object), fields(&described["properties"]));
    assert_eq!(shown, known, "fields that are described");
    let required = described["required"].as_array().unwrap();
    let required: BTreeSet<_> = required
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(shown, required, "fields that are always there");
}

#[tokio::test]
async fn without_zookeeper_the_page_says_so_with_help() {
    let server = TestServer::new("");
    server.set_status(Err(UserError::new("ZooKeeper is <gone>", "start it")));
    let page = server.get(PAGE).await;
    assert_eq!((page.status, page.header("retry-after")), (503, "1"));
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let text = String::from_utf8(page.body).unwrap();
    for part in [
        "ZooKeeper is &lt;gone&gt;",
        "Help: start it",
        "id=\"freshness\"",
        "operator.js",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let object = server.get(STATUS).await;
    assert_eq!((object.status, object.header("retry-after")), (503, "1"));
    let problem = object.json();
    assert_eq!(problem["type"], "/problems/namespace-unavailable");
    assert!(
        problem["detail"].as_str().unwrap().contains("start it"),
        "{problem}"
    );
    assert_eq!(
        server.get("/problems/namespace-unavailable").await.status,
        200
    );
}

#[tokio::test]
async fn the_page_needs_a_token_if_there_are_any_and_is_read_only() {
    let server = TestServer::new("STITCH_API__TOKENS=[\"0123456789abcdef\"]");
    for address in [PAGE, STATUS] {
        let refused = server.get(address).await;
        assert_eq!(
            (refused.status, refused.header("www-authenticate")),
            (401, "Bearer")
        );
        let token = [("authorization", "Bearer 0123456789abcdef")];
        assert_eq!(server.get_with(address, &token).await.status, 200);
    }
    let server = TestServer::new("");
    for address in [PAGE, STATUS] {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let request = Request::builder().method(method).uri(address);
            let reply = server.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(
                (reply.status, reply.header("allow")),
                (405, "GET,HEAD"),
                "{method} {address}"
            );
        }
    }
    let unknown = server.get(&format!("{STATUS}?unlock=3")).await;
    assert_eq!(unknown.status, 400);
    let page = shown(&server).await;
    for control in ["<form", "<button", "<input"] {
        assert!(!page.contains(control), "{control}");
    }
}

#[tokio::test]
async fn the_page_loads_its_own_assets_only() {
    let server = TestServer::new("");
    let reply = server.get(PAGE).await;
    let policy = reply.header("content-security-policy").to_owned();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let page = shown(&server).await;
    assert!(
        !page.contains("style=") && !page.contains("<style"),
        "{page}"
    );
    let loaded: BTreeSet<&str> = ["src=\"", "href=\""]
        .into_iter()
        .flat_map(|attribute| values(&page, attribute))
        .filter(|address| *address != STATUS)
        .collect();
    assert_eq!(loaded.len(), 5, "{loaded:?}");
    for address in loaded {
        assert!(address.starts_with("/assets/"), "{address}");
        assert_eq!(server.get(address).await.status, 200, "{address}");
    }
}
