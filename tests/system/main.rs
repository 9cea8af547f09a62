//! Real processes on real servers, one node each. Every test has a namespace of its own; those that count end with the
//! independent recount: every cell right.

mod answers;
mod bad_records;
mod broken;
mod control;
mod fleet;
mod interrupted;
mod log;
mod operator;
mod refusals;
mod signals;
mod sums;
mod year;
