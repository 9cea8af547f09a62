//! The program `stitch-totals`, and the engine that adds up the archive on a Spark cluster.
//!
//! Totals themselves are of the crate `stitch-totals`, for this program and the restorator. What is here:
//!
//! - [`job`] is the work of a cluster: tasks, a receipt for each, and what runs them;
//! - [`partial`] is the format of partial sums, by which this program and another engine exchange cells;
//! - [`map`] does one task, on an executor of the cluster;
//! - [`map_reduce`] divides the archive into tasks, has them run, and holds receipts and cells against each other;
//! - [`servers`] connects to the real servers, [`engine`] is what adds up: this process, or `spark-submit`;
//! - [`cli`] is the command line; [`cli::main`] is all that the binary calls.

pub mod partial;
pub mod job;
pub mod map;
pub mod map_reduce;
mod job_file;
mod spark_submit;
pub mod servers;
pub mod engine;
pub mod cli;

#[cfg(test)]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}
