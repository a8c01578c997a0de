//! Activities: what they are given, and how they are named.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::activity::exports::wfhost::durable::activity::Invocation;
use crate::failure::Result;
use crate::state::State;
use crate::time::Timestamp;

/// An activity that can be exported and called with its own types; made by `#[activity]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no activity",
    label = "put `#[activity]` on the function"
)]
pub trait Activity: 'static {
    /// What it takes.
    type Input: DeserializeOwned;
    /// What it gives.
    type Output: Serialize;
    /// The name that it is called by, 1 to 200 bytes.
    const NAME: &'static str;
    /// What it does, for a person to read.
    const DESCRIPTION: &'static str;

    /// JSON Schema of the input as text, if its type has one.
    #[must_use]
    fn input_schema() -> Option<String> {
        None
    }

    /// JSON Schema of the output as text, if its type has one.
    #[must_use]
    fn output_schema() -> Option<String> {
        None
    }

    /// Runs one attempt.
    ///
    /// # Errors
    /// Whatever the function fails with.
    fn run(ctx: ActivityContext, input: Self::Input) -> Result<Self::Output>;
}

/// What an attempt of an activity knows and may use.
#[derive(Clone, Debug)]
pub struct ActivityContext {
    instance: String,
    attempt: u32,
    idempotency_key: String,
    deadline: Option<Timestamp>,
}

impl ActivityContext {
    pub(crate) fn new(invocation: Invocation) -> Self {
        Self {
            instance: invocation.instance,
            attempt: invocation.attempt,
            idempotency_key: invocation.idempotency_key,
            deadline: invocation.deadline.map(Timestamp::from_unix_millis),
        }
    }

    /// A context to call an activity function with in a test: instance `test`, first attempt.
    ///
    /// A state store in memory comes with it, empty at first, which its clones share: calls with
    /// the same context see what the others wrote. A thread has one such store, so that the next
    /// context made here empties it.
    ///
    /// ```
    /// # use wfhost_sdk::{ActivityContext, Result, activity};
    /// #[activity]
    /// fn count(ctx: ActivityContext, key: String) -> Result<u32> {
    ///     let count = ctx.state().get(&key)?.unwrap_or(0) + 1;
    ///     ctx.state().set(&key, &count)?;
    ///     Ok(count)
    /// }
    ///
    /// let ctx = ActivityContext::for_test();
    /// assert_eq!(count(ctx.clone(), "visits".into())?, 1);
    /// assert_eq!(count(ctx.clone(), "visits".into())?, 2);
    /// assert_eq!(ctx.state().get("visits")?, Some(2));
    /// # Ok::<(), wfhost_sdk::Error>(())
    /// ```
    #[cfg(not(target_family = "wasm"))]
    pub fn for_test() -> Self {
        crate::testing::stand_in::start_with_empty_store();
        Self {
            instance: "test".into(),
            attempt: 1,
            idempotency_key: "test".into(),
            deadline: None,
        }
    }

    /// The id of the workflow instance that called.
    pub fn id(&self) -> &str {
        &self.instance
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The same over all attempts of this call, and of no other: hand it to services that deduplicate.
    pub fn idempotency_key(&self) -> &str {
        &self.idempotency_key
    }

    /// When the host stops this attempt, if ever.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// The state store. Writes take effect together with the activity's result, or not at all.
    pub fn state(&self) -> State {
        State::new()
    }
}
