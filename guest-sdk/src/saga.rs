//! Sagas: steps that are undone, the last first, when a later one fails.

use core::cell::RefCell;
use core::future::Future;
use core::pin::Pin;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::calls::ActivityCall;
use crate::context::Context;
use crate::failure::{Error, Failure, Result, kind};
use crate::options::RetryPolicy;

/// Runs steps that belong together: all of them take effect, or what took effect is undone.
///
/// Each step brings its **compensation**, the call that undoes it. If the steps fail, or the workflow
/// is cancelled while they run, the compensations of those that succeeded run one by one, the last
/// step's first, and the failure goes on to the caller:
///
/// ```
/// use wfhost_sdk::{ActivityContext, Context, Failure, Result, Saga, activity, testing, workflow};
///
/// #[workflow]
/// async fn trip(ctx: Context, to: String) -> Result<()> {
///     Saga::new(&ctx)
///         .run(async |saga| {
///             saga.step(ctx.call::<book_flight>(&to), |ticket| ctx.call::<cancel_flight>(ticket)).await?;
///             saga.step(ctx.call::<book_hotel>(&to), |room| ctx.call::<cancel_hotel>(room)).await?;
///             Ok(())
///         })
///         .await
/// }
/// # #[activity] fn book_flight(_: ActivityContext, to: String) -> Result<u32> { Ok(7) }
/// # #[activity] fn cancel_flight(_: ActivityContext, ticket: u32) -> Result<()> { Ok(()) }
/// # #[activity] fn book_hotel(_: ActivityContext, to: String) -> Result<u32> { Ok(8) }
/// # #[activity] fn cancel_hotel(_: ActivityContext, room: u32) -> Result<()> { Ok(()) }
///
/// let report = testing::workflow::<trip>("Rome".into())
///     .real_activity::<book_flight>()
///     .real_activity::<cancel_flight>()
///     .activity("book_hotel", |_: String| -> Result<u32> { Err(Failure::new("full", "no rooms").into()) })
///     .run();
/// assert_eq!(report.activity_names(), ["book_flight", "book_hotel", "cancel_flight"]);
/// assert_eq!(report.failure().unwrap().kind(), "full");
/// ```
///
/// Compensations are ordinary calls: recorded, so that a crash between two of them loses neither, and
/// retried, until they succeed unless [`retry`](Self::retry) says otherwise. A cancellation does not cut
/// them off, be it a second one: it is shown by the next wait after the saga. What no compensation can
/// answer is the end of the workflow itself: if it is terminated, or panics, none runs.
///
/// # Steps that may have taken effect though they failed
///
/// [`step`](SagaSteps::step) registers a compensation once the step succeeded. That is right for an
/// activity without effects outside of the host, which takes effect with its result or not at all.
/// One with such effects may have had them though it timed out or was interrupted: for it,
/// [`compensate`](SagaSteps::compensate) *before* the call, by an activity that copes with nothing to
/// undo.
///
/// # What must not be dropped
///
/// A future that is dropped can undo nothing. Put a timeout among the steps, not around
/// [`run`](Self::run), and run steps at once with `join!`, which waits for all, not with `try_join!`,
/// which drops those that are under way when one fails.
///
/// # When a compensation fails
///
/// The others still run. Then the saga fails with a [`Failure`] of kind
/// [`compensation-failed`](kind::COMPENSATION_FAILED) whose message names both: whoever matches on the
/// kind of the first failure takes it that all was undone, and a cancelled workflow would show nothing
/// of it. Its details are
/// `{"cause": {"kind", "message", "details"}, "failed": [{"name", "kind", "message"}]}`.
#[must_use = "a saga does nothing until it is given its steps with `run`"]
pub struct Saga {
    ctx: Context,
    retry: RetryPolicy,
}

impl Saga {
    /// A saga whose compensations are retried until they succeed, by [`RetryPolicy::forever`].
    pub fn new(ctx: &Context) -> Self {
        Self {
            ctx: ctx.clone(),
            retry: RetryPolicy::forever(),
        }
    }

    /// How compensations are retried that bring no policy of their own.
    ///
    /// A failure that says that no retry may help ends the retries under any policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Runs the steps. If they succeed the compensations are forgotten, else they run.
    ///
    /// A [continuation](Context::continue_as_new) is no failure: the compensations are forgotten.
    ///
    /// # Errors
    /// What the steps failed with, after all compensations succeeded; else `compensation-failed`.
    pub async fn run<T>(self, steps: impl AsyncFnOnce(&SagaSteps) -> Result<T>) -> Result<T> {
        let saga = SagaSteps {
            ctx: self.ctx,
            retry: self.retry,
            compensations: RefCell::default(),
        };
        // What the steps still have under way is dropped before anything is undone.
        let error = match steps(&saga).await {
            Ok(output) => return Ok(output),
            Err(error) if error.is_continuation() => return Err(error),
            Err(error) => error,
        };
        let mut failed = Vec::new();
        while let Some(compensation) = saga.take_last() {
            if let Err(failure) = saga.ctx.shielded(compensation.work).await {
                failed.push((compensation.name, failure));
            }
        }
        Err(both(error, &failed))
    }
}

/// The steps of a [`Saga`] under way: what there is to undo.
pub struct SagaSteps {
    ctx: Context,
    retry: RetryPolicy,
    compensations: RefCell<Vec<Compensation>>,
}

struct Compensation {
    name: String,
    work: Pin<Box<dyn Future<Output = Result<()>>>>,
}

impl SagaSteps {
    /// Takes one step, and registers what undoes it if it succeeds.
    ///
    /// The step is anything that can be awaited in a workflow; its value goes to `undo`, which only
    /// makes the call. The step is not retried unless it has a policy of its own.
    ///
    /// A cancellation does not cut the step off, since nobody could tell then whether it took
    /// effect: the step comes to its end, and the next step or wait shows the cancellation. Bound one
    /// that may take long by a [timeout](ActivityCall::total_timeout), and wait for events and timers
    /// outside of steps.
    ///
    /// # Errors
    /// What the step fails with, or `cancelled` before it was asked; nothing is registered then.
    pub async fn step<T, U: DeserializeOwned + 'static>(
        &self,
        step: impl Future<Output = Result<T, Failure>>,
        undo: impl FnOnce(&T) -> ActivityCall<U>,
    ) -> Result<T, Failure> {
        if let Some(cancelled) = self.ctx.take_unseen_cancellation() {
            return Err(cancelled);
        }
        let value = self.ctx.shielded(step).await?;
        self.compensate(undo(&value));
        Ok(value)
    }

    /// Registers an activity call that undoes what was done, or is about to be.
    pub fn compensate<U: DeserializeOwned + 'static>(&self, call: ActivityCall<U>) {
        let name = call.name().unwrap_or("an activity").to_owned();
        let call = call.retry_unless_given(&self.retry);
        self.register(name, async move { Ok(call.await.map(drop)?) });
    }

    /// Registers anything durable that undoes what was done, or is about to be: children, events, several
    /// calls. It runs at most once, and retries only what it retries itself.
    ///
    /// `name` is what a failure of it is told by.
    ///
    /// ```no_run
    /// # use wfhost_sdk::{Context, Result, Saga, workflow};
    /// # #[workflow]
    /// # async fn example(ctx: Context, order: String) -> Result<()> {
    /// # Saga::new(&ctx).run(async |saga| {
    /// let (inner, id) = (ctx.clone(), order.clone());
    /// saga.compensate_with("tell the warehouse", async move || {
    ///     inner.raise_event(id, "given-up", &()).await?;
    ///     Ok(())
    /// });
    /// # Ok(())
    /// # }).await
    /// # }
    /// ```
    pub fn compensate_with(
        &self,
        name: impl Into<String>,
        work: impl AsyncFnOnce() -> Result<()> + 'static,
    ) {
        self.register(name.into(), async move { work().await });
    }

    fn register(&self, name: String, work: impl Future<Output = Result<()>> + 'static) {
        let work = Box::pin(work);
        self.compensations
            .borrow_mut()
            .push(Compensation { name, work });
    }

    fn take_last(&self) -> Option<Compensation> {
        self.compensations.borrow_mut().pop()
    }
}

/// What the saga fails with.
fn both(error: Error, failed: &[(String, Error)]) -> Error {
    if failed.is_empty() {
        return error;
    }
    let names: Vec<String> = failed
        .iter()
        .map(|(name, failure)| format!("{name} ({failure})"))
        .collect();
    let message = format!(
        "{error}; then this could not be undone: {}",
        names.join(", ")
    );
    let details = json!({
        "cause": {
            "kind": error.kind(),
            "message": error.message(),
            "details": error.details::<Value>(),
        },
        "failed": failed
            .iter()
            .map(|(name, failure)| {
                json!({ "name": name, "kind": failure.kind(), "message": failure.message() })
            })
            .collect::<Vec<Value>>(),
    });
    Failure::new(kind::COMPENSATION_FAILED, message)
        .not_retryable()
        .with_details(&details)
        .into()
}
