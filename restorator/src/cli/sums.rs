//! The arguments of `sums`.

use clap::Args;
use stitch_common::user_error::UserError;
use stitch_config::Config;

use super::scope::ScopeArguments;
use super::{Exceptions, ReadConsistency};
use crate::options::SumsOptions;

/// Check sums: find buckets that their hours, days, months or years do not add up to
///
/// Every event adds the same amount to its hour, day, month, year and to the total, so the hours of a day add up to the
/// day, and so on, for the granularities that a counter has. Scans the counts once while processors keep counting, reads
/// no event, and takes no lock. A range with sums that do not agree becomes doubtful, until `run` has verified it.
///
/// It says that something is wrong, not what: `plan` does. It cannot see what is wrong in every granularity alike, such as
/// an event that was lost or counted twice, nor counters with a single granularity.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  stitch-restorator sums                              # every counter
  stitch-restorator sums --counter plays --output json | jq '.named[]'
  stitch-restorator run --now --doubtful              # repair what it found

Exit codes: 0 every sum agrees, 1 sums do not agree, 2 the check failed, or sums change too often to be judged,
3 every sum agrees, with exceptions (--read-consistency).")]
pub(super) struct SumsArguments {
    #[command(flatten)]
    scope: ScopeArguments,
    /// Read at this level instead of ALL; a timed-out increment that only a down replica has may be missed
    #[arg(long, value_name = "LEVEL", value_enum, ignore_case = true)]
    read_consistency: Option<ReadConsistency>,
}

impl SumsArguments {
    pub(super) fn options(self, config: &mut Config) -> Result<SumsOptions, UserError> {
        let exceptions = Exceptions {
            read_consistency: self.read_consistency,
            declare_dead: Vec::new(),
        };
        exceptions.apply(config);
        Ok(SumsOptions {
            only_doubtful: self.scope.only_doubtful(),
            scope: self.scope.scope(&config.definitions)?,
        })
    }
}
