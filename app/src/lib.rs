//! What every program has around its own work: the command line, its one answer, logs, metrics, signals; and the three
//! commands that look at all servers: `check`, `init` and `status`.

pub mod telemetry;
pub mod shutdown;
pub mod runner;
pub mod progress_bar;
pub mod check;
pub mod init;
pub mod status;
