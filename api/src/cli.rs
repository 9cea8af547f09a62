//! The command line.

mod link;
mod run;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stitch_access::token_file_poller;
use stitch_app::check::{Findings, Needs, check};
use stitch_app::health;
use stitch_app::http_server::tls;
use stitch_app::runner::{self, Shared};

use self::link::LinkOptions;

#[derive(Debug, Parser)]
#[command(
    name = "stitch-api",
    version,
    about = "Serves counts, timelines and how fresh they are over HTTP",
    after_help = "Example (deploy/stitch.toml is an annotated configuration to copy, its section [api] is for this program):
  stitch-api check
  stitch-api run
  curl 'http://127.0.0.1:8080/v1/counters/plays/keys/abc/series?granularity=day'

Exit codes: 0 success, 2 error, 130 stopped at once by a second signal.
Every value of the configuration can be set by the environment: STITCH_API__LISTEN='127.0.0.1:0'.
STITCH_LOG sets what is logged: info, debug, or info,stitch_api=debug."
)]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve counts until a signal stops it
    ///
    /// Reads the table of counts and writes nothing but the commands of operators. Every answer says how fresh its counts are, as known from
    /// ZooKeeper and Kafka. Start any number of these processes, on any number of hosts.
    #[command(after_help = "Example:
  stitch-api run --config plays.toml

Prints its address on standard error. /openapi.json describes the API; /health, /ready and /metrics are for monitoring.
SIGTERM, SIGINT or SIGHUP: accepts no more connections, answers the requests in flight and exits with 0. A second signal ends it
at once with 130.")]
    Run,
    /// Make a link to the page of one key, which opens until a date
    ///
    /// For someone who has no token: the link opens the counts of this key, and nothing else. It is signed with the first
    /// key of the scope `sign` in the file that api.tokens_file names. Asks no server.
    #[command(after_help = "Example:
  stitch-api link plays abc --until 2026-12-31 --origin https://stats.example.org

Whoever has the link may read until it ends. To end all links of a key before, remove its line from the file; to rotate keys,
add a new line above the old one, and remove the old one when its links have ended. Exit codes: 0 success, 2 error.")]
    Link(LinkOptions),
    /// Check the configuration and the servers
    ///
    /// Connects to ZooKeeper, Cassandra and Kafka, and reports each finding as ok, warning or wrong, with help. Changes
    /// nothing.
    #[command(after_help = "Example:
  stitch-api check --output json | jq '.findings[] | select(.verdict == \"wrong\")'

Exit codes: 0 nothing is wrong, 2 something is wrong.")]
    Check,
    /// Ask the program that runs on this host whether it is healthy
    ///
    /// Requests /health where `api.listen` says, for a container's health check. Needs a fixed port, and a server without TLS of its own.
    #[command(after_help = "Example:
  stitch-api health

Exit codes: 0 it is, 1 it is not, 2 nothing answers.")]
    Health,
}

/// Parses `arguments` and runs the command.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    runner::main(arguments, |Arguments { shared, command }| match command {
        Command::Run => runner::run("run", &shared, run::run),
        Command::Link(options) => runner::run("link", &shared, async move |config, _| {
            link::link(&config, &options)
        }),
        Command::Health => runner::run("health", &shared, async |config, _| {
            health::ask("api.listen", config.api.listen).await
        }),
        Command::Check => runner::run("check", &shared, async |config, _| {
            token_file_poller::read(&config.api)?;
            if let Some(files) = &config.api.tls {
                tls::ServerCertificate::read(files)?;
            }
            Ok(check(&config, Needs::Reading, Findings::default()).await)
        }),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_help_of_every_command_has_an_example() {
        stitch_testkit::help::check(Arguments::command(), &["Example"]);
    }

    #[test]
    fn unknown_commands_and_options_are_refused() {
        for wrong in [
            "stitch-api",
            "stitch-api serve",
            "stitch-api run --port 1",
            "stitch-api link plays abc",
        ] {
            let error = Arguments::try_parse_from(wrong.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong}");
        }
    }
}
