//! The application layer of every program: what surrounds its own work.
//!
//! Start with [`runner`]: it parses the arguments, loads the configuration, runs the command until it ends or a signal
//! stops it, prints its report and sets the exit code. [`telemetry`] starts logs and metrics, [`shutdown`] handles
//! SIGTERM, SIGINT and SIGHUP, [`progress_bar`] shows progress on standard error, [`http_server`] serves HTTP within limits,
//! and [`monitoring`] health and metrics. [`server_away`] waits for a server that
//! does not answer. [`single_flight`] lets all who ask for the same wait for one read.
//!
//! Commands that more than one program has are here too: [`check`] checks the
//! configuration and the servers, [`health`] asks a running program for its health, [`init`] creates a namespace or verifies that it agrees, [`status`] prints the state
//! of a namespace.
//!
//! Not here: counting, restoring and serving counts (`stitch-processor`, `stitch-restorator`, `stitch-api`), and the
//! format of reports (`stitch_common::output`), which commands implement without this crate's dependencies.

pub mod stderr;
pub mod telemetry;
pub mod shutdown;
pub mod runner;
pub mod progress_bar;
pub mod http_server;
pub mod monitoring;
pub mod single_flight;
pub mod realtime;
mod tree;
pub mod server_away;
pub mod check;
pub mod health;
pub mod init;
pub mod control_report;
pub mod status;
