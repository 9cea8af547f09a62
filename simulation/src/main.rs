//! `stitch-simulate`: lets histories happen, and prints what was found.

use std::process::ExitCode;

fn main() -> ExitCode {
    stitch_simulation::cli::main()
}
