//! `stitch-api`: arguments in, exit code out.

use std::process::ExitCode;

/// A request makes some hundred allocations, many of which other threads free.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    stitch_api::cli::main(std::env::args_os())
}
