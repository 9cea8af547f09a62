//! The frame that all pages share, the freshness line, and how numbers are written. Pages load nothing from other hosts.

pub(crate) mod assets;
pub(crate) mod problem;

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use crate::freshness::{self, Freshness};

/// Only this host, and no script or style within the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The freshness line. Screen readers announce a change of the word, but not of the number, which changes all the time.
/// `read_at`: when counts were read, for a page that may be shown for longer than they are fresh.
pub(crate) fn freshness(freshness: &Freshness, read_at: Option<&str>) -> Markup {
    let state = freshness.state.name();
    html! {
        p.freshness id="freshness" data-state=(state) {
            span id="state" role="status" { (meaning(freshness.state)) }
            span id="behind" {
                @if let Some(behind) = freshness.behind_events {
                    " · " (number(i64::try_from(behind).ok())) " events behind"
                }
            }
            @if let Some(read_at) = read_at { " · as of " time id="read-at" datetime=(read_at) { (read_at) } }
        }
    }
}

/// The word and what it means for the counts on the page; `assets/stats.js` has the same texts.
const fn meaning(state: freshness::State) -> &'static str {
    match state {
        freshness::State::Batch => {
            "in batch: what all events added up to, at the time of its last run"
        }
        freshness::State::Live => "live",
        freshness::State::Lagging => "lagging: events wait to be counted",
        freshness::State::Uncertain => "uncertain: may be wrong until it is restored",
        freshness::State::Restoring => "restoring: being corrected, new events wait",
        freshness::State::Unknown => "unknown: it is not known how fresh this is",
    }
}

/// With a comma after every three digits; a dash if there is none.
pub(crate) fn number(count: Option<i64>) -> String {
    let Some(count) = count else {
        return "–".to_owned();
    };
    let digits = count.unsigned_abs().to_string();
    let mut text = String::from(if count < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A text of others, as a key, within one of ours that takes no element: it has a direction of its own, which ends with it.
/// `assets/text.js` has the same.
pub(crate) fn isolated(text: &str) -> String {
    // These could end the isolation; what else turns a text ends with it.
    let inner = text.replace(|c| matches!(c, '\u{2066}'..='\u{2069}'), "");
    format!("\u{2068}{inner}\u{2069}")
}

/// The files of [`assets`] that a page loads besides those that all pages load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assets {
    pub(crate) styles: &'static [&'static str],
    pub(crate) scripts: &'static [&'static str],
}

/// A page as a response.
pub(crate) fn page(title: &str, assets: Assets, body: &Markup) -> Response {
    (headers(), document(title, assets, body)).into_response()
}

/// The headers of a page.
pub(crate) fn headers() -> HeaderMap {
    HeaderMap::from_iter(
        [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, POLICY),
        ]
        .map(|(name, value)| (name, HeaderValue::from_static(value))),
    )
}

/// The text of a page.
pub(crate) fn document(title: &str, assets: Assets, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Stitch" }
                link rel="icon" href="/assets/icon.svg";
                @for style in assets.styles { link rel="stylesheet" href={ "/assets/" (style) }; }
                link rel="stylesheet" href="/assets/stats.css";
                @for script in assets.scripts { script defer src={ "/assets/" (script) } {} }
            }
            body { (body) }
        }
    };
    page.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_has_the_same_texts_of_freshness() {
        let script = include_str!("../assets/stats.js");
        for state in [
            freshness::State::Batch,
            freshness::State::Lagging,
            freshness::State::Uncertain,
            freshness::State::Restoring,
            freshness::State::Unknown,
        ] {
            let text = meaning(state);
            assert!(script.contains(text), "{text}");
        }
    }

    #[test]
    fn a_text_of_others_turns_nothing_behind_it() {
        for (text, shown) in [
            ("a", "\u{2068}a\u{2069}"),
            ("a\u{202e}b", "\u{2068}a\u{202e}b\u{2069}"),
            // One that would end the isolation first, and one that would use up its end.
            ("a\u{2069}\u{202e}b", "\u{2068}a\u{202e}b\u{2069}"),
            ("\u{2067}a\u{2066}\u{2068}", "\u{2068}a\u{2069}"),
        ] {
            assert_eq!(isolated(text), shown, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_written_with_a_comma_after_every_three_digits() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (-1_234_567, "-1,234,567"),
            (i64::MIN, "-9,223,372,036,854,775,808"),
        ] {
            assert_eq!(number(Some(count)), text);
        }
        assert_eq!(number(None), "–");
    }
}
