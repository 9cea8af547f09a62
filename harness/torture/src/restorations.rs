//! The restorations of a history: runs each until it exits, whatever happens to it, and records its outcome.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use serde::Serialize;
use stitch_harness::process::Program;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::supervision::{Exit, Order, Orders, alarm_in, supervise};
use crate::timeline::Timeline;

/// Longer than any restoration, with its waits for quiescence (`quiescence_timeout_ms` at most, each) and for its ranges.
const BOUND: Duration = Duration::from_secs(400);

/// Starts restorations, and keeps track of them.
pub(crate) struct Restorations {
    timeline: Arc<Timeline>,
    running: Mutex<BTreeMap<u64, Orders>>,
    count: AtomicU64,
    records: Mutex<Vec<Record>>,
}

/// A completed restoration.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) began_ms: u64,
    pub(crate) ended_ms: u64,
    pub(crate) outcome: Outcome,
    /// Cells corrected, according to its report.
    pub(crate) corrected: u64,
    /// Why it is unverified, according to its report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// The outcome of a restoration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Verified,
    Unverified,
    Killed,
    Strange,
}

impl Restorations {
    pub(crate) fn new(timeline: Arc<Timeline>) -> Self {
        Self {
            timeline,
            running: Mutex::default(),
            count: AtomicU64::new(0),
            records: Mutex::default(),
        }
    }

    /// Sends a signal to the running restorations; false if none runs.
    pub(crate) fn order(&self, signal: Signal) -> bool {
        let away = Duration::ZERO;
        let running = lock(&self.running);
        let receivers = running
            .values()
            .filter(|orders| orders.send(Order { signal, away }).is_ok());
        receivers.count() > 0
    }

    /// Runs a restoration until it exits.
    pub(crate) async fn run(&self, program: Program, what: &str) -> Result<Record> {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let name = format!("restorator-{number}");
        let program = Program {
            name: name.clone(),
            ..program
        };
        let began_ms = self.timeline.now_ms();
        self.timeline.note(format!("{name} starts: {what}"));
        let mut process = program.start()?;
        let (orders, mut received) = mpsc::unbounded_channel();
        lock(&self.running).insert(number, orders);
        let exit = timeout(BOUND, supervise(&mut process, &mut received)).await;
        lock(&self.running).remove(&number);
        let record = Record {
            began_ms,
            ended_ms: self.timeline.now_ms(),
            ..self.record(name, exit, &process.output(), &process.errors())?
        };
        lock(&self.records).push(record.clone());
        Ok(record)
    }

    fn record(
        &self,
        name: String,
        exit: Result<Result<Exit>, tokio::time::error::Elapsed>,
        output: &str,
        errors: &str,
    ) -> Result<Record> {
        let answer: serde_json::Value = serde_json::from_str(output).unwrap_or_default();
        if let Some(alarm) = alarm_in(errors) {
            self.timeline.violation(format!("{name} logged: {alarm}"));
        }
        let outcome = match exit {
            Err(_) => {
                let bound = BOUND.as_secs();
                self.timeline
                    .violation(format!("{name} has not exited after {bound} s"));
                Outcome::Strange
            }
            Ok(exit) => self.outcome(&name, &exit?, &answer, errors),
        };
        let why = why(&answer).filter(|_| outcome != Outcome::Verified);
        let corrected = answer["cells"]["corrected"].as_u64().unwrap_or_default();
        let reason = why
            .as_ref()
            .map(|why| format!(": {why}"))
            .unwrap_or_default();
        self.timeline.note(format!(
            "{name}: {outcome:?}, {corrected} cells corrected{reason}"
        ));
        Ok(Record {
            name,
            began_ms: 0,
            ended_ms: 0,
            outcome,
            corrected,
            why,
        })
    }

    fn outcome(
        &self,
        name: &str,
        exit: &Exit,
        answer: &serde_json::Value,
        errors: &str,
    ) -> Outcome {
        let was_sent = |signal| exit.order.is_some_and(|order| order.signal == signal);
        match exit.code {
            Some(0) if answer["outcome"] == "verified" => Outcome::Verified,
            Some(2) if answer.is_object() => Outcome::Unverified,
            // The second SIGINT makes it exit at once.
            Some(130) if was_sent(Signal::INT) => Outcome::Killed,
            // By a signal, or at a failpoint.
            None => Outcome::Killed,
            code => {
                let last = errors.lines().last().unwrap_or_default();
                self.timeline
                    .violation(format!("{name} exited with {code:?}: {answer} {last}"));
                Outcome::Strange
            }
        }
    }

    /// All completed restorations.
    pub(crate) fn records(&self) -> Vec<Record> {
        lock(&self.records).clone()
    }
}

/// The first reason that a report gives for an unverified range.
fn why(answer: &serde_json::Value) -> Option<String> {
    let of_range =
        |range: &serde_json::Value| range["error"]["message"].as_str().map(str::to_owned);
    let ranges = answer["ranges"].as_array().into_iter().flatten();
    let of_ranges = ranges.into_iter().find_map(of_range);
    let whole = answer["error"]["message"].as_str().map(str::to_owned);
    of_ranges.or(whole)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
