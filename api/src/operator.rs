//! The operator's page: ranges as a map, restorations that run and that ran, locks, members. Read-only. What it shows
//! is what `stitch-restorator status` shows, collected by the same code; `/operator/status.json` is the same object.

mod map;
mod tables;

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use stitch_app::status::Status;
use stitch_common::output;
use stitch_common::user_error::UserError;

use crate::app::App;
use crate::page::{Loaded, page, told};
use crate::problem::{Kind, Problem};
use crate::query_string::Query;

pub(crate) const PAGE: &str = "/operator";
pub(crate) const OBJECT: &str = "/operator/status.json";
const LOADED: Loaded = Loaded {
    styles: &["operator.css"],
    scripts: &["operator.js"],
};

/// The page. It asks for itself anew every second.
pub(crate) async fn shown(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref(), &[], None, PAGE.to_owned())?;
    let seen = app.landscape.latest().await;
    let body = html! {
        header {
            p.crumb { "Namespace" }
            h1 { (app.namespace) }
            (told(app.board().summary(app.now().moment).0))
        }
        main id="operator" {
            @match &seen.status {
                Ok(status) => (namespace(&app, status)),
                Err(failure) => (away(failure)),
            }
            p.hint id="seen" { "As ZooKeeper showed it at " (time(seen.at)) ". " a href=(OBJECT) { "As JSON" } }
        }
    };
    let page = page(&format!("{} · operator", app.namespace), LOADED, &body);
    Ok(match &seen.status {
        Ok(_) => page,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, again(), page).into_response(),
    })
}

/// The object that `stitch-restorator status --output json` prints.
pub(crate) async fn object(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref(), &[], None, OBJECT.to_owned())?;
    let seen = app.landscape.latest().await;
    match &seen.status {
        Ok(status) => {
            let object = output::object("status", status).expect("plain data serialises");
            let headers = [
                (CONTENT_TYPE, "application/json"),
                (CACHE_CONTROL, "no-cache"),
            ];
            Ok((headers, object).into_response())
        }
        Err(failure) => Err(Problem::new(Kind::NamespaceAway, failure.to_string())),
    }
}

fn namespace(app: &App, status: &Status) -> Markup {
    let (board, now) = (app.board(), app.now().moment);
    html! {
        (map::ranges(status, |range| board.of(range, now)))
        (tables::restorations(status))
        (tables::locks(status))
        (tables::members("Members", &status.members))
        (tables::members("Tombstones: members that are gone, what they sent may still be on its way", &status.dead_members))
        (tables::markers(status))
        (tables::partitions(status))
    }
}

/// Where the map would be: why there is none, and what to do about it.
fn away(failure: &UserError) -> Markup {
    html! {
        section.panel aria-labelledby="away" {
            h2 id="away" { "The namespace cannot be read in ZooKeeper" }
            p { (failure.message) }
            p { "Way out: " (failure.help) }
            p.hint { "This page looks again every second." }
        }
    }
}

fn again() -> [(HeaderName, HeaderValue); 1] {
    [(RETRY_AFTER, HeaderValue::from_static("1"))]
}

fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%SZ").to_string()
}
