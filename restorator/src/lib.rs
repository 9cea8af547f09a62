//! Audits counters against the event log and repairs those that have drifted, while the processors keep counting.
//!
//! A restoration computes from the log what every cell in scope should hold ([`stitch_totals`]), reads what it holds, and
//! adds the difference, under a lock that is held only for cells that are wrong or change all the time. In the order in
//! which a command uses them:
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`], `wiring` | command line to [`options`]; the real servers |
//! | [`command`] | `plan`, `run` and `sums`, from options to a [`report`] |
//! | [`membership`], `lease_keeper` | joins and leaves the namespace; heartbeats, lease and stop request |
//! | `run_control` | what operators want of the run: pause, abort, throttle, hold |
//! | `preflight` | refuses what would damage correct counts |
//! | `permissions` | refuses a role that may not do what comes after hours of reading |
//! | `context` | what all of the following work with |
//! | [`plan`] | the audit: base cut, scan, judging, converging; the plan file. Takes no lock, changes nothing |
//! | `sums` | buckets that their parts do not add up to, without the log |
//! | `quiescence` | waits out what may still change the store: in-doubt markers and dead members |
//! | `expected` | what cells should hold: totals at an earlier cut, and what was read since |
//! | `doubts` | records, reads and removes what says that counts of a range may be wrong |
//! | [`restoration`] | one range under its lock: a file a step, in order |
//! | [`journal`], `limits` | what is written down before it is sent; what the operator expects at most |
//! | `error`, `unverified` | why a command failed; why a range could not be verified; what to do about it |
//! | `rule`, [`failpoint`] | for tests: rules that can be taken out, points at which the process can be killed |
//!
//! A process is one future and never crosses threads, so what its parts share and change is in a `Cell` or a `RefCell`: the
//! lease, the totals, the journal, what was spent. No borrow is held across an `.await`.
//!
//! Modules are public only where the model, the fuzzer, the simulation or the tests use the product's own decisions.

pub mod options;
mod error;
mod rule;
mod context;
mod lease_keeper;
mod run_control;
mod quiescence;
mod doubts;
mod cells;
mod expected;
mod sums;
pub mod plan;
pub mod failpoint;
mod limits;
pub mod journal;
mod unverified;
pub mod restoration;
mod server_away;
mod patience;
mod permissions;
mod preflight;
pub mod report;
pub mod membership;
pub mod command;
#[cfg(feature = "servers")]
mod wiring;
#[cfg(feature = "servers")]
pub mod cli;

#[cfg(test)]
mod testing;
