//! Tests live beside this file, one folder a binary.
