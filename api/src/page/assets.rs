//! The scripts and styles of the pages, compiled into the program. uPlot (MIT, `assets/uplot.LICENSE`) is the packaged file,
//! unchanged.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::problem::{Kind, Problem};

/// Every file: name, content type, content.
pub(crate) const EVERY: [(&str, &str, &str); 8] = [
    (
        "uplot.min.js",
        "text/javascript; charset=utf-8",
        include_str!("../../assets/uplot.min.js"),
    ),
    (
        "uplot.min.css",
        "text/css; charset=utf-8",
        include_str!("../../assets/uplot.min.css"),
    ),
    (
        "uplot.LICENSE",
        "text/plain; charset=utf-8",
        include_str!("../../assets/uplot.LICENSE"),
    ),
    (
        "stats.js",
        "text/javascript; charset=utf-8",
        include_str!("../../assets/stats.js"),
    ),
    (
        "stats.css",
        "text/css; charset=utf-8",
        include_str!("../../assets/stats.css"),
    ),
    (
        "operator.js",
        "text/javascript; charset=utf-8",
        include_str!("../../assets/operator.js"),
    ),
    (
        "operator.css",
        "text/css; charset=utf-8",
        include_str!("../../assets/operator.css"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("../../assets/icon.svg"),
    ),
];

pub(crate) async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let file = EVERY.into_iter().find(|(other, ..)| *other == name);
    let (_, content_type, text) = file.ok_or_else(|| {
        Problem::new(Kind::NotFound, format!("the pages have no file {name}"))
            .with_example("/assets/stats.css")
    })?;
    // Not for long: another version of this program may have other files.
    Ok((
        [
            (CONTENT_TYPE, content_type),
            (CACHE_CONTROL, "public, max-age=60"),
        ],
        text,
    )
        .into_response())
}
