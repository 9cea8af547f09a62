//! Tests of the simulated world, and of the product in it.

mod world;
mod fleet;
mod growth;
mod histories;
mod objects;
