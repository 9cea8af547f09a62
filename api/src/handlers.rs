//! The handlers of `/v1`, one file per resource.

pub(crate) mod count;
pub(crate) mod counts;
pub(crate) mod series;
pub(crate) mod totals;
pub(crate) mod query;
pub(crate) mod overview;
mod key_request;

use axum::extract::Path;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;

use crate::problem::{Kind, Problem};

/// The decoded path parameters, or a problem if they are not UTF-8.
pub(crate) fn path_parameters<T>(
    path: Result<Path<T>, PathRejection>,
    example: &str,
) -> Result<T, Problem> {
    path.map(|Path(parameters)| parameters)
        .map_err(|rejection| {
            let problem = Problem::new(Kind::InvalidParameter, rejection.body_text());
            let problem = match invalid_parameter(&rejection) {
                Some(name) => problem.about(name),
                None => problem,
            };
            problem.with_example(example)
        })
}

/// The path parameter that is not UTF-8.
fn invalid_parameter(rejection: &PathRejection) -> Option<&str> {
    let PathRejection::FailedToDeserializePathParams(error) = rejection else {
        return None;
    };
    if let ErrorKind::InvalidUtf8InPathParam { key } = error.kind() {
        return Some(key);
    }
    None
}
