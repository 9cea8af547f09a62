//! The archivers: each is started again when it ends.

use std::rc::Rc;

use stitch_archive::archiver::{self, Extent, Ports, Summary};
use stitch_archive::reader::Archive;
use stitch_common::liveness::Liveness;
use stitch_common::progress::NoProgress;
use stitch_common::user_error::UserError;
use stitch_testkit::wait::OneShot;
use tokio_util::sync::CancellationToken;

use super::Run;
use crate::process::{Process, Role};
use crate::trace::{Actor, Tracepoint};
use crate::world::checker::{Finding, Kind};

impl Run {
    /// Runs an archiver, and another one when it has ended, until the history closes.
    pub(super) async fn keep_archiver_running(self: Rc<Self>, number: usize) {
        let world = Rc::clone(&self.world);
        let slot = self.history.archiver_slot(number);
        while !self.closing.get() {
            let (process, stop) = self.start(slot, Role::Archiver);
            let ended = Rc::new(OneShot::default());
            let (run, end) = (Rc::clone(&self), Rc::clone(&ended));
            let running = Rc::clone(&process);
            world.spawn_of(&process, async move {
                end.send(run.archiver(&running, &stop).await);
            });
            let ended = self.end_of(&process, &ended).await;
            world.record(Actor::of(&process), Tracepoint::Ended, || {
                format!("ends: {ended:?}")
            });
            if let Some(ended) = ended {
                self.check_archiver(&ended);
            }
            let pause = world.rng.below(400_000);
            world.executor.until(world.now() + pause).await;
        }
    }

    /// The production code, over the world's ports.
    async fn archiver(
        &self,
        process: &Rc<Process>,
        stop: &CancellationToken,
    ) -> Result<Summary, UserError> {
        let handle = self.handle(process);
        let archive = Archive::new(handle.clone(), "kafka", "events");
        let ports = Ports {
            log: &handle,
            archive: &archive,
            clock: &handle.clock(),
        };
        let (config, extent) = (&self.config.archive, Extent::UntilStopped);
        let liveness = Liveness::default();
        let run = archiver::run(&ports, config, extent, &liveness, &NoProgress, stop);
        Box::pin(run).await
    }

    /// Checks that an archiver has what it says, and that none gives up once faults have ended.
    fn check_archiver(&self, ended: &Result<Summary, UserError>) {
        let finding = match ended {
            Err(error) if self.closing.get() => Finding::new(Kind::GaveUp, error.to_string()),
            Err(_) => return,
            Ok(summary) => {
                let state = self.world.archive.borrow();
                let mut claimed = summary.complete_to.iter();
                let beyond = claimed.find(|(partition, to)| **to > state.complete_to(**partition));
                let Some((partition, to)) = beyond else {
                    return;
                };
                let what = format!(
                    "an archiver calls partition {partition} complete up to {to}, and it is up to {}",
                    state.complete_to(*partition)
                );
                Finding::new(Kind::WrongArchive, what)
            }
        };
        self.world.report(finding);
    }

    /// Whether everything is archived, but for what was deleted before.
    pub(super) fn is_archived(&self) -> bool {
        let log = self.world.kafka.log.borrow();
        let state = self.world.archive.borrow();
        self.history.archivers == 0
            || log.partitions().all(|partition| {
                let to = state.complete_to(partition);
                to >= log.end(partition) || to < log.begin(partition)
            })
    }
}
