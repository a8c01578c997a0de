//! One instance of a workflow, as a test deals with it.

use std::path::Path;

use serde_json::Value;
use wfhost::{Children, Event, Failure, Host, Instance, InstanceId, Json, Status};

use crate::modules;
use crate::report::Report;
use crate::world::{Test, parsed};

/// How often the clock is moved for one wait. What takes more goes on for ever.
const JUMPS_MAX: u32 = 100_000;

/// An instance: what a test asks of it. What comes of that is in its [`Report`].
#[derive(Clone)]
pub struct Run<'t> {
    pub(crate) test: &'t Test,
    pub(crate) id: InstanceId,
}

impl Run<'_> {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// Raises an event.
    ///
    /// # Panics
    /// If the instance has ended.
    #[track_caller]
    pub fn raise(&self, event: &str, payload: Value) {
        let event = Event {
            name: parsed(event),
            payload: Json::of(&payload),
        };
        let key = self.test.request_key();
        self.test.act(async |host: &Host| {
            host.raise_event(&self.id, event.clone(), Some(key.clone()))
                .await
        });
        self.test.rest();
    }

    /// Asks it to cancel.
    ///
    /// # Panics
    /// If it has ended.
    #[track_caller]
    pub fn cancel(&self) {
        let key = self.test.request_key();
        self.test
            .act(async |host: &Host| host.cancel(&self.id, None, Some(key.clone())).await);
        self.test.rest();
    }

    /// Ends it without asking its code, and its children.
    ///
    /// # Panics
    /// If it has ended.
    #[track_caller]
    pub fn terminate(&self) {
        let key = self.test.request_key();
        self.test.act(async |host: &Host| {
            host.terminate(&self.id, None, Children::Too, Some(key.clone()))
                .await
        });
        self.test.rest();
    }

    /// Asks for an update, and returns the answer.
    ///
    /// # Errors
    /// What the workflow answers instead.
    ///
    /// # Panics
    /// If it has ended.
    #[track_caller]
    pub fn update(&self, name: &str, input: Value) -> Result<Value, Failure> {
        let (name, input) = (parsed(name), Json::of(&input));
        let key = self.test.request_key();
        let answer = self.test.act(async |host: &Host| {
            host.update(
                &self.id,
                Clone::clone(&name),
                input.clone(),
                Some(key.clone()),
            )
            .await
        });
        self.test.rest();
        answer.map(|output| output.value())
    }

    /// Asks about its state, and returns the answer.
    ///
    /// # Errors
    /// What the workflow answers instead.
    #[track_caller]
    pub fn query(&self, name: &str, input: Value) -> Result<Value, Failure> {
        let (name, input) = (parsed(name), Json::of(&input));
        let answer = self
            .test
            .act(async |host: &Host| host.query(&self.id, &name, &input).await);
        answer.map(|output| output.value())
    }

    /// How it stands, and all that happened to it.
    #[track_caller]
    #[must_use]
    pub fn report(&self) -> Report {
        self.test
            .act(async |host: &Host| Report::of(host, &self.id).await)
    }

    /// Lets time pass until it has ended; or is stalled or suspended.
    ///
    /// # Panics
    /// If it waits for what no time brings, an event for example, or for ever.
    #[track_caller]
    pub fn wait(&self) -> Report {
        self.pass_time("its end", |instance| {
            let rests = [Status::Stalled, Status::Suspended];
            instance.status().has_ended() || rests.contains(&instance.status())
        });
        self.report()
    }

    /// Lets time pass until it stands as said; looked at whenever nothing is left to do at a time.
    ///
    /// # Panics
    /// If that does not come, whatever time passes.
    #[track_caller]
    pub fn wait_until(&self, stands: impl Fn(&Report) -> bool) -> Report {
        self.pass_time("what the test waits for", |_| stands(&self.report()));
        self.report()
    }

    /// Asserts that its code does the same again on replay.
    ///
    /// # Panics
    /// If it does not: says where it strays.
    #[track_caller]
    pub fn assert_replays(&self) {
        self.assert_replays_as(None);
    }

    /// Asserts that other code follows its history, as [`Test::of`] finds it: that of the next
    /// version, say.
    ///
    /// # Panics
    /// If it does not: says where it strays.
    #[track_caller]
    pub fn assert_replays_on(&self, path: impl AsRef<Path>) {
        self.assert_replays_as(Some(path.as_ref()));
    }

    #[track_caller]
    fn assert_replays_as(&self, path: Option<&Path>) {
        let replayed = self.test.act(async |host: &Host| {
            let on = path.map(modules::upload).transpose()?;
            host.replay(&self.id, on).await
        });
        if let Some(stray) = replayed.stray {
            panic!(
                "`{}` does not replay; {} turns do, then: {stray}\n{}",
                self.id,
                replayed.turns,
                self.report()
            );
        }
    }

    /// Moves the clock from timer to timer.
    #[track_caller]
    fn pass_time(&self, what: &str, stands: impl Fn(&Instance) -> bool) {
        for _ in 0..JUMPS_MAX {
            let next = self.test.rest();
            let instance = self
                .test
                .act(async |host: &Host| host.instance(&self.id).await);
            if stands(&instance) {
                return;
            }
            match next {
                Some(at) => self.test.advance_to(at),
                None => panic!("`{}`: no time brings {what}\n{}", self.id, self.report()),
            }
        }
        panic!(
            "`{}`: after {JUMPS_MAX} timers there is no sign of {what}; it waits for {:?}",
            self.id,
            self.report().waits_for()
        );
    }
}
