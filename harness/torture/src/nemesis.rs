//! The one who strikes: carries out what the plan has drawn, at its time, and undoes it.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use rustix::process::Signal;
use tokio::time::sleep;

use crate::field::{Field, RESTORATORS};
use crate::plan::{Fault, Line, Plan, Server, Strike, Treatment, Way};
use crate::process_slot::ProcessSlot;

/// A processor takes about so long until it counts.
const SETTLING_IN: Duration = Duration::from_secs(2);

/// Strikes on one field.
pub(crate) struct Nemesis<'f> {
    pub(crate) field: &'f Field,
    pub(crate) seats: &'f [ProcessSlot],
}

impl Nemesis<'_> {
    /// All strikes of the plan, each at its time and to its end.
    pub(crate) async fn strike(&self, plan: &Plan) -> Result<()> {
        let strikes = plan.strikes.iter().map(|strike| self.one(strike));
        try_join_all(strikes).await.map(drop)
    }

    async fn one(&self, Strike { at, fault }: &Strike) -> Result<()> {
        sleep(*at).await;
        let kind = fault.kind();
        let struck = |what: String| self.field.chronicle.struck(kind, what);
        match *fault {
            Fault::KillProcessor { seat, away } => {
                let seat = &self.seats[seat];
                struck(format!("{}, away for {} ms", seat.name, away.as_millis()));
                seat.order(Signal::KILL, away);
            }
            Fault::FreezeProcessor { seat, lasting } => {
                let seat = &self.seats[seat];
                struck(format!("{} for {} ms", seat.name, lasting.as_millis()));
                self.freeze(lasting, |signal| seat.order(signal, Duration::ZERO))
                    .await;
                self.field
                    .chronicle
                    .trouble(format!("{} goes on", seat.name));
            }
            Fault::Rebalance { pause } => {
                struck(format!(
                    "one joins, each leaves and comes back, {} ms apart",
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
            Fault::StepCalendar { seat, ahead_s } => self.step(fault, seat, ahead_s)?,
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
        let joined = self.field.seat(self.seats.len() + 1, Way::Straight)?;
        sleep(SETTLING_IN + pause).await;
        for seat in self.seats {
            seat.order(Signal::TERM, Duration::ZERO);
            sleep(pause).await;
        }
        joined.dismiss().await?;
        self.field
            .chronicle
            .trouble("the one that had joined has left");
        Ok(())
    }

    /// Whatever restoration runs, if one does.
    fn restorator(&self, fault: &Fault, signal: Signal) {
        let chronicle = &self.field.chronicle;
        match (self.field.attempts.order(signal), signal == Signal::CONT) {
            (true, false) => chronicle.struck(fault.kind(), format!("SIG{}", name_of(signal))),
            (true, true) => chronicle.trouble("the restorator goes on"),
            (false, _) => chronicle.note(format!("{}: none runs", fault.kind())),
        }
    }

    fn step(&self, fault: &Fault, seat: usize, ahead_s: i64) -> Result<()> {
        let Some(calendars) = &self.field.calendars else {
            return Ok(());
        };
        let name = self.seats.get(seat).map_or(RESTORATORS, |seat| &seat.name);
        calendars.step(name, ahead_s)?;
        let what = format!("{name}: ahead by {ahead_s} s");
        self.field.chronicle.struck(fault.kind(), what);
        Ok(())
    }

    async fn line(&self, fault: &Fault, line: Line, treatment: Treatment) {
        let chronicle = &self.field.chronicle;
        let Some(taken) = self.field.lines.take(line) else {
            chronicle.note(format!(
                "{line}: something happens to it already, so not {treatment}"
            ));
            return;
        };
        chronicle.struck(fault.kind(), format!("{line}: {treatment}"));
        taken.treat(treatment).await;
        chronicle.trouble(format!("{line}: {treatment}: over"));
    }

    async fn kill(&self, fault: &Fault, server: Server, away: Duration) -> Result<()> {
        let chronicle = &self.field.chronicle;
        let Some(victim) = self.field.room.take(server).await else {
            chronicle.note(format!(
                "{}: {server:?} is in trouble already",
                fault.kind()
            ));
            return Ok(());
        };
        chronicle.struck(
            fault.kind(),
            format!("{}, away for {} ms", victim.name, away.as_millis()),
        );
        victim.kill().await?;
        sleep(away).await;
        // One that does not come up while others are in trouble is started again at the end.
        match victim.start().await {
            Ok(()) => chronicle.trouble(format!("{} is back", victim.name)),
            Err(error) => {
                chronicle.trouble(format!("{} does not start yet: {error:#}", victim.name))
            }
        }
        Ok(())
    }

    async fn freeze_server(&self, fault: &Fault, server: Server, lasting: Duration) -> Result<()> {
        let chronicle = &self.field.chronicle;
        let Some(victim) = self.field.room.take(server).await else {
            chronicle.note(format!(
                "{}: {server:?} is in trouble already",
                fault.kind()
            ));
            return Ok(());
        };
        chronicle.struck(
            fault.kind(),
            format!("{} for {} ms", victim.name, lasting.as_millis()),
        );
        victim.freeze(lasting).await?;
        chronicle.trouble(format!("{} goes on", victim.name));
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
