//! `stitch-processor`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    stitch_processor::cli::main(std::env::args_os())
}
