//! `stitch-restorator`: arguments in, exit code out.

// The whole restoration is one future, whose layout nests as deep as its calls.
#![recursion_limit = "256"]

use std::process::ExitCode;

fn main() -> ExitCode {
    stitch_restorator::cli::main(std::env::args_os())
}
