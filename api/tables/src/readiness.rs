//! Whether a server is ready, as `/ready` says it.

use stitch_api_freshness::FreshnessSnapshot;
use stitch_batch::layer::Layer;
use stitch_common::clock::Moment;

use crate::connector::counted_in;
use crate::{CountTables, TableState, name};

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
    let wrong = |layer| wrong_table(tables, layer, snapshot);
    let is_served_in_batch = main == Layer::Realtime
        && tables.batch.is_some()
        && !tables.is_awaited(Layer::Batch)
        && !is_unusable
        && wrong(Layer::Batch).is_none();
    if let Some(why) = wrong(main)
        && !is_served_in_batch
    {
        return Err(format!("no counts are served: {why}\n"));
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
    for (layer, counts) in [
        (Layer::Realtime, "counts in real time"),
        (Layer::Batch, "batch counts"),
    ] {
        if let Some(why) = wrong(layer) {
            text += &format!("{counts} are not served: {why}\n");
        }
    }
    Ok(text)
}

/// Why the table that is connected, or was, is not the one whose counts are known.
fn wrong_table(tables: &CountTables, layer: Layer, snapshot: &FreshnessSnapshot) -> Option<String> {
    let name = name(layer);
    match &*tables.of(layer)?.state.borrow() {
        TableState::Awaited => None,
        TableState::Lost => Some(format!("the table {name} was dropped")),
        TableState::Connected { connection, .. } => {
            let counted = counted_in(layer, snapshot)?;
            let is_other = *counted != connection.table;
            is_other.then(|| format!("the table {name} is not the one that was counted in"))
        }
    }
}
