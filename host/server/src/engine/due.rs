//! What is due in one instance, as the core reads it off the fold.

use std::sync::Arc;

use wfhost_core::record::{Command, Happening, Record};
use wfhost_core::{Instance, TaskId, Timestamp, Work};

/// What is due in one instance.
pub(super) struct Due {
    /// The generation that it is due in.
    pub(super) generation: u32,
    /// From when on a turn is.
    pub(super) turn: Option<Timestamp>,
    /// What tasks ask, and from when on.
    pub(super) tasks: Vec<(TaskId, Work, Timestamp)>,
}

impl Due {
    /// After records that an instance has just got: of the tasks that they touch.
    pub(super) fn after(instance: &Instance, records: &[Arc<Record>]) -> Self {
        let tasks = records.iter().flat_map(|record| touched(record));
        Self::of(instance, tasks)
    }

    /// Leaves out what goes on unseen, or is stalled: that was looked at before.
    pub(super) fn in_time(instance: &Instance) -> Self {
        let tasks = instance.tasks().keys().copied();
        let due = Self::of(instance, tasks.filter(|id| !instance.goes_on_unseen(*id)));
        Self {
            turn: due.turn.filter(|_| instance.stalled_code().is_none()),
            ..due
        }
    }

    /// Looks at these tasks only: after a submission those that it touched, at first all.
    pub(super) fn of(instance: &Instance, tasks: impl Iterator<Item = TaskId>) -> Self {
        let work = tasks.flat_map(|id| instance.work_of(id).map(move |(work, at)| (id, work, at)));
        Self {
            generation: instance.started().generation,
            turn: instance.turn_due_at(),
            tasks: work.collect(),
        }
    }
}

/// The tasks that may be due because of a record.
fn touched(record: &Record) -> Vec<TaskId> {
    match record {
        Record::Turn(turn) => {
            let opens = |command: &&Command| !matches!(command, Command::Cancel { .. });
            let commands = turn.commands.iter().filter(opens);
            commands.filter_map(Command::task).collect()
        }
        Record::Attempt(attempt) if attempt.retry_at.is_some() => vec![attempt.task],
        Record::Accepted(accepted) => match &accepted.what {
            Happening::ChildFailed { task, .. } => vec![*task],
            _ => Vec::new(),
        },
        Record::Unstalled(unstalled) => vec![unstalled.task],
        _ => Vec::new(),
    }
}
