//! `run` and `load`: bring totals into the table and publish them.

use std::io::{self, Write};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use stitch_app::{progress_bar, runner};
use stitch_batch::batch_lock::BatchLock;
use stitch_cassandra::ScyllaBatch;
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::definition::Definitions;
use stitch_common::output::{Exit, Report};
use stitch_common::progress::Progress;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_objects::ObjectFolder;
use stitch_protocol::namespace;
use stitch_totals::build::{BuildError, BuildRequest, Built};
use stitch_totals::manifest::{Manifest, NamespaceInstance, TotalsId};
use stitch_totals::sorted::counter_names::CounterNames;
use stitch_totals::totals_folder::TotalsFolder;
use stitch_totals_program::engine::ChosenEngine;
use stitch_totals_program::servers::{Servers, folder};

use super::session::{self, BatchSession};
use crate::current_totals::build_with_added_counters;
use crate::exclusive::exclusively;
use crate::generation::{Base, Loader, Published};
use crate::patience::Patience;

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PublishReport {
    totals: String,
    as_of: DateTime<Utc>,
    table: String,
    rows: u64,
    /// Cells written.
    loaded: u64,
    /// Of these, cells that were held and add up to 0 now.
    zeroed: u64,
    base: Base,
    /// Finding and writing what differs.
    write_ms: u64,
    /// All of it: also reading back and publishing.
    load_ms: u64,
    #[serde(skip)]
    is_new: bool,
    notes: Vec<String>,
}

pub(super) async fn run(config: &Config) -> Result<PublishReport, UserError> {
    let totals = folder(config)?;
    let progress = progress_bar::on_stderr();
    let session = session::connect(config).await?;
    let host = runner::host();
    let process = (host.as_str(), std::process::id());
    let result = exclusively(&session, process, &*progress, async |lock| {
        // Before totals are built, which may take long.
        let table = ScyllaBatch::connect(config).await?;
        let built = build(config, &session, &totals).await?;
        let loading = Loading {
            config,
            totals: &totals,
            session: &session,
            lock,
            table: &table,
            progress: &*progress,
        };
        let mut report = loading.publish(&built.manifest, built.as_of, false).await?;
        report.notes.splice(0..0, built.notes);
        Ok(report)
    })
    .await;
    session.close().await;
    result
}

pub(super) async fn load(config: &Config, id: String) -> Result<PublishReport, UserError> {
    let totals = folder(config)?;
    let progress = progress_bar::on_stderr();
    let session = session::connect(config).await?;
    let host = runner::host();
    let process = (host.as_str(), std::process::id());
    let result = exclusively(&session, process, &*progress, async |lock| {
        let table = ScyllaBatch::connect(config).await?;
        let id = TotalsId(id);
        let manifest = totals.manifest(&id).await?;
        let manifest = manifest.ok_or(BuildError::NoSuchTotals(id))?;
        check(
            &config.definitions,
            &session::instance(&session).await?,
            &manifest,
        )?;
        let loading = Loading {
            config,
            totals: &totals,
            session: &session,
            lock,
            table: &table,
            progress: &*progress,
        };
        loading.publish(&manifest, manifest.as_of, true).await
    })
    .await;
    session.close().await;
    result
}

/// Totals that are not of this namespace, or of an earlier one of its name, count other events.
fn check(
    definitions: &Definitions,
    instance: &NamespaceInstance,
    manifest: &Manifest,
) -> Result<(), UserError> {
    let subject = &manifest.subject;
    let why = if subject.instance != *instance {
        "of an earlier namespace of this name".to_owned()
    } else if definitions.only_adds_to(&subject.definitions).is_none() {
        let differences = definitions.differences(&subject.definitions).join("; ");
        format!("of other definitions: {differences}")
    } else {
        return Ok(());
    };
    Err(UserError::new(
        format!("the totals {} are {why}", manifest.id),
        "choose other totals (stitch-totals list), or run `stitch-batch run`",
    ))
}

/// Builds totals up to the end of the log.
async fn build(
    config: &Config,
    session: &BatchSession,
    totals: &TotalsFolder<ObjectFolder>,
) -> Result<Built, UserError> {
    let engine = ChosenEngine::new(config, config.totals.engine, totals)?;
    let servers = Servers::connect(config).await?;
    // Purely in batch no processor keeps it, and a topic that is made again could not be told from this one.
    namespace::remember_log(session, servers.identity()).await?;
    let build = async |request: &BuildRequest<'_>| engine.build(totals, &servers, request).await;
    let request = servers.request(config);
    Ok(build_with_added_counters(request, &*servers.progress, build).await?)
}

struct Loading<'a> {
    config: &'a Config,
    totals: &'a TotalsFolder<ObjectFolder>,
    session: &'a BatchSession,
    lock: &'a BatchLock,
    table: &'a ScyllaBatch,
    progress: &'a dyn Progress,
}

impl Loading<'_> {
    async fn publish(
        &self,
        manifest: &Manifest,
        as_of: Option<DateTime<Utc>>,
        against_table: bool,
    ) -> Result<PublishReport, UserError> {
        let clock = SystemClock;
        let started = clock.now();
        let patience = Patience::new(&clock, self.progress);
        let keyspace = &self.config.batch.cassandra.keyspace;
        let loader = Loader {
            folder: self.totals,
            names: &CounterNames::new(&self.config.definitions),
            table: self.table,
            identity: self.table.table(),
            keyspace,
            session: self.session,
            lock: self.lock,
            patience: &patience,
        };
        let Published {
            generation,
            loaded,
            base,
            notes,
        } = loader.publish(manifest, as_of, against_table).await?;
        let is_new = loaded.is_some();
        let loaded = loaded.unwrap_or_default();
        Ok(PublishReport {
            totals: generation.totals,
            as_of: generation.as_of,
            table: format!("{keyspace}.batch_counts"),
            rows: generation.rows,
            loaded: loaded.cells,
            zeroed: loaded.zeroed,
            base,
            write_ms: milliseconds(loaded.took),
            load_ms: milliseconds(clock.now().since(started)),
            is_new,
            notes,
        })
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Report for PublishReport {
    fn outcome(&self) -> &'static str {
        if self.is_new {
            "published"
        } else {
            "unchanged"
        }
    }

    fn exit(&self) -> Exit {
        Exit::Success
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let as_of = self.as_of.format("%Y-%m-%dT%H:%M:%SZ");
        if !self.is_new {
            let totals = &self.totals;
            writeln!(
                out,
                "the totals {totals} are published already: nothing new was counted; as of {as_of}"
            )?;
            return self.write_notes(out);
        }
        let base = match &self.base {
            Base::Totals(id) => format!("what differs from the totals {id}"),
            Base::Table => "what differs from what the table held".to_owned(),
        };
        let rate = self.loaded.saturating_mul(1000) / self.write_ms.max(1);
        writeln!(
            out,
            "published the totals {} in {}: {} cells, as of {as_of}",
            self.totals, self.table, self.rows
        )?;
        writeln!(
            out,
            "{} cells were written, {base}: in {} ms, {rate} cells a second; with reading back {} ms",
            self.loaded, self.write_ms, self.load_ms
        )?;
        self.write_notes(out)
    }
}

impl PublishReport {
    fn write_notes(&self, out: &mut dyn Write) -> io::Result<()> {
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, block_on};

    #[test]
    fn totals_of_an_earlier_namespace_or_of_other_definitions_are_refused() {
        block_on(async {
            let world = World::new();
            world.play("a", 5);
            let manifest = world.build().await;
            let subject = &manifest.subject;
            let refused = |definitions: &Definitions, instance: &NamespaceInstance| {
                let checked = check(definitions, instance, &manifest);
                checked.err().map(|error| error.message).unwrap_or_default()
            };
            assert_eq!(refused(&subject.definitions, &subject.instance), "");
            let made_again = NamespaceInstance {
                generation: subject.instance.generation + 1,
                ..subject.instance.clone()
            };
            let message = refused(&subject.definitions, &made_again);
            assert!(message.contains("earlier namespace"), "{message}");
            let mut fewer = subject.definitions.clone();
            fewer.counters.pop();
            let message = refused(&fewer, &subject.instance);
            assert!(message.contains("other definitions"), "{message}");
        });
    }
}
