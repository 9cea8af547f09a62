//! The statistics pages: one key with its timeline, and keys side by side. The server renders the numbers; a small
//! script draws the timeline and keeps the numbers up to date. Pages load nothing from other hosts.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use futures_util::future::try_join_all;
use maud::{Markup, html};
use stitch_calendar::time_zone::TimeZone;
use stitch_common::cell::{Counter, Granularity};
use stitch_common::definition::CounterDefinition;

use crate::access::{self, Grant};
use crate::app::App;
use crate::freshness::Freshness;
use crate::handlers::path_parameters;
use crate::handlers::totals::{self, Totals};
use crate::page::{self, Assets, number};
use crate::params;
use crate::problem::Problem;
use crate::query_string::{Query, encoded};

const ASSETS: Assets = Assets {
    styles: &["uplot.min.css"],
    scripts: &["uplot.min.js", "stats.js"],
};
/// Keys side by side: more colours could not be distinguished.
const KEYS_MAX: usize = 8;
/// The periods that are shown besides all time: name, title, title of the previous one.
const CARDS: [(&str, &str, &str); 3] = [
    ("day", "Today", "Yesterday"),
    ("week", "This week", "Last week"),
    ("month", "This month", "Last month"),
];
const STEPS: [(Granularity, &str); 4] = [
    (Granularity::Hour, "Hours"),
    (Granularity::Day, "Days"),
    (Granularity::Month, "Months"),
    (Granularity::Year, "Years"),
];
const KEY: &str = "key";

/// The page of one key.
pub(crate) async fn key(
    State(app): State<Arc<App>>,
    Extension(grant): Extension<Grant>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let example = address(first(&app), Some("abc"));
    let (name, key) = path_parameters(path, &example)?;
    let definition = params::definition(&app.definitions, &name, &example)?;
    let keys = [key];
    let stats = KeyStats::read(&app, definition, &keys, &example).await?;
    let [key] = &keys;
    let body = html! {
        header {
            p.crumb {
                // A link opens no page but this.
                @if grant == Grant::Everything { a href=(address(&name, None)) { (name) } } @else { (name) }
            }
            h1 { bdi { (key) } }
            (page::freshness(&stats.freshness))
        }
        (stats.frame(definition, html! {
            p.total {
                strong data-key="0" data-count="total" { (number(stats.totals.first().and_then(|totals| totals.total))) }
                " " small { (name) " in all" }
            }
            div.cards { @for card in CARDS { (stats.card(card)) } }
            @if let Grant::Link { until_s } = grant {
                p.hint { "This link opens until " (access::time(until_s)) "." }
            }
        }))
    };
    Ok(page::page(&format!("{key} · {name}"), ASSETS, &body))
}

/// The page of a counter: the named keys side by side.
pub(crate) async fn counter(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
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
    let body = html! {
        header {
            p.crumb { "Keys of" }
            h1 { (name) }
            @if !keys.is_empty() { (page::freshness(&stats.freshness)) }
        }
        (stats.frame(definition, html! {
            form.panel method="get" {
                @for key in &keys { input type="hidden" name=(KEY) value=(key); }
                label { "Another key" input type="text" name=(KEY) autocomplete="off" required; }
                button type="submit" { "Show" }
            }
            @if keys.is_empty() { p { "Name a key to see its counts, and further keys to compare them." } }
            @else { (stats.side_by_side(&name)) }
        }))
    };
    Ok(page::page(&name, ASSETS, &body))
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

/// The totals and the freshness of the keys of one page.
struct KeyStats<'a> {
    keys: &'a [String],
    totals: Vec<Totals>,
    freshness: Freshness,
}

impl<'a> KeyStats<'a> {
    async fn read(
        app: &App,
        definition: &CounterDefinition,
        keys: &'a [String],
        example: &str,
    ) -> Result<Self, Problem> {
        let counters: Vec<Counter> = keys
            .iter()
            .map(|key| params::counter(definition, key, example))
            .collect::<Result<_, Problem>>()?;
        let now = app.now();
        let reads = counters
            .iter()
            .map(|counter| totals::read(app, counter, definition, now.time(), &TimeZone::UTC));
        Ok(Self {
            keys,
            totals: try_join_all(reads).await?,
            freshness: app.freshness().of_all(&counters, now.moment),
        })
    }

    /// The main part: `above`, then the timeline.
    fn frame(&self, definition: &CounterDefinition, above: Markup) -> Markup {
        let steps: Vec<_> = STEPS
            .into_iter()
            .filter(|(kept, _)| definition.granularities.contains(kept))
            .collect();
        let kept: Vec<_> = steps
            .iter()
            .map(|(granularity, _)| granularity.name())
            .collect();
        let keys = serde_json::to_string(self.keys).expect("texts serialise");
        html! {
            main id="stats" data-counter=(definition.name.0) data-unit=(definition.name.0) data-keys=(keys)
                data-periods=(kept.join(" ")) {
                (above)
                @if !self.keys.is_empty() && !steps.is_empty() { (self.timeline(&steps)) }
            }
        }
    }

    fn timeline(&self, steps: &[(Granularity, &str)]) -> Markup {
        html! {
            section.panel aria-labelledby="timeline" {
                div.bar {
                    h2 id="timeline" { "Timeline" }
                    div.steps role="group" aria-label="Length of a step" {
                        @for (granularity, label) in steps {
                            button type="button" data-step=(granularity.name()) aria-pressed="false" { (label) }
                        }
                    }
                }
                div.chart id="chart" role="slider" tabindex="0" aria-label="Move along the timeline" aria-valuemin="0"
                    aria-valuemax="0" aria-valuenow="0" aria-valuetext="loading" aria-describedby="hint" {}
                p.point id="point" {}
                p.hint id="hint" { "Times are " span id="offset" { "UTC" } ". Point at the timeline, or move along it with the arrow keys." }
                noscript { p { "The timeline needs JavaScript; the numbers above do not." } }
                details {
                    summary { "As a table" }
                    div.scroll tabindex="0" role="region" aria-label="The timeline as a table" {
                        table {
                            caption { "The latest first" }
                            thead { tr {
                                th scope="col" id="step-name" { "Time" }
                                @for key in self.keys { th scope="col" { bdi { (key) } } }
                            } }
                            tbody id="rows" {}
                        }
                    }
                }
            }
        }
    }

    /// The present period and the previous one; nothing if the kept granularities do not add up to it.
    fn card(&self, (name, title, previous): (&str, &str, &str)) -> Markup {
        let Some(total) = self
            .totals
            .first()
            .and_then(|totals| totals.periods.get(name))
        else {
            return html! {};
        };
        html! {
            section.card {
                h2 { (title) }
                p.number data-key="0" data-count=(name) { (number(Some(total.count))) }
                p.before { (previous) " " span data-key="0" data-count={ (name) "-before" } { (number(Some(total.before.count))) } }
            }
        }
    }

    fn side_by_side(&self, counter: &str) -> Markup {
        html! {
            div.panel.scroll tabindex="0" role="region" aria-label="Keys side by side" {
                table {
                    caption { "Counts so far" }
                    thead { tr {
                        th scope="col" { "Key" }
                        th scope="col" { "All" }
                        @for (_, title, _) in CARDS { th scope="col" { (title) } }
                    } }
                    tbody { @for (n, (key, totals)) in self.keys.iter().zip(&self.totals).enumerate() {
                        tr {
                            th scope="row" {
                                span class={ "swatch series-" (n + 1) } aria-hidden="true" {}
                                a href=(address(counter, Some(key))) { bdi { (key) } }
                            }
                            td data-key=(n) data-count="total" { (number(totals.total)) }
                            @for (name, _, _) in CARDS {
                                td data-key=(n) data-count=(name) { (number(totals.periods.get(name).map(|total| total.count))) }
                            }
                        }
                    } }
                }
            }
        }
    }
}
