//! The way in: the counters of this server, and a form that leads to the page of a key.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::response::{IntoResponse, Response};
use maud::html;

use super::{KEY, address};
use crate::app::App;
use crate::operator;
use crate::page::{self, Assets};
use crate::params;
use crate::problem::Problem;
use crate::query_string::Query;

pub(crate) const PAGE: &str = "/stats";
const COUNTER: &str = "counter";
const ASSETS: Assets = Assets {
    styles: &[],
    scripts: &[],
};

/// The page, or, when its form is sent, the way to the page of the key.
pub(crate) async fn index(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let of = |name: &str| Query::parse_for_page(query.as_deref(), name, PAGE.to_owned());
    let (counter, key) = (of(COUNTER)?, of(KEY)?);
    if let Some(counter) = counter.get(COUNTER) {
        params::definition(&app.definitions, counter, PAGE)?;
        let key = key.get(KEY).filter(|key| !key.is_empty());
        let headers = [
            (LOCATION, address(counter, key)),
            (CACHE_CONTROL, "no-store".to_owned()),
        ];
        return Ok((StatusCode::SEE_OTHER, headers).into_response());
    }
    let counters = &app.definitions.counters;
    let body = html! {
        header {
            p.crumb { "Counts of" }
            h1 { (app.namespace) }
        }
        main {
            form.panel method="get" action=(PAGE) {
                label { "Counter" select name=(COUNTER) {
                    @for counter in counters { option { (counter.name.0) } }
                } }
                label { "Key" input type="search" name=(KEY) autocomplete="off" autofocus; }
                button type="submit" { "Show" }
            }
            p.hint { "A key is found as the events have it. Without one, several keys can be compared." }
            section.panel aria-labelledby="counters" {
                h2 id="counters" { "Counters" }
                ul { @for counter in counters {
                    li { a href=(address(&counter.name.0, None)) { (counter.name.0) } }
                } }
            }
            p.hint {
                "For programs: " a href="/openapi.json" { "the description of the API" } "."
                @if app.limits.operator_listen.is_none() {
                    " For operators: " a href=(operator::PAGE) { "ranges, locks, members and restorations" } "."
                }
            }
        }
    };
    Ok(page::page("Counters", ASSETS, &body))
}
