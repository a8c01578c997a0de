//! The sandbox with real guests: those of `workflows/`, and small ones written by hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod attempts;
#[cfg(unix)]
mod code_cache;
mod comparing;
mod guests;
mod http;
mod limits;
mod rejections;
mod replays;
mod stand_ins;
mod turns;
