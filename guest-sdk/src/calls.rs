//! The futures that a workflow waits on.
//!
//! All are lazy: the first poll asks the host, so building a call and dropping it costs nothing.
//! All are `Unpin` and fused, so `select!` and `FuturesUnordered` take them as they are. Dropping
//! one that was asked and is not ready cancels its task.

use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{self, Poll};
use core::time::Duration;
use std::borrow::Cow;
use std::rc::Rc;

use futures::future::FusedFuture;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, Result, kind};
use crate::host::{self, ActivityOptions, ChildOptions, Task};
use crate::json;
use crate::options::RetryPolicy;
use crate::reactor::{Reactor, Slot, TaskOutcome};
use crate::time::{Timestamp, millis_rounded_up};

/// What a wait asks of the host.
pub(crate) enum Command {
    CallActivity {
        name: Cow<'static, str>,
        input: String,
        options: ActivityOptions,
    },
    CallWorkflow {
        name: Cow<'static, str>,
        input: String,
        options: ChildOptions,
    },
    CreateTimer {
        fires_at: Timestamp,
    },
    AwaitEvent {
        name: Cow<'static, str>,
    },
    RaiseEvent {
        instance: String,
        name: Cow<'static, str>,
        payload: String,
    },
}

impl Command {
    fn ask(&self) -> Task {
        match self {
            Self::CallActivity {
                name,
                input,
                options,
            } => host::call_activity(name, input, options),
            Self::CallWorkflow {
                name,
                input,
                options,
            } => host::call_workflow(name, input, options),
            Self::CreateTimer { fires_at } => host::create_timer(fires_at.unix_millis()),
            Self::AwaitEvent { name } => host::await_event(name),
            Self::RaiseEvent {
                instance,
                name,
                payload,
            } => host::raise_event(instance, name, payload),
        }
    }
}

/// One task from before it is asked until its outcome is taken; knows nothing of types.
pub(crate) struct RawWait {
    reactor: Rc<Reactor>,
    phase: Phase,
}

enum Phase {
    Unasked(Command),
    Asked {
        task: Task,
        slot: Rc<Slot>,
        is_event: bool,
    },
    /// Never asked, for this reason.
    Refused(Failure),
    Done,
}

impl RawWait {
    pub(crate) fn new(reactor: &Rc<Reactor>, command: Result<Command, Failure>) -> Self {
        let phase = command.map_or_else(Phase::Refused, Phase::Unasked);
        Self {
            reactor: Rc::clone(reactor),
            phase,
        }
    }

    fn ask(&mut self) {
        let Phase::Unasked(command) = &self.phase else {
            return;
        };
        self.phase = match self.reactor.take_unseen_cancellation() {
            Some(failure) => Phase::Refused(failure),
            None => {
                let task = command.ask();
                let is_event = matches!(command, Command::AwaitEvent { .. });
                Phase::Asked {
                    task,
                    slot: self.reactor.expect(task),
                    is_event,
                }
            }
        };
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<TaskOutcome> {
        self.ask();
        let outcome = match &mut self.phase {
            Phase::Asked { slot, .. } => task::ready!(self.reactor.poll(slot, cx)),
            Phase::Refused(failure) => Err(failure.clone()),
            Phase::Unasked(_) | Phase::Done => return Poll::Pending,
        };
        self.phase = Phase::Done;
        Poll::Ready(outcome)
    }

    fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    fn activity_options(&mut self) -> Option<&mut ActivityOptions> {
        match &mut self.phase {
            Phase::Unasked(Command::CallActivity { options, .. }) => Some(options),
            _ => None,
        }
    }

    fn child_options(&mut self) -> Option<&mut ChildOptions> {
        match &mut self.phase {
            Phase::Unasked(Command::CallWorkflow { options, .. }) => Some(options),
            _ => None,
        }
    }
}

impl Drop for RawWait {
    fn drop(&mut self) {
        if let Phase::Asked {
            task,
            slot,
            is_event,
        } = &self.phase
        {
            self.reactor.abandon(*task, slot, *is_event);
        }
    }
}

/// A future of the SDK: resolves to a value of type `T`, or to the [`Failure`] that took its place.
///
/// What it waits for is asked of the host when it is polled for the first time. Dropping it
/// before it is ready takes that back; an event that had arrived for it goes back to its place.
#[must_use = "nothing is asked of the host until this is awaited or polled"]
pub struct Wait<T> {
    raw: RawWait,
    decode: fn(&str) -> Result<T, Failure>,
}

impl<T> Wait<T> {
    pub(crate) fn new(raw: RawWait, decode: fn(&str) -> Result<T, Failure>) -> Self {
        Self { raw, decode }
    }
}

impl<T> Future for Wait<T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let outcome = task::ready!(self.raw.poll(cx));
        Poll::Ready(outcome.and_then(|json| (self.decode)(&json)))
    }
}

impl<T> FusedFuture for Wait<T> {
    fn is_terminated(&self) -> bool {
        self.raw.is_done()
    }
}

pub(crate) fn decode_nothing(_: &str) -> Result<(), Failure> {
    Ok(())
}

pub(crate) fn decode_event<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    json::decode(text, kind::INVALID_PAYLOAD, "the event")
}

pub(crate) fn decode_result<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    json::decode(text, kind::INVALID_OUTPUT, "the result")
}

/// Implements the future of a call that can still be given options.
macro_rules! call {
    ($name:ident) => {
        impl<T: DeserializeOwned> $name<T> {
            pub(crate) fn new(raw: RawWait) -> Self {
                Self {
                    raw,
                    output: PhantomData,
                }
            }

            /// Asks now instead of at the first poll, and returns what is left to wait for.
            ///
            /// Several calls that were started run at the same time, in whatever order they are awaited.
            pub fn start(mut self) -> Wait<T> {
                self.raw.ask();
                Wait::new(self.raw, decode_result)
            }
        }

        impl<T: DeserializeOwned> Future for $name<T> {
            type Output = Result<T, Failure>;

            fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
                let outcome = task::ready!(self.raw.poll(cx));
                Poll::Ready(outcome.and_then(|json| decode_result(&json)))
            }
        }

        impl<T: DeserializeOwned> FusedFuture for $name<T> {
            fn is_terminated(&self) -> bool {
                self.raw.is_done()
            }
        }
    };
}

/// A call of an activity: give it options, then await it.
///
/// Resolves to the activity's result, or to its failure after the last attempt. The options count
/// until the call is asked, which is when it is polled for the first time or [started](Self::start).
#[must_use = "the activity is not called until this is awaited, polled or started"]
pub struct ActivityCall<T> {
    raw: RawWait,
    output: PhantomData<fn() -> T>,
}

call!(ActivityCall);

impl<T: DeserializeOwned> ActivityCall<T> {
    /// Tries again by this policy; without one there is a single attempt.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.with(|options| options.retry = Some(policy.into()))
    }

    /// The longest one attempt may take, in milliseconds rounded up; an attempt over it is stopped.
    pub fn attempt_timeout(self, timeout: Duration) -> Self {
        self.with(|options| options.attempt_timeout = Some(millis_rounded_up(timeout)))
    }

    /// The longest all attempts and the waits between may take together.
    pub fn total_timeout(self, timeout: Duration) -> Self {
        self.with(|options| options.total_timeout = Some(millis_rounded_up(timeout)))
    }

    /// An attempt that the host's death cut off fails as `interrupted` instead of running again.
    ///
    /// For effects of the outside that must not happen twice. An activity without such effects
    /// takes effect exactly once anyway.
    pub fn at_most_once(self) -> Self {
        self.with(|options| options.at_most_once = true)
    }

    /// What is called; only known until it is asked.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.raw.phase {
            Phase::Unasked(Command::CallActivity { name, .. }) => Some(name),
            _ => None,
        }
    }

    /// Tries again by this policy unless the call has one of its own.
    pub(crate) fn retry_unless_given(self, policy: &RetryPolicy) -> Self {
        self.with(|options| {
            options.retry.get_or_insert_with(|| policy.clone().into());
        })
    }

    fn with(mut self, change: impl FnOnce(&mut ActivityOptions)) -> Self {
        self.raw.activity_options().map(change);
        self
    }
}

/// A call of a child workflow: give it options, then await it.
///
/// Resolves to the child's result, or to its failure. Dropping the call before it is ready cancels
/// the child. The options count until the call is asked, which is when it is polled for the first
/// time or [started](Self::start).
#[must_use = "the child is not started until this is awaited, polled or started"]
pub struct ChildCall<T> {
    raw: RawWait,
    output: PhantomData<fn() -> T>,
}

call!(ChildCall);

impl<T: DeserializeOwned> ChildCall<T> {
    /// The child's instance id: letters, digits, `_` and `-`, at most 64. Without one the host makes it.
    pub fn id(self, id: impl Into<String>) -> Self {
        self.with(|options| options.id = Some(id.into()))
    }

    /// Tries again by this policy if the child fails.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.with(|options| options.retry = Some(policy.into()))
    }

    /// Marks the child, so that it can be found.
    pub fn tag(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|options| options.tags.push((name.into(), value.into())))
    }

    /// Runs the child on the modules that this workflow's deployment bound, not on the newest.
    pub fn same_deployment(self) -> Self {
        self.with(|options| options.same_deployment = true)
    }

    /// Lets the child outlive this workflow. The call then resolves to the child's id, once it has started.
    pub fn detached(self) -> ChildCall<String> {
        ChildCall::new(self.with(|options| options.detached = true).raw)
    }

    fn with(mut self, change: impl FnOnce(&mut ChildOptions)) -> Self {
        self.raw.child_options().map(change);
        self
    }
}

/// A wait for the workflow's own state: see [`Context::until`](crate::Context::until).
#[must_use = "nothing is waited for until this is awaited or polled"]
pub struct Until<F> {
    reactor: Rc<Reactor>,
    condition: Option<F>,
}

impl<F> Until<F> {
    pub(crate) fn new(reactor: &Rc<Reactor>, condition: F) -> Self {
        Self {
            reactor: Rc::clone(reactor),
            condition: Some(condition),
        }
    }
}

// The condition is only ever called, never pinned.
impl<F> Unpin for Until<F> {}

impl<F: FnMut() -> bool> Future for Until<F> {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let Some(condition) = &mut self.condition else {
            return Poll::Pending;
        };
        let outcome = if condition() {
            Ok(())
        } else if let Some(failure) = self.reactor.take_unseen_cancellation() {
            Err(failure)
        } else {
            self.reactor.watch(cx.waker());
            return Poll::Pending;
        };
        self.condition = None;
        Poll::Ready(outcome)
    }
}

impl<F: FnMut() -> bool> FusedFuture for Until<F> {
    fn is_terminated(&self) -> bool {
        self.condition.is_none()
    }
}
