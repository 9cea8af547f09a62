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
use stitch_common::user_error::UserError;
use stitch_config::Api;

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

Exit codes: 0 success, 2 error, 130 ended by a signal where it was (run: by the second one).
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
        Command::Link(options) => runner::run_until_stopped("link", &shared, async move |config| {
            link::link(&config, &options)
        }),
        Command::Health => runner::run_until_stopped("health", &shared, async |config| {
            health::ask("api.listen", config.api.listen).await
        }),
        Command::Check => runner::run_until_stopped("check", &shared, async |config| {
            let own = own_findings(&config.api)?;
            Ok(check(&config, Needs::Reading, own).await)
        }),
    })
}

/// Reads the files of the server itself, and says what was read.
///
/// # Errors
/// One of them cannot be used.
fn own_findings(api: &Api) -> Result<Findings, UserError> {
    let mut findings = Findings::default();
    let tokens = token_file_poller::read(api)?;
    findings.ok(if tokens.are_open() {
        "tokens: there are none, so everyone who reaches this server may read".to_owned()
    } else {
        let file = api.tokens_file.as_ref();
        let file = file.map_or_else(String::new, |file| format!(", with {}", file.display()));
        let names: Vec<&str> = tokens.names().collect();
        format!("tokens and signing keys{file}: {}", names.join(", "))
    });
    let listen = api.listen;
    findings.ok(if let Some(files) = &api.tls {
        tls::ServerCertificate::read(files)?;
        let (certificate, key) = (files.certificate.display(), files.key.display());
        format!("api.listen: HTTPS at {listen}, with certificate {certificate} and key {key}")
    } else {
        format!("api.listen: plain HTTP at {listen}")
    });
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use stitch_common::output::Report;
    use stitch_config::Config;

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
    /// What `check` says of the server's own files, each with the verdict.
    fn found(environment: &[(&str, &str)]) -> Result<String, UserError> {
        let text = include_str!("../../deploy/stitch.toml");
        let environment = environment.iter().copied().collect();
        let config = Config::parse("stitch.toml", text, &environment).unwrap();
        let mut text = Vec::new();
        own_findings(&config.api)?.text(&mut text).unwrap();
        Ok(String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_check_names_the_tokens_and_the_certificate_that_it_has_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
        let open = found(&[]).unwrap();
        assert!(open.contains("tokens: there are none"), "{open}");
        assert!(open.contains("plain HTTP at 127.0.0.1:8080"), "{open}");
        let secret = "0123456789abcdef0123456789abcdef";
        write(
            "tokens",
            &format!("cdn read c{secret}\nlinks sign {secret}\n"),
        );
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        write("api.crt", &made.cert.pem());
        write("api.key", &made.signing_key.serialize_pem());
        let (tokens, crt, key) = (path("tokens"), path("api.crt"), path("api.key"));
        let environment = [
            ("STITCH_API__TOKENS_FILE", tokens.as_str()),
            ("STITCH_API__TLS_CERTIFICATE", crt.as_str()),
            ("STITCH_API__TLS_KEY", key.as_str()),
        ];
        let text = found(&environment).unwrap();
        for part in [tokens.as_str(), "cdn, links", "HTTPS at", &crt, &key] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains(secret), "{text}");
        write("api.key", "no key");
        let error = found(&environment).unwrap_err();
        assert!(error.message.contains(&key), "{error}");
    }
}
