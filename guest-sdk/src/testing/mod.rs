//! Runs a workflow in a test: natively, at once, with the world played by a script.
//!
//! No host, no Wasm and no waiting: time is virtual. It stands still while the workflow works and
//! jumps to whatever comes next, so that a workflow that sleeps for a month is done in microseconds.
//! The workflow's code runs as it does in a module; its activities are closures by name, or the real
//! functions.
//!
//! ```
//! use std::time::Duration;
//! use wfhost_sdk::{ActivityContext, Context, Failure, Result, RetryPolicy, activity, select, testing, workflow};
//!
//! #[workflow]
//! async fn sell(ctx: Context, item: String) -> Result<u32> {
//!     let left = ctx.call::<reserve>(&item).retry(RetryPolicy::attempts(3)).await?;
//!     select! {
//!         approved = ctx.event::<bool>("approval") => Ok(if approved? { left } else { left + 1 }),
//!         waited = ctx.sleep(Duration::from_secs(60)) => {
//!             waited?;
//!             Err(Failure::new("no-answer", "nobody approved").into())
//!         }
//!     }
//! }
//!
//! #[activity]
//! fn reserve(ctx: ActivityContext, item: String) -> Result<u32> {
//!     let left = ctx.state().get(&item)?.unwrap_or(0u32);
//!     let left = left.checked_sub(1).ok_or_else(|| Failure::new("sold-out", "none left"))?;
//!     ctx.state().set(&item, &left)?;
//!     Ok(left)
//! }
//!
//! // The activity as a closure, and an event that is there from the start.
//! let report = testing::workflow::<sell>("cars".into())
//!     .activity("reserve", |_: String| Ok(90))
//!     .event("approval", &true)
//!     .run();
//! assert_eq!(report.output().unwrap(), &90);
//! assert_eq!(report.activities()[0].input, "cars");
//!
//! // The real activity, on a state store in memory. The timer fires at once, 60 s later.
//! let report = testing::workflow::<sell>("cars".into())
//!     .real_activity::<reserve>()
//!     .state("cars", &5)
//!     .run();
//! assert_eq!(report.failure().unwrap().kind(), "no-answer");
//! assert_eq!(report.state("cars"), Some(4));
//! assert_eq!(report.elapsed(), Duration::from_secs(60));
//!
//! // A failure that goes away: the third attempt is made after 1 s and 2 s.
//! let mut failures = 2;
//! let report = testing::workflow::<sell>("cars".into())
//!     .activity("reserve", move |_: String| match failures {
//!         0 => Ok(7),
//!         _ => {
//!             failures -= 1;
//!             Err(Failure::new("busy", "try again").into())
//!         }
//!     })
//!     .event_at(Duration::from_secs(10), "approval", &true)
//!     .run();
//! assert_eq!(report.output().unwrap(), &7);
//! assert_eq!(report.activities()[0].attempts, 3);
//!
//! // A workflow that waits for what never comes is told apart, with what it waits for.
//! let report = testing::workflow::<sell>("cars".into())
//!     .activity("reserve", |_: String| Ok(90))
//!     .run_until(Duration::from_secs(5));
//! assert_eq!(report.waits_for()[0], "the event \"approval\"");
//! ```
//!
//! What a test cannot show this way: that a change of the code still replays old histories, which
//! `wfhost replay` shows, and limits of the sandbox.

mod calls;
mod driver;
mod report;
mod scenario;
pub(crate) mod stand_in;
mod store;
mod tasks;

pub use report::{Answer, Call, End, RaisedEvent, Report};
pub use scenario::{Scenario, workflow};
pub use stand_in::LogLine;
