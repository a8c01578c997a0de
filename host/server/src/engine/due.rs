//! What is due in one instance, as the core reads it off the fold.

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
    /// Leaves out what goes on unseen, or is stalled: that was looked at before.
    pub(super) fn in_time(instance: &Instance) -> Self {
        let tasks = instance.tasks().keys();
        let due = Self::of(instance, tasks.filter(|id| !instance.goes_on_unseen(**id)));
        Self {
            turn: due.turn.filter(|_| instance.stalled_code().is_none()),
            ..due
        }
    }

    /// Looks at these tasks only: after a submission those that it touched, at first all.
    pub(super) fn of<'a>(instance: &Instance, tasks: impl Iterator<Item = &'a TaskId>) -> Self {
        let work = tasks.flat_map(|id| instance.work_of(*id).map(|(work, at)| (*id, work, at)));
        Self {
            generation: instance.started().generation,
            turn: instance.turn_due_at(),
            tasks: work.collect(),
        }
    }
}
