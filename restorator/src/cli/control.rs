//! The commands that control the restoration that runs, or keep others from beginning. They only write one record in
//! ZooKeeper, so they work from any host.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use clap::Args;
use stitch_app::control_report::ControlReport;
use stitch_app::runner;
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::ports::ZooKeeper;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_control::control_node;
use stitch_control::control_record::{
    ControlCommand, ControlRefusal, ControlRequest, CorrectionRate,
};
use stitch_protocol::NamespaceSession;
use stitch_protocol::path::Paths;
use stitch_zookeeper::ZooKeeperClient;

/// What every one of these commands takes.
#[derive(Args, Clone, Debug)]
struct Common {
    /// Why: it is shown by `status` and kept in the restoration's record and journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Only if this restoration runs (`status` shows its id); else nothing is changed
    #[arg(long, value_name = "ID")]
    restoration: Option<String>,
}

/// Have the restoration that runs wait, without a lock
///
/// It waits between ranges, and between the steps of one; a range that is locked is given back first. In the audit it waits
/// between slices of the table. It keeps its session, its restoration lock and what it has found.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  stitch-restorator pause --reason 'node 3 is being replaced'

Exit codes: 0 it is recorded, 2 nothing was changed: no restoration runs, or another command came first.")]
pub(super) struct PauseArguments {
    #[command(flatten)]
    common: Common,
}

/// Let the restoration go on, and lift a hold
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  stitch-restorator resume --reason 'node 3 is back'

Exit codes: 0 it is recorded, 2 nothing was changed: neither a pause nor a hold was in force, or another command came first.")]
pub(super) struct ResumeArguments {
    #[command(flatten)]
    common: Common,
}

/// End the restoration that runs
///
/// It gives its locks back, and ends with exit code 4 and a report of what is done and what is left. What it has corrected
/// is right; the ranges that it has not begun are as they were.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  stitch-restorator abort --reason 'wrong scope' --restoration 20300131T060000000Z-0000000100000001-0000000000000000

Exit codes: 0 it is recorded, 2 nothing was changed: no restoration runs, or another command came first.")]
pub(super) struct AbortArguments {
    #[command(flatten)]
    common: Common,
}

/// Limit how many corrections a second the restoration that runs sends
///
/// Corrections of cells at rest are spread over time, over all ranges together. Corrections under a range's lock are counted,
/// but never delayed. While it waits, events of the ranges in work are kept in memory: a limit that stretches a range over
/// hours needs more of it.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  stitch-restorator throttle 500 --reason 'latency of reads'
  stitch-restorator throttle off

Exit codes: 0 it is recorded, 2 nothing was changed: no restoration runs, or another command came first.")]
pub(super) struct ThrottleArguments {
    /// Corrections a second, from 1 on; `off` lifts the limit
    #[arg(value_name = "N|off")]
    rate: Rate,
    #[command(flatten)]
    common: Common,
}

/// Have no restoration correct anything until a time
///
/// New runs are refused, by the name of whoever set it; one that runs waits. It outlives every process, and ends at its time
/// or by `resume`. Audits (`plan`) change nothing, and are not held.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  stitch-restorator hold-until 2030-01-31T06:00:00Z --reason 'maintenance of the cluster'

Exit codes: 0 it is recorded, 2 nothing was changed: the time has passed, or another command came first.")]
pub(super) struct HoldArguments {
    /// The time, with its offset: 2030-01-31T06:00:00Z
    #[arg(value_name = "TIME")]
    until: DateTime<Utc>,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate(Option<CorrectionRate>);

impl FromStr for Rate {
    type Err = ControlRefusal;

    fn from_str(text: &str) -> Result<Self, ControlRefusal> {
        CorrectionRate::read_limit(text).map(Self)
    }
}

impl PauseArguments {
    pub(super) async fn carry_out(self, config: &Config) -> Result<ControlReport, UserError> {
        self.common.issue(config, ControlCommand::Pause).await
    }
}

impl ResumeArguments {
    pub(super) async fn carry_out(self, config: &Config) -> Result<ControlReport, UserError> {
        self.common.issue(config, ControlCommand::Resume).await
    }
}

impl AbortArguments {
    pub(super) async fn carry_out(self, config: &Config) -> Result<ControlReport, UserError> {
        self.common.issue(config, ControlCommand::Abort).await
    }
}

impl ThrottleArguments {
    pub(super) async fn carry_out(self, config: &Config) -> Result<ControlReport, UserError> {
        let command = ControlCommand::Throttle(self.rate.0);
        self.common.issue(config, command).await
    }
}

impl HoldArguments {
    pub(super) async fn carry_out(self, config: &Config) -> Result<ControlReport, UserError> {
        let command = ControlCommand::HoldUntil(self.until);
        self.common.issue(config, command).await
    }
}

impl Common {
    async fn issue(
        self,
        config: &Config,
        command: ControlCommand,
    ) -> Result<ControlReport, UserError> {
        let session = ZooKeeperClient::of(&config.zookeeper).connect().await?;
        let paths = Paths::below(&config.zookeeper.root, &config.namespace);
        let session = NamespaceSession::new(session, SystemClock, paths);
        let request = ControlRequest {
            by: format!("{}@{}", user(), runner::host()),
            at: SystemClock.wall(),
            reason: self.reason,
        };
        let wanted = self.restoration.as_deref();
        let issued = control_node::issue(&session, command, request, wanted).await;
        session.close().await;
        Ok(ControlReport::new(command, issued?))
    }
}

/// The user, for people: nothing is authorized by it.
fn user() -> String {
    let name = |variable| std::env::var(variable).ok().filter(|name| !name.is_empty());
    let name = name("USER").or_else(|| name("LOGNAME"));
    name.unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_off_or_a_number_from_1_on() {
        assert_eq!("off".parse::<Rate>().unwrap(), Rate(None));
        let rate = CorrectionRate(500);
        assert_eq!("500".parse::<Rate>().unwrap(), Rate(Some(rate)));
        for text in ["0", "-1", "on", "", "+5", "05", " 5", "OFF"] {
            let message = text.parse::<Rate>().unwrap_err().to_string();
            assert!(message.contains(&format!("\"{text}\"")), "{message}");
        }
    }
}
