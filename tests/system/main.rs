//! Real processes on real servers, one of each. Every test has a namespace of its own and ends with the independent
//! recount: every cell right.

mod answers;
mod bad_records;
mod broken;
mod fleet;
mod interrupted;
mod operator;
mod refusals;
