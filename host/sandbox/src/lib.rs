//! Runs guests: the only room that knows wasmtime.
//!
//! A [`Sandbox`] looks at uploaded modules and loads them. A [`Module`] brings the guests of its
//! workflows to life and runs the attempts of its activities. What a guest may see is decided
//! here, and it is little: the durable context, the state through a session that the caller hands
//! in, inert stand-ins for what a standard library imports, and for an activity HTTP requests to
//! the hosts that the caller allows. This room knows no schedule, and of the disk one folder that
//! holds compiled code and that no guest sees; a guest's failure is data that it returns.

mod activity;
mod address;
mod allowed_host;
mod bindings;
mod birth;
mod code_cache;
mod effectful;
mod engine;
mod grant;
mod guest_log;
mod host_context;
mod host_state;
mod http;
mod http_body;
mod http_request;
mod http_target;
mod inside;
mod limits;
mod link;
mod look;
mod module;
mod past;
mod prepare;
mod random;
mod reject;
mod stop_flag;
mod trap;
mod wasi;
mod wasi_io;
mod wasi_waiting;
mod workflow;

pub use activity::{AttemptCall, AttemptEnd, OutsideCall};
pub use allowed_host::{AllowedHost, InvalidHost};
pub use birth::{Birth, Origin};
pub use engine::{FEATURE_SET, FEATURES, Sandbox};
pub use grant::{Grant, Grants};
pub use limits::Limits;
pub use link::reaches_outside;
pub use module::Module;
pub use prepare::Prepared;
pub use reject::{Rejected, SetupError, Unusable};
pub use stop_flag::StopFlag;
pub use workflow::{Guest, ReplayError, TurnEnd};
