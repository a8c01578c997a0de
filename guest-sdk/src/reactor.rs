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

type Handler = dyn Fn(&str) -> Result<String, Failure>;

/// What the workflow's code and its runner share.
#[derive(Default)]
pub(crate) struct Reactor {
    /// The tasks without an outcome, ascending: the newest is the highest.
    pending: RefCell<VecDeque<(Task, Rc<Slot>)>>,
    /// A cancellation that no wait has shown to the workflow yet.
    cancellation_unseen: RefCell<Option<Failure>>,
    cancellation_asked: Cell<bool>,
    ended: Cell<bool>,
    /// Those who wait for the workflow's own state to change.
    watchers: RefCell<Vec<Waker>>,
    updates: RefCell<BTreeMap<String, Rc<Handler>>>,
    queries: RefCell<BTreeMap<String, Rc<Handler>>>,
}

/// Where the outcome of one task meets the future that waits for it.
pub(crate) struct Slot(RefCell<SlotState>);

enum SlotState {
    Pending(Option<Waker>),
    Completed(TaskOutcome),
    Cancelled(Failure),
    Taken,
}

impl Slot {
    /// Leaves the outcome for the future and wakes it. What is woken runs no workflow code.
    fn settle(&self, state: SlotState) {
        if let SlotState::Pending(Some(waker)) = self.0.replace(state) {
            waker.wake();
        }
    }
}

impl Reactor {
    /// Notes a task that was just asked.
    pub(crate) fn expect(&self, task: Task) -> Rc<Slot> {
        let slot = Rc::new(Slot(RefCell::new(SlotState::Pending(None))));
        self.pending
            .borrow_mut()
            .push_back((task, Rc::clone(&slot)));
        slot
    }

    pub(crate) fn poll(&self, slot: &Slot, cx: &mut task::Context<'_>) -> Poll<TaskOutcome> {
        let mut state = slot.0.borrow_mut();
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
        match &*slot.0.borrow() {
            SlotState::Pending(_) => {
                self.forget(task);
                host::cancel(task);
            }
            // The event was handed over, but nobody read it: it goes back to its place.
            SlotState::Completed(_) if is_event => host::cancel(task),
            SlotState::Completed(_) | SlotState::Cancelled(_) | SlotState::Taken => {}
        }
    }

    /// The cancellation that the next wait has to show, if one is due.
    pub(crate) fn take_unseen_cancellation(&self) -> Option<Failure> {
        self.cancellation_unseen.take()
    }

    pub(crate) fn watch(&self, waker: &Waker) {
        self.watchers.borrow_mut().push(waker.clone());
    }

    pub(crate) fn answer_updates(&self, name: String, handler: Rc<Handler>) {
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
        for (task, slot) in self.pending.take() {
            host::cancel(task);
            slot.settle(SlotState::Cancelled(failure.clone()));
        }
        self.wake_watchers();
    }

    fn update(&self, Update { id, name, input }: Update) {
        let handler = self.updates.borrow().get(&name).cloned();
        let outcome = match handler {
            Some(handler) => handler(&input),
            None => Err(Failure::new(
                kind::UNKNOWN_UPDATE,
                format!("this workflow answers no update {name:?}"),
            )
            .not_retryable()),
        };
        match outcome.map_err(Into::into) {
            Ok(answer) => host::answer_update(id, Ok(&answer)),
            Err(failure) => host::answer_update(id, Err(&failure)),
        }
        self.wake_watchers();
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
mod tests {
    use super::*;
    use crate::bindings::workflow::wfhost::durable::types;
    use crate::context::Context;
    use crate::failure::Result;
    use core::time::Duration;
    use futures::stream::FuturesUnordered;
    use futures::{StreamExt as _, join, select_biased, try_join};

    /// Runs a workflow over turns of inputs, and compares what each turn asked, and the end.
    fn check<F: Future<Output = Result<String>> + 'static>(
        code: impl FnOnce(Context) -> F,
        turns: &[(&[Input], &[&str])],
        end: &str,
    ) {
        host::start_anew();
        let reactor = Rc::<Reactor>::default();
        let code = code(Context::new(Rc::clone(&reactor)));
        let (mut run, mut step) = Run::start(reactor, code);
        let start = turns[0].1;
        assert_eq!(host::asked(), start, "at the start");
        for (number, (inputs, asked)) in turns.iter().enumerate().skip(1) {
            assert!(matches!(step, Step::Waiting), "ended before turn {number}");
            step = run.resume(inputs.iter().map(copy));
            assert_eq!(&host::asked(), asked, "in turn {number}");
        }
        let ended = match step {
            Step::Waiting => "waiting".to_owned(),
            Step::Cancelled => "cancelled".to_owned(),
            Step::Ended(Ok(output)) => output,
            Step::Ended(Err(error)) => format!("{error:?}"),
        };
        assert_eq!(ended, end);
        drop(run);
    }

    fn copy(input: &Input) -> Input {
        match input {
            Input::Completed(Completion {
                task,
                outcome: Ok(json),
            }) => done(*task, json),
            Input::Completed(Completion {
                task,
                outcome: Err(failure),
            }) => failed(*task, &failure.kind),
            Input::CancelRequested(reason) => Input::CancelRequested(reason.clone()),
            Input::UpdateRequested(update) => Input::UpdateRequested(Update {
                id: update.id,
                name: update.name.clone(),
                input: update.input.clone(),
            }),
        }
    }

    fn done(task: Task, json: &str) -> Input {
        Input::Completed(Completion {
            task,
            outcome: Ok(json.into()),
        })
    }

    fn failed(task: Task, kind: &str) -> Input {
        let failure = types::Failure::from(Failure::new(kind.to_owned(), "it failed"));
        Input::Completed(Completion {
            task,
            outcome: Err(failure),
        })
    }

    fn update(id: u32, name: &str) -> Input {
        Input::UpdateRequested(Update {
            id,
            name: name.into(),
            input: "null".into(),
        })
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_call_is_asked_at_its_first_poll_and_in_order() {
        check(
            async |ctx: Context| {
                let second = ctx.activity::<u32>("B", &2);
                let first = ctx.activity::<u32>("A", &1);
                let sum = first.await? + second.await?;
                Ok(sum.to_string())
            },
            &[
                (&[], &["1: call A 1"]),
                (&[done(1, "5")], &["2: call B 2"]),
                (&[done(2, "6")], &[]),
            ],
            "11",
        );
    }

    #[test]
    fn calls_that_were_started_run_at_the_same_time() {
        check(
            async |ctx: Context| {
                let one = ctx.activity::<u32>("A", &1).start();
                let two = ctx.activity::<u32>("A", &2).start();
                Ok(format!("{}", two.await? + one.await?))
            },
            &[
                (&[], &["1: call A 1", "2: call A 2"]),
                (&[done(1, "5"), done(2, "6")], &[]),
            ],
            "11",
        );
    }

    #[test]
    fn join_waits_for_both_in_any_order() {
        check(
            async |ctx: Context| {
                let (a, b) = join!(ctx.activity::<u32>("A", &1), ctx.event::<u32>("e"));
                Ok(format!("{} {}", a?, b?))
            },
            &[
                (&[], &["1: call A 1", "2: await e"]),
                (&[done(2, "7")], &[]),
                (&[done(1, "5")], &[]),
            ],
            "5 7",
        );
    }

    #[test]
    fn the_input_accepted_first_wins_a_race_and_the_loser_is_cancelled() {
        let race = async |ctx: Context| {
            let won = select_biased! {
                event = ctx.event::<u32>("go") => event?.to_string(),
                slept = ctx.sleep(SECOND) => { slept?; "timer".to_owned() }
            };
            ctx.activity::<()>("After", &()).await?;
            Ok(won)
        };
        let asked: &[&str] = &["1: await go", "2: timer 2000"];
        check(
            race,
            &[
                (&[], asked),
                (&[done(1, "9")], &["cancel 2", "3: call After null"]),
            ],
            "waiting",
        );
        // Both are there, the timer first: the event goes back though it was delivered after.
        let both = [done(2, "null"), done(1, "9")];
        check(
            race,
            &[(&[], asked), (&both, &["cancel 1", "3: call After null"])],
            "waiting",
        );
    }

    #[test]
    fn an_event_that_was_delivered_but_not_read_goes_back() {
        check(
            async |ctx: Context| {
                let mut event = ctx.event::<u32>("e");
                assert!(futures::poll!(&mut event).is_pending());
                ctx.activity::<()>("A", &()).await?;
                drop(event);
                ctx.sleep(SECOND).await?;
                Ok("end".into())
            },
            &[
                (&[], &["1: await e", "2: call A null"]),
                (&[done(1, "9")], &[]),
                (&[done(2, "null")], &["cancel 1", "3: timer 2000"]),
                (&[done(3, "null")], &[]),
            ],
            "end",
        );
    }

    #[test]
    fn many_calls_at_once_complete_in_the_order_accepted() {
        check(
            async |ctx: Context| {
                let mut calls: FuturesUnordered<_> =
                    (0..3).map(|n| ctx.activity::<String>("A", &n)).collect();
                let mut order = String::new();
                while let Some(result) = calls.next().await {
                    order += &result?;
                }
                Ok(order)
            },
            &[
                (&[], &["1: call A 0", "2: call A 1", "3: call A 2"]),
                (&[done(3, "\"c\"")], &[]),
                (&[done(1, "\"a\""), done(2, "\"b\"")], &[]),
            ],
            "cab",
        );
    }

    #[test]
    fn a_failure_reaches_the_caller_with_its_kind() {
        check(
            async |ctx: Context| match ctx.activity::<u32>("A", &1).await {
                Err(failure) if failure.kind() == "sold-out" => Ok("caught".into()),
                other => Ok(format!("{other:?}")),
            },
            &[(&[], &["1: call A 1"]), (&[failed(1, "sold-out")], &[])],
            "caught",
        );
        check(
            async |ctx: Context| Ok(ctx.activity::<u32>("A", &1).await?.to_string()),
            &[(&[], &["1: call A 1"]), (&[done(1, "\"text\"")], &[])],
            "invalid-output: the result does not fit: invalid type: string \"text\", expected u32 \
             at line 1 column 6",
        );
    }

    #[test]
    fn a_cancellation_ends_open_waits_once_so_that_the_workflow_can_clean_up() {
        check(
            async |ctx: Context| {
                let waits = try_join!(ctx.sleep(SECOND), ctx.activity::<()>("A", &()));
                let failure = waits.unwrap_err();
                assert!(failure.is_cancelled());
                ctx.activity::<()>("Refund", failure.message()).await?;
                Err(failure.into())
            },
            &[
                (&[], &["1: timer 2000", "2: call A null"]),
                (
                    &[Input::CancelRequested(Some("stop".into()))],
                    &["cancel 1", "cancel 2", "3: call Refund \"stop\""],
                ),
                (&[done(3, "null")], &[]),
            ],
            "cancelled",
        );
    }

    #[test]
    fn a_cancellation_that_no_wait_showed_is_shown_by_the_next() {
        check(
            async |ctx: Context| {
                let mut slept = ctx.sleep(SECOND);
                let waits = core::future::poll_fn(|cx| Pin::new(&mut slept).poll(cx).map(drop));
                // Woken by the cancellation, but it looks at nothing that shows it.
                let mut waits = Box::pin(waits);
                assert!(futures::poll!(&mut waits).is_pending());
                let mut polls = 0;
                core::future::poll_fn(|cx| {
                    polls += 1;
                    if polls == 1 {
                        let _ = waits.as_mut().poll(cx);
                        return Poll::Pending;
                    }
                    Poll::Ready(())
                })
                .await;
                drop(waits);
                drop(slept);
                let next = ctx
                    .sleep(SECOND)
                    .await
                    .map_err(|failure| failure.is_cancelled());
                let after = ctx.activity::<()>("A", &()).await;
                Ok(format!("{next:?} {after:?}"))
            },
            &[
                (&[], &["1: timer 2000"]),
                (
                    &[Input::CancelRequested(None)],
                    &["cancel 1", "2: call A null"],
                ),
                (&[done(2, "null")], &[]),
            ],
            "Err(true) Ok(())",
        );
    }

    #[test]
    fn updates_are_answered_and_wake_those_who_wait_for_state() {
        check(
            async |ctx: Context| {
                let approved = Rc::new(Cell::new(false));
                let seen = Rc::clone(&approved);
                ctx.on_update("approve", move |(): ()| {
                    seen.set(true);
                    Ok(true)
                });
                ctx.until(|| approved.get()).await?;
                Ok("approved".into())
            },
            &[
                (&[], &[]),
                (&[update(1, "other")], &["answer 1 Err(\"unknown-update\")"]),
                (&[update(2, "approve")], &["answer 2 Ok(\"true\")"]),
            ],
            "approved",
        );
    }

    #[test]
    fn what_outlives_the_workflow_asks_nothing_more() {
        let kept = Rc::new(RefCell::new(None));
        let keep = Rc::clone(&kept);
        check(
            async move |ctx: Context| {
                let mut event = ctx.event::<u32>("e");
                assert!(futures::poll!(&mut event).is_pending());
                *keep.borrow_mut() = Some(event);
                Ok("end".into())
            },
            &[(&[], &["1: await e"])],
            "end",
        );
        drop(kept.take());
        assert_eq!(host::asked(), [""; 0]);
    }
}
