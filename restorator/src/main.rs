//! `stitch-restorator`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _points = stitch_restorator::failpoint::setup();
    stitch_restorator::cli::main(std::env::args_os())
}
