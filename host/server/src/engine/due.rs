//! What is due in one instance, read off its fold.

use wfhost_core::decide::AttemptFence;
use wfhost_core::{Instance, Task, TaskId, TaskState, Timestamp};

/// What is due in one instance.
pub(super) struct Due {
    pub(super) turn: bool,
    pub(super) tasks: Vec<(TaskId, What)>,
}

/// What one task waits for, and from when on.
pub(super) enum What {
    Attempt(AttemptFence, Timestamp),
    Fire(Timestamp),
    Other,
}

impl Due {
    /// Looks at these tasks only: after a submission those that it touched, at first all.
    pub(super) fn of<'a>(instance: &Instance, tasks: impl Iterator<Item = &'a TaskId>) -> Self {
        let open = tasks.filter_map(|id| Some((*id, instance.tasks().get(id)?)));
        let tasks = open.filter_map(|(id, task)| Some((id, What::of(instance, id, task)?)));
        Self {
            turn: instance.turn_is_due(),
            tasks: tasks.collect(),
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
            TaskState::Child { .. } | TaskState::Raise { .. } => Some(Self::Other),
            TaskState::Event { .. } => None,
        }
    }
}
