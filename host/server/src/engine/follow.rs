//! What follows from records that have taken their place: the next turn, attempts, times to wake,
//! and what is not to be done any more.

use std::sync::Arc;

use wfhost_core::decide::{self, AttemptFence, Refused, TaskFence};
use wfhost_core::record::{Command, Happening, Record, Step};
use wfhost_core::state::ReadSet;
use wfhost_core::{Instance, InstanceId, TaskId, TaskState, Timestamp, Work};
use wfhost_store::SubmitError;

use super::due::Due;
use super::slot::Slot;
use super::timers::{Alarm, Wakes};
use super::{Engine, Job};
use crate::error::Error;

impl Engine {
    pub(super) fn fire(self: &Arc<Self>, slot: &Arc<Slot>, task: TaskId) {
        let fired = self.submit(slot, &ReadSet::default(), |instance| {
            Ok(vec![decide::fire_timer(instance, task, self.now())?])
        });
        if let Err(SubmitError::Refused(Refused::Stale)) = &fired {
            // Cancelled; or the clock has been set back since it was due, and it is due again.
            let due = self.store.look(&slot.id, |instance| {
                Due::of(instance, std::iter::once(task))
            });
            if let Ok(Some(due)) = due {
                self.pursue(slot, due);
            }
        }
        self.note(fired.map(drop));
    }

    /// All the time that an activity may take is over. One that runs just now notices itself.
    pub(super) fn deadline(self: &Arc<Self>, slot: &Arc<Slot>, of: TaskFence) {
        if slot.runs(of.task) {
            // Looked at again, in case it gives up its attempt without an end.
            let at = self.now().after(DEADLINE_AGAIN_MS);
            let job = Job::Deadline(Arc::clone(slot), of);
            return self.set_alarm(at, of.generation, Wakes::Deadline(of.task), job);
        }
        let ended = self.submit(slot, &ReadSet::default(), |instance| {
            Ok(vec![decide::time_out(instance, of, self.now())?])
        });
        self.note(ended.map(drop));
    }

    /// What follows from records that have taken their place, in a generation of an instance; `due`
    /// is what they have brought about, if that was looked at already.
    pub(super) fn follow(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        generation: u32,
        records: &[Arc<Record>],
        due: Option<Due>,
    ) {
        // A reset may have given the id to another slot just now.
        let other;
        let slot = if slot.has_ended() {
            other = self.slot(&slot.id);
            &other
        } else {
            slot
        };
        let (mut moved, mut ended, mut terminated) = (false, false, false);
        for record in records {
            // A stall is no reason to try again at once.
            moved |= !matches!(record.as_ref(), Record::Stalled(_));
            match record.as_ref() {
                Record::Turn(turn) => {
                    for command in &turn.commands {
                        if let Command::Cancel { task } = command {
                            let theirs =
                                |it: &AttemptFence| (it.generation, it.task) == (generation, *task);
                            slot.stop_attempts(theirs);
                            self.leave_line(slot, theirs);
                            self.timers.forget_task(slot.number, generation, *task);
                        }
                    }
                    ended |= matches!(
                        turn.step,
                        Step::Completed(_) | Step::Failed(_) | Step::Cancelled
                    );
                }
                Record::Attempt(attempt) if attempt.retry_at.is_none() => {
                    self.timers
                        .forget_task(slot.number, generation, attempt.task);
                }
                Record::Accepted(accepted) => match &accepted.what {
                    // One that had not begun has ended with that.
                    Happening::CancelRequested { .. } => {
                        let status = self.store.look(&slot.id, Instance::status);
                        ended |= matches!(status, Ok(Some(status)) if status.has_ended());
                    }
                    // One whose time was over may wait for its turn still.
                    Happening::TaskEnded { task, .. } => {
                        self.leave_line(slot, |it| (it.generation, it.task) == (generation, *task))
                    }
                    _ => {}
                },
                // Tasks of the generation before have no one to answer to.
                Record::Started(started) => {
                    let before = |it: &AttemptFence| it.generation < started.generation;
                    slot.stop_attempts(before);
                    self.leave_line(slot, before);
                    self.timers.forget_before(slot.number, started.generation);
                }
                Record::Ended(_) => (ended, terminated) = (true, true),
                _ => {}
            }
        }
        self.answer(&slot.id, records);
        if ended {
            slot.end();
            self.warm.leave(slot);
            self.leave_line(slot, |_| true);
            self.timers.forget_before(slot.number, u32::MAX);
            self.ended(slot);
        }
        if terminated {
            self.look_at_children(&slot.id);
        }
        if !moved || ended {
            return;
        }
        if slot.is_driven() {
            self.pursue_due(slot, records, due);
        } else if self.wake.drives_all() {
            // It was parked. Counts as work, so that it is not parked again between.
            self.begin_job(slot);
            match self.drive_slot(slot) {
                Err(Error::Store(error)) => self.note(Err(error.into())),
                _ => self.pursue_due(slot, records, due),
            }
            self.done(slot);
        }
    }

    fn pursue_due(self: &Arc<Self>, slot: &Arc<Slot>, records: &[Arc<Record>], due: Option<Due>) {
        if let Some(due) = due {
            return self.pursue(slot, due);
        }
        let due = self
            .store
            .look(&slot.id, |instance| Due::after(instance, records));
        match due {
            Ok(Some(due)) => self.pursue(slot, due),
            Ok(None) => {}
            Err(error) => self.note(Err(error.into())),
        }
    }

    /// Has done what is due, now or at its time.
    pub(super) fn pursue(self: &Arc<Self>, slot: &Arc<Slot>, due: Due) {
        let (now, generation) = (self.now(), due.generation);
        match due.turn {
            Some(at) if at > now => {
                self.set_alarm(at, generation, Wakes::Turn, Job::Turn(Arc::clone(slot)));
            }
            Some(_) if slot.queue_turn() => self.push(Job::Turn(Arc::clone(slot))),
            Some(_) | None => {}
        }
        for (task, work, at) in due.tasks {
            let slot = Arc::clone(slot);
            let (wakes, job) = match work {
                Work::Attempt(fence) => (Wakes::Task(task), Job::Attempt(slot, fence, None)),
                Work::Fire => (Wakes::Task(task), Job::Fire(slot, task)),
                Work::Other => (Wakes::Task(task), Job::Other(slot, task)),
                Work::Deadline(of) => (Wakes::Deadline(task), Job::Deadline(slot, of)),
            };
            if at <= now {
                self.push(job);
            } else {
                self.set_alarm(at, generation, wakes, job);
            }
        }
    }

    fn set_alarm(&self, at: Timestamp, generation: u32, what: Wakes, job: Job) {
        let slot = job.slot().number;
        let alarm = Alarm {
            slot,
            generation,
            what,
        };
        self.timers.set(at, alarm, job);
    }
}

/// How long after its time an activity is looked at again that runs just then.
const DEADLINE_AGAIN_MS: u64 = 10;

/// The children whose tasks these records close.
pub(super) fn left_children(instance: &Instance, records: &[Record]) -> Vec<InstanceId> {
    let mut left = Vec::new();
    for record in records {
        match record {
            Record::Turn(turn) if turn.step == Step::Waiting => {
                let cancelled = turn.commands.iter().filter_map(|command| match command {
                    Command::Cancel { task } => child_of(instance, *task),
                    _ => None,
                });
                left.extend(cancelled);
            }
            Record::Turn(_) | Record::Ended(_) => {
                let tasks = instance.tasks().keys();
                left.extend(tasks.filter_map(|task| child_of(instance, *task)));
            }
            _ => {}
        }
    }
    left
}

/// The child that a task has started, or is about to.
fn child_of(instance: &Instance, task: TaskId) -> Option<InstanceId> {
    match &instance.tasks().get(&task)?.state {
        TaskState::Child {
            options, attempt, ..
        } if !options.detached => {
            let generation = instance.started().generation;
            let id = options
                .child_id(&instance.started().id, generation, task)
                .ok()?;
            Some(id.of_attempt(*attempt))
        }
        _ => None,
    }
}
