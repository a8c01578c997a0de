//! What there is to see of an instance.

use std::collections::{BTreeMap, BTreeSet};

use super::{Delivered, End, Instance, Status, Task};
use crate::codec::Chain;
use crate::record::{Asked, Event, StallReason, Started, Suspension};
use crate::{Digest, Failure, Json, RunId, TaskId, Timestamp};

/// What there is to see.
impl Instance {
    /// How the current generation began; its module is the one that runs it now, if that was
    /// changed since.
    #[must_use]
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// The input of the first generation.
    #[must_use]
    pub fn first_input(&self) -> &Json {
        &self.first_input
    }

    /// The module whose code runs it.
    #[must_use]
    pub fn module(&self) -> Digest {
        self.started.module
    }

    /// The turns of the current generation up to this number, from 1 over all generations, were
    /// taken before it was moved to the module that runs it now; 0 if it was not moved. What that
    /// asks in them may differ from the history in payloads and options.
    #[must_use]
    pub fn moved_after(&self) -> u64 {
        self.moved_after
    }

    /// The runs that resets of this generation have ended, the latest first.
    pub fn former_runs(&self) -> impl Iterator<Item = RunId> {
        self.former_runs.iter().map(|(run, _)| *run)
    }

    /// Whether a task of that run and generation is one of this instance: of its own run, or asked
    /// in a turn that a reset has kept.
    #[must_use]
    pub fn has_task_of(&self, run: RunId, generation: u32, task: TaskId) -> bool {
        let kept = |(former, kept): &(RunId, u32)| *former == run && task.0 <= *kept;
        generation == self.started.generation
            && (run == self.started.run || self.former_runs.iter().any(kept))
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.end {
            Some(End::Completed(_)) => Status::Completed,
            Some(End::Failed(_)) => Status::Failed,
            Some(End::Cancelled) => Status::Cancelled,
            Some(End::Terminated { .. }) => Status::Terminated,
            None if self.stall().is_some() => Status::Stalled,
            None if self.suspended.is_some() => Status::Suspended,
            None if self.turns == 0 => Status::Pending,
            None => Status::Running,
        }
    }

    /// Why it does not move, if it is stalled: the code itself, else the oldest task that is.
    #[must_use]
    pub fn stall(&self) -> Option<&StallReason> {
        self.stall
            .as_ref()
            .or_else(|| self.stalled_tasks.values().next())
    }

    /// The tasks that do not move, and why.
    #[must_use]
    pub fn stalled_tasks(&self) -> &BTreeMap<TaskId, StallReason> {
        &self.stalled_tasks
    }

    /// Why the workflow's code does not move, if that is what does not.
    #[must_use]
    pub fn stalled_code(&self) -> Option<&StallReason> {
        self.stall.as_ref()
    }

    /// What it returned, if it completed.
    #[must_use]
    pub fn output(&self) -> Option<&Json> {
        match &self.end {
            Some(End::Completed(output)) => Some(output),
            Some(End::Failed(_) | End::Cancelled | End::Terminated { .. }) | None => None,
        }
    }

    /// Why it ended without an output.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        match &self.end {
            Some(End::Failed(failure)) => Some(failure.clone()),
            Some(End::Cancelled) => Some(Failure::last(
                crate::kind::CANCELLED,
                self.cancel_reason
                    .clone()
                    .unwrap_or_else(|| "the workflow was cancelled".into()),
            )),
            Some(End::Terminated { reason, .. }) => Some(Failure::last(
                crate::kind::TERMINATED,
                reason
                    .clone()
                    .unwrap_or_else(|| "the workflow was terminated".into()),
            )),
            Some(End::Completed(_)) | None => None,
        }
    }

    /// What the workflow shows of itself.
    #[must_use]
    pub fn custom_status(&self) -> Option<&Json> {
        self.custom_status.as_ref()
    }

    /// When something last happened to it.
    #[must_use]
    pub fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// How many turns it has taken, in all generations.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// How many records its history has.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The link that its next record must carry.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// Notes the link to the record just written or read.
    pub fn link(&mut self, chain: Chain) {
        self.chain = chain;
    }

    /// What it waits for, in the order asked.
    #[must_use]
    pub fn tasks(&self) -> &BTreeMap<TaskId, Task> {
        &self.tasks
    }

    /// The unread events, oldest first.
    #[must_use]
    pub fn unread_events(&self) -> Vec<Event> {
        let by_arrival: BTreeMap<u64, &Event> = self
            .buffered
            .values()
            .flatten()
            .map(|(arrival, event)| (*arrival, event))
            .collect();
        by_arrival.into_values().cloned().collect()
    }

    /// Why somebody has asked it to stop, if they said.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<&str> {
        self.cancel_reason.as_deref()
    }

    /// Whether somebody has asked it to stop.
    #[must_use]
    pub fn cancel_requested(&self) -> bool {
        self.cancel_requested
    }

    /// From when on a turn is due: the first one, or one with inputs that are not held back.
    #[must_use]
    pub fn turn_due_at(&self) -> Option<Timestamp> {
        let due = self.end.is_none()
            && self.suspended.is_none()
            && (self.fresh() || !self.unread.is_empty());
        due.then(|| self.begins_at().unwrap_or_default())
    }

    /// When its first turn may be, if that was asked for and it has taken none.
    #[must_use]
    pub fn begins_at(&self) -> Option<Timestamp> {
        self.started.begins_at.filter(|_| self.turns == 0)
    }

    /// Why its inputs are held back, if they are.
    #[must_use]
    pub fn suspended(&self) -> Option<&Suspension> {
        self.suspended.as_ref()
    }

    /// Whether its children end with it, if it was terminated.
    #[must_use]
    pub fn terminated(&self) -> Option<bool> {
        match &self.end {
            Some(End::Terminated { recursive, .. }) => Some(*recursive),
            Some(End::Completed(_) | End::Failed(_) | End::Cancelled) | None => None,
        }
    }

    /// How many updates were ever asked.
    #[must_use]
    pub fn updates(&self) -> u32 {
        self.updates
    }

    /// The updates that are asked and not answered, by number.
    #[must_use]
    pub fn open_updates(&self) -> &BTreeSet<u32> {
        &self.open_updates
    }

    /// What a request key was used for, if it is one of the latest [`Instance::KEYS_MAX`].
    #[must_use]
    pub fn asked(&self, key: &str) -> Option<Asked> {
        let found = self.keys.iter().rev().find(|(known, _)| known == key);
        found.map(|(_, asked)| *asked)
    }

    /// From which record of its history on, from 0, the generation before this one and this one
    /// are told. What came before is needed by nobody.
    #[must_use]
    pub fn kept_from(&self) -> u64 {
        self.begun[0]
    }

    /// Which record of its history, from 0, began this generation.
    #[must_use]
    pub fn generation_from(&self) -> u64 {
        self.begun[1]
    }

    /// Whether the current generation has not run yet.
    #[must_use]
    pub fn fresh(&self) -> bool {
        self.turns_of_generation == 0
    }

    /// All that is unread, for the next turn. The first turn of a generation takes nothing.
    #[must_use]
    pub fn deliver(&self) -> Delivered {
        let count = if self.fresh() { 0 } else { self.unread.len() };
        self.deliver_first(count)
    }

    /// The oldest `count` unread inputs.
    #[must_use]
    pub fn deliver_first(&self, count: usize) -> Delivered {
        let taken = self.unread.iter().take(count);
        let not_before = taken
            .clone()
            .map(|unread| unread.due)
            .max()
            .unwrap_or_default();
        Delivered {
            inputs: taken.map(|unread| unread.input.clone()).collect(),
            not_before: not_before
                .max(self.last_turn_at)
                .max(self.begins_at().unwrap_or_default()),
        }
    }
}
