//! What came of an instance, for a test to look at.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::Value;
use wfhost::{Error, Failure, Host, Instance, InstanceId, Narrator, Status};

/// One call of an activity.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Call {
    /// What was called.
    pub name: String,
    /// With what.
    pub input: Value,
    /// How many attempts have ended.
    pub attempts: u32,
}

/// An instance at one time: how it stands, and all that happened to it. Shows as its history, which
/// a failed assertion prints.
#[derive(Clone)]
pub struct Report {
    instance: Instance,
    output: Option<Value>,
    failure: Option<Failure>,
    waits_for: Vec<String>,
    history: Vec<Value>,
    lines: Vec<String>,
    activities: Vec<Call>,
}

impl Report {
    pub(crate) async fn of(host: &Host, id: &InstanceId) -> Result<Self, Error> {
        // Shown once it is durable, so that the history reaches as far.
        let instance = host.instance(id).await?;
        let mut narrator = Narrator::default();
        let (mut history, mut lines) = (Vec::new(), Vec::new());
        host.history(id, |record| {
            let told = narrator.next(&record).map_err(|error| Error::Impossible {
                id: id.clone(),
                what: error.to_string(),
            })?;
            history.push(Narrator::view(&told, &record));
            lines.extend(Narrator::lines(&told, &record));
            Ok::<_, Error>(())
        })?;
        Ok(Self {
            output: instance.output().map(wfhost::Json::value),
            failure: instance.failure(),
            waits_for: wfhost::waits_for(&instance),
            activities: calls(&history),
            history,
            lines,
            instance,
        })
    }

    /// The instance's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.instance.started().id.as_str()
    }

    /// Whether and how it has ended, and if not, whether it moves.
    #[must_use]
    pub fn status(&self) -> Status {
        self.instance.status()
    }

    /// The workflow's result.
    ///
    /// # Panics
    /// If it has not completed: shows the history.
    #[track_caller]
    #[must_use]
    pub fn output(&self) -> &Value {
        match &self.output {
            Some(output) => output,
            None => panic!("there is no output: it is {self}"),
        }
    }

    /// What it failed with, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// The custom status that was set last.
    #[must_use]
    pub fn custom_status(&self) -> Option<Value> {
        self.instance.custom_status().map(wfhost::Json::value)
    }

    /// What it waits for, a line each, as `wfhost show` prints it.
    #[must_use]
    pub fn waits_for(&self) -> &[String] {
        &self.waits_for
    }

    /// Whether it waits for the event, activity or workflow of that name. Names of events are
    /// compared without regard to case.
    #[must_use]
    pub fn awaits(&self, name: &str) -> bool {
        let pending = wfhost::view::instance(&self.instance)["pending"].take();
        let pending = pending.as_array().cloned().unwrap_or_default();
        pending.iter().any(|task| {
            let awaited = task["name"].as_str().unwrap_or_default();
            match task["waits_for"].as_str() {
                Some("event") => awaited.to_lowercase() == name.to_lowercase(),
                _ => awaited == name,
            }
        })
    }

    /// The activities that it called, in the order asked.
    #[must_use]
    pub fn activities(&self) -> &[Call] {
        &self.activities
    }

    /// The names of the activities that it called, in the order asked.
    #[must_use]
    pub fn activity_names(&self) -> Vec<&str> {
        let calls = self.activities.iter();
        calls.map(|call| call.name.as_str()).collect()
    }

    /// What it and its activities logged, in order.
    #[must_use]
    pub fn log(&self) -> Vec<&str> {
        let rows = self.history.iter();
        let lines = rows.filter_map(|row| row["log"].as_array()).flatten();
        lines.filter_map(|line| line["message"].as_str()).collect()
    }

    /// How much time has passed from its start to what happened to it last.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let created_at = self.instance.started().created_at;
        Duration::from_millis(self.instance.updated_at().since(created_at))
    }

    /// Its history, each record as `wfhost history --json` prints it. Where it continued as new: of
    /// the current generation and the one before, as in all that is read off the history.
    #[must_use]
    pub fn history(&self) -> &[Value] {
        &self.history
    }

    /// Asserts that lines of the history, as `wfhost history` prints them, hold these texts, one
    /// after the other. There may be others between.
    ///
    /// # Panics
    /// If one is missing or comes too early: shows the history.
    #[track_caller]
    pub fn assert_history<T: AsRef<str>>(&self, texts: impl IntoIterator<Item = T>) {
        let mut lines = self.lines.iter();
        let mut before = None;
        for text in texts {
            let text = text.as_ref();
            if !lines.any(|line| line.contains(text)) {
                let after = before.map_or(String::new(), |it| format!(" after {it:?}"));
                panic!("no line holds {text:?}{after}: it is {self}");
            }
            before = Some(text.to_owned());
        }
    }

    /// The instance itself, for all else.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }
}

/// How it stands, and below it its history as `wfhost history` prints it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status().as_str())?;
        if let Some(failure) = &self.failure {
            write!(f, ", {}: {}", failure.kind, failure.message)?;
        }
        if let Some(reason) = self.instance.stall() {
            write!(f, ", {reason}")?;
        }
        for waits in &self.waits_for {
            write!(f, "\n  waits for {waits}")?;
        }
        for line in &self.lines {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

/// The same as it shows.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The calls of activities that a history tells of.
fn calls(history: &[Value]) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    // Where the call of a task is. Tasks are counted anew in each generation.
    let mut by_task = BTreeMap::new();
    for row in history {
        match row["record"].as_str() {
            Some("started") => by_task.clear(),
            Some("turn") => {
                let commands = row["commands"].as_array().into_iter().flatten();
                for command in commands.filter(|it| it["command"] == "call-activity") {
                    by_task.insert(command["task"].as_u64(), calls.len());
                    calls.push(Call {
                        name: command["name"].as_str().unwrap_or_default().to_owned(),
                        input: command["input"].clone(),
                        attempts: 0,
                    });
                }
            }
            Some("attempt") => {
                if let Some(call) = by_task.get(&row["task"].as_u64()) {
                    calls[*call].attempts += 1;
                }
            }
            _ => {}
        }
    }
    calls
}
