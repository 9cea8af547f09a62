//! What is answered, one file a question.

pub(crate) mod count;
pub(crate) mod counts;
pub(crate) mod series;
pub(crate) mod totals;
pub(crate) mod overview;
mod key_request;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;

use crate::problem::{Kind, Problem};

/// The parts of an address that stand for something, as they are meant.
pub(crate) fn path<T>(path: Result<Path<T>, PathRejection>, example: &str) -> Result<T, Problem> {
    path.map(|Path(parts)| parts).map_err(|rejection| {
        Problem::new(Kind::WrongParameter, rejection.body_text())
            .about("key")
            .with_example(example)
    })
}
