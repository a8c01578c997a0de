//! What a workflow may ask of its host.

use core::future::Future;
use core::time::Duration;
use std::borrow::Cow;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::activity::Activity;
use crate::calls::{
    ActivityCall, ChildCall, Command, RawWait, Until, Wait, decode_event, decode_nothing,
};
use crate::failure::{Continuation, Error, Failure, Result, kind};
use crate::host;
use crate::json;
use crate::reactor::{Reactor, UpdateHandler};
use crate::state::State;
use crate::time::Timestamp;
use crate::workflow::Workflow;

/// The durable context of a workflow: everything that it may learn from, or ask of, the world.
///
/// It is a handle, cheap to clone and to move into futures and closures. Whatever comes through
/// it is recorded by the host, so that a replay after a crash goes the same way again.
#[derive(Clone)]
pub struct Context {
    reactor: Rc<Reactor>,
}

/// Who the running workflow is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceInfo {
    /// The instance's id.
    pub id: String,
    /// Names this start of the instance; another start of the same id has another.
    pub run: String,
    /// The name that the workflow was started by.
    pub workflow: String,
    /// The id of the parent, for a child.
    pub parent: Option<String>,
    /// When the run was started.
    pub started_at: Timestamp,
    /// Counts the continue-as-new generations from 0.
    pub generation: u32,
}

impl Context {
    pub(crate) fn new(reactor: Rc<Reactor>) -> Self {
        Self { reactor }
    }

    /// Who this workflow is.
    pub fn info(&self) -> InstanceInfo {
        let info = host::info();
        InstanceInfo {
            id: info.id,
            run: info.run,
            workflow: info.workflow,
            parent: info.parent,
            started_at: Timestamp::from_unix_millis(info.started_at),
            generation: info.generation,
        }
    }

    /// The id of this instance.
    pub fn id(&self) -> String {
        host::info().id
    }

    /// The time of this turn: it stands still until the workflow has waited, and is the same on replay.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(host::now())
    }

    /// The next number of a stream of random numbers that is the same on replay. Not for secrets.
    pub fn random(&self) -> u64 {
        host::random()
    }

    /// A random UUID (version 4) that is the same on replay: two numbers of [`random`](Self::random).
    pub fn uuid(&self) -> String {
        uuid_v4(self.random(), self.random())
    }

    /// True if this code path was first reached by code that has the change `id`.
    ///
    /// The first answer for an id is recorded and holds, so code that changed can keep instances
    /// that are under way on the old path:
    ///
    /// ```no_run
    /// # async fn example(ctx: wfhost_sdk::Context) -> wfhost_sdk::Result<()> {
    /// if ctx.patched("notify-by-mail") {
    ///     ctx.activity::<()>("MailActivity", "done").await?;
    /// } else {
    ///     ctx.activity::<()>("NotifyActivity", "done").await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn patched(&self, id: &str) -> bool {
        host::patched(id)
    }

    /// The state store, read and written by the workflow itself; its writes commit with the turn.
    pub fn state(&self) -> State {
        State::new()
    }

    /// Calls an activity by its name, whichever module offers it.
    ///
    /// Fails with the activity's failure, or as `invalid-output` if its result is no `T`.
    pub fn activity<T: DeserializeOwned>(
        &self,
        name: impl Into<Cow<'static, str>>,
        input: &(impl Serialize + ?Sized),
    ) -> ActivityCall<T> {
        let name = name.into();
        ActivityCall::new(self.wait_with_input(input, |input| Command::CallActivity {
            name,
            input,
            options: host::ActivityOptions {
                retry: None,
                attempt_timeout: None,
                total_timeout: None,
                at_most_once: false,
            },
        }))
    }

    /// Calls an `#[activity]` function, with its own types: `ctx.call::<notify>(&notification)`.
    pub fn call<A>(&self, input: &A::Input) -> ActivityCall<A::Output>
    where
        A: Activity<Input: Serialize, Output: DeserializeOwned>,
    {
        self.activity(A::NAME, input)
    }

    /// Starts a child workflow by its name, and resolves to its result.
    pub fn child<T: DeserializeOwned>(
        &self,
        name: impl Into<Cow<'static, str>>,
        input: &(impl Serialize + ?Sized),
    ) -> ChildCall<T> {
        let name = name.into();
        ChildCall::new(self.wait_with_input(input, |input| Command::CallWorkflow {
            name,
            input,
            options: host::ChildOptions {
                id: None,
                retry: None,
                tags: Vec::new(),
                detached: false,
                same_deployment: false,
            },
        }))
    }

    /// Starts a `#[workflow]` function as a child, with its own types: `ctx.call_child::<order>(&input)`.
    pub fn call_child<W>(&self, input: &W::Input) -> ChildCall<W::Output>
    where
        W: Workflow<Input: Serialize, Output: DeserializeOwned>,
    {
        self.child(W::NAME, input)
    }

    /// Waits durably for so long from now on, rounded up to milliseconds. Never wakes early, survives restarts.
    pub fn sleep(&self, duration: Duration) -> Wait<()> {
        self.sleep_until(self.now() + duration)
    }

    /// Waits durably until then; a time that has passed is over at once.
    pub fn sleep_until(&self, at: Timestamp) -> Wait<()> {
        self.wait(Ok(Command::CreateTimer { fires_at: at }), decode_nothing)
    }

    /// The oldest unread event of that name, or the next to arrive. Names are compared without case.
    ///
    /// Fails as `invalid-payload` if the event is no `T`; it counts as read then.
    pub fn event<T: DeserializeOwned>(&self, name: impl Into<Cow<'static, str>>) -> Wait<T> {
        self.wait(Ok(Command::AwaitEvent { name: name.into() }), decode_event)
    }

    /// Raises an event for another instance; ready when it has been handed over.
    ///
    /// Fails as `no-such-instance` or `ended`.
    pub fn raise_event(
        &self,
        instance: impl Into<String>,
        name: impl Into<Cow<'static, str>>,
        payload: &(impl Serialize + ?Sized),
    ) -> Wait<()> {
        let payload = json::encode(payload, kind::INVALID_PAYLOAD, "the event");
        let (instance, name) = (instance.into(), name.into());
        let command = payload.map(|payload| Command::RaiseEvent {
            instance,
            name,
            payload,
        });
        self.wait(command, decode_nothing)
    }

    /// Runs work that a cancellation must not cut off, such as giving back what was taken.
    ///
    /// The waits within are asked and awaited as if nobody had cancelled. A cancellation that comes
    /// meanwhile is shown by the next wait outside. Dropping the future still drops the work.
    ///
    /// ```no_run
    /// # use wfhost_sdk::{Context, Result, workflow};
    /// # #[workflow]
    /// # async fn example(ctx: Context, card: String) -> Result<()> {
    /// let shipped = ctx.activity::<()>("Ship", &card).await;
    /// if shipped.is_err() {
    ///     ctx.shielded(ctx.activity::<()>("Refund", &card)).await?;
    /// }
    /// # Ok(shipped?)
    /// # }
    /// ```
    pub async fn shielded<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = core::pin::pin!(work);
        core::future::poll_fn(|cx| self.reactor.shielded(|| work.as_mut().poll(cx))).await
    }

    /// The cancellation that the next wait would show.
    pub(crate) fn take_unseen_cancellation(&self) -> Option<Failure> {
        self.reactor.take_unseen_cancellation()
    }

    /// Waits until `condition` holds.
    ///
    /// It is looked at now, and again after each update that [`on_update`](Self::on_update)
    /// answered; a condition that other futures of the workflow change needs no waiting of its own.
    pub fn until<F: FnMut() -> bool>(&self, condition: F) -> Until<F> {
        Until::new(&self.reactor, condition)
    }

    /// Answers updates of that name: messages that change the workflow's state and get an answer.
    ///
    /// The handler sees the workflow's state through an `Rc<RefCell<…>>` or a `Cell` that it
    /// shares, and runs between the workflow's own polls. If it fails, the failure is the answer,
    /// and is recorded. One handler a name; the last one counts. An update without a handler is
    /// refused as `unknown-update`, one whose input is no `I` as `invalid-input`.
    pub fn on_update<I, O>(
        &self,
        name: impl Into<String>,
        handler: impl Fn(I) -> Result<O> + 'static,
    ) where
        I: DeserializeOwned,
        O: Serialize,
    {
        self.on_validated_update(name, |_: &I| Ok(()), handler);
    }

    /// Answers updates of that name that `validator` lets in.
    ///
    /// What the validator refuses never happened: the caller is told its failure, and nothing is
    /// recorded. It only reads, as a [query](Self::on_query) does. As the workflow may have moved on
    /// before an update that was let in arrives, the validator is asked again right before the handler,
    /// which may rely on it; an objection is the answer then.
    ///
    /// ```
    /// # use std::{cell::Cell, rc::Rc};
    /// # use wfhost_sdk::{Context, Failure, Result, workflow};
    /// #[workflow]
    /// async fn collect(ctx: Context, goal: u32) -> Result<u32> {
    ///     let sum = Rc::new(Cell::new(0));
    ///     let given = Rc::clone(&sum);
    ///     ctx.on_validated_update(
    ///         "give",
    ///         |amount: &u32| match amount {
    ///             0 => Err(Failure::new("nothing", "give at least 1").not_retryable().into()),
    ///             _ => Ok(()),
    ///         },
    ///         move |amount| {
    ///             given.set(given.get() + amount);
    ///             Ok(given.get())
    ///         },
    ///     );
    ///     ctx.until(|| sum.get() >= goal).await?;
    ///     Ok(sum.get())
    /// }
    /// ```
    pub fn on_validated_update<I, O>(
        &self,
        name: impl Into<String>,
        validator: impl Fn(&I) -> Result<()> + 'static,
        handler: impl Fn(I) -> Result<O> + 'static,
    ) where
        I: DeserializeOwned,
        O: Serialize,
    {
        let validate = move |input: &str| {
            let input = json::decode(input, kind::INVALID_INPUT, "the input")?;
            validator(&input).map_err(Error::into_failure)
        };
        let answer = move |input: &str| json::through(input, "the answer", &handler);
        let handler = UpdateHandler {
            validate: Box::new(validate),
            answer: Box::new(answer),
        };
        self.reactor.answer_updates(name.into(), handler);
    }

    /// Answers queries of that name: questions about the workflow's state.
    ///
    /// The handler only reads: it runs on a copy of the workflow and may ask nothing of the
    /// context but [`info`](Self::info) and [`now`](Self::now). A query without a handler fails
    /// as `unknown-query`.
    pub fn on_query<I, O>(
        &self,
        name: impl Into<String>,
        handler: impl Fn(I) -> Result<O> + 'static,
    ) where
        I: DeserializeOwned,
        O: Serialize,
    {
        self.reactor.answer_queries(
            name.into(),
            Rc::new(move |input: &str| json::through(input, "the answer", &handler)),
        );
    }

    /// Shows a value beside the instance's status, for whoever looks at it.
    ///
    /// # Errors
    /// `invalid-payload` if the value has no JSON form.
    pub fn set_custom_status(&self, status: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
        let status = json::encode(status, kind::INVALID_PAYLOAD, "the custom status")?;
        host::set_custom_status(&status);
        Ok(())
    }

    /// Ends this generation and starts the next with a fresh history and this input.
    ///
    /// For workflows that run without end. Return what this gives, at once; unread events move along:
    ///
    /// ```no_run
    /// # use wfhost_sdk::{Context, Result, workflow};
    /// #[workflow]
    /// async fn heartbeat(ctx: Context, beats: u64) -> Result<()> {
    ///     ctx.sleep(std::time::Duration::from_secs(60)).await?;
    ///     Err(ctx.continue_as_new(&(beats + 1))?.into())
    /// }
    /// ```
    ///
    /// # Errors
    /// `invalid-input` if the input has no JSON form.
    pub fn continue_as_new(
        &self,
        input: &(impl Serialize + ?Sized),
    ) -> Result<Continuation, Failure> {
        let input = json::encode(input, kind::INVALID_INPUT, "the input")?;
        Ok(Continuation {
            input,
            current_module: false,
        })
    }

    fn wait<T>(
        &self,
        command: Result<Command, Failure>,
        decode: fn(&str) -> Result<T, Failure>,
    ) -> Wait<T> {
        Wait::new(RawWait::new(&self.reactor, command), decode)
    }

    fn wait_with_input(
        &self,
        input: &(impl Serialize + ?Sized),
        command: impl FnOnce(String) -> Command,
    ) -> RawWait {
        let input = json::encode(input, kind::INVALID_INPUT, "the input");
        RawWait::new(&self.reactor, input.map(command))
    }
}

/// Writes 128 random bits as a UUID of version 4, variant 1 (RFC 9562).
fn uuid_v4(high: u64, low: u64) -> String {
    let high = high & !0xf000 | 0x4000;
    let low = low >> 2 | 1 << 63;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::uuid_v4;

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        assert_eq!(uuid_v4(0, 0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(
            uuid_v4(u64::MAX, u64::MAX),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
    }
}
