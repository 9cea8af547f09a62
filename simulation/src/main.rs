//! `stitch-simulate`: runs histories and prints findings.

use std::process::ExitCode;

/// A history allocates some ten thousand times, always little and on one thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    stitch_simulation::cli::main()
}
