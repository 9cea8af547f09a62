//! A problem as a page, for people.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use maud::{Markup, html};

use super::{Assets, document};
use crate::problem::{Kind, Problem};
use crate::query_string::encoded;

const ASSETS: Assets = Assets {
    styles: &[],
    scripts: &[],
};

/// What is wrong with a request, and what would work. If a token is missing, a form for it. `address` is that of the request,
/// if opening it again is the same request: not if it was a form that was sent there.
pub(crate) fn page(problem: &Problem, address: Option<&Uri>) -> String {
    let again = address
        .and_then(Uri::path_and_query)
        .map(PathAndQuery::as_str);
    let body = html! {
        header {
            p.crumb { (problem.kind.status().as_u16()) }
            h1 { (problem.title()) }
        }
        main {
            p { bdi { (problem.detail()) } }
            @if matches!(problem.kind, Kind::Unauthorized | Kind::Forbidden) {
                (form(again.unwrap_or("/")))
            } @else {
                @if problem.kind.may_pass() {
                    @match again {
                        Some(address) => { p { a href=(address) { "Try again" } } }
                        None => { p { "Go back to try again." } }
                    }
                }
                @if let Some(example) = problem.example() {
                    p { "This works: " a href=(example) { (example) } }
                }
            }
        }
    };
    document(problem.title(), ASSETS, &body)
}

/// The page that asks for a token. `rejected` if the last one was none of this server's.
pub(crate) fn sign_in(next: &str, rejected: bool) -> String {
    let body = html! {
        header { h1 { "Sign in" } }
        main {
            @if rejected { p role="alert" { "This server has no such token." } }
            (form(next))
        }
    };
    document("Sign in", ASSETS, &body)
}

fn form(next: &str) -> Markup {
    html! {
        form.panel method="post" action={ "/sign-in?next=" (encoded(next)) } {
            label { "Token" input type="password" name="token" autocomplete="current-password" required; }
            button type="submit" { "Sign in" }
        }
        p.hint { "Counts of this server are shown to those who have a token, or a link that has not ended. Its operator has both." }
    }
}
