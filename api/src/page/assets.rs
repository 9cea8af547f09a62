//! The scripts and styles of the pages, compiled into the program. uPlot (MIT, `assets/uplot.LICENSE`) is the packaged file,
//! unchanged.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::problem::{Kind, Problem};

macro_rules! asset {
    ($name:literal, $content_type:expr) => {
        (
            $name,
            $content_type,
            include_str!(concat!("../../assets/", $name)),
        )
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Every file: name, content type, content.
const EVERY: [(&str, &str, &str); 11] = [
    asset!("uplot.min.js", SCRIPT),
    asset!("uplot.min.css", STYLE),
    asset!("uplot.LICENSE", TEXT),
    asset!("poll.js", SCRIPT),
    asset!("calendar.js", SCRIPT),
    asset!("text.js", SCRIPT),
    asset!("stats.js", SCRIPT),
    asset!("stats.css", STYLE),
    asset!("operator.js", SCRIPT),
    asset!("operator.css", STYLE),
    asset!("icon.svg", "image/svg+xml"),
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
