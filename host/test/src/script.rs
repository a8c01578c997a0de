//! What activities do in a test, instead of their code.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use wfhost::{Failure, Json, ScriptedCall};

/// One attempt of an activity, as a script sees it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Attempt {
    /// The instance that calls.
    pub instance: String,
    /// The activity.
    pub activity: String,
    /// What it is called with.
    pub input: Value,
    /// Which attempt of this call, from 1.
    pub number: u32,
}

type Play = Arc<dyn Fn(&Attempt) -> Result<Value, Failure> + Send + Sync>;

/// The scripts of a test, by activity. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Scripts(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    by_activity: BTreeMap<String, Script>,
    /// What a script said that panicked: an assertion of the test, most likely.
    panicked: Option<String>,
}

#[derive(Clone, Default)]
struct Script {
    /// The first attempts of each call fail so.
    fails: Option<(u32, Failure)>,
    /// Absent: the code runs.
    play: Option<Play>,
}

impl Scripts {
    pub(crate) fn play(&self, activity: &str, play: Play) {
        self.change(activity, |script| script.play = Some(play));
    }

    pub(crate) fn fail(&self, activity: &str, attempts: u32, failure: Failure) {
        self.change(activity, |script| script.fails = Some((attempts, failure)));
    }

    /// What is said to an attempt; nothing leaves it to the code.
    pub(crate) fn answer(&self, call: &ScriptedCall) -> Option<Result<Json, Failure>> {
        // Taken out of the lock: a script may itself change the scripts.
        let script = self
            .lock()
            .by_activity
            .get(call.activity.as_str())
            .cloned()?;
        match (script.fails, script.play) {
            (Some((attempts, failure)), _) if call.attempt <= attempts => Some(Err(failure)),
            (_, Some(play)) => Some(self.played(&play, &Attempt::of(call))),
            (_, None) => None,
        }
    }

    /// What a script said that has panicked since this was asked last.
    pub(crate) fn panicked(&self) -> Option<String> {
        self.lock().panicked.take()
    }

    fn played(&self, play: &Play, attempt: &Attempt) -> Result<Json, Failure> {
        match catch_unwind(AssertUnwindSafe(|| play(attempt))) {
            Ok(outcome) => outcome.map(|output| Json::of(&output)),
            Err(panic) => {
                let said = format!("`{}`: {}", attempt.activity, words(panic.as_ref()));
                self.lock().panicked = Some(said.clone());
                Err(Failure::last("panic", said))
            }
        }
    }

    fn change(&self, activity: &str, change: impl FnOnce(&mut Script)) {
        let mut inner = self.lock();
        change(inner.by_activity.entry(activity.to_owned()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it panicked")
}

impl Attempt {
    fn of(call: &ScriptedCall) -> Self {
        Self {
            instance: call.instance.to_string(),
            activity: call.activity.to_string(),
            input: call.input.value(),
            number: call.attempt,
        }
    }
}
