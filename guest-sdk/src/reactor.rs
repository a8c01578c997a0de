//! Runs one workflow as a reactor: inputs in, polls between, a step out.
//!
//! Single-threaded, and free of clocks and hash order: the same inputs give the same commands.
//! Inputs are handed over one at a time, and the workflow is polled until it is quiet before the
//! next, so the order in which the host accepted them decides every race.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{self, Poll, Waker};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Wake;

use crate::bindings::workflow::exports::wfhost::durable::workflow::{Completion, Input, Update};
use crate::failure::{Error, Failure, kind};
use crate::host::{self, Task};

/// What a task came to: its value as JSON, or why there is none.
pub(crate) type TaskOutcome = Result<String, Failure>;

/// What answers a query: JSON in, JSON out.
type Handler = dyn Fn(&str) -> Result<String, Failure>;

/// Whether an update may be asked for. It changes nothing.
type Validator = dyn Fn(&str) -> Result<(), Failure>;

/// What judges and answers an update.
pub(crate) struct UpdateHandler {
    pub(crate) validate: Box<Validator>,
    pub(crate) answer: Box<Handler>,
}

/// What the workflow's code and its runner share.
#[derive(Default)]
pub(crate) struct Reactor {
    /// The tasks without an outcome, ascending: the newest is the highest.
    pending: RefCell<VecDeque<(Task, Rc<Slot>)>>,
    /// A cancellation that no wait has shown to the workflow yet.
    cancellation_unseen: RefCell<Option<Failure>>,
    cancellation_asked: Cell<bool>,
    /// Whether the code that is polled right now is to see nothing of a cancellation.
    shielded: Cell<bool>,
    ended: Cell<bool>,
    /// Those who wait for the workflow's own state to change.
    watchers: RefCell<Vec<Waker>>,
    updates: RefCell<BTreeMap<String, Rc<UpdateHandler>>>,
    queries: RefCell<BTreeMap<String, Rc<Handler>>>,
}

/// Where the outcome of one task meets the future that waits for it.
pub(crate) struct Slot {
    state: RefCell<SlotState>,
    /// Whether a cancellation leaves it alone: as the code that asked or polled it last was shielded.
    shielded: Cell<bool>,
}

enum SlotState {
    Pending(Option<Waker>),
    Completed(TaskOutcome),
    Cancelled(Failure),
    Taken,
}

impl Slot {
    /// Leaves the outcome for the future and wakes it. What is woken runs no workflow code.
    fn settle(&self, state: SlotState) {
        if let SlotState::Pending(Some(waker)) = self.state.replace(state) {
            waker.wake();
        }
    }
}

impl Reactor {
    /// Notes a task that was just asked.
    pub(crate) fn expect(&self, task: Task) -> Rc<Slot> {
        let slot = Rc::new(Slot {
            state: RefCell::new(SlotState::Pending(None)),
            shielded: self.shielded.clone(),
        });
        self.pending
            .borrow_mut()
            .push_back((task, Rc::clone(&slot)));
        slot
    }

    pub(crate) fn poll(&self, slot: &Slot, cx: &mut task::Context<'_>) -> Poll<TaskOutcome> {
        slot.shielded.set(self.shielded.get());
        let mut state = slot.state.borrow_mut();
        if let SlotState::Pending(waker) = &mut *state {
            match waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        match core::mem::replace(&mut *state, SlotState::Taken) {
            SlotState::Completed(outcome) => Poll::Ready(outcome),
            SlotState::Cancelled(failure) => {
                self.cancellation_unseen.take();
                Poll::Ready(Err(failure))
            }
            SlotState::Pending(_) | SlotState::Taken => Poll::Pending,
        }
    }

    /// Lets go of a task that nobody waits for any more.
    pub(crate) fn abandon(&self, task: Task, slot: &Slot, is_event: bool) {
        if self.ended.get() {
            return;
        }
        match &*slot.state.borrow() {
            SlotState::Pending(_) => {
                self.forget(task);
                host::cancel(task);
            }
            // The event was handed over, but nobody read it: it goes back to its place.
            SlotState::Completed(_) if is_event => host::cancel(task),
            SlotState::Completed(_) | SlotState::Cancelled(_) | SlotState::Taken => {}
        }
    }

    /// The cancellation that the next wait has to show, if one is due and the wait is not shielded.
    pub(crate) fn take_unseen_cancellation(&self) -> Option<Failure> {
        if self.shielded.get() {
            return None;
        }
        self.cancellation_unseen.take()
    }

    /// Runs a poll whose waits see nothing of a cancellation, neither one from before nor a later one.
    pub(crate) fn shielded<T>(&self, poll: impl FnOnce() -> T) -> T {
        let outer = self.shielded.replace(true);
        let polled = poll();
        self.shielded.set(outer);
        polled
    }

    pub(crate) fn watch(&self, waker: &Waker) {
        self.watchers.borrow_mut().push(waker.clone());
    }

    pub(crate) fn answer_updates(&self, name: String, handler: UpdateHandler) {
        let handler = Rc::new(handler);
        self.updates.borrow_mut().insert(name, handler);
    }

    pub(crate) fn answer_queries(&self, name: String, handler: Rc<Handler>) {
        self.queries.borrow_mut().insert(name, handler);
    }

    fn forget(&self, task: Task) -> Option<Rc<Slot>> {
        let mut pending = self.pending.borrow_mut();
        let at = pending
            .binary_search_by_key(&task, |(task, _)| *task)
            .ok()?;
        pending.remove(at).map(|(_, slot)| slot)
    }

    fn deliver(&self, input: Input) {
        match input {
            Input::Completed(completion) => self.complete(completion),
            Input::CancelRequested(reason) => self.cancel(reason),
            Input::UpdateRequested(update) => self.update(update),
        }
    }

    fn complete(&self, Completion { task, outcome }: Completion) {
        // A task without a slot was abandoned by an input before this one.
        if let Some(slot) = self.forget(task) {
            slot.settle(SlotState::Completed(outcome.map_err(Failure::from)));
        }
    }

    /// Ends every open wait with the cancellation. Until one of them was seen, new waits end so too.
    fn cancel(&self, reason: Option<String>) {
        let message = reason.unwrap_or_else(|| "the workflow was asked to cancel".into());
        let failure = Failure::new(kind::CANCELLED, message).not_retryable();
        self.cancellation_asked.set(true);
        self.cancellation_unseen.replace(Some(failure.clone()));
        let (shielded, open) = self
            .pending
            .take()
            .into_iter()
            .partition::<VecDeque<_>, _>(|(_, slot)| slot.shielded.get());
        self.pending.replace(shielded);
        for (task, slot) in open {
            host::cancel(task);
            slot.settle(SlotState::Cancelled(failure.clone()));
        }
        self.wake_watchers();
    }

    fn update(&self, Update { id, name, input }: Update) {
        // The state may be another than when the host had the update validated.
        let outcome = self.update_handler(&name).and_then(|handler| {
            (handler.validate)(&input)?;
            (handler.answer)(&input)
        });
        match outcome.map_err(Into::into) {
            Ok(answer) => host::answer_update(id, Ok(&answer)),
            Err(failure) => host::answer_update(id, Err(&failure)),
        }
        self.wake_watchers();
    }

    fn update_handler(&self, name: &str) -> Result<Rc<UpdateHandler>, Failure> {
        self.updates.borrow().get(name).cloned().ok_or_else(|| {
            let message = format!("this workflow answers no update {name:?}");
            Failure::new(kind::UNKNOWN_UPDATE, message).not_retryable()
        })
    }

    fn wake_watchers(&self) {
        self.watchers.take().into_iter().for_each(Waker::wake);
    }
}

/// A workflow that was started: its code, and what it waits for.
pub(crate) struct Run {
    reactor: Rc<Reactor>,
    code: Pin<Box<dyn Future<Output = Result<String, Error>>>>,
    woken: Arc<Woken>,
    waker: Waker,
}

/// Where a turn left the workflow.
pub(crate) enum Step {
    Waiting,
    Ended(Result<String, Error>),
    Cancelled,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Run {
    /// Runs the workflow's code up to its first wait.
    pub(crate) fn start(
        reactor: Rc<Reactor>,
        code: impl Future<Output = Result<String, Error>> + 'static,
    ) -> (Self, Step) {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut run = Self {
            reactor,
            code: Box::pin(code),
            woken,
            waker,
        };
        let step = run.poll();
        (run, step)
    }

    /// Hands over inputs, in the order accepted. Those after the end are left unread.
    pub(crate) fn resume(&mut self, inputs: impl IntoIterator<Item = Input>) -> Step {
        for input in inputs {
            self.reactor.deliver(input);
            let step = self.poll();
            if !matches!(step, Step::Waiting) {
                return step;
            }
        }
        Step::Waiting
    }

    /// Answers a question about the workflow's state.
    pub(crate) fn query(&self, name: &str, input: &str) -> Result<String, Failure> {
        let handler = self.reactor.queries.borrow().get(name).cloned();
        let handler = handler.ok_or_else(|| {
            let message = format!("this workflow answers no query {name:?}");
            Failure::new(kind::UNKNOWN_QUERY, message).not_retryable()
        })?;
        handler(input)
    }

    /// Whether an update may be asked for.
    pub(crate) fn validate_update(&self, name: &str, input: &str) -> Result<(), Failure> {
        (self.reactor.update_handler(name)?.validate)(input)
    }

    /// Polls until nothing is left to do without another input.
    fn poll(&mut self) -> Step {
        let mut cx = task::Context::from_waker(&self.waker);
        while self.woken.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(outcome) = self.code.as_mut().poll(&mut cx) {
                self.reactor.ended.set(true);
                return self.end(outcome);
            }
        }
        Step::Waiting
    }

    fn end(&self, outcome: Result<String, Error>) -> Step {
        match outcome {
            Err(error) if error.is_cancelled() && self.reactor.cancellation_asked.get() => {
                Step::Cancelled
            }
            outcome => Step::Ended(outcome),
        }
    }
}

#[cfg(test)]
mod tests;
