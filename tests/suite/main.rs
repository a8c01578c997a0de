//! The integration tests: real guests, real files, real processes.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod bad_input;
mod commands;
mod contention;
mod effectful;
mod guests;
mod kill;
mod order;
mod replays;
mod semantics;
mod support;
mod wasi;
