//! What the host has to do for an instance without anything coming from outside, and from when on.
//!
//! Two things are told apart. What time brings is found by its time: a turn, an attempt, a timer, a
//! deadline, another start of a child. What has been begun, or was tried in vain, shows nothing in
//! the fold while it goes on: a child that may be running, a task or code that is stalled. A host
//! looks at these once, when it starts; after that whatever ends them tells the instance. If they
//! counted as due, an instance that waits for a child and for a timer would be due for as long as
//! the child runs, and nobody would find it by the time of its timer.

use crate::decide::{self, AttemptFence, TaskFence};
use crate::{Instance, Task, TaskId, TaskState, Timestamp};

/// What one task asks of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// An attempt is to be run.
    Attempt(AttemptFence),
    /// All time that it may take is over.
    Deadline(TaskFence),
    /// A timer is to be fired.
    Fire,
    /// A child is to be looked after, or an event raised to another instance.
    Other,
}

/// What is due.
impl Instance {
    /// What an open task asks of the host, each with the time from which on it is due.
    pub fn work_of(&self, id: TaskId) -> impl Iterator<Item = (Work, Timestamp)> {
        let task = self.tasks().get(&id);
        let work = task.and_then(|task| self.first_work(id, task));
        let deadline = task.and_then(decide::total_deadline);
        let deadline = deadline.map(|at| (Work::Deadline(self.task_fence(id)), at));
        work.into_iter().chain(deadline)
    }

    /// The earliest time at which time brings the host something to do for this instance; `None`
    /// if it has ended, or waits for something to come from outside.
    #[must_use]
    pub fn next_due_at(&self) -> Option<Timestamp> {
        let turn = self.turn_due_at().filter(|_| self.stalled_code().is_none());
        let tasks = self.tasks().iter();
        let timely = tasks.filter_map(|(id, task)| {
            let work = self.first_work(*id, task).map(|(_, at)| at);
            let work = work.filter(|_| !self.goes_on_unseen(*id));
            work.into_iter().chain(decide::total_deadline(task)).min()
        });
        turn.into_iter().chain(timely).min()
    }

    /// Whether a host that starts has to look at this instance, whatever the time is: something of
    /// it may have been begun, or tried in vain, by the host before, which may have died before it
    /// told a child that its parent has left it.
    #[must_use]
    pub fn is_due_at_start(&self) -> bool {
        let parent = self.started().parent.as_ref();
        let answers = parent.is_some_and(|parent| !parent.detached);
        let mut tasks = self.tasks().keys();
        !self.status().has_ended()
            && (answers
                || self.stalled_code().is_some()
                || tasks.any(|id| self.goes_on_unseen(*id)))
    }

    /// Whether work at an open task leaves no trace in the fold before it comes to its end. Another
    /// start of a child waits for its time, so that one counts as due; which it still does while
    /// that child runs, since its start leaves no trace either.
    #[must_use]
    pub fn goes_on_unseen(&self, id: TaskId) -> bool {
        let task = self.tasks().get(&id).map(|task| &task.state);
        let first_child = matches!(task, Some(TaskState::Child { attempt: 1, .. }));
        first_child || self.stalled_tasks().contains_key(&id)
    }

    fn first_work(&self, id: TaskId, task: &Task) -> Option<(Work, Timestamp)> {
        match &task.state {
            TaskState::Activity {
                attempt, ready_at, ..
            } => {
                let TaskFence {
                    run, generation, ..
                } = self.task_fence(id);
                let fence = AttemptFence {
                    run,
                    generation,
                    task: id,
                    number: *attempt,
                };
                Some((Work::Attempt(fence), *ready_at))
            }
            TaskState::Timer { fires_at } => Some((Work::Fire, *fires_at)),
            TaskState::Child { ready_at, .. } => Some((Work::Other, *ready_at)),
            TaskState::Raise { .. } => Some((Work::Other, Timestamp::default())),
            TaskState::Event { .. } => None,
        }
    }

    fn task_fence(&self, task: TaskId) -> TaskFence {
        let started = self.started();
        TaskFence {
            run: started.run,
            generation: started.generation,
            task,
        }
    }
}
