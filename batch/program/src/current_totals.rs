//! Totals up to the end of the log, with the counters that were added since the totals before.

use stitch_common::progress::Progress;
use stitch_totals::build::{BuildError, BuildRequest, Built};

/// Builds what is requested. Counters that the totals before lack are counted from as far back as records reach.
///
/// # Errors
/// Those of `build`.
pub async fn build_with_added_counters(
    request: BuildRequest<'_>,
    progress: &dyn Progress,
    build: impl AsyncFn(&BuildRequest<'_>) -> Result<Built, BuildError>,
) -> Result<Built, BuildError> {
    match build(&request).await {
        Err(BuildError::Lacking { counters, .. }) => {
            for added in &counters {
                let note = format!("the counter {} was added: counting its past", added.0);
                progress.note(&note);
            }
            let added = &counters;
            build(&BuildRequest { added, ..request }).await
        }
        built => built,
    }
}
