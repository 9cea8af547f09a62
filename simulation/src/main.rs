//! `stitch-simulate`: lets histories happen, and prints what was found.

use std::process::ExitCode;

/// A history allocates some ten thousand times, all of it small and on one thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    stitch_simulation::cli::main()
}
