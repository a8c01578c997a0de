//! The integration tests: real guests, real files, real processes.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod bad_input;
mod bench;
mod bounds;
mod capsules;
mod code_cache;
mod commands;
mod contention;
mod effectful;
mod guests;
mod http;
mod interfaces;
mod keeping;
mod kill;
mod moving;
mod new;
mod order;
mod parked;
mod registry;
mod replays;
mod resetting;
mod scale;
mod schedules;
mod semantics;
mod serve;
mod support;
mod swap;
mod wasi;
