//! What a run came to, for a test to look at.

use core::cell::RefCell;
use core::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::driver::assert_nothing_asked;
use super::stand_in::{Entered, LogLine, World};
use crate::failure::{Failure, Result, kind};
use crate::reactor::Run;
use crate::time::Timestamp;

/// One call of an activity or a child workflow.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Call {
    /// What was called.
    pub name: String,
    /// With which input.
    pub input: Value,
    /// How many attempts have begun.
    pub attempts: u32,
    /// When the workflow asked for it.
    pub asked_at: Timestamp,
}

/// An event that the workflow raised for another instance.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RaisedEvent {
    /// The id of the other instance.
    pub instance: String,
    /// The event's name.
    pub name: String,
    /// What it brings.
    pub payload: Value,
}

/// What the workflow said to an update or a query.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The update or query.
    pub name: String,
    /// The answer, or the failure in its place: of a validator too.
    pub outcome: Result<Value, Failure>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum End {
    /// With a result.
    Completed,
    /// With a failure.
    Failed(Failure),
    /// It let a cancellation through.
    Cancelled,
    /// It asked to go on with this input, in a scenario of a single generation.
    ContinuedAsNew(Value),
    /// It is not done, and waits for each of these.
    Waiting(Vec<String>),
}

/// What was asked and told while a workflow ran.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) activities: Vec<Call>,
    pub(super) children: Vec<Call>,
    pub(super) raised: Vec<RaisedEvent>,
    pub(super) updates: Vec<Answer>,
    pub(super) queries: Vec<Answer>,
}

/// What came of a workflow that [ran in a test](super): its end, and all that it asked of its host.
///
/// `T` is the workflow's output.
pub struct Report<T> {
    pub(super) end: End,
    pub(super) output: Option<T>,
    pub(super) seen: Seen,
    pub(super) run: Run,
    pub(super) world: RefCell<Option<World>>,
    pub(super) started_at: Timestamp,
}

impl<T> Report<T> {
    /// How the run ended.
    pub fn end(&self) -> &End {
        &self.end
    }

    /// The workflow's result.
    ///
    /// # Errors
    /// What it failed with; else kind `cancelled`, `continued-as-new` or `waiting`, the last with
    /// what it waits for as its message.
    pub fn output(&self) -> Result<&T, Failure> {
        let (kind, message) = match (&self.output, &self.end) {
            (Some(output), End::Completed) => return Ok(output),
            (_, End::Failed(failure)) => return Err(failure.clone()),
            (_, End::Waiting(waits)) => (
                "waiting",
                format!("the workflow still waits for {}", waits.join(" and ")),
            ),
            (_, End::ContinuedAsNew(input)) => (
                "continued-as-new",
                format!("the workflow goes on with the input {input}"),
            ),
            (_, End::Cancelled | End::Completed) => {
                (kind::CANCELLED, "the workflow was cancelled".into())
            }
        };
        Err(Failure::new(kind, message))
    }

    /// What the workflow failed with, if it did.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.end {
            End::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// What the workflow still waits for, in words such as `the event "approval"`; empty once it ended.
    pub fn waits_for(&self) -> &[String] {
        match &self.end {
            End::Waiting(waits) => waits,
            _ => &[],
        }
    }

    /// The activities that it called, in the order asked, of all generations.
    pub fn activities(&self) -> &[Call] {
        &self.seen.activities
    }

    /// The names of the activities that it called, in the order asked.
    pub fn activity_names(&self) -> Vec<&str> {
        let calls = self.seen.activities.iter();
        calls.map(|call| call.name.as_str()).collect()
    }

    /// The child workflows that it started, in the order asked.
    pub fn children(&self) -> &[Call] {
        &self.seen.children
    }

    /// The events that it raised for others, in the order asked.
    pub fn raised(&self) -> &[RaisedEvent] {
        &self.seen.raised
    }

    /// What came of the scripted updates, in the order asked.
    pub fn updates(&self) -> &[Answer] {
        &self.seen.updates
    }

    /// What came of the scripted queries, in the order asked.
    pub fn queries(&self) -> &[Answer] {
        &self.seen.queries
    }

    /// What the workflow and its real activities logged, in order.
    ///
    /// Empty if the test installed a logger of its own.
    pub fn log(&self) -> Vec<LogLine> {
        self.world(|world| world.log.clone())
    }

    /// The custom status that was set last.
    pub fn custom_status(&self) -> Option<Value> {
        self.world(|world| Some(parse(world.custom_status.as_deref()?)))
    }

    /// What stands under a key of the state store.
    ///
    /// # Panics
    /// If the value is no `V`.
    pub fn state<V: DeserializeOwned>(&self, key: &str) -> Option<V> {
        let entry = self.world(|world| world.store.get(key, world.now_ms))?;
        let value = serde_json::from_str(&entry.value);
        Some(value.unwrap_or_else(|error| panic!("key {key:?} holds {}: {error}", entry.value)))
    }

    /// The number of the generation that ran last: how often the workflow continued as new.
    pub fn generation(&self) -> u32 {
        self.world(|world| world.info.generation)
    }

    /// The virtual time that passed.
    pub fn elapsed(&self) -> Duration {
        let now = self.world(|world| Timestamp::from_unix_millis(world.now_ms));
        now.saturating_since(self.started_at)
    }

    /// Asks the workflow, as it is now, a question.
    ///
    /// # Errors
    /// What the workflow answers instead: `unknown-query`, or what its handler fails with.
    ///
    /// # Panics
    /// If the answer is no `V`, or `input` has no JSON form.
    pub fn query<V: DeserializeOwned>(
        &self,
        name: &str,
        input: &(impl Serialize + ?Sized),
    ) -> Result<V, Failure> {
        let world = self.world.take().expect("it is put back after each look");
        let entered = Entered::new(world);
        let answer = self.run.query(name, &written(input, "the query's input"));
        assert_nothing_asked(&format!("the query {name:?}"));
        self.world.replace(Some(entered.leave()));
        let answer = answer?;
        Ok(serde_json::from_str(&answer)
            .unwrap_or_else(|error| panic!("the query {name:?} answered {answer}: {error}")))
    }

    fn world<V>(&self, look: impl FnOnce(&World) -> V) -> V {
        let world = self.world.borrow();
        look(world.as_ref().expect("it is put back after each look"))
    }
}

/// A value that the SDK wrote as JSON.
pub(super) fn parse(json: &str) -> Value {
    serde_json::from_str(json).expect("what the SDK wrote is JSON")
}

/// A value that a test scripts, as JSON.
pub(super) fn written(value: &(impl Serialize + ?Sized), what: &str) -> String {
    serde_json::to_string(value)
        .unwrap_or_else(|error| panic!("{what} cannot be written as JSON: {error}"))
}
