//! `compare`: closed buckets of both tables.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use serde::Serialize;
use stitch_app::progress_bar;
use stitch_batch::batch_node;
use stitch_batch::record::{BatchRecord, Generation};
use stitch_cassandra::{ScyllaBatch, ScyllaScan};
use stitch_common::clock::SystemClock;
use stitch_common::output::{Exit, Report};
use stitch_common::ports::TableIdentity;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_totals::sorted::counter_names::CounterNames;

use super::session;
use crate::comparison::{self, Comparison};
use crate::patience::Patience;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CompareReport {
    as_of: DateTime<Utc>,
    /// Buckets that ended up to here were compared.
    closed_until: DateTime<Utc>,
    #[serde(flatten)]
    comparison: Comparison,
}

pub(super) async fn compare(config: &Config) -> Result<CompareReport, UserError> {
    if !config.batch.realtime {
        return Err(UserError::new(
            "batch.realtime is false: there are no counts to compare with",
            "`stitch-totals verify ID` recounts what is published from the records",
        ));
    }
    let (record, generation) = published(config).await?;
    let batch = ScyllaBatch::connect(config).await?;
    refuse_other_table(&record, batch.table())?;
    let realtime = ScyllaScan::connect(config).await?;
    let progress = progress_bar::on_stderr();
    let clock = SystemClock;
    let patience = Patience::new(&clock, &*progress);
    let closed_until_ms = generation.closed_until_ms(config.batch.closed_after);
    let comparison = comparison::compare(
        (&batch, &realtime),
        &generation,
        closed_until_ms,
        &CounterNames::new(&config.definitions),
        &patience,
    )
    .await?;
    Ok(CompareReport {
        as_of: generation.as_of,
        closed_until: DateTime::from_timestamp_millis(closed_until_ms).unwrap_or_default(),
        comparison,
    })
}

async fn published(config: &Config) -> Result<(BatchRecord, Generation), UserError> {
    let session = session::connect(config).await?;
    let record = batch_node::read(&session).await;
    session.close().await;
    let published = record?.and_then(|record| {
        let generation = record.published.clone()?;
        Some((record, generation))
    });
    published.ok_or_else(|| {
        UserError::new(
            "nothing is published in batch",
            "run `stitch-batch run` first",
        )
    })
}

/// Refuses a table that was made again: it holds nothing of what is published, and each cell would seem to have drifted.
fn refuse_other_table(record: &BatchRecord, table: &TableIdentity) -> Result<(), UserError> {
    if record.table == *table {
        return Ok(());
    }
    let message = format!(
        "the published generation is in another table, {} in the keyspace {} of {}, and not in {} of {}",
        record.table.table, record.keyspace, record.table.cluster, table.table, table.cluster
    );
    let help =
        "run `stitch-batch run`: it loads and publishes all of it in the table that there is now";
    Err(UserError::new(message, help))
}

impl Report for CompareReport {
    fn outcome(&self) -> &'static str {
        if self.comparison.different == 0 {
            "equal"
        } else {
            "differs"
        }
    }

    fn exit(&self) -> Exit {
        if self.comparison.different == 0 {
            Exit::Success
        } else {
            Exit::DriftFound
        }
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Comparison {
            different,
            cells,
            named,
        } = &self.comparison;
        let until = self.closed_until.format("%Y-%m-%dT%H:%M:%SZ");
        writeln!(
            out,
            "{different} cells of closed buckets differ; {cells} cells were looked at, buckets that ended by {until} compared"
        )?;
        for cell in named {
            writeln!(
                out,
                "{} {} {} {}: batch {}, real time {}",
                cell.counter, cell.key, cell.granularity, cell.bucket, cell.batch, cell.realtime
            )?;
        }
        if *different > 0 {
            writeln!(
                out,
                "late events differ until the next batch; what still differs then: stitch-restorator plan"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, block_on};

    #[test]
    fn a_table_that_was_made_again_is_not_compared_with_what_was_published_in_the_former() {
        block_on(async {
            let world = World::new();
            world.play("a", 5);
            let totals = world.build().await;
            world.publish(&totals, 10, false).await.unwrap();
            let record = world.record().await.unwrap();
            assert_eq!(refuse_other_table(&record, &world.identity()), Ok(()));
            let made_again = TableIdentity {
                cluster: "another".to_owned(),
                ..world.identity()
            };
            let refused = refuse_other_table(&record, &made_again).unwrap_err();
            assert!(refused.message.contains("in another table"), "{refused:?}");
            assert!(refused.help.contains("stitch-batch run"), "{refused:?}");
        });
    }
}
