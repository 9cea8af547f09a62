//! The command line: parses the arguments and runs the command.

mod connect_files;
mod import;
mod run;
mod seal;
mod status;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use stitch_app::check::{self as servers, Needs};
use stitch_app::health;
use stitch_app::runner::{self, Shared};
use stitch_common::ports::{EventLog, LogIdentity};
use stitch_common::server_failure::ServerFailure;
use stitch_config::Config;
use stitch_kafka::KafkaLog;
use stitch_objects::{ObjectFolder, stores};

use crate::archiver::Extent;
use crate::check;
use crate::reader::Archive;

#[derive(Debug, Parser)]
#[command(
    name = "stitch-archive",
    version,
    about = "Keeps every record of the event topic in an object store, beyond Kafka's retention",
    after_help = "Example:
  stitch-archive check        # will it work?
  stitch-archive run --once   # copy what the log has now
  stitch-archive run          # copy what comes; start as many as you like
  stitch-archive status       # how far is it, and when does Kafka's retention overtake it?
  stitch-archive verify       # read everything: is it whole?
  stitch-archive import s3://bucket/prefix    # files of Kafka Connect

Exit codes: 0 done, 1 an operator must act (status, verify), 2 it could not be done or is wrong (check), 130 ended by a
signal where it was (run: by the second one). Where the archive is: `url` in [archive], for example STITCH_ARCHIVE__URL=s3://bucket/prefix;
credentials come from the environment (AWS_ACCESS_KEY_ID, …)."
)]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the configuration, and what this program needs of the servers
    ///
    /// Connects to Kafka and to the store of the archive. Reports each finding as ok, warning or wrong, with help. Changes
    /// nothing, but for a small object by which a store is tried.
    #[command(after_help = "Example:
  stitch-archive check --output json | jq '.findings[] | select(.verdict == \"wrong\")'

Exit codes: 0 nothing is wrong, 2 something is wrong.")]
    Check,
    /// Ask the program that runs on this host whether it is healthy
    ///
    /// Requests /health where `http.listen` says, for a container's health check. Needs a fixed port.
    #[command(after_help = "Example:
  stitch-archive health

Exit codes: 0 it is, 1 it is not, 2 nothing answers.")]
    Health,
    Run(RunArguments),
    /// Show how far the archive is, and how much time is left
    ///
    /// By partition: the position up to which it is complete, by how many records and seconds it is behind, and how long
    /// Kafka still keeps the first record that is not archived. Changes nothing.
    #[command(after_help = "Example:
  stitch-archive status --output json | jq '.partitions[] | select(.alarm)'

Exit codes: 0 fine, 1 less than half of Kafka's retention is left for a partition, or records are lost
already, 2 it could not be found out.")]
    Status,
    /// Read the whole archive, to see whether it is whole
    ///
    /// Follows the chain of each partition, compares footers, checksums and digests with the records, and looks for
    /// objects that do not belong there. Changes nothing.
    #[command(after_help = "Example:
  stitch-archive verify

Exit codes: 0 whole, 1 something is missing, damaged or does not belong there, by name, 2 it could not be read.")]
    Verify,
    /// Import files of Kafka Connect: what Kafka has deleted
    ///
    /// Reads topics/TOPIC/partition=P/TOPIC+P+OFFSET.bin below the URL: values as bytes, a line each
    /// (ByteArrayFormat). Refuses files that do not have every record, by name, before anything is put; adds segments
    /// up to where Kafka's log begins. `run` archives the rest.
    #[command(after_help = "Examples:
  stitch-archive import s3://bucket/prefix
  stitch-archive import file:///backup && stitch-archive run

Exit codes: 0 done, 2 it could not be done. May be repeated: it goes on where the archive ends.")]
    Import {
        /// Where the folder topics/ of the connector is
        url: String,
    },
    /// Compare files of Kafka Connect with the log, while Kafka has their records
    ///
    /// A file whose lines are the log's records is sealed: its offsets are kept, so that `import` takes it, whatever
    /// transactions lie between its records, when Kafka has deleted them. Files of JSON are taken only if sealed.
    #[command(after_help = "Example:
  stitch-archive seal s3://bucket/prefix

Exit codes: 0 done, 2 it could not be done, or a file is not what the log has, by name.")]
    Seal {
        /// Where the folder topics/ of the connector is
        url: String,
    },
}

/// Copy the topic, all partitions, until stopped
///
/// Reads committed records from where the archive ends, and puts them in segments. Several may run: each segment is put
/// once. Where Kafka has lost what comes next, that partition stops, with its offsets; nothing is skipped.
#[derive(Args, Clone, Copy, Debug)]
#[command(after_help = "Examples:
  stitch-archive run
  stitch-archive run --once    # to the log's end as it is now

Prints the address of its HTTP server on standard error: /health, /ready, /metrics.
SIGTERM, SIGINT or SIGHUP: puts what was read, and ends with 0. A second signal ends it at once with 130; nothing
is lost then, because Kafka has it.

Exit codes: 0 done, 2 it could not be done, or a partition stopped before the end (--once).")]
struct RunArguments {
    /// Copy up to the log's end as it is at the start, and end
    #[arg(long)]
    once: bool,
}

/// Runs the command that `arguments` name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    runner::main(arguments, |Arguments { shared, command }| match command {
        Command::Health => runner::run_until_stopped("health", &shared, async |config| {
            health::ask("http.listen", config.http.listen).await
        }),
        Command::Check => runner::run_until_stopped("check", &shared, async |config| {
            let store = check::written_archive(&config).await;
            Ok(servers::check(&config, Needs::Archiving, store).await)
        }),
        Command::Run(RunArguments { once }) => {
            let extent = if once {
                Extent::Once
            } else {
                Extent::UntilStopped
            };
            runner::run("run", &shared, async |config, shutdown| {
                run::run(&config, &shutdown, extent).await
            })
        }
        Command::Status => runner::run_until_stopped("status", &shared, async |config| {
            status::status(&config).await
        }),
        Command::Import { url } => runner::run_until_stopped("import", &shared, async |config| {
            import::import(&config, &url).await
        }),
        Command::Seal { url } => runner::run_until_stopped("seal", &shared, async |config| {
            seal::seal(&config, &url).await
        }),
        Command::Verify => runner::run_until_stopped("verify", &shared, async |config| {
            verify::verify(&config).await
        }),
    })
}

/// The topic, its archive, and what distinguishes it.
async fn open(
    config: &Config,
) -> Result<(KafkaLog, Archive<ObjectFolder>, LogIdentity), ServerFailure> {
    let store = stores::archive(config)?.ok_or_else(check::missing)?;
    let log = KafkaLog::new(&config.kafka)?;
    let identity = log.identity().await?;
    let archive = Archive::new(store, &identity.cluster, &config.kafka.topic);
    Ok((log, archive, identity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_help_of_every_command_has_an_example_and_its_exit_codes() {
        stitch_testkit::help::check(Arguments::command(), &["Example", "Exit codes"]);
    }
}
