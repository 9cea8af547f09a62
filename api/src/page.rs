//! What the pages for people have in common: their frame, the word of how it stands, numbers as they are told. Nothing
//! is loaded from elsewhere.

pub(crate) mod assets;

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use crate::freshness::{self, Freshness};

/// Nothing from elsewhere, no script or style in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// How it stands. The word is announced when it changes; the number, which changes all the time, is not.
pub(crate) fn told(freshness: Freshness) -> Markup {
    let state = freshness.state.name();
    html! {
        p.freshness id="freshness" data-state=(state) {
            span id="stands" role="status" { (stands(freshness.state)) }
            span id="behind" {
                @if let Some(behind) = freshness.behind_events {
                    " · " (number(i64::try_from(behind).ok())) " events behind"
                }
            }
        }
    }
}

/// The word, and what it means for who looks at the counts; `assets/stats.js` says the same.
const fn stands(state: freshness::State) -> &'static str {
    match state {
        freshness::State::Live => "live",
        freshness::State::Lagging => "lagging: events wait to be counted",
        freshness::State::Uncertain => "uncertain: may be off until it is restored",
        freshness::State::Restoring => "restoring: it is being made right, new events wait",
        freshness::State::Unknown => "unknown: how fresh it is cannot be told",
    }
}

/// With a comma after every three digits; a dash where there is none.
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

/// What a page loads beside what all do: files of [`assets`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded {
    pub(crate) styles: &'static [&'static str],
    pub(crate) scripts: &'static [&'static str],
}

/// A whole page.
pub(crate) fn page(title: &str, loaded: Loaded, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Stitch" }
                link rel="icon" href="/assets/icon.svg";
                @for style in loaded.styles { link rel="stylesheet" href={ "/assets/" (style) }; }
                link rel="stylesheet" href="/assets/stats.css";
                @for script in loaded.scripts { script defer src={ "/assets/" (script) } {} }
            }
            body { (body) }
        }
    };
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, page.into_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_says_the_same_of_how_counts_stand() {
        let script = include_str!("../assets/stats.js");
        for state in [
            freshness::State::Lagging,
            freshness::State::Uncertain,
            freshness::State::Restoring,
            freshness::State::Unknown,
        ] {
            assert!(script.contains(stands(state)), "{}", stands(state));
        }
    }

    #[test]
    fn numbers_are_told_in_thousands() {
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
