//! The host as the rest of this crate sees it: the imports themselves, or outside of Wasm the
//! stand-in that tests run on.

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::workflow::wfhost::durable::context::{
    answer_update, await_event, call_activity, call_workflow, cancel, create_timer, info, now,
    patched, raise_event, random, set_custom_status,
};
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::stand_in::context::*;

pub(crate) use crate::bindings::workflow::wfhost::durable::context::{
    ActivityOptions, ChildOptions, Task,
};

/// The state store.
pub(crate) mod state {
    #[cfg(target_family = "wasm")]
    pub(crate) use crate::bindings::workflow::wfhost::durable::state::{delete, get, scan, set};
    #[cfg(not(target_family = "wasm"))]
    pub(crate) use crate::testing::stand_in::state::*;

    pub(crate) use crate::bindings::workflow::wfhost::durable::state::{Entry, WriteOptions};
}

/// The log.
pub(crate) mod log {
    #[cfg(target_family = "wasm")]
    pub(crate) use crate::bindings::workflow::wfhost::durable::log::{panicked, write};
    #[cfg(not(target_family = "wasm"))]
    pub(crate) use crate::testing::stand_in::log::*;

    pub(crate) use crate::bindings::workflow::wfhost::durable::log::Level;
}
