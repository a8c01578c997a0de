//! What durable execution means, as whole histories.
//!
//! Each scenario is run three ways: straight through; with every guest evicted after its turn, so
//! that each turn begins with a replay; and with a crash after every submission, so that each step
//! begins with a recovery. All three must give the same histories, and those are the snapshots in
//! `snapshots/`. `UPDATE_EXPECT=1 cargo test --test conformance` writes them anew.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod activities;
mod children;
mod continuing;
mod control;
mod events;
mod ids;
mod stalls;
mod state;
mod timers;
mod updates;
mod world;
