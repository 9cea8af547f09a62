//! `status`: what is published.

use std::io::{self, Write};

use serde::Serialize;
use stitch_batch::batch_node;
use stitch_batch::record::{Generation, LoadRecord};
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::Config;

use super::session;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct StatusReport {
    published: Option<Generation>,
    /// A load that was begun and is not published.
    loading: Option<LoadRecord>,
}

pub(super) async fn status(config: &Config) -> Result<StatusReport, UserError> {
    let session = session::connect(config).await?;
    let record = batch_node::read(&session).await;
    session.close().await;
    let record = record?;
    Ok(StatusReport {
        published: record.as_ref().and_then(|record| record.published.clone()),
        loading: record.and_then(|record| record.loading),
    })
}

impl Report for StatusReport {
    fn outcome(&self) -> &'static str {
        match (&self.published, &self.loading) {
            (_, Some(_)) => "loading",
            (Some(_), None) => "published",
            (None, None) => "empty",
        }
    }

    fn exit(&self) -> Exit {
        Exit::Success
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.published {
            Some(published) => {
                writeln!(
                    out,
                    "published: the totals {}, {} cells, as of {}",
                    published.totals,
                    published.rows,
                    published.as_of.format("%Y-%m-%dT%H:%M:%SZ")
                )?;
                for counter in &published.later {
                    writeln!(
                        out,
                        "the counter {} is counted from a later offset on",
                        counter.0
                    )?;
                }
            }
            None => writeln!(out, "nothing is published: `stitch-batch run` publishes")?,
        }
        if let Some(loading) = &self.loading {
            writeln!(
                out,
                "a load of the totals {} has not ended: it runs, or was killed; the next `stitch-batch run` goes on",
                loading.totals
            )?;
        }
        Ok(())
    }
}
