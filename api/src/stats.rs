//! The statistics pages: a way in, one key with its timeline, and keys side by side. The server renders the numbers; a
//! small script draws the timeline and keeps the numbers up to date. Pages load nothing from other hosts.

pub(crate) mod index;
mod key_stats;

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};

use crate::access::{self, Grant};
use crate::app::App;
use crate::caching;
use crate::freshness::Freshness;
use crate::handlers::path_parameters;
use crate::page::{self, Assets, number};
use crate::params;
use crate::problem::Problem;
use crate::query_string::{Query, encoded};
use key_stats::{CARDS, KeyStats};

const ASSETS: Assets = Assets {
    styles: &["uplot.min.css"],
    scripts: &[
        "uplot.min.js",
        "poll.js",
        "calendar.js",
        "text.js",
        "stats.js",
    ],
};
/// Keys side by side: more lines could not be distinguished.
const KEYS_MAX: usize = 8;
const KEY: &str = "key";

/// The page of one key.
pub(crate) async fn key(
    State(app): State<Arc<App>>,
    Extension(grant): Extension<Grant>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let example = address(first(&app), Some("abc"));
    let (name, key) = path_parameters(path, &example)?;
    let definition = params::definition(&app.definitions, &name, &example)?;
    let keys = [key];
    let stats = KeyStats::read(&app, definition, &keys, &example).await?;
    let [key] = &keys;
    let main = stats.frame(
        definition,
        html! {
            p.total {
                strong data-key="0" data-count="total" { (number(stats.total())) }
                " " small { (name) " in all" }
            }
            @if stats.total() == Some(0) { (nothing_counted()) }
            div.cards { @for card in CARDS { (stats.card(card)) } }
            @if let Grant::Link { until_s } = &grant {
                p.hint { "This link opens until " (access::time(*until_s)) "." }
            }
        },
    );
    let body = |freshness: Markup| {
        html! {
            header {
                p.crumb {
                    // A link opens no page but this.
                    @if !matches!(grant, Grant::Link { .. }) {
                        a href="/stats" { "Counters" } " › " a href=(address(&name, None)) { (name) }
                    } @else { (name) }
                }
                h1 { bdi { (key) } }
                (freshness)
            }
            (main)
        }
    };
    let title = format!("{} · {name}", page::isolated(key));
    Ok(respond(&app, &headers, &title, &stats.freshness, body))
}

/// The page of a counter: the named keys side by side.
pub(crate) async fn counter(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let example = format!("{}?key=abc&key=def", address(first(&app), None));
    let name = path_parameters(path, &example)?;
    let query = Query::parse_for_page(query.as_deref(), KEY, example)?;
    let definition = params::definition(&app.definitions, &name, query.example())?;
    // A form sends its empty field as well.
    let keys: Vec<String> = query
        .all(KEY)
        .filter(|key| !key.is_empty())
        .map(str::to_owned)
        .collect();
    if keys.len() > KEYS_MAX {
        let count = keys.len();
        let detail = format!("{count} keys are named, at most {KEYS_MAX} are shown side by side");
        return Err(query.invalid(KEY, detail));
    }
    let stats = KeyStats::read(&app, definition, &keys, query.example()).await?;
    let main = stats.frame(definition, html! {
        form.panel method="get" {
            @for key in &keys { input type="hidden" name=(KEY) value=(key); }
            label { (if keys.is_empty() { "A key" } else { "Another key" }) input type="text" name=(KEY) autocomplete="off" required; }
            button type="submit" { "Show" }
        }
        @if keys.is_empty() { p { "Name a key to see its counts, and further keys to compare them." } }
        @else { (stats.side_by_side(&name)) }
    });
    let body = |freshness: Markup| {
        html! {
            header {
                p.crumb { a href="/stats" { "Counters" } " › keys of" }
                h1 { (name) }
                @if !keys.is_empty() { (freshness) }
            }
            (main)
        }
    };
    Ok(respond(&app, &headers, &name, &stats.freshness, body))
}

/// A page of counts, with its caching headers. `body` puts the line about freshness into the page.
fn respond(
    app: &App,
    request: &HeaderMap,
    title: &str,
    freshness: &Freshness,
    body: impl Fn(Markup) -> Markup,
) -> Response {
    let read_at = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    // What the entity tag does not cover is left out: these change with every request.
    let lasting = Freshness {
        behind_events: None,
        ..freshness.clone()
    };
    let lasting = body(page::freshness(&lasting, None)).into_string();
    let line = page::freshness(freshness, Some(&read_at(app.now().wall)));
    let page = page::page(title, ASSETS, &body(line));
    caching::respond_page(app, request, &lasting, freshness, page)
}

fn nothing_counted() -> Markup {
    html! {
        p.panel {
            "Nothing is counted for this key. A key is found only as the events have it: with the same letters, capitals and blanks."
        }
    }
}

/// The name of the first counter, for examples.
fn first(app: &App) -> &str {
    app.definitions
        .counters
        .first()
        .map_or("", |counter| &counter.name.0)
}

/// The address of the page of a counter, or of one of its keys.
fn address(counter: &str, key: Option<&str>) -> String {
    let rest = match key {
        None => String::new(),
        // As the last part of a path, browsers resolve these, whether they are encoded or not.
        Some(key @ ("." | "..")) => format!("?{KEY}={key}"),
        Some(key) => format!("/{}", encoded(key)),
    };
    format!("/stats/{}{rest}", encoded(counter))
}
