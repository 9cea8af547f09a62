//! Tests of the simulated world, and of the product in it.

mod world;
mod fleet;
mod histories;
mod objects;
