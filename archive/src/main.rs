//! `stitch-archive`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    stitch_archive::cli::main(std::env::args_os())
}
