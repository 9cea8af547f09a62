//! Injects the faults of a plan, each at its time, and undoes them.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use rustix::process::Signal;
use tokio::time::sleep;

use crate::plan::{Fault, Line, Plan, Server, Strike, Treatment, Way};
use crate::process_slot::ProcessSlot;
use crate::testbed::{RESTORATORS, Testbed};

/// How long, about, a processor takes until it counts.
const PROCESSOR_START: Duration = Duration::from_secs(2);

/// Injects faults into one testbed.
pub(crate) struct Nemesis<'f> {
    pub(crate) testbed: &'f Testbed,
    pub(crate) slots: &'f [ProcessSlot],
}

impl Nemesis<'_> {
    /// Carries out all strikes of the plan.
    pub(crate) async fn strike(&self, plan: &Plan) -> Result<()> {
        let strikes = plan.strikes.iter().map(|strike| self.one(strike));
        try_join_all(strikes).await.map(drop)
    }

    async fn one(&self, Strike { at, fault }: &Strike) -> Result<()> {
        sleep(*at).await;
        let kind = fault.kind();
        let struck = |what: String| self.testbed.timeline.fault(kind, what);
        match *fault {
            Fault::KillProcessor { slot, away } => {
                let slot = &self.slots[slot];
                struck(format!("{}, away for {} ms", slot.name, away.as_millis()));
                slot.order(Signal::KILL, away);
            }
            Fault::FreezeProcessor { slot, lasting } => {
                let slot = &self.slots[slot];
                struck(format!("{} for {} ms", slot.name, lasting.as_millis()));
                self.freeze(lasting, |signal| slot.order(signal, Duration::ZERO))
                    .await;
                self.testbed
                    .timeline
                    .disturbance(format!("{} resumes", slot.name));
            }
            Fault::Rebalance { pause } => {
                struck(format!(
                    "one processor joins, each of the others leaves and returns, {} ms apart",
                    pause.as_millis()
                ));
                self.rebalance(pause).await?;
            }
            Fault::KillRestorator => self.restorator(fault, Signal::KILL),
            Fault::InterruptRestorator => self.restorator(fault, Signal::INT),
            Fault::FreezeRestorator { lasting } => {
                self.freeze(lasting, |signal| self.restorator(fault, signal))
                    .await;
            }
            Fault::StepClock { slot, ahead_s } => self.step(fault, slot, ahead_s)?,
            Fault::Line { line, treatment } => self.line(fault, line, treatment).await,
            Fault::Kill { server, away } => self.kill(fault, server, away).await?,
            Fault::Freeze { server, lasting } => self.freeze_server(fault, server, lasting).await?,
        }
        Ok(())
    }

    async fn freeze(&self, lasting: Duration, order: impl Fn(Signal)) {
        order(Signal::STOP);
        sleep(lasting).await;
        order(Signal::CONT);
    }

    async fn rebalance(&self, pause: Duration) -> Result<()> {
        let joined = self
            .testbed
            .start_slot(self.slots.len() + 1, Way::Straight)?;
        sleep(PROCESSOR_START + pause).await;
        for slot in self.slots {
            slot.order(Signal::TERM, Duration::ZERO);
            sleep(pause).await;
        }
        joined.stop().await?;
        self.testbed
            .timeline
            .disturbance("the additional processor has left");
        Ok(())
    }

    /// Signals the running restoration, if there is one.
    fn restorator(&self, fault: &Fault, signal: Signal) {
        let timeline = &self.testbed.timeline;
        match (
            self.testbed.restorations.order(signal),
            signal == Signal::CONT,
        ) {
            (true, false) => timeline.fault(fault.kind(), format!("SIG{}", name_of(signal))),
            (true, true) => timeline.disturbance("the restorator resumes"),
            (false, _) => timeline.note(format!("{}: none runs", fault.kind())),
        }
    }

    fn step(&self, fault: &Fault, slot: usize, ahead_s: i64) -> Result<()> {
        let Some(clocks) = &self.testbed.clocks else {
            return Ok(());
        };
        let name = self.slots.get(slot).map_or(RESTORATORS, |slot| &slot.name);
        clocks.step(name, ahead_s)?;
        let what = format!("{name}: ahead by {ahead_s} s");
        self.testbed.timeline.fault(fault.kind(), what);
        Ok(())
    }

    async fn line(&self, fault: &Fault, line: Line, treatment: Treatment) {
        let timeline = &self.testbed.timeline;
        let Some(reserved) = self.testbed.lines.take(line) else {
            timeline.note(format!("{line}: it has a fault already, so no {treatment}"));
            return;
        };
        timeline.fault(fault.kind(), format!("{line}: {treatment}"));
        reserved.treat(treatment).await;
        timeline.disturbance(format!("{line}: {treatment}: over"));
    }

    async fn kill(&self, fault: &Fault, server: Server, away: Duration) -> Result<()> {
        let timeline = &self.testbed.timeline;
        let Some(victim) = self.testbed.cluster.take(server).await else {
            timeline.note(format!(
                "{}: {server:?} is in trouble already",
                fault.kind()
            ));
            return Ok(());
        };
        timeline.fault(
            fault.kind(),
            format!("{}, away for {} ms", victim.name, away.as_millis()),
        );
        victim.kill().await?;
        sleep(away).await;
        // A server that does not start while others are down is started again at the end.
        match victim.start().await {
            Ok(()) => timeline.disturbance(format!("{} is back", victim.name)),
            Err(error) => {
                timeline.disturbance(format!("{} does not start yet: {error:#}", victim.name))
            }
        }
        Ok(())
    }

    async fn freeze_server(&self, fault: &Fault, server: Server, lasting: Duration) -> Result<()> {
        let timeline = &self.testbed.timeline;
        let Some(victim) = self.testbed.cluster.take(server).await else {
            timeline.note(format!(
                "{}: {server:?} is in trouble already",
                fault.kind()
            ));
            return Ok(());
        };
        timeline.fault(
            fault.kind(),
            format!("{} for {} ms", victim.name, lasting.as_millis()),
        );
        victim.freeze(lasting).await?;
        timeline.disturbance(format!("{} resumes", victim.name));
        Ok(())
    }
}

fn name_of(signal: Signal) -> &'static str {
    match signal {
        Signal::KILL => "KILL",
        Signal::INT => "INT",
        Signal::STOP => "STOP",
        _ => "…",
    }
}
