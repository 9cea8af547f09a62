//! Commands of operators: who may give them, from where, and what is asked again.

use std::pin::pin;

use axum::http::request::Builder;
use stitch_control::control_record::{ControlCommand, ControlRecord, ControlRequest};

use super::pages::values;
use super::*;
use crate::operator::PAGE;
use crate::operator::control::CONTROL;
use crate::testing::{restoration, restorer};
use stitch_app::status::RestorationOutcome;
use stitch_control::command_queue::CommandFailure;

const TOKEN: &str = "0123456789abcdef";
const COOKIE: (&str, &str) = ("cookie", "stitch-token=0123456789abcdef");
const BEARER: (&str, &str) = ("authorization", "Bearer 0123456789abcdef");
const OWN_PAGE: (&str, &str) = ("sec-fetch-site", "same-origin");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn server() -> TestServer {
    TestServer::new(&format!("STITCH_API__TOKENS=[\"{TOKEN}\"]"))
}

type Given = (ControlCommand, ControlRequest, Option<String>);

/// Sends a body; returns the answer, and the command that was given on, which has this result.
async fn send(
    server: &mut TestServer,
    headers: &[(&str, &str)],
    body: &str,
    result: Result<ControlRecord, CommandFailure>,
) -> (Reply, Option<Given>) {
    let add = |request: Builder, (name, value): &(&str, &str)| request.header(*name, *value);
    let request = headers.iter().fold(Request::post(CONTROL), add);
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let mut answer = pin!(server.service.clone().oneshot(request));
    let mut given = None;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return (reply(answer.unwrap()).await, given),
            waiting = server.commands.recv() => {
                let waiting = waiting.unwrap();
                given = Some((waiting.command, waiting.request, waiting.restoration));
                waiting.reply.send(result.clone()).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_command_is_given_by_the_token_and_answered_as_on_the_command_line() {
    let mut server = server();
    let body = r#"{"command": "throttle", "rate": 500, "reason": "load", "restoration": "a"}"#;
    let (answer, given) = send(&mut server, &[BEARER], body, Ok(ControlRecord::default())).await;
    let object = answer.json();
    assert_eq!(answer.status, 200, "{object}");
    assert_eq!(
        (&object["command"], &object["outcome"], &object["issued"]),
        (
            &"control".into(),
            &"recorded".into(),
            &"throttle 500".into()
        )
    );
    let (command, request, wanted) = given.unwrap();
    assert_eq!(command.to_string(), "throttle 500");
    assert_eq!(
        request.by,
        format!("token tokens[0]@{}", stitch_app::runner::host())
    );
    assert_eq!(
        (request.reason.as_str(), wanted.as_deref()),
        ("load", Some("a"))
    );
    // Who gives it is not the client's to say.
    let forged = r#"{"command": "pause", "by": "root"}"#;
    let (refused, given) = send(&mut server, &[BEARER], forged, Ok(ControlRecord::default())).await;
    assert_eq!((refused.status, given), (400, None));
}

#[tokio::test]
async fn without_a_token_of_the_scope_no_command_is_given() {
    let pause = r#"{"command": "pause"}"#;
    let mut open = TestServer::new("");
    let (refused, given) = send(&mut open, &[], pause, Ok(ControlRecord::default())).await;
    assert_eq!((refused.status, given), (403, None));
    assert_eq!(refused.json()["type"], "/problems/control-closed");
    let mut server = server();
    let (refused, given) = send(&mut server, &[], pause, Ok(ControlRecord::default())).await;
    assert_eq!((refused.status, given), (401, None));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, format!("reader read,metrics {TOKEN}\n")).unwrap();
    let tokens = stitch_access::token_file::read(&path, AccessTokens::default()).unwrap();
    server.access.send_replace(Arc::new(tokens));
    let (refused, given) = send(&mut server, &[BEARER], pause, Ok(ControlRecord::default())).await;
    assert_eq!((refused.status, given), (403, None));
    let get = server.get_with(CONTROL, &[BEARER]).await;
    assert_eq!((get.status, get.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn a_page_of_another_origin_gives_no_command() {
    let mut server = server();
    let form = "command=pause";
    for others in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[
            ("origin", "https://evil.example"),
            ("host", "stitch.example"),
        ],
        &[],
    ] {
        let headers = [&[COOKIE, FORM], others].concat();
        let (refused, given) =
            send(&mut server, &headers, form, Ok(ControlRecord::default())).await;
        assert_eq!((refused.status, given), (403, None), "{others:?}");
        assert_eq!(refused.json()["type"], "/problems/cross-origin");
    }
    let headers = [COOKIE, FORM, OWN_PAGE];
    let (answer, given) = send(&mut server, &headers, form, Ok(ControlRecord::default())).await;
    assert_eq!((answer.status, answer.header("location")), (303, PAGE));
    assert_eq!(given.unwrap().0, ControlCommand::Pause);
    // No other origin may read or ask beforehand, whatever origins may read counts.
    let shared = TestServer::new("STITCH_API__CORS_ORIGINS=[\"*\"]");
    let preflight = Request::options(CONTROL).header("origin", "https://evil.example");
    let preflight = preflight.header("access-control-request-method", "POST");
    let reply = shared.send(preflight.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_person_is_asked_again_before_an_abort() {
    let mut server = server();
    let headers = [COOKIE, FORM, OWN_PAGE];
    let first = "command=abort&reason=%3Cwrong%3E&restoration=id-7&rate=&until=";
    let (asked, given) = send(&mut server, &headers, first, Ok(ControlRecord::default())).await;
    let page = String::from_utf8(asked.body).unwrap();
    assert_eq!((asked.status, given), (200, None), "{page}");
    for part in [
        "Abort this restoration?",
        "Restoration id-7 ends",
        "name=\"confirmed\" value=\"yes\"",
        "name=\"reason\" value=\"&lt;wrong&gt;\"",
        "name=\"restoration\" value=\"id-7\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // The address takes commands: a script would ask it for a page every second.
    assert!(!page.contains("<script"), "{page}");
    let second = "command=abort&reason=wrong&restoration=id-7&confirmed=yes";
    let (done, given) = send(&mut server, &headers, second, Ok(ControlRecord::default())).await;
    assert_eq!(done.status, 303);
    let (command, request, wanted) = given.unwrap();
    assert_eq!(
        (command, wanted.as_deref()),
        (ControlCommand::Abort, Some("id-7"))
    );
    assert_eq!(request.reason, "wrong");
}

#[tokio::test]
async fn a_refusal_says_why_and_an_unanswered_command_that_it_may_have_been_carried_out() {
    let mut server = server();
    let pause = r#"{"command": "pause"}"#;
    let error = || UserError::new("no restoration <runs>", "start one");
    for (failure, status, problem, detail) in [
        (
            CommandFailure::Refused(error()),
            409,
            "command-refused",
            "start one",
        ),
        (
            CommandFailure::Unanswered(error()),
            503,
            "namespace-unavailable",
            "may have been carried out",
        ),
        (CommandFailure::Overload, 503, "overload", "commands wait"),
    ] {
        let (answer, _) = send(&mut server, &[BEARER], pause, Err(failure)).await;
        let object = answer.json();
        assert_eq!(answer.status, status, "{object}");
        assert_eq!(object["type"], format!("/problems/{problem}"));
        assert!(
            object["detail"].as_str().unwrap().contains(detail),
            "{object}"
        );
    }
    let headers = [COOKIE, FORM, OWN_PAGE, ("accept", "text/html")];
    let failure = CommandFailure::Refused(error());
    let (page, _) = send(&mut server, &headers, "command=pause", Err(failure)).await;
    let text = String::from_utf8(page.body).unwrap();
    assert_eq!(page.status, 409);
    assert!(text.contains("no restoration &lt;runs&gt;"), "{text}");
}

/// The address takes commands alone: a link to it would lead to another problem.
#[tokio::test]
async fn a_problem_after_a_form_links_the_page_and_not_where_the_form_was_sent() {
    let mut server = server();
    let text = |reply: Reply| String::from_utf8(reply.body).unwrap();
    let person = ("accept", "text/html");
    let signed_in = [COOKIE, FORM, OWN_PAGE, person];
    let error = UserError::new("ZooKeeper does not answer", "wait");
    for (failure, status) in [
        (CommandFailure::Overload, 503),
        (CommandFailure::Unanswered(error.clone()), 503),
        (CommandFailure::Refused(error), 409),
    ] {
        let (reply, _) = send(&mut server, &signed_in, "command=pause", Err(failure)).await;
        assert_eq!(reply.status, status);
        let page = text(reply);
        let links = values(&page, "href=\"");
        assert!(links.contains(&PAGE) && !links.contains(&CONTROL), "{page}");
    }
    let record = Ok(ControlRecord::default());
    let (refused, _) = send(&mut server, &[FORM, person], "command=pause", record).await;
    assert_eq!(refused.status, 401);
    let page = text(refused);
    assert_eq!(values(&page, "action=\""), ["/sign-in?next=%2F"]);
    // What was asked for by a link can be asked for again.
    let refused = server.get_with("/operator?a=b", &[person]).await;
    let page = text(refused);
    assert_eq!(
        values(&page, "action=\""),
        ["/sign-in?next=%2Foperator%3Fa%3Db"]
    );
}

fn by_ann() -> ControlRequest {
    ControlRequest {
        by: "ann".to_owned(),
        at: DateTime::UNIX_EPOCH,
        reason: String::new(),
    }
}

#[tokio::test]
async fn only_what_would_change_something_can_be_chosen() {
    let server = server();
    let shown = async |change: fn(&mut Status)| {
        let mut status = healthy();
        change(&mut status);
        server.set_status(Ok(status));
        let reply = server.get_with(PAGE, &[BEARER]).await;
        let page = String::from_utf8(reply.body).unwrap();
        let commands = ["pause", "resume", "throttle", "abort", "hold-until"];
        let possible = commands.map(|name| page.contains(&format!("<option value=\"{name}\">")));
        let disabled =
            commands.map(|name| page.contains(&format!("<option value=\"{name}\" disabled>")));
        assert_eq!(possible, disabled.map(|is_disabled| !is_disabled), "{page}");
        possible
    };
    assert_eq!(shown(|_| {}).await, [false, false, false, false, true]);
    let runs = |status: &mut Status| {
        status.restoring = Some(restorer(2));
        status.restorations = vec![restoration(RestorationOutcome::Running, 11)];
        status.control.restoration = Some("id-7".to_owned());
    };
    assert_eq!(shown(runs).await, [true, false, true, true, true]);
    let paused = |status: &mut Status| {
        status.control.restoration = Some("id-7".to_owned());
        status.control.pause = Some(by_ann());
    };
    assert_eq!(shown(paused).await, [false, true, true, true, true]);
    let aborted = |status: &mut Status| {
        status.control.restoration = Some("id-7".to_owned());
        status.control.abort = Some(by_ann());
    };
    assert_eq!(shown(aborted).await, [false, false, false, false, true]);
}
