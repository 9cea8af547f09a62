//! `status`: how far the archive is, and when Kafka's retention overtakes it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::output::{Exit, Report};
use stitch_common::ports::EventLog;
use stitch_common::user_error::UserError;
use stitch_config::Config;

use crate::identity;
use crate::status::{PartitionStatus, RecordTime, Retention, first_times};

/// The status of every partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct StatusReport {
    cluster: String,
    topic: String,
    partitions: Vec<PartitionStatus>,
}

pub(super) async fn status(config: &Config) -> Result<StatusReport, UserError> {
    let (log, archive, _) = super::open(config).await?;
    let partitions = log.partitions().await?;
    let bounds = log.bounds(&partitions).await?;
    let described = log.describe(&config.kafka.topic).await?;
    // -1 is no limit.
    let limit = |limit: Option<i64>| limit.filter(|limit| *limit >= 0);
    let retention = described.map_or_else(Retention::default, |described| Retention {
        age_ms: limit(described.retention_ms),
        bytes: limit(described.retention_bytes),
    });
    let mut chains = Vec::new();
    for partition in bounds.keys() {
        chains.push(archive.chain(*partition).await?);
    }
    let mut others = identity::others(&archive, &log, &chains).await?;
    let behind: BTreeMap<_, _> = chains
        .iter()
        .filter_map(|chain| {
            let bounds = bounds.get(&chain.partition)?;
            let from = chain
                .complete_to()
                .unwrap_or(bounds.begin)
                .max(bounds.begin);
            (from < bounds.end).then_some((chain.partition, from))
        })
        .collect();
    let clock = SystemClock;
    let first = first_times(&log, &clock, &behind).await?;
    let now_ms = clock.wall().timestamp_millis();
    let statuses = chains.iter().filter_map(|chain| {
        let partition = chain.partition;
        let archived = chain.origin.zip(chain.complete_to());
        let first = first.get(&partition).copied();
        let first = first.unwrap_or(RecordTime::Missing);
        let bounds = bounds.get(&partition)?;
        let mut status =
            PartitionStatus::new(partition, archived, *bounds, first, retention, now_ms);
        status.other_log = others.remove(&partition).map(|error| error.message);
        status.alarm |= status.other_log.is_some();
        Some(status)
    });
    Ok(StatusReport {
        cluster: archive.folder().cluster().to_owned(),
        topic: archive.folder().topic().to_owned(),
        partitions: statuses.collect(),
    })
}

impl Report for StatusReport {
    fn outcome(&self) -> &'static str {
        if self.exit() == Exit::Success {
            "fine"
        } else {
            "alarm"
        }
    }

    fn exit(&self) -> Exit {
        if self.partitions.iter().any(|status| status.alarm) {
            Exit::ActionNeeded
        } else {
            Exit::Success
        }
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for status in &self.partitions {
            let PartitionStatus {
                partition,
                log_begin,
                behind_records,
                ..
            } = status;
            match status.complete_to {
                None => write!(out, "partition {partition}: nothing is archived")?,
                Some(to) => write!(out, "partition {partition}: complete up to {to}")?,
            }
            write!(out, ", {behind_records} records behind")?;
            if let Some(seconds) = status.behind_seconds {
                write!(out, ", the oldest {seconds} s old")?;
            }
            if let Some(seconds) = status.retention_left_seconds {
                write!(out, ", kept by Kafka for {seconds} s more")?;
            } else if status.retention_left.is_none() && !status.retention_unknown {
                write!(out, ", kept by Kafka without limit")?;
            }
            if let Some(why) = &status.other_log {
                write!(out, "; ALARM: {why}")?;
            } else if status.complete_to.is_some_and(|to| to < *log_begin) {
                write!(out, "; LOST: Kafka has nothing below {log_begin}")?;
            } else if status.retention_unknown {
                write!(
                    out,
                    "; ALARM: the oldest record that is not archived cannot be read, or has no time, so that it is not known \
                     when Kafka deletes it"
                )?;
            } else if status.alarm {
                write!(out, "; ALARM: less than half of the retention is left")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
