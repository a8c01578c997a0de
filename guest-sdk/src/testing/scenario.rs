//! The script of a run: what the world does, and when.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::driver::{Driver, Happening};
use super::report::{Report, written};
use crate::activity::{Activity, ActivityContext};
use crate::failure::{Failure, Result};
use crate::guest;
use crate::json;
use crate::time::Timestamp;
use crate::workflow::Workflow;

/// 2026-01-01T00:00:00Z, when a scenario starts unless it says otherwise.
const START: Timestamp = Timestamp::from_unix_millis(1_767_225_600_000);

/// What runs in the place of an activity or a child workflow.
pub(super) type Code = dyn FnMut(ActivityContext, &str) -> Result<String, Failure>;

/// What a test says of the world in which a workflow runs: see [the module](super).
///
/// Whatever is scripted twice under one name counts as it was said last.
#[must_use = "nothing runs until `run` or `run_until`"]
pub struct Scenario<W: Workflow> {
    pub(super) input: W::Input,
    pub(super) id: String,
    pub(super) started_at: Timestamp,
    pub(super) activities: BTreeMap<String, Box<Code>>,
    pub(super) children: BTreeMap<String, Box<Code>>,
    pub(super) durations: BTreeMap<String, Duration>,
    pub(super) happenings: Vec<(Duration, Happening)>,
    pub(super) state: Vec<(String, String)>,
    pub(super) unpatched: BTreeSet<String>,
    pub(super) single_generation: bool,
}

/// Prepares a run of a `#[workflow]` function: add what it needs, then [`run`](Scenario::run).
pub fn workflow<W: Workflow>(input: W::Input) -> Scenario<W> {
    Scenario {
        input,
        id: "test".into(),
        started_at: START,
        activities: BTreeMap::new(),
        children: BTreeMap::new(),
        durations: BTreeMap::new(),
        happenings: Vec::new(),
        state: Vec::new(),
        unpatched: BTreeSet::new(),
        single_generation: false,
    }
}

impl<W: Workflow> Scenario<W> {
    /// The instance's id, `test` unless given.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// When the workflow starts, 2026-01-01T00:00:00Z unless given.
    pub fn starts_at(mut self, at: Timestamp) -> Self {
        self.started_at = at;
        self
    }

    /// Plays the activity of that name, once an attempt. It takes no time unless [told to](Self::takes).
    pub fn activity<I: DeserializeOwned, O: Serialize>(
        mut self,
        name: impl Into<String>,
        play: impl FnMut(I) -> Result<O> + 'static,
    ) -> Self {
        self.activities.insert(name.into(), scripted(play));
        self
    }

    /// Runs an `#[activity]` function itself, under its own name, with a state store in memory.
    pub fn real_activity<A: Activity>(mut self) -> Self {
        let code = Box::new(guest::run::<A>);
        self.activities.insert(A::NAME.into(), code);
        self
    }

    /// Plays the child workflow of that name, once each time it is started.
    pub fn child<I: DeserializeOwned, O: Serialize>(
        mut self,
        name: impl Into<String>,
        play: impl FnMut(I) -> Result<O> + 'static,
    ) -> Self {
        self.children.insert(name.into(), scripted(play));
        self
    }

    /// Lets each attempt of the activity, or each start of the child, of that name take so long.
    pub fn takes(mut self, name: impl Into<String>, duration: Duration) -> Self {
        self.durations.insert(name.into(), duration);
        self
    }

    /// An event that is there from the start. Events of one name are read in the order given.
    pub fn event(self, name: impl Into<String>, payload: &(impl Serialize + ?Sized)) -> Self {
        self.event_at(Duration::ZERO, name, payload)
    }

    /// Raises an event so long after the start.
    pub fn event_at(
        self,
        after: Duration,
        name: impl Into<String>,
        payload: &(impl Serialize + ?Sized),
    ) -> Self {
        let (name, payload) = (name.into(), written(payload, "the event"));
        self.then(after, Happening::Event { name, payload })
    }

    /// Asks the workflow to cancel so long after the start; more than once if called so.
    pub fn cancel_at(self, after: Duration) -> Self {
        self.then(after, Happening::Cancellation)
    }

    /// Asks for an update so long after the start: its validator first, as the host does. What comes
    /// of it is in [`Report::updates`].
    pub fn update_at(
        self,
        after: Duration,
        name: impl Into<String>,
        input: &(impl Serialize + ?Sized),
    ) -> Self {
        let (name, input) = (name.into(), written(input, "the update's input"));
        self.then(after, Happening::Update { name, input })
    }

    /// Asks a query so long after the start. The answer is in [`Report::queries`]; for one at the
    /// end there is [`Report::query`].
    pub fn query_at(
        self,
        after: Duration,
        name: impl Into<String>,
        input: &(impl Serialize + ?Sized),
    ) -> Self {
        let (name, input) = (name.into(), written(input, "the query's input"));
        self.then(after, Happening::Query { name, input })
    }

    /// What stands in the state store at the start.
    pub fn state(mut self, key: impl Into<String>, value: &(impl Serialize + ?Sized)) -> Self {
        self.state.push((key.into(), written(value, "the value")));
        self
    }

    /// Answers [`Context::patched`](crate::Context::patched) with false for this change: the path of
    /// instances that were under way before it.
    pub fn without_patch(mut self, id: impl Into<String>) -> Self {
        self.unpatched.insert(id.into());
        self
    }

    /// Ends the run at the first [`continue_as_new`](crate::Context::continue_as_new), as
    /// [`End::ContinuedAsNew`](super::End::ContinuedAsNew), instead of going on with the next generation.
    pub fn single_generation(mut self) -> Self {
        self.single_generation = true;
        self
    }

    /// Runs the workflow until it ends, or waits for what never comes.
    ///
    /// # Panics
    /// If the workflow panics, calls an activity or a child that is not scripted, or is not done after
    /// 100,000 turns.
    pub fn run(self) -> Report<W::Output> {
        Driver::start(self).run(None)
    }

    /// Runs the workflow as [`run`](Self::run) does, but no longer than so much virtual time.
    ///
    /// What is due at that time happens. Then the report shows the workflow as it is.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_until(self, after: Duration) -> Report<W::Output> {
        Driver::start(self).run(Some(after))
    }

    fn then(mut self, after: Duration, what: Happening) -> Self {
        self.happenings.push((after, what));
        self
    }
}

fn scripted<I: DeserializeOwned, O: Serialize>(
    mut play: impl FnMut(I) -> Result<O> + 'static,
) -> Box<Code> {
    Box::new(move |_, input| json::through(input, "the result", &mut play))
}
