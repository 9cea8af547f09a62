//! `stitch-restorator`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    stitch_restorator::cli::main(std::env::args_os())
}
