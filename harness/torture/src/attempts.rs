//! The restorations of a history: each runs to its end, whatever is done to it, and says how that was.

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

use crate::chronicle::Chronicle;
use crate::ward::{Ended, Order, Orders, alarm_in, until_end};

/// A restoration may wait for a calm (`quiescence_timeout_ms` at most, each time) and for its ranges; it never takes so long.
const BOUND: Duration = Duration::from_secs(400);

/// Runs restorations, and knows which run.
pub(crate) struct Attempts {
    chronicle: Arc<Chronicle>,
    running: Mutex<BTreeMap<u64, Orders>>,
    begun: AtomicU64,
    ended: Mutex<Vec<Record>>,
}

/// A restoration that has ended.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) began_ms: u64,
    pub(crate) ended_ms: u64,
    pub(crate) outcome: Outcome,
    /// What it says that it corrected.
    pub(crate) corrected: u64,
    /// Why it is not proved, in its words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// How a restoration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Verified,
    Unverified,
    Killed,
    Strange,
}

impl Attempts {
    pub(crate) fn new(chronicle: Arc<Chronicle>) -> Self {
        Self {
            chronicle,
            running: Mutex::default(),
            begun: AtomicU64::new(0),
            ended: Mutex::default(),
        }
    }

    /// Sends a signal to whichever restoration runs; false if none does.
    pub(crate) fn order(&self, signal: Signal) -> bool {
        let away = Duration::ZERO;
        let running = lock(&self.running);
        let reached = running
            .values()
            .filter(|orders| orders.send(Order { signal, away }).is_ok());
        reached.count() > 0
    }

    /// Runs this restoration to its end.
    pub(crate) async fn run(&self, program: Program, what: &str) -> Result<Record> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let name = format!("restorator-{number}");
        let program = Program {
            name: name.clone(),
            ..program
        };
        let began_ms = self.chronicle.now_ms();
        self.chronicle.note(format!("{name} begins: {what}"));
        let mut process = program.start()?;
        let (orders, mut received) = mpsc::unbounded_channel();
        lock(&self.running).insert(number, orders);
        let ended = timeout(BOUND, until_end(&mut process, &mut received)).await;
        lock(&self.running).remove(&number);
        let record = Record {
            began_ms,
            ended_ms: self.chronicle.now_ms(),
            ..self.record(name, ended, &process.output(), &process.errors())?
        };
        lock(&self.ended).push(record.clone());
        Ok(record)
    }

    fn record(
        &self,
        name: String,
        ended: Result<Result<Ended>, tokio::time::error::Elapsed>,
        output: &str,
        errors: &str,
    ) -> Result<Record> {
        let answer: serde_json::Value = serde_json::from_str(output).unwrap_or_default();
        if let Some(alarm) = alarm_in(errors) {
            self.chronicle.complain(format!("{name} said: {alarm}"));
        }
        let outcome = match ended {
            Err(_) => {
                let bound = BOUND.as_secs();
                self.chronicle
                    .complain(format!("{name} has not ended after {bound} s"));
                Outcome::Strange
            }
            Ok(ended) => self.outcome(&name, &ended?, &answer, errors),
        };
        let why = why(&answer).filter(|_| outcome != Outcome::Verified);
        let corrected = answer["cells"]["corrected"].as_u64().unwrap_or_default();
        let reason = why
            .as_ref()
            .map(|why| format!(": {why}"))
            .unwrap_or_default();
        self.chronicle.note(format!(
            "{name} ended: {outcome:?}, {corrected} cells corrected{reason}"
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
        ended: &Ended,
        answer: &serde_json::Value,
        errors: &str,
    ) -> Outcome {
        let asked = |signal| ended.order.is_some_and(|order| order.signal == signal);
        match ended.code {
            Some(0) if answer["outcome"] == "verified" => Outcome::Verified,
            Some(2) if answer.is_object() => Outcome::Unverified,
            // Asked twice: it ends at once.
            Some(130) if asked(Signal::INT) => Outcome::Killed,
            // By us, or by itself between two steps.
            None => Outcome::Killed,
            code => {
                let last = errors.lines().last().unwrap_or_default();
                self.chronicle
                    .complain(format!("{name} ended with {code:?}: {answer} {last}"));
                Outcome::Strange
            }
        }
    }

    /// All that have ended.
    pub(crate) fn ended(&self) -> Vec<Record> {
        lock(&self.ended).clone()
    }
}

/// The first reason that an answer gives for what is not proved.
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
