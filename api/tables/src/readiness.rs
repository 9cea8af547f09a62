//! Whether a server is ready, as `/ready` says it.

use stitch_api_freshness::FreshnessSnapshot;
use stitch_batch::layer::Layer;
use stitch_common::clock::Moment;

use crate::{CountTables, name};

/// No node, which is for the log.
const RECORD_UNUSABLE: &str =
    "the record of what is published cannot be used, and the log of this server says why";

/// What a server can answer at `now`. Counts are served as far as they can be even when it is not ready, but a load balancer
/// had better choose another one. That would choose none if every server were unready at once: what all of them share may
/// keep a new server out, and not those that have served
/// ([decision 0029](../../../docs/decisions/0029-a-server-stays-ready-while-freshness-is-unknown.md)).
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
    let is_known = snapshot.is_known(now);
    let why = snapshot.failure().unwrap_or("no answer has come yet");
    let unknown = format!("it is not known how fresh counts are: {why}\n");
    if !is_known && !snapshot.was_known() {
        return Err(unknown);
    }
    let is_unusable = snapshot.batch().failure().is_some();
    if is_unusable && main == Layer::Batch {
        return Err(format!("no counts are served: {RECORD_UNUSABLE}\n"));
    }
    let mut text = match is_known {
        true => "counts are served, and it is known how fresh they are\n".to_owned(),
        false => format!("counts are served, and {unknown}"),
    };
    if tables.is_awaited(Layer::Batch) {
        text += "batch counts are not served yet: their Cassandra does not answer\n";
    }
    if is_unusable {
        text += &format!("batch counts are not served: {RECORD_UNUSABLE}\n");
    }
    Ok(text)
}
