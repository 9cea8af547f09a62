//! `stitch-api`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    stitch_api::cli::main(std::env::args_os())
}
