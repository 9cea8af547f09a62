//! The operator's builds of totals: at the log's end, of a counter that is added late, and what an earlier namespace of the
//! same name has left.

use std::rc::Rc;
use std::time::Duration;

use stitch_archive::reader::Archive;
use stitch_common::cell::CounterName;
use stitch_common::definition::Definitions;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::progress::NoProgress;
use stitch_testkit::kafka::Log;
use stitch_testkit::time::Micros;
use stitch_testkit::wait::OneShot;
use stitch_totals::build::{self, BaseChoice, BuildError, BuildRequest};
use stitch_totals::manifest::{Manifest, NamespaceInstance};
use stitch_totals::records::{Reach, Records, RecordsError};
use stitch_totals::sorted::spill_folder::SpillFolder;
use stitch_totals::totals_folder::TotalsFolder;

use super::Run;
use crate::executor::ProcessClock;
use crate::history::{TotalsBuild, TotalsKind};
use crate::process::{Process, Role};
use crate::trace::{Actor, Tracepoint};
use crate::world::{GENERATION, Handle, NAMESPACE};

/// How long what was read is waited for to be counted.
const COUNTED: Micros = 3_000_000;
const POLL_INTERVAL: Micros = 20_000;

/// The counter that is added late.
pub(super) const LATE: &str = "b";

impl Run {
    /// Builds totals at the time of a build.
    pub(super) async fn build_at(self: Rc<Self>, build: TotalsBuild) {
        self.world.executor.until(build.at).await;
        if !self.faults_over.has_fired() {
            match build.kind {
                TotalsKind::LogEnd => {
                    self.build(GENERATION, &self.config.definitions, &[]).await;
                }
                TotalsKind::LateCounter => self.add_late_counter().await,
            }
        }
        self.one_finished();
    }

    /// Builds totals without a counter, lets the log lose what they count, and adds the counter.
    async fn add_late_counter(self: &Rc<Self>) {
        let world = &self.world;
        let mut without = self.config.definitions.clone();
        without.counters.retain(|counter| *counter.name.0 != *LATE);
        let Some(base) = self.build(GENERATION, &without, &[]).await else {
            return;
        };
        let cut = base.subject.cut.0;
        let is_counted = || {
            let mut ranges = world.bits.ranges();
            ranges.all(|range| {
                let mut cut = cut.iter();
                cut.all(|(partition, to)| world.checkpoint_of(partition.0, range.0) >= *to)
            })
        };
        let until = world.now() + COUNTED;
        while !is_counted() {
            if world.now() > until || self.faults_over.has_fired() {
                return;
            }
            world.executor.until(world.now() + POLL_INTERVAL).await;
        }
        for (partition, to) in &cut {
            world.delete_log_below(*partition, *to);
        }
        let late = CounterName(LATE.into());
        self.build(GENERATION, &self.config.definitions, &[late])
            .await;
    }

    /// Leaves totals of an earlier namespace of the same name, with its topic.
    pub(super) async fn leave_earlier_namespace(self: &Rc<Self>) {
        let log = &self.world.kafka.log;
        let partitions = log.borrow().partitions().count();
        let mut earlier = Log::new(partitions);
        for partition in log.borrow().partitions() {
            earlier.append(partition, EARLIER_EVENT);
        }
        let current = log.replace(earlier);
        self.build(GENERATION - 1, &self.config.definitions, &[])
            .await;
        *log.borrow_mut() = current;
    }

    /// Builds totals in a process of their own. `None` if it was killed, or the build has failed.
    async fn build(
        self: &Rc<Self>,
        generation: u64,
        definitions: &Definitions,
        added: &[CounterName],
    ) -> Option<Manifest> {
        let (process, _) = self.start(self.history.builder_slot(), Role::Builder);
        let ended = Rc::new(OneShot::default());
        let (run, end) = (Rc::clone(self), Rc::clone(&ended));
        let running = Rc::clone(&process);
        let (definitions, added) = (definitions.clone(), added.to_vec());
        self.world.spawn_of(&process, async move {
            let built = run.totals(&running, generation, &definitions, &added);
            end.send(built.await);
        });
        let built = self.end_of(&process, &ended).await;
        self.world
            .record(Actor::of(&process), Tracepoint::Ended, || {
                let id = |manifest: &Manifest| manifest.id.clone();
                format!(
                    "ends: {:?}",
                    built.as_ref().map(|built| built.as_ref().map(id))
                )
            });
        built?.ok()
    }

    /// The production code, over the world's ports.
    async fn totals(
        &self,
        process: &Rc<Process>,
        generation: u64,
        definitions: &Definitions,
        added: &[CounterName],
    ) -> Result<Manifest, BuildError> {
        let handle = self.handle(process);
        let clock = handle.clock();
        let archive = Archive::new(handle.clone(), "kafka", "events");
        let archive = (self.history.archivers > 0).then_some(&archive);
        let records = Records::new(archive, &handle, &clock, Duration::from_secs(60));
        let folder = TotalsFolder::new(handle.clone(), NAMESPACE);
        let spill = self.open_spill()?;
        let instance = self.world.namespace_instance(generation);
        let reach = self.reach(&records).await?;
        let request = BuildRequest {
            added,
            ..self.build_request(&instance, definitions, &spill, &reach)
        };
        let built = build::build(&folder, &records, &request, &clock, &NoProgress).await?;
        Ok(built.manifest)
    }

    pub(super) fn open_spill(&self) -> Result<SpillFolder, BuildError> {
        Ok(SpillFolder::open(&self.config.totals.spill, 1 << 20)?)
    }

    /// What can be read; counting begins with the first record.
    pub(super) async fn reach(
        &self,
        records: &Records<'_, Handle, Handle, ProcessClock>,
    ) -> Result<Reach, RecordsError> {
        let partitions = 0..i32::try_from(self.history.partitions).unwrap_or(i32::MAX);
        let origins = partitions.map(|number| (Partition(number), Offset(0)));
        let origins = Offsets(origins.collect());
        records.reach(async || Ok(origins)).await
    }

    /// A build up to the end of the log, from the newest totals on.
    pub(super) fn build_request<'a>(
        &self,
        instance: &'a NamespaceInstance,
        definitions: &'a Definitions,
        spill: &'a SpillFolder,
        reach: &'a Reach,
    ) -> BuildRequest<'a> {
        BuildRequest {
            namespace: NAMESPACE,
            instance,
            cluster: "kafka",
            topic: "events",
            definitions,
            reach,
            base: BaseChoice::Newest,
            cut: None,
            added: &[],
            memory_bytes_max: 1 << 20,
            spill,
        }
    }
}

/// An event that adds an amount of its own, as the events of this namespace do.
const EARLIER_EVENT: &str = r#"{"type":"e","time":0,"a":"u","b":"v","n":2305843009213693952}"#;
