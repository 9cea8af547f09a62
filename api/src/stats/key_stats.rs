//! The numbers of the keys of one page, and how they are laid out.

use futures_util::future::try_join_all;
use maud::{Markup, html};
use stitch_batch::layer::Layer;
use stitch_calendar::time_zone::TimeZone;
use stitch_common::cell::{Counter, Granularity};
use stitch_common::definition::CounterDefinition;

use super::address;
use crate::app::App;
use crate::freshness::{Freshness, State};
use crate::handlers::totals::{self, SoFar, Totals};
use crate::layers::LayersUsed;
use crate::page::number;
use crate::params;
use crate::problem::Problem;

/// The periods that are shown besides all time: name, title, title of the previous one.
pub(super) const CARDS: [(&str, &str, &str); 3] = [
    ("day", "Today", "Yesterday"),
    ("week", "This week", "Last week"),
    ("month", "This month", "Last month"),
];
const STEPS: [(Granularity, &str); 6] = [
    (Granularity::Minute, "Minutes"),
    (Granularity::Quarter, "Quarter hours"),
    (Granularity::Hour, "Hours"),
    (Granularity::Day, "Days"),
    (Granularity::Month, "Months"),
    (Granularity::Year, "Years"),
];

/// The totals and the freshness of the keys of one page.
pub(super) struct KeyStats<'a> {
    keys: &'a [String],
    totals: Vec<Totals>,
    pub(super) freshness: Freshness,
}

impl<'a> KeyStats<'a> {
    pub(super) async fn read(
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
        let layers = &app.default_layers(now);
        let from = &layers.reads(&definition.name, example)?;
        let at = (now.time(), &TimeZone::UTC);
        let reads = counters
            .iter()
            .map(|counter| totals::read(app, (counter, from), definition, at, layers));
        let (totals, used): (Vec<_>, Vec<_>) = try_join_all(reads).await?.into_iter().unzip();
        let used = used
            .into_iter()
            .fold(LayersUsed::default(), LayersUsed::and);
        Ok(Self {
            keys,
            freshness: layers.freshness(&counters, used),
            totals,
        })
    }

    /// The total of the first key.
    pub(super) fn total(&self) -> Option<i64> {
        self.totals.first().and_then(|totals| totals.total)
    }

    /// The main part: `above`, then the timeline.
    pub(super) fn frame(&self, definition: &CounterDefinition, above: Markup) -> Markup {
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
                (self.layers())
                @if !self.keys.is_empty() && !steps.is_empty() { (self.timeline(&steps)) }
            }
        }
    }

    /// Which part of the page is from batch, and as of when; the script says it in local time.
    fn layers(&self) -> Markup {
        let batch = self.freshness.batch.as_ref();
        html! {
            p.hint id="layers" hidden[batch.is_none()] {
                @if let Some(batch) = batch {
                    @if self.freshness.state == State::Batch { "Counted in batch, as of " (batch.as_of) "." }
                    @else { "Periods that ended are from batch, as of " (batch.as_of) "; the others are counted in real time." }
                }
            }
        }
    }

    fn timeline(&self, steps: &[(Granularity, &str)]) -> Markup {
        html! {
            section.panel aria-labelledby="timeline" {
                div.bar {
                    h2 id="timeline" { "Timeline" }
                    div.steps.spans role="group" aria-label="Span" {
                        button type="button" id="earlier" { "Earlier" }
                        button type="button" id="later" disabled { "Later" }
                    }
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
                p.hint id="unfinished" hidden { "The shaded part at the end is not over: it is counted so far." }
                p.actions id="actions" hidden {
                    a id="permalink" { "Link to this span" }
                    button type="button" id="csv" { "Download as CSV" }
                }
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
    pub(super) fn card(&self, (name, title, previous): (&str, &str, &str)) -> Markup {
        let Some(total) = self
            .totals
            .first()
            .and_then(|totals| totals.periods.get(name))
        else {
            return html! {};
        };
        html! {
            section.card {
                h2 { (title) " " span.so-far { "so far" } }
                p.number data-key="0" data-count=(name) { (number(Some(total.count))) }
                (comparison(name, previous, total.so_far.as_ref()))
                p.before { (previous) " in all " span data-key="0" data-count={ (name) "-before" } { (number(Some(total.before.count))) }
                    span data-key="0" data-text={ (name) "-before-layer" } { @if total.before.layer == Some(Layer::Batch) { " (batch)" } } }
            }
        }
    }

    pub(super) fn side_by_side(&self, counter: &str) -> Markup {
        html! {
            div.panel.scroll tabindex="0" role="region" aria-label="Keys side by side" {
                table {
                    caption { "Counts so far; each line below is drawn like the sample beside its key" }
                    thead { tr {
                        th scope="col" { "Key" }
                        th scope="col" { "All" }
                        @for (_, title, _) in CARDS { th scope="col" { (title) } }
                    } }
                    tbody { @for (n, (key, totals)) in self.keys.iter().zip(&self.totals).enumerate() {
                        tr {
                            th scope="row" {
                                (swatch(n + 1))
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

/// The part of the period that is over, beside the same part of the one before it. The script shows it in local time.
fn comparison(name: &str, previous: &str, so_far: Option<&SoFar>) -> Markup {
    let none = SoFar {
        until: String::new(),
        count: 0,
        layer: None,
        count_before: 0,
        layer_before: None,
    };
    let shown = so_far.unwrap_or(&none);
    html! {
        p.before data-key="0" data-so-far=(name) hidden[so_far.is_none()] {
            "Until " span data-key="0" data-text={ (name) "-until" } { bdi { (shown.until) } } ": "
            span data-key="0" data-count={ (name) "-so-far" } { (number(Some(shown.count))) } ", "
            (previous.to_lowercase()) " until then "
            span data-key="0" data-count={ (name) "-so-far-before" } { (number(Some(shown.count_before))) }
            span data-key="0" data-text={ (name) "-change" } { (change(shown)) }
        }
    }
}

/// The change against the period before, in percent; nothing without one to compare with.
fn change(so_far: &SoFar) -> String {
    let (count, before) = (i128::from(so_far.count), i128::from(so_far.count_before));
    if before <= 0 {
        return String::new();
    }
    let tenths = ((count - before) * 1000).div_euclid(before);
    let sign = if tenths < 0 { "-" } else { "+" };
    let tenths = tenths.unsigned_abs();
    format!(" ({sign}{}.{} %)", tenths / 10, tenths % 10)
}

/// How the line of a key is drawn: colour, dashes and number, each of which is enough.
fn swatch(n: usize) -> Markup {
    html! {
        svg.swatch viewBox="0 0 44 14" width="44" height="14" aria-hidden="true" {
            line class={ "line-" (n) } x1="0" y1="7" x2="30" y2="7" {}
            text class={ "number-" (n) } x="34" y="12" { (n) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_of_the_same_part_of_both_periods() {
        for (count, count_before, text) in [
            (110, 100, " (+10.0 %)"),
            (95, 100, " (-5.0 %)"),
            (100, 100, " (+0.0 %)"),
            (1, 0, ""),
            (1, -5, ""),
            (i64::MAX, 1, " (+922337203685477580600.0 %)"),
        ] {
            let so_far = SoFar {
                until: String::new(),
                count,
                layer: None,
                count_before,
                layer_before: None,
            };
            assert_eq!(change(&so_far), text);
        }
    }
}
