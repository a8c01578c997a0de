//! Plays the host to one workflow: a clock that jumps from one thing on the agenda to the next.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::calls::Call;
use super::report::{Answer, End, Report, Seen, parse};
use super::scenario::{Code, Scenario};
use super::stand_in::{Entered, World, world};
use crate::bindings::workflow::exports::wfhost::durable::workflow::{Completion, Input, Update};
use crate::failure::{Failure, kind};
use crate::guest;
use crate::host::Task;
use crate::json;
use crate::logging;
use crate::reactor::{Run, Step};
use crate::time::Timestamp;
use crate::workflow::Workflow;

/// Most turns of a run, so that a workflow without end ends its test instead.
const TURNS_MAX: u32 = 100_000;

/// What a script lets happen at some time.
pub(super) enum Happening {
    Event { name: String, payload: String },
    Cancellation,
    Update { name: String, input: String },
    Query { name: String, input: String },
}

/// What stands on the agenda.
pub(super) enum Due {
    Scripted(Happening),
    /// A task is done, with this value.
    Complete(Task, String),
    StartAttempt(Task),
    EndAttempt {
        task: Task,
        timed_out: bool,
    },
    /// An event of this name, in lower case, and a wait for it may have come together.
    Serve(String),
}

/// A task without an outcome.
pub(super) enum Open {
    Timer(Timestamp),
    Event { name: String, key: String },
    Raise { instance: String },
    Call(Call),
}

/// An event that a task took: it goes back to its place if the task is cancelled.
pub(super) struct Taken {
    pub(super) key: String,
    pub(super) number: u64,
    pub(super) payload: String,
}

/// A workflow that runs, and the world around it.
pub(super) struct Driver<W: Workflow> {
    entered: Entered,
    started_at: Timestamp,
    run: Option<Run>,
    output: Rc<RefCell<Option<W::Output>>>,
    step: Step,
    single_generation: bool,
    turns: u32,
    pub(super) activities: BTreeMap<String, Box<Code>>,
    pub(super) children: BTreeMap<String, Box<Code>>,
    pub(super) durations: BTreeMap<String, Duration>,
    /// By time, then in the order put down.
    agenda: BTreeMap<(u64, u64), Due>,
    pub(super) open: BTreeMap<Task, Open>,
    /// Events that nobody took: by their name in lower case, then in the order raised.
    pub(super) unread: BTreeMap<String, BTreeMap<u64, String>>,
    pub(super) taken: BTreeMap<Task, Taken>,
    /// The names of the updates that were asked, by their id.
    pub(super) updates: Vec<String>,
    last_number: u64,
    pub(super) seen: Seen,
}

impl<W: Workflow> Driver<W> {
    /// Prepares the world, and runs the workflow to its first wait.
    pub(super) fn start(scenario: Scenario<W>) -> Self {
        logging::install();
        let started_at = scenario.started_at;
        let mut world = World::new(&scenario.id, W::NAME, started_at.unix_millis());
        world.unpatched = scenario.unpatched;
        for (key, value) in &scenario.state {
            world.store.put(key, value);
        }
        let mut driver = Self {
            entered: Entered::new(world),
            started_at,
            run: None,
            output: Rc::default(),
            step: Step::Waiting,
            single_generation: scenario.single_generation,
            turns: 0,
            activities: scenario.activities,
            children: scenario.children,
            durations: scenario.durations,
            agenda: BTreeMap::new(),
            open: BTreeMap::new(),
            unread: BTreeMap::new(),
            taken: BTreeMap::new(),
            updates: Vec::new(),
            last_number: 0,
            seen: Seen::default(),
        };
        for (after, happening) in scenario.happenings {
            driver.script(started_at + after, happening);
        }
        driver.generation(scenario.input);
        driver
    }

    fn script(&mut self, at: Timestamp, happening: Happening) {
        match happening {
            // It is there before the workflow looks for it.
            Happening::Event { name, payload } if at == self.started_at => {
                self.arrive(&name, payload);
            }
            happening => self.put_down(at.unix_millis(), Due::Scripted(happening)),
        }
    }

    /// Starts the workflow with a fresh history.
    fn generation(&mut self, input: W::Input) {
        let output = Rc::clone(&self.output);
        let keep = move |value| drop(output.replace(Some(value)));
        let (run, step) = guest::start_with::<W>(input, keep);
        self.run = Some(run);
        self.end_turn(step);
    }

    /// Goes on until the workflow has ended, nothing is left to happen, or time is up.
    pub(super) fn run(mut self, until: Option<Duration>) -> Report<W::Output> {
        let until = until.map(|after| (self.started_at + after).unix_millis());
        let end = loop {
            match core::mem::replace(&mut self.step, Step::Waiting) {
                Step::Waiting => {}
                Step::Cancelled => break End::Cancelled,
                Step::Ended(Ok(_)) => break End::Completed,
                Step::Ended(Err(error)) => match error.into_parts() {
                    (_, Some(next)) if self.single_generation => {
                        break End::ContinuedAsNew(parse(&next.input));
                    }
                    (_, Some(next)) => match self.continue_as_new(&next.input) {
                        Ok(()) => continue,
                        Err(failure) => break End::Failed(failure),
                    },
                    (failure, None) => break End::Failed(failure),
                },
            }
            let Some((at, due)) = self.next(until) else {
                break End::Waiting(self.waits());
            };
            world(|world| world.now_ms = world.now_ms.max(at));
            self.happen(due);
        };
        self.report(end, until)
    }

    fn report(self, end: End, until: Option<u64>) -> Report<W::Output> {
        if let (End::Waiting(_), Some(until)) = (&end, until) {
            world(|world| world.now_ms = until);
        }
        let output = self.output.take();
        Report {
            end,
            output,
            seen: self.seen,
            run: self.run.expect("a generation has started"),
            world: RefCell::new(Some(self.entered.leave())),
            started_at: self.started_at,
        }
    }

    fn continue_as_new(&mut self, input: &str) -> Result<(), Failure> {
        let input = json::decode(input, kind::INVALID_INPUT, "the input")?;
        self.agenda
            .retain(|_, due| matches!(due, Due::Scripted(_) | Due::Serve(_)));
        self.open.clear();
        self.taken.clear();
        world(|world| {
            world.last_task = 0;
            world.info.generation += 1;
            world.info.started_at = world.now_ms;
        });
        self.generation(input);
        Ok(())
    }

    fn next(&mut self, until: Option<u64>) -> Option<(u64, Due)> {
        let (&(at, _), _) = self.agenda.first_key_value()?;
        if until.is_some_and(|until| at > until) {
            return None;
        }
        let ((at, _), due) = self.agenda.pop_first()?;
        Some((at, due))
    }

    pub(super) fn put_down(&mut self, at_ms: u64, due: Due) {
        let number = self.number();
        self.agenda.insert((at_ms, number), due);
    }

    pub(super) fn soon(&mut self, due: Due) {
        self.put_down(now_ms(), due);
    }

    pub(super) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Scripted(Happening::Event { name, payload }) => {
                let key = self.arrive(&name, payload);
                self.serve(&key);
            }
            Due::Scripted(Happening::Cancellation) => self.resume(Input::CancelRequested(None)),
            Due::Scripted(Happening::Update { name, input }) => self.update(name, input),
            Due::Scripted(Happening::Query { name, input }) => self.query(name, &input),
            Due::Complete(task, value) => {
                if self.open.remove(&task).is_some() {
                    self.complete(task, Ok(value));
                }
            }
            Due::StartAttempt(task) => self.start_attempt(task),
            Due::EndAttempt { task, timed_out } => self.end_attempt(task, timed_out),
            Due::Serve(key) => self.serve(&key),
        }
    }

    /// Hands one input over.
    fn resume(&mut self, input: Input) {
        let run = self.run.as_mut().expect("a generation has started");
        let step = run.resume([input]);
        self.end_turn(step);
    }

    pub(super) fn complete(&mut self, task: Task, outcome: Result<String, Failure>) {
        let outcome = outcome.map_err(Into::into);
        self.resume(Input::Completed(Completion { task, outcome }));
    }

    /// Takes in what a turn asked and wrote.
    fn end_turn(&mut self, step: Step) {
        self.turns += 1;
        assert!(
            self.turns <= TURNS_MAX,
            "the workflow is not done after {TURNS_MAX} turns: give it a reason to end, or stop \
             the test with `run_until`"
        );
        self.step = step;
        let asked = world(|world| {
            world.store.commit();
            core::mem::take(&mut world.asked)
        });
        for asked in asked {
            self.take_in(asked);
        }
    }

    fn update(&mut self, name: String, input: String) {
        let run = self.run.as_ref().expect("a generation has started");
        let valid = run.validate_update(&name, &input);
        assert_nothing_asked(&format!("the validator of the update {name:?}"));
        if let Err(failure) = valid {
            let outcome = Err(failure);
            self.seen.updates.push(Answer { name, outcome });
            return;
        }
        let update = Update {
            id: self.updates.len() as u32,
            name: name.clone(),
            input,
        };
        self.updates.push(name);
        self.resume(Input::UpdateRequested(update));
    }

    fn query(&mut self, name: String, input: &str) {
        let run = self.run.as_ref().expect("a generation has started");
        let outcome = run.query(&name, input).map(|answer| parse(&answer));
        assert_nothing_asked(&format!("the query {name:?}"));
        self.seen.queries.push(Answer { name, outcome });
    }
}

pub(super) fn now_ms() -> u64 {
    world(|world| world.now_ms)
}

/// What runs on a copy of the guest may ask nothing of its host.
pub(super) fn assert_nothing_asked(who: &str) {
    let asked = world(|world| core::mem::take(&mut world.asked));
    assert!(
        asked.is_empty(),
        "{who} asked something of the host, which it must not: {asked:?}"
    );
}
