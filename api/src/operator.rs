//! The operator's page: a map of the ranges, restorations running and past, locks, members. It shows what
//! `stitch-restorator status` shows, collected by the same code; `/operator/status.json` is the same object. By its form, and
//! by [`control`], operators control restorations.

pub(crate) mod control;
mod map;
mod tables;

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use stitch_app::status::Status;
use stitch_batch::layer::Layer;
use stitch_common::output;
use stitch_common::user_error::UserError;

use crate::app::App;
use crate::page::{self, Assets};
use crate::problem::{Kind, Problem};
use crate::query_string::Query;

pub(crate) const PAGE: &str = "/operator";
pub(crate) const STATUS: &str = "/operator/status.json";
const ASSETS: Assets = Assets {
    styles: &["operator.css"],
    scripts: &["poll.js", "operator.js"],
};

/// The page. Its script requests it again about every second.
pub(crate) async fn page(State(app): State<Arc<App>>) -> Response {
    let snapshot = app.status.latest().await;
    let body = html! {
        header {
            p.crumb { "Namespace" }
            h1 { (app.namespace) }
            (page::freshness(&app.default_layers(app.now()).freshness_of_all(), None))
        }
        main id="operator" {
            @match &snapshot.status {
                Ok(status) => (namespace(&app, status)),
                Err(error) => (unavailable(error)),
            }
            p.hint id="as-of" { "Read from ZooKeeper at " (time(snapshot.at)) ". " a href=(STATUS) { "As JSON" } }
        }
    };
    let page = page::page(&format!("{} · operator", app.namespace), ASSETS, &body);
    let retry = [(RETRY_AFTER, HeaderValue::from_static("1"))];
    match &snapshot.status {
        Ok(_) => page,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, retry, page).into_response(),
    }
}

/// The object that `stitch-restorator status --output json` prints.
pub(crate) async fn status(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref(), &[], &[], STATUS.to_owned())?;
    let snapshot = app.status.latest().await;
    match &snapshot.status {
        Ok(status) => {
            let object = output::object("status", status).expect("plain data serialises");
            let headers = [
                (CONTENT_TYPE, "application/json"),
                (CACHE_CONTROL, "no-cache"),
            ];
            Ok((headers, object).into_response())
        }
        Err(error) => Err(Problem::new(Kind::NamespaceUnavailable, error.to_string())),
    }
}

fn namespace(app: &App, status: &Status) -> Markup {
    let (freshness, now) = (app.freshness(), app.now().moment);
    html! {
        @if app.tables.of(Layer::Realtime).is_some() {
            (map::ranges(status, |range| freshness.of(range, now)))
        } @else {
            p.panel { "Purely in batch: no range is counted, locked or restored. `stitch-batch status` says what is published." }
        }
        (tables::restorations(status))
        (control::form_of(status, app.access().are_open()))
        (tables::locks(status))
        (tables::members("Members", &status.members))
        (tables::members("Dead members: their last requests may still be in flight", &status.dead_members))
        (tables::doubts(status))
        (tables::markers(status))
        (tables::partitions(status))
    }
}

/// Shown in place of the namespace: why it cannot be read, and what to do about it.
fn unavailable(error: &UserError) -> Markup {
    html! {
        section.panel aria-labelledby="unavailable" {
            h2 id="unavailable" { "The namespace cannot be read from ZooKeeper" }
            p { (error.message) }
            p { "Help: " (error.help) }
            p.hint { "This page tries again by itself." }
        }
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%SZ").to_string()
}
