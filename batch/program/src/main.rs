//! `stitch-batch`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    stitch_batch_program::cli::main(std::env::args_os())
}
