//! Commands from the operator's page and from programs: pause, resume, throttle, abort, hold-until. They are those of
//! `stitch-restorator`, carried out by the same code; who gives one is the name of the token, never what a client says.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use stitch_app::control_report::ControlReport;
use stitch_app::runner;
use stitch_app::status::Status;
use stitch_common::output;
use stitch_control::control_record::{ControlCommand, ControlRequest};

use super::PAGE;
use crate::access::{Grant, TokenGrant};
use crate::app::App;
use crate::command_request::{
    COMMAND, CONFIRMED, CommandRequest, NAMES, RATE, REASON, RESTORATION, UNTIL, YES,
};
use crate::page::{self, Assets};
use crate::problem::{Kind, Problem};
use crate::query_string::Query;
use crate::{request_body, same_origin};

pub(crate) const CONTROL: &str = "/operator/control";
const FORM: &str = "application/x-www-form-urlencoded";
/// Of a body, in place of the keys that others have.
const NAMES_MAX: usize = 1;
const FORM_BYTES_MAX: usize = 16 * 1024;
/// Of the question before an abort. Without the scripts of [`PAGE`]: they would ask for this address, which has no page.
const QUESTION: Assets = Assets {
    styles: super::ASSETS.styles,
    scripts: &[],
};

/// The same in a body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandBody {
    #[serde(default, deserialize_with = "request_body::text")]
    command: Option<String>,
    #[serde(default)]
    rate: Option<Rate>,
    #[serde(default, deserialize_with = "request_body::text")]
    until: Option<String>,
    #[serde(default, deserialize_with = "request_body::text")]
    reason: Option<String>,
    #[serde(default, deserialize_with = "request_body::text")]
    restoration: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Rate {
    Number(u32),
    Text(String),
}

/// Carries a command out. A program gets the control that is in force after it; a person is led back to the page, and asked
/// again before an abort.
pub(crate) async fn control(
    State(app): State<Arc<App>>,
    Extension(grant): Extension<Grant>,
    RawQuery(query): RawQuery,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Grant::Token(token) = grant else {
        let detail = "without tokens it is not known who gives a command: set api.tokens_file, or use `stitch-restorator`";
        return Err(Problem::new(Kind::ControlClosed, detail).with_example(PAGE));
    };
    same_origin::check(&headers, &uri, token.by_cookie)?;
    let content_type = headers.get(CONTENT_TYPE);
    let is_form = content_type.is_some_and(|kind| kind.as_bytes().starts_with(FORM.as_bytes()));
    let request = match is_form {
        true => CommandRequest::parse(&form(&app, query.as_deref(), body).await?)?,
        false => CommandRequest::parse(&json(&app, query.as_deref(), body).await?)?,
    };
    if is_form && request.command == ControlCommand::Abort && !request.is_confirmed {
        return Ok(page::page("Abort?", QUESTION, &confirmation(&request)));
    }
    let report = issue(&app, &token, request).await?;
    if is_form {
        return Ok((StatusCode::SEE_OTHER, [(LOCATION, PAGE)]).into_response());
    }
    let object = output::object("control", &report).expect("plain data serialises");
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, object).into_response())
}

async fn form(app: &App, query: Option<&str>, body: Body) -> Result<Query, Problem> {
    Query::parse(query, &[], &[], PAGE.to_owned())?;
    let problem = |kind, detail: String| Problem::new(kind, detail).with_example(PAGE);
    let within = app.limits.request_timeout / 2;
    let bytes = request_body::read(body, FORM_BYTES_MAX, within).await;
    let bytes = bytes.map_err(|error| problem(error.kind(), error.to_string()))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| problem(Kind::InvalidBody, "the form is not UTF-8".to_owned()))?;
    Query::parse(Some(&text), &NAMES, &[], PAGE.to_owned())
}

async fn json(app: &App, query: Option<&str>, body: Body) -> Result<Query, Problem> {
    let body: CommandBody =
        request_body::json(app.limits.request_timeout, query, body, NAMES_MAX, PAGE).await?;
    let rate = body.rate.map(|rate| match rate {
        Rate::Number(number) => number.to_string(),
        Rate::Text(text) => text,
    });
    let parameters = [
        (COMMAND, body.command),
        (RATE, rate),
        (UNTIL, body.until),
        (REASON, body.reason),
        (RESTORATION, body.restoration),
    ];
    Ok(Query::from_parameters(parameters, PAGE.to_owned()))
}

async fn issue(
    app: &App,
    token: &TokenGrant,
    request: CommandRequest,
) -> Result<ControlReport, Problem> {
    let by = ControlRequest {
        by: format!("token {}@{}", token.name, runner::host()),
        at: app.now().wall,
        reason: request.reason,
    };
    let command = request.command;
    tracing::info!(%command, by = by.by, reason = by.reason, restoration = request.restoration, "command of an operator");
    let issued = app.commands.issue(command, by, request.restoration).await;
    // Whatever became of it, the page is to show what is so now.
    app.status.forget();
    let issued = issued.map_err(|failure| Problem::from(failure).with_example(PAGE))?;
    Ok(ControlReport::new(command, issued))
}

/// Asks again: what an abort has interrupted can only be begun again.
fn confirmation(request: &CommandRequest) -> Markup {
    html! {
        header {
            p.crumb { "Operator" }
            h1 { "Abort this restoration?" }
        }
        main id="operator" {
            section.panel {
                p {
                    @match &request.restoration {
                        Some(id) => { "Restoration " (id) " ends with what it has verified." }
                        None => { "The restoration that runs ends with what it has verified." }
                    }
                    " The rest is left to the next run, which audits again. To have it wait instead, pause it."
                }
                form method="post" action=(CONTROL) {
                    input type="hidden" name=(COMMAND) value="abort";
                    input type="hidden" name=(CONFIRMED) value=(YES);
                    input type="hidden" name=(REASON) value=(request.reason);
                    input type="hidden" name=(RESTORATION) value=(request.restoration.as_deref().unwrap_or_default());
                    button type="submit" { "Abort it" }
                    " " a href=(PAGE) { "Let it go on" }
                }
            }
        }
    }
}

/// The form for commands, of which those that would change nothing cannot be chosen. Its structure is always the same, so
/// that what a person has typed survives when the page is brought up to date.
pub(super) fn form_of(status: &Status, is_open: bool) -> Markup {
    let control = &status.control;
    let runs = control.restoration.is_some() && control.abort.is_none();
    let waits = control.pause.is_some() || control.hold.is_some();
    let commands = [
        ("pause", runs && control.pause.is_none()),
        ("resume", waits),
        ("throttle", runs),
        ("abort", runs),
        ("hold-until", true),
    ];
    html! {
        section.panel aria-labelledby="control" {
            h2 id="control" { "Control of restorations" }
            @if is_open {
                p.hint {
                    "Commands are taken here from people and programs with a token of the scope operate (api.tokens_file). "
                    "This server has no tokens; `stitch-restorator` has the same commands."
                }
            } @else {
                form.control method="post" action=(CONTROL) {
                    input type="hidden" name=(RESTORATION) value=(control.restoration.as_deref().unwrap_or_default());
                    label { "Command "
                        select name=(COMMAND) required {
                            option value="" { "choose" }
                            @for (name, is_possible) in commands {
                                option value=(name) disabled[!is_possible] { (name) }
                            }
                        }
                    }
                    label { "Why " input type="text" name=(REASON) maxlength="500"; }
                    label { "For throttle: corrections a second, or off " input type="text" name=(RATE) inputmode="numeric" maxlength="10"; }
                    label { "For hold-until: a time, as 2030-01-31T06:00:00Z " input type="text" name=(UNTIL) maxlength="40"; }
                    button type="submit" { "Give the command" }
                }
                p.hint { "What can be chosen would change something now. Who gave a command, when and why, is shown above and kept with the restoration." }
            }
        }
    }
}
