//! The operator's page, and its object.

use stitch_app::status::{LockKind, LockState, RestorationOutcome};
use stitch_common::member::Role;
use stitch_common::output;
use stitch_common::user_error::UserError;

use super::pages::named;
use super::*;
use crate::operator::{OBJECT, PAGE};
use crate::testing::{lock, marker, member, restoration, restorer, well};

async fn shown(here: &Here) -> String {
    let got = here.get(PAGE).await;
    assert_eq!(got.status, 200);
    String::from_utf8(got.body).unwrap()
}

#[tokio::test]
async fn what_happens_in_the_namespace_is_shown() {
    let here = Here::new("");
    let mut status = well();
    status
        .locks
        .push(lock(3, 2, LockKind::Exclusive, LockState::Held));
    status
        .locks
        .push(lock(4, 2, LockKind::Exclusive, LockState::Waiting));
    status.in_doubt_markers.push(marker(9));
    status.restoring = Some(restorer(2));
    status.restorations = vec![
        restoration(RestorationOutcome::Running, 11),
        restoration(RestorationOutcome::DriftRemains, 63),
    ];
    here.stands(Ok(status));
    let page = shown(&here).await;
    for part in [
        "<h1>plays</h1>",
        "<b>61 counting</b>",
        "<b>1 being restored</b>",
        "<b>1 locked</b>",
        "<b>1 not proved</b>",
        "A restoration runs",
        "12 of 64 ranges are done, 1,234 cells corrected",
        "<progress max=\"64\" value=\"12\">",
        "drift remains",
        "Process 8 on elsewhere",
        ">1,000,000<",
        "processor",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    here.stands(Ok(well()));
    let page = shown(&here).await;
    assert!(page.contains("No restoration runs") && page.contains("<b>64 counting</b>"));
    assert!(!page.contains("<progress"));
}

#[tokio::test]
async fn a_member_that_is_gone_makes_every_range_doubtful_and_is_named() {
    let here = Here::new("");
    let mut status = well();
    let mut gone = member(3, Role::Processor);
    gone.host = "<b>there</b>".to_owned();
    status.dead_members.push(gone);
    here.stands(Ok(status));
    let page = shown(&here).await;
    assert!(page.contains("<b>64 not proved</b>"), "{page}");
    assert!(page.contains("&lt;b&gt;there&lt;/b&gt;"), "{page}");
}

#[tokio::test]
async fn ranges_lag_as_readers_are_told_they_do() {
    let here = Here::new("");
    // Its clock stands still: what lies beyond the progress has been waiting since long ago.
    let glance = Glance::default();
    let mut history = History::new(Duration::from_secs(5));
    let bounds = Bounds {
        begin: Offset(0),
        end: Offset(41),
    };
    for second in [990, 1000] {
        let moment = Moment::new(Duration::from_secs(second));
        history.add(moment, [(Partition(0), bounds)].into());
    }
    let bits = here.config.definitions.range_bits;
    let board = FreshnessSnapshot::new(bits, &glance, &BTreeSet::new(), &history);
    here.board.send_replace(Arc::new(board));
    let page = shown(&here).await;
    assert!(page.contains("<b>64 lagging</b>"), "{page}");
    here.board
        .send_replace(Arc::new(FreshnessSnapshot::blank(bits)));
    assert!(shown(&here).await.contains("<b>64 unknown</b>"));
}

#[tokio::test]
async fn the_object_is_the_one_that_the_command_prints() {
    let here = Here::new("");
    let got = here.get(OBJECT).await;
    assert_eq!(got.header("content-type"), "application/json");
    let printed = output::object("status", &well()).unwrap();
    assert_eq!(got.body, printed);
    let object = got.json();
    assert_eq!(
        (&object["command"], &object["ranges"]),
        (&"status".into(), &64.into())
    );
}

#[tokio::test]
async fn where_zookeeper_cannot_be_asked_it_is_said_with_the_way_out() {
    let here = Here::new("");
    here.stands(Err(UserError::new("ZooKeeper is <gone>", "start it")));
    let page = here.get(PAGE).await;
    assert_eq!((page.status, page.header("retry-after")), (503, "1"));
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let text = String::from_utf8(page.body).unwrap();
    for part in [
        "ZooKeeper is &lt;gone&gt;",
        "Way out: start it",
        "id=\"freshness\"",
        "operator.js",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let object = here.get(OBJECT).await;
    assert_eq!((object.status, object.header("retry-after")), (503, "1"));
    let problem = object.json();
    assert_eq!(problem["type"], "/problems/namespace-unavailable");
    assert!(
        problem["detail"].as_str().unwrap().contains("start it"),
        "{problem}"
    );
    assert_eq!(
        here.get("/problems/namespace-unavailable").await.status,
        200
    );
}

#[tokio::test]
async fn it_takes_a_token_where_there_are_any_and_changes_nothing() {
    let here = Here::new("STITCH_API__TOKENS=[\"0123456789abcdef\"]");
    for address in [PAGE, OBJECT] {
        let refused = here.get(address).await;
        assert_eq!(
            (refused.status, refused.header("www-authenticate")),
            (401, "Bearer")
        );
        let token = [("authorization", "Bearer 0123456789abcdef")];
        assert_eq!(here.get_with(address, &token).await.status, 200);
    }
    let here = Here::new("");
    for address in [PAGE, OBJECT] {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let request = Request::builder().method(method).uri(address);
            let got = here.ask(request.body(Body::empty()).unwrap()).await;
            assert_eq!(
                (got.status, got.header("allow")),
                (405, "GET,HEAD"),
                "{method} {address}"
            );
        }
        assert_eq!(here.get(&format!("{address}?unlock=3")).await.status, 400);
    }
    let page = shown(&here).await;
    for control in ["<form", "<button", "<input"] {
        assert!(!page.contains(control), "{control}");
    }
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere_and_little_from_here() {
    let here = Here::new("");
    let got = here.get(PAGE).await;
    let policy = got.header("content-security-policy").to_owned();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let page = shown(&here).await;
    assert!(
        !page.contains("style=") && !page.contains("<style"),
        "{page}"
    );
    let loaded: BTreeSet<&str> = ["src=\"", "href=\""]
        .into_iter()
        .flat_map(|attribute| named(&page, attribute))
        .filter(|address| *address != OBJECT)
        .collect();
    assert_eq!(loaded.len(), 4, "{loaded:?}");
    for address in loaded {
        assert!(address.starts_with("/assets/"), "{address}");
        assert_eq!(here.get(address).await.status, 200, "{address}");
    }
}
