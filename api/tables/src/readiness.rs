//! Whether a server is ready, as `/ready` says it.

use stitch_api_freshness::FreshnessSnapshot;
use stitch_batch::layer::Layer;
use stitch_common::clock::Moment;

use crate::{CountTables, name};

/// No node, which is for the log.
const RECORD_UNUSABLE: &str =
    "the record of what is published cannot be used, and the log of this server says why";

/// What a server can answer at `now`. Counts are served as far as they can be even when it is not ready, but a load balancer
/// had better choose another one.
///
/// # Errors
/// Why it is not ready.
pub fn readiness(
    tables: &CountTables,
    snapshot: &FreshnessSnapshot,
    now: Moment,
) -> Result<String, String> {
    let main = tables.main_layer();
    if tables.is_awaited(main) {
        let table = name(main);
        return Err(format!(
            "no counts are served yet: Cassandra (table {table}) does not answer\n"
        ));
    }
    if !snapshot.is_known(now) {
        let why = snapshot.failure().unwrap_or("it was not asked for yet");
        return Err(format!("it is not known how fresh counts are: {why}\n"));
    }
    let is_unusable = snapshot.batch().failure().is_some();
    if is_unusable && main == Layer::Batch {
        return Err(format!("no counts are served: {RECORD_UNUSABLE}\n"));
    }
    let mut text = "counts are served, and it is known how fresh they are\n".to_owned();
    if tables.is_awaited(Layer::Batch) {
        text += "batch counts are not served yet: their Cassandra does not answer\n";
    }
    if is_unusable {
        text += &format!("batch counts are not served: {RECORD_UNUSABLE}\n");
    }
    Ok(text)
}
