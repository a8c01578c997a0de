//! Write durable workflows and activities for wfhost.
//!
//! A **workflow** is an ordinary `async fn`. Whatever it waits for is recorded by the host, so after
//! a crash it goes on where it was. An **activity** is an ordinary `fn` that a workflow calls for
//! one step. Both are compiled to one WebAssembly module:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//! use wfhost_sdk::{ActivityContext, Context, Failure, Result, activity, select, workflow};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order {
//!     item: String,
//!     quantity: u32,
//! }
//!
//! /// Sells an item once someone approved it.
//! #[workflow]
//! async fn sell(ctx: Context, order: Order) -> Result<bool> {
//!     let left = ctx.call::<reserve>(&order).await?;
//!     log::info!("{left} {} left", order.item);
//!     select! {
//!         approved = ctx.event::<bool>("approval") => Ok(approved?),
//!         waited = ctx.sleep(Duration::from_secs(24 * 60 * 60)) => {
//!             waited?;
//!             Ok(false)
//!         }
//!     }
//! }
//!
//! /// Takes what was ordered out of the stock.
//! #[activity]
//! fn reserve(ctx: ActivityContext, order: Order) -> Result<u32> {
//!     let stock: u32 = ctx.state().get(&order.item)?.unwrap_or(0);
//!     let left = stock
//!         .checked_sub(order.quantity)
//!         .ok_or_else(|| Failure::new("out-of-stock", format!("only {stock} left")).not_retryable())?;
//!     ctx.state().set(&order.item, &left)?;
//!     Ok(left)
//! }
//!
//! wfhost_sdk::export!(workflows: [sell], activities: [reserve]);
//! # fn main() {}
//! ```
//!
//! The crate is a `cdylib`, built for `wasm32-unknown-unknown`, which is what `wfhost build` and
//! `wfhost run` do with its folder. A module that wants the standard library's clocks, `HashMap`
//! seeds or `println!` in its workflow is built for `wasm32-wasip2`; the host answers them with what
//! is the same on replay:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [package.metadata.wfhost]
//! target = "wasm32-wasip2" # wasm32-unknown-unknown if left out
//! ```
//!
//! # Waiting
//!
//! [`Context::activity`], [`call`](Context::call), [`child`](Context::child),
//! [`sleep`](Context::sleep), [`event`](Context::event) and their like return futures. They are
//! **lazy**: the host is asked when a future is polled for the first time, so options can be added
//! until then. To run several at once, join them:
//!
//! ```no_run
//! # use wfhost_sdk::*;
//! # async fn example(ctx: Context) -> Result<()> {
//! let (stock, credit) = join!(ctx.activity::<u32>("Stock", "cars"), ctx.activity::<u32>("Credit", "me"));
//! let mut calls: FuturesUnordered<_> = (0..10).map(|n| ctx.activity::<u32>("Square", &n)).collect();
//! while let Some(square) = calls.next().await {
//!     log::info!("{}", square?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! or [start](ActivityCall::start) each and await it later. All of them are `Unpin` and fused: they
//! go into [`select!`], [`join!`] and [`FuturesUnordered`] as they are, and so do `async` blocks after
//! `Box::pin` and `fuse`. What the host accepted first is seen first, also on replay; [`select!`] here
//! looks at its branches in the order written (it is `select_biased!` of the crate `futures`).
//!
//! **Dropping** a future that was asked and is not ready takes it back: a timer is removed, an
//! activity stopped, a child cancelled. An event that had arrived for it goes back to its place, so a
//! [`select!`] in a loop loses none.
//!
//! # Errors
//!
//! A workflow or an activity returns a `Result` with any error: [`Result`] of this crate takes every
//! [`std::error::Error`] by `?`; `anyhow::Result` and enums made by `thiserror` may be returned as
//! they are. What fails is told to the caller as a [`Failure`] with a kind, a message and details.
//! Awaiting a call gives that [`Failure`] back, and `?` passes it on with kind and details:
//!
//! ```no_run
//! # use wfhost_sdk::*;
//! # async fn example(ctx: Context) -> Result<u32> {
//! match ctx.activity::<u32>("Reserve", "cars").await {
//!     Err(failure) if failure.kind() == "out-of-stock" => Ok(0),
//!     other => Ok(other?),
//! }
//! # }
//! ```
//!
//! A panic is a failure of kind `panic` that names file and line.
//!
//! # Cancellation
//!
//! A workflow that is asked to cancel learns it as a failure of kind `cancelled`: every wait that is
//! open ends so, once. Later waits work as ever, so that the workflow can clean up. If it returns
//! that failure it ends as cancelled; whatever else it returns counts as its result.
//!
//! [`Context::shielded`] work is not cut off by a cancellation, and a [`Saga`] undoes the steps that
//! succeeded before one failed or the workflow was cancelled.
//!
//! # Determinism
//!
//! After a crash the host runs a workflow's code again and expects the same questions in the same
//! order. Take the time from [`Context::now`] and random numbers from [`Context::random`]; anything
//! else that code in the sandbox can reach is the same again by itself.
//!
//! # Schemas
//!
//! A type that derives [`JsonSchema`] travels with the module as JSON Schema: `wfhost modules --json`
//! shows what each workflow and activity takes and gives, and a deployment that changes it so that
//! old callers cannot meet it any more is told before it happens. Import [`schemars`] with the derive:
//! the code that it writes names that crate.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use wfhost_sdk::{Context, JsonSchema, Result, Workflow as _, schemars, workflow};
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Order {
//!     item: String,
//!     #[serde(default)]
//!     gift: bool,
//! }
//!
//! #[workflow]
//! async fn sell(ctx: Context, order: Order) -> Result<String> {
//!     Ok(order.item)
//! }
//!
//! let schema = sell::input_schema().unwrap();
//! assert!(schema.contains(r#""required":["item"]"#));
//! ```
//!
//! It is asked for only when a module is deployed, and reads serde's attributes. What serde alone
//! cannot say, such as the type behind `deserialize_with`, is said with `#[schemars(…)]`. A type
//! without it works as ever; nothing is claimed of it then. The feature `schemas`, on by default, holds
//! all of this; it adds 13 KB to a module, and 5 KB for each type.
//!
//! # Testing
//!
//! A workflow is tested natively, without a host and without Wasm, by plain `cargo test`: [`testing`]
//! runs it with scripted activities, events and cancellations, in virtual time. The crate needs the
//! type `rlib` besides `cdylib` only if the tests are in a folder `tests/` of their own. An activity is
//! a function, to be called with [`ActivityContext::for_test`].
//!
//! ```
//! use std::time::Duration;
//! use wfhost_sdk::{ActivityContext, Context, Result, activity, testing, workflow};
//!
//! /// Reminds of something after a month.
//! #[workflow]
//! async fn remind(ctx: Context, what: String) -> Result<String> {
//!     ctx.sleep(Duration::from_secs(30 * 24 * 60 * 60)).await?;
//!     Ok(ctx.call::<shout>(&what).await?)
//! }
//!
//! /// Makes it loud.
//! #[activity]
//! fn shout(_: ActivityContext, what: String) -> Result<String> {
//!     Ok(what.to_uppercase())
//! }
//!
//! let report = testing::workflow::<remind>("rent".into()).real_activity::<shout>().run();
//! assert_eq!(report.output().unwrap(), "RENT");
//! assert_eq!(report.elapsed().as_secs(), 2_592_000);
//!
//! let report = testing::workflow::<remind>("rent".into()).cancel_at(Duration::from_secs(9)).run();
//! assert!(report.activities().is_empty());
//!
//! assert_eq!(shout(ActivityContext::for_test(), "rent".into()).unwrap(), "RENT");
//! ```

mod activity;
#[cfg(all(feature = "allocator", target_arch = "wasm32", target_os = "unknown"))]
mod allocator;
#[expect(missing_docs, reason = "generated by wit-bindgen")]
mod bindings;
mod calls;
mod context;
mod failure;
mod guest;
mod host;
mod json;
mod logging;
mod options;
mod reactor;
mod saga;
mod schema;
mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod time;
mod workflow;

pub use activity::{Activity, ActivityContext};
pub use calls::{ActivityCall, ChildCall, Until, Wait};
pub use context::{Context, InstanceInfo};
pub use failure::{Classify, Continuation, Error, Failure, Result, ResultExt, classified, kind};
pub use options::RetryPolicy;
pub use saga::{Saga, SagaSteps};
pub use state::{Entry, State, WriteOptions};
pub use time::{InvalidTimestamp, Timestamp};
pub use workflow::Workflow;

pub use futures::future::{join_all, select_all, try_join_all};
pub use futures::stream::{self, FuturesOrdered, FuturesUnordered, StreamExt};
pub use futures::{join, select_biased as select, try_join};
#[cfg(feature = "schemas")]
pub use schemars::{self, JsonSchema};
pub use wfhost_sdk_macros::{activity, workflow};

/// What the macros write into an author's crate. Not for use by hand; may change at any time.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::activity::exports::wfhost::durable::activity as activity_exports;
    pub use crate::bindings::workflow::exports::wfhost::durable::workflow as workflow_exports;
    pub use crate::bindings::workflow::wfhost::durable::types;
    pub use crate::bindings::{activity, workflow};
    pub use crate::failure::{Outcome, convert};
    pub use crate::guest::{Activities, ActivityEntry, WorkflowEntry, Workflows, assert_unique};
    pub mod schema {
        pub use crate::schema::{Known, Of, Unknown};
    }
}
