//! Runs guests: the only room that knows wasmtime.
//!
//! A [`Sandbox`] looks at uploaded modules and loads them. A [`Module`] brings the guests of its
//! workflows to life and runs the attempts of its activities. What a guest may see is decided
//! here, and it is little: the durable context, the state through a session that the caller hands
//! in, and inert stand-ins for what a standard library imports. This room knows no disk, no
//! network, no schedule; a guest's failure is data that it returns.

mod activity;
mod bindings;
mod engine;
mod guest_log;
mod host_context;
mod host_state;
mod inside;
mod limits;
mod link;
mod look;
mod module;
mod past;
mod prepare;
mod random;
mod reject;
mod trap;
mod wasi;
mod wasi_io;
mod workflow;

pub use activity::{AttemptCall, AttemptEnd, OutsideCall};
pub use engine::{FEATURE_SET, Sandbox};
pub use limits::Limits;
pub use module::Module;
pub use prepare::Prepared;
pub use reject::{Rejected, SetupError, Unusable};
pub use workflow::{Birth, Guest, ReplayError, TurnEnd};
