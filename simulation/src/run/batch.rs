//! The operator's runs of `stitch-batch`: runs, loads of earlier totals, and comparisons of both layers.

use std::rc::Rc;
use std::time::Duration;

use stitch_archive::reader::Archive;
use stitch_batch::layer::is_closed;
use stitch_batch_program::batch_error::BatchError;
use stitch_batch_program::comparison::{self, Comparison};
use stitch_batch_program::current_totals::build_with_added_counters;
use stitch_batch_program::exclusive::exclusively;
use stitch_batch_program::generation::{Loader, Published};
use stitch_batch_program::patience::Patience;
use stitch_common::cell::Amount;
use stitch_common::definition::Definitions;
use stitch_common::ports::ZooKeeper;
use stitch_common::progress::NoProgress;
use stitch_common::user_error::UserError;
use stitch_protocol::NamespaceSession;
use stitch_protocol::path::Paths;
use stitch_testkit::wait::OneShot;
use stitch_totals::build::{self, BuildError, BuildRequest, Built};
use stitch_totals::manifest::TotalsId;
use stitch_totals::records::Records;
use stitch_totals::sorted::counter_names::CounterNames;
use stitch_totals::totals_folder::TotalsFolder;

use super::Run;
use super::totals::LATE;
use crate::executor::ProcessClock;
use crate::history::{BatchJob, BatchKind};
use crate::process::{Process, Role};
use crate::trace::{Actor, Tracepoint};
use crate::world::cassandra::{SimBatchTable, SimScan, table_identity};
use crate::world::checker::{EVENTS_MAX, Finding, Kind};
use crate::world::{GENERATION, Handle, NAMESPACE};

impl Run {
    /// Runs a job at its time.
    pub(super) async fn batch_at(self: Rc<Self>, number: usize, job: BatchJob) {
        self.world.executor.until(job.at).await;
        let slot = self.history.batch_slot(number);
        if !self.faults_over.has_fired() {
            drop(
                self.in_batch(slot, move |run, process| run.batch(process, job.kind))
                    .await,
            );
        }
        self.one_finished();
    }

    /// Runs a job that meets no fault, so it must publish, and once more when a cell of batch counts was changed by hand,
    /// though nothing new was counted; then both layers are compared, and once more when a cell has drifted.
    pub(super) async fn last_batch(self: &Rc<Self>) {
        let slot = self.history.batch_slot(self.history.batch.len());
        self.publishing_batch(slot).await;
        if self.world.change_batch_by_hand() {
            self.publishing_batch(slot).await;
        }
        self.world.check_no_batch_is_excused();
        self.check_comparison(slot, 0).await;
        let drifted = self.make_closed_cell_drift();
        self.check_comparison(slot, drifted).await;
    }

    async fn publishing_batch(self: &Rc<Self>, slot: usize) {
        let ended = self
            .in_batch(slot, |run, process| run.batch(process, BatchKind::Run))
            .await;
        if let Some(Err(error)) = &ended {
            let text = error.to_string();
            self.world.report(Finding::new(Kind::Unpublished, text));
        }
    }

    /// Adds to a cell in real time; returns how many cells differ then.
    fn make_closed_cell_drift(&self) -> u64 {
        let world = &self.world;
        let Some(published) = world.published_batch() else {
            return 0;
        };
        let Some(cell) = world.checker.borrow().some_cell(&world.rng) else {
            return 0;
        };
        let amount = Amount(1 << EVENTS_MAX);
        world.cluster.table.borrow_mut().add(&cell, amount);
        let until = published.closed_until_ms(self.config.batch.closed_after);
        let is_compared = published.has(&cell.counter.name) && is_closed(cell.slot, until);
        u64::from(is_compared)
    }

    async fn check_comparison(self: &Rc<Self>, slot: usize, expected: u64) {
        let compared = self
            .in_batch(slot, |run, process| run.compare(process))
            .await;
        let text = match compared {
            Some(Ok(found)) if found.different == expected => return,
            Some(Ok(found)) => format!("{found:?}, and {expected} cells differ"),
            Some(Err(error)) => error.to_string(),
            None => "it did not end".to_owned(),
        };
        self.world.report(Finding::new(Kind::WrongBatch, text));
    }

    /// Does `work` in a process of its own. `None` if it was killed.
    async fn in_batch<T: std::fmt::Debug + 'static, W>(
        self: &Rc<Self>,
        slot: usize,
        work: impl FnOnce(Rc<Self>, Rc<Process>) -> W + 'static,
    ) -> Option<T>
    where
        W: Future<Output = T> + 'static,
    {
        let (process, _) = self.start(slot, Role::Batch);
        let ended = Rc::new(OneShot::default());
        let (end, work) = (
            Rc::clone(&ended),
            work(Rc::clone(self), Rc::clone(&process)),
        );
        self.world.spawn_of(&process, async move {
            end.send(Box::pin(work).await);
        });
        let result = self.end_of(&process, &ended).await;
        self.world
            .record(Actor::of(&process), Tracepoint::Ended, || {
                format!("ends: {result:?}")
            });
        result
    }

    /// The production code, over the world's ports.
    async fn batch(
        self: Rc<Self>,
        process: Rc<Process>,
        kind: BatchKind,
    ) -> Result<Published, UserError> {
        let handle = self.handle(&process);
        let clock = handle.clock();
        let session = handle.connect().await?;
        let session = NamespaceSession::new(session, clock.clone(), Paths::new(NAMESPACE));
        let mut definitions = self.config.definitions.clone();
        if kind == BatchKind::WithoutLateCounter {
            definitions
                .counters
                .retain(|counter| *counter.name.0 != *LATE);
        }
        let folder = TotalsFolder::new(handle.clone(), NAMESPACE);
        let result = exclusively(&session, ("host", 7), &NoProgress, async |lock| {
            let first = self.first_batch.borrow().clone();
            let is_load = kind == BatchKind::LoadFirst && first.is_some();
            let (manifest, as_of) = match first.filter(|_| is_load) {
                Some(id) => {
                    let manifest = folder.manifest(&id).await?;
                    let manifest = manifest.ok_or(BuildError::NoSuchTotals(id))?;
                    let as_of = manifest.as_of;
                    (manifest, as_of)
                }
                None => {
                    let built = self.current_totals(&handle, &clock, &folder, &definitions);
                    let built = built.await?;
                    self.note_first(&built.manifest.id);
                    (built.manifest, built.as_of)
                }
            };
            let patience = Patience::new(&clock, &NoProgress);
            let loader = Loader {
                folder: &folder,
                names: &CounterNames::new(&definitions),
                table: &SimBatchTable(handle.clone()),
                identity: &table_identity(),
                keyspace: "k",
                session: &session,
                lock,
                patience: &patience,
            };
            Ok(loader.publish(&manifest, as_of, is_load).await?)
        })
        .await;
        session.close().await;
        result
    }

    fn note_first(&self, id: &TotalsId) {
        self.first_batch.borrow_mut().get_or_insert(id.clone());
    }

    async fn current_totals(
        &self,
        handle: &Handle,
        clock: &ProcessClock,
        folder: &TotalsFolder<Handle>,
        definitions: &Definitions,
    ) -> Result<Built, BuildError> {
        let archive: Option<&Archive<Handle>> = None;
        let records = Records::new(archive, handle, clock, Duration::from_secs(60));
        let spill = self.open_spill()?;
        let instance = self.world.namespace_instance(GENERATION);
        let reach = self.reach(&records).await?;
        let request = self.build_request(&instance, definitions, &spill, &reach);
        let build = async |request: &BuildRequest<'_>| {
            build::build(folder, &records, request, clock, &NoProgress).await
        };
        build_with_added_counters(request, &NoProgress, build).await
    }

    async fn compare(self: Rc<Self>, process: Rc<Process>) -> Result<Comparison, BatchError> {
        let handle = self.handle(&process);
        let Some(published) = self.world.published_batch() else {
            return Ok(Comparison::default());
        };
        let clock = handle.clock();
        let until = published.closed_until_ms(self.config.batch.closed_after);
        let tables = (&SimBatchTable(handle.clone()), &SimScan(handle));
        let names = CounterNames::new(&self.config.definitions);
        let patience = Patience::new(&clock, &NoProgress);
        comparison::compare(tables, &published, until, &names, &patience).await
    }
}
