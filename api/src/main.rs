//! `stitch-api`: arguments in, exit code out.

use std::process::ExitCode;

/// A request allocates some hundred times, and what it takes is given back by other threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    stitch_api::cli::main(std::env::args_os())
}
