//! Where standard output and standard error lead does not matter to the work of the real binary. Needs no servers.

use std::path::Path;

use anyhow::Result;
use stitch_harness::streams::Streams;

fn streams() -> Result<Streams<'static>> {
    let program = Path::new(env!("CARGO_BIN_EXE_stitch-api"));
    Streams::new(program, include_str!("../../deploy/stitch.toml"))
}

#[test]
fn a_log_that_cannot_be_written_ends_no_program() -> Result<()> {
    streams()?.ensure_logs_may_be_lost(&["run"], 0)?;
    streams()?.ensure_logs_may_be_lost(&["check"], 130)
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_no_panic() -> Result<()> {
    streams()?.ensure_lost_output_is_an_error(&[
        &["--help"],
        &["check"],
        &["check", "--output", "json"],
    ])
}

#[test]
fn logs_can_be_json() -> Result<()> {
    streams()?.ensure_logs_are_json(&["check"])
}

#[test]
fn a_usage_error_does_not_control_the_terminal() -> Result<()> {
    streams()?.ensure_usage_errors_are_escaped()
}
