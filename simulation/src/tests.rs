//! Tests of the world itself, and of the product in it.

mod world;
mod histories;
