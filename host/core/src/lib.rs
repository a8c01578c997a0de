//! The rules of durable execution.
//!
//! An instance is exactly the fold of its history: [`Instance::apply`] is the only way in which it
//! changes, live and at recovery alike. What may happen next is decided by the pure functions of
//! [`decide`], which return records; nothing here knows a clock, a disk, a thread or a guest.

#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod binding;
pub mod codec;
pub mod comparison;
pub mod decide;
pub mod deployment;
mod due;
mod failure;
mod ids;
mod instance;
pub mod interface;
mod json;
mod module;
pub mod record;
pub mod replay;
pub mod rerun;
pub mod reset;
pub mod schedule;
pub mod schema;
pub mod state;
mod time;
mod trace;

pub use binding::{Binding, Bindings, Candidate, InvalidShare, Share};
pub use deployment::{Deployment, DeploymentKind, DeploymentNumber, Moved};
pub use due::Work;
pub use failure::{Failure, RetryPolicy, kind};
pub use ids::{
    Digest, DigestBuilder, DurationMs, EventName, InstanceId, InvalidId, InvalidName, Name,
    Position, RunId, TaskId,
};
pub use instance::{BrokenHistory, Delivered, Input, Instance, Status, Task, TaskState};
pub use json::{InvalidJson, Json};
pub use module::{Definition, ModuleInfo, Role};
pub use time::Timestamp;
pub use trace::Trace;
