//! `stitch-processor`: arguments in, exit code out.

use std::process::ExitCode;

/// The window is made of small pieces of a few sizes, which come and go by the thousand.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    stitch_processor::cli::main(std::env::args_os())
}
