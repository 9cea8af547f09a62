//! Growth: what fleets of different sizes ask of ZooKeeper, by the production code in a world without faults, and the laws
//! that it follows. Counts are exact and the same on every machine; how long things take is not measured here.
//!
//! One world for each [`shape`](Shape): the fleet starts, rests, is rebalanced, is restored while few events arrive, and
//! then counts as many as it can (`phases`). `law` fits what was counted, `tables` and `plot` show both.

mod shape;
mod load;
mod phases;
mod results;
mod law;
mod tables;
mod plot;

pub use phases::{Growth, Requests, Restoration, measure};
#[cfg(test)]
pub(crate) use phases::{measure_rebalance, measure_restoration, measure_start, measure_steady};
pub use plot::draw;
pub use results::Results;
pub use shape::Shape;
pub use tables::{markdown, published};
