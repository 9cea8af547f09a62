//! What a request to the API may ask, and what is wrong with one.
//!
//! [`request_body`] reads a body within bounds; [`query_string`] takes the parameters of an address or a body apart; [`params`], [`query_request`] and
//! [`command_request`] parse them strictly; [`query_size`] bounds a query; [`same_origin`] keeps pages of others from giving commands. Anything that goes wrong is a [`problem`], which names
//! the parameter and shows a request that works. Nothing here reads a count.

pub mod problem;
pub mod query_string;
pub mod params;
pub mod query_request;
pub mod query_size;
pub mod command_request;
pub mod same_origin;
pub mod request_body;
