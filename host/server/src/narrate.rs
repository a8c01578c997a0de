//! A history told record by record: each record with what it takes the ones before to understand.

use wfhost_core::record::Record;
use wfhost_core::replay::{PastTurn, Playback};
use wfhost_core::{BrokenHistory, Instance, Name, TaskState};

use crate::cli::{instance, text};
use crate::view::HistoryRecord;

/// Follows one instance's history.
#[derive(Default)]
pub struct Narrator {
    playback: Playback,
}

/// One record, understood.
pub enum Told {
    /// A turn, with its number and its inputs.
    Turn(PastTurn),
    /// Any other record, with the activity that it is about.
    Other {
        /// The activity's name.
        activity: Option<Name>,
    },
}

impl Narrator {
    /// Takes the next record in.
    ///
    /// # Errors
    /// If no history can go on so.
    pub fn next(&mut self, record: &Record) -> Result<Told, BrokenHistory> {
        let task = match record.original() {
            Record::AttemptStarted(started) => Some(started.task),
            Record::AttemptStopped(stopped) => Some(stopped.task),
            Record::Attempt(attempt) => Some(attempt.task),
            _ => None,
        };
        let open = task.and_then(|task| self.instance()?.tasks().get(&task));
        let activity = open.and_then(|task| match &task.state {
            TaskState::Activity { name, .. } => Some(name.clone()),
            _ => None,
        });
        Ok(match self.playback.next(record)? {
            Some(past) => Told::Turn(past),
            None => Told::Other { activity },
        })
    }

    /// The instance as the records so far make it.
    #[must_use]
    pub fn instance(&self) -> Option<&Instance> {
        self.playback.instance()
    }

    /// The record as lines for people, as `wfhost history` prints them.
    #[must_use]
    pub fn lines(told: &Told, record: &Record) -> Vec<String> {
        text::history(record, told)
    }

    /// The record as JSON.
    #[must_use]
    pub fn view(told: &Told, record: &Record) -> serde_json::Value {
        crate::view::json(Self::record(told, record))
    }

    pub(crate) fn record(told: &Told, record: &Record) -> HistoryRecord {
        match told {
            Told::Turn(past) => HistoryRecord::turn(past, matches!(record, Record::Copied(_))),
            Told::Other { activity } => HistoryRecord::new(record, activity.as_ref()),
        }
    }
}

/// What an instance waits for, a line each, as `wfhost show` prints it.
#[must_use]
pub fn waits_for(instance: &Instance) -> Vec<String> {
    let tasks = instance.tasks().iter();
    tasks.map(|(id, task)| instance::task(*id, task)).collect()
}
