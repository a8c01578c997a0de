//! What is due in one instance, read off its fold.

use std::sync::Arc;

use wfhost_core::decide::{self, AttemptFence, TaskFence};
use wfhost_core::record::{Command, Happening, Record};
use wfhost_core::{Instance, Task, TaskId, TaskState, Timestamp};

/// What is due in one instance.
pub(super) struct Due {
    /// The generation that it is due in.
    pub(super) generation: u32,
    /// From when on a turn is.
    pub(super) turn: Option<Timestamp>,
    pub(super) tasks: Vec<(TaskId, What)>,
}

/// What one task waits for, and from when on.
pub(super) enum What {
    Attempt(AttemptFence, Timestamp),
    /// The end of all time that it may take.
    Deadline(Timestamp, TaskFence),
    Fire(Timestamp),
    /// A child, or an event to somebody else.
    Other(Timestamp),
}

impl Due {
    /// After records that an instance has just got: of the tasks that they touch.
    pub(super) fn after(instance: &Instance, records: &[Arc<Record>]) -> Self {
        let tasks = records.iter().flat_map(|record| touched(record));
        Self::of(instance, tasks)
    }

    /// Looks at these tasks only: after a submission those that it touched, at first all.
    pub(super) fn of(instance: &Instance, tasks: impl Iterator<Item = TaskId>) -> Self {
        let open = tasks.filter_map(|id| Some((id, instance.tasks().get(&id)?)));
        let mut due = Vec::new();
        for (id, task) in open {
            due.extend(What::of(instance, id, task).map(|what| (id, what)));
            let started = instance.started();
            let of = TaskFence {
                run: started.run,
                generation: started.generation,
                task: id,
            };
            due.extend(decide::total_deadline(task).map(|at| (id, What::Deadline(at, of))));
        }
        Self {
            generation: instance.started().generation,
            turn: instance.turn_due_at(),
            tasks: due,
        }
    }
}

impl What {
    fn of(instance: &Instance, id: TaskId, task: &Task) -> Option<Self> {
        let started = instance.started();
        match &task.state {
            TaskState::Activity {
                attempt, ready_at, ..
            } => {
                let (run, generation) = (started.run, started.generation);
                let fence = AttemptFence {
                    run,
                    generation,
                    task: id,
                    number: *attempt,
                };
                Some(Self::Attempt(fence, *ready_at))
            }
            TaskState::Timer { fires_at } => Some(Self::Fire(*fires_at)),
            TaskState::Child { ready_at, .. } => Some(Self::Other(*ready_at)),
            TaskState::Raise { .. } => Some(Self::Other(Timestamp::default())),
            TaskState::Event { .. } => None,
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
