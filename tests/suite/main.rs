//! The integration tests: real guests, real files, real processes.

mod bad_input;
mod contention;
mod effectful;
mod kill;
mod order;
mod replays;
mod semantics;
mod support;
mod wasi;
