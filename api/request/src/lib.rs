//! What a request to the API may ask, and what is wrong with one.
//!
//! [`query_string`] takes the parameters of an address or a body apart, and [`params`] parses them strictly. Anything that
//! goes wrong is a [`problem`], which names the parameter and shows a request that works. Nothing here reads a count.

pub mod problem;
pub mod query_string;
pub mod params;
