//! The handlers of `/v1`, one file per resource.

pub(crate) mod count;
pub(crate) mod counts;
pub(crate) mod series;
pub(crate) mod totals;
pub(crate) mod overview;
mod key_request;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;

use crate::problem::{Kind, Problem};

/// The decoded path parameters, or a problem if they are not UTF-8.
pub(crate) fn path_parameters<T>(
    path: Result<Path<T>, PathRejection>,
    example: &str,
) -> Result<T, Problem> {
    path.map(|Path(parameters)| parameters)
        .map_err(|rejection| {
            Problem::new(Kind::InvalidParameter, rejection.body_text())
                .about("key")
                .with_example(example)
        })
}
