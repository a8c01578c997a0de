//! What a test says of the world that its workflows run in.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use wfhost::{
    Clock, Error, Failure, Host, Json, Options, StartRequest, StateRequest, StateWrite, Timestamp,
};

use crate::lives::Lives;
use crate::run::Run;
use crate::script::{Attempt, Scripts};
use crate::{Mode, modules};

/// 2026-01-01T00:00:00Z.
const START: Timestamp = Timestamp(1_767_225_600_000);

/// A host in memory for one test: see [the crate](crate).
///
/// Its methods panic where they fail, at the line of the test that called them.
pub struct Test {
    pub(crate) lives: Lives,
    scripts: Scripts,
    starts: Count,
    requests: Count,
}

/// Setting it up.
impl Test {
    /// A host with the module at `path`: a `.wasm` file, or the folder of a Cargo package, which is
    /// built first. Nothing happens before something is done with it.
    #[must_use]
    pub fn of(path: impl AsRef<Path>) -> Self {
        let scripts = Scripts::default();
        let script = scripts.clone();
        let options = Options {
            clock: Clock::still(START),
            script: Some(Arc::new(move |call| script.answer(call))),
            one_by_one: true,
            ..Options::default()
        };
        let test = Self {
            lives: Lives::new(options),
            scripts,
            starts: Count::default(),
            requests: Count::default(),
        };
        test.and(path)
    }

    /// One more module.
    #[must_use]
    pub fn and(mut self, path: impl AsRef<Path>) -> Self {
        self.lives.modules.push(path.as_ref().to_owned());
        self
    }

    /// What happens to the host while it runs.
    ///
    /// # Panics
    /// If something has been done with it.
    #[track_caller]
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        assert!(
            !self.lives.have_begun(),
            "the mode must be said before anything is done"
        );
        self.lives.mode = mode;
        self
    }

    /// Plays an activity instead of its code, once an attempt; what is played takes no time. What is
    /// said last counts, from then on. If it panics, so does the test.
    pub fn activity(
        &self,
        name: &str,
        play: impl Fn(&Attempt) -> Result<Value, Failure> + Send + Sync + 'static,
    ) {
        self.scripts.play(name, Arc::new(play));
    }

    /// Lets the first so many attempts of each call of an activity fail, retryable, as `injected`.
    /// Later ones run what is played, or the code.
    pub fn fail(&self, activity: &str, attempts: u32) {
        let failure = Failure::retryable("injected", "the test lets this attempt fail");
        self.fail_as(activity, attempts, failure);
    }

    /// Lets the first so many attempts of each call of an activity fail so.
    pub fn fail_as(&self, activity: &str, attempts: u32, failure: Failure) {
        self.scripts.fail(activity, attempts, failure);
    }

    /// Deploys another module while the test runs, as [`Test::of`] finds it: attempts from now on
    /// take its activities, starts its workflows.
    ///
    /// # Panics
    /// If it cannot be built or is rejected.
    #[track_caller]
    pub fn deploy(&self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        self.act(async |host: &Host| host.deploy(vec![modules::upload(path)?]).await);
        self.rest();
    }

    /// Writes to the state store.
    ///
    /// # Panics
    /// If the key or the value is too large.
    #[track_caller]
    pub fn set_state(&self, key: &str, value: Value) {
        let write = StateWrite {
            key: key.to_owned(),
            value: Some(Json::of(&value)),
            expires_at: None,
        };
        let request = StateRequest::from(write);
        self.act(async |host: &Host| host.write_state(vec![request.clone()]).await);
        self.rest();
    }

    /// What stands in the state store under a key.
    #[track_caller]
    #[must_use]
    pub fn state(&self, key: &str) -> Option<Value> {
        let entry = self.act(async |host: &Host| host.state(key).await);
        Some(entry?.value.value())
    }
}

/// Running workflows.
impl Test {
    /// Starts a workflow, as `run-1`, `run-2` and so on.
    ///
    /// # Panics
    /// If no module offers it, or its code refuses the input.
    #[track_caller]
    pub fn start(&self, workflow: &str, input: Value) -> Run<'_> {
        orderly(self.try_start(workflow, input))
    }

    /// Starts a workflow, unless it is refused.
    ///
    /// # Errors
    /// If no module offers it, or its code refuses the input.
    ///
    /// # Panics
    /// If the name is none.
    #[track_caller]
    pub fn try_start(&self, workflow: &str, input: Value) -> Result<Run<'_>, Error> {
        self.start_with(StartRequest::new(parsed(workflow), Json::of(&input)))
    }

    /// Starts a workflow with all that a request may say. Its id is `run-1`, `run-2` and so on
    /// where it says none.
    ///
    /// # Errors
    /// If no module offers it, its code refuses the input, or the id is in use.
    #[track_caller]
    pub fn start_with(&self, mut request: StartRequest) -> Result<Run<'_>, Error> {
        request
            .id
            .get_or_insert_with(|| parsed(&format!("run-{}", self.starts.next())));
        request.key.get_or_insert_with(|| self.request_key());
        let id = self
            .lives
            .act(async |host: &Host| host.start(request.clone()).await)?;
        self.rest();
        Ok(Run { test: self, id })
    }

    /// An instance that something else started, such as a child.
    ///
    /// # Panics
    /// If there is none of that id.
    #[track_caller]
    #[must_use]
    pub fn instance(&self, id: &str) -> Run<'_> {
        let id = parsed(id);
        self.act(async |host: &Host| host.instance(&id).await);
        Run { test: self, id }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.lives.clock().now()
    }

    /// Lets so much time pass: each timer that becomes due fires at its time, and what follows from
    /// it is done before the next.
    #[track_caller]
    pub fn advance(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let until = self.now().after(millis);
        while let Some(at) = self.rest().filter(|at| *at <= until) {
            self.advance_to(at);
        }
        self.advance_to(until);
        self.rest();
    }
}

impl Test {
    #[track_caller]
    pub(crate) fn act<T>(&self, what: impl AsyncFn(&Host) -> Result<T, Error>) -> T {
        orderly(self.lives.act(what))
    }

    /// See [`Lives::rest`].
    #[track_caller]
    pub(crate) fn rest(&self) -> Option<Timestamp> {
        let next = orderly(self.lives.rest());
        if let Some(said) = self.scripts.panicked() {
            panic!("what is played for an activity panicked: {said}");
        }
        next
    }

    #[track_caller]
    pub(crate) fn advance_to(&self, at: Timestamp) {
        let by = Duration::from_millis(at.since(self.now()));
        self.act(async |host: &Host| {
            host.advance_time(by);
            Ok(())
        });
    }

    /// Makes a request one that is done once, however often a host that dies is asked.
    pub(crate) fn request_key(&self) -> String {
        format!("request-{}", self.requests.next())
    }
}

/// Counts from 1.
#[derive(Default)]
struct Count(Cell<u32>);

impl Count {
    fn next(&self) -> u32 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }
}

/// The value, or a panic with the whole of what went wrong.
#[track_caller]
pub(crate) fn orderly<T>(result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// A name or an id.
#[track_caller]
pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> T {
    match text.parse() {
        Ok(value) => value,
        Err(error) => panic!("{text:?}: {error}"),
    }
}
