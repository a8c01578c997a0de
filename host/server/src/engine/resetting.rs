//! Resets: an instance begins anew under its id, from one of its turns.
//!
//! The run before ends and the new one begins in one submission. Of the slot of the run before
//! nothing is of use any more: its jobs find that it has ended. A new one takes its place in the
//! map, and looks at all that is due, so that it finds what was submitted between.

use std::sync::Arc;

use wfhost_core::decide::{self, Refused, TurnFence};
use wfhost_core::record::{Moved, Record};
use wfhost_core::reset::{Cut, Parted};
use wfhost_core::{Instance, InstanceId, Status};
use wfhost_store::{Reuse, SubmitError};

use super::due::Due;
use super::moving::Candidate;
use super::slot::Slot;
use super::{Engine, lock};
use crate::error::Error;
use crate::migrate::ResetDone;
use crate::start;
use crate::verdict::Verdict;

/// So often it is tried, while other things come in.
const TRIES_MAX: u32 = 64;

/// What a reset is to be.
pub(crate) struct Resetting {
    pub(crate) to_turn: u64,
    pub(crate) module: Option<Candidate>,
    pub(crate) allow_input_changes: bool,
    pub(crate) dry_run: bool,
}

/// What is known of the instance before.
struct Before {
    fence: TurnFence,
    records: u64,
    generation_from: u64,
    /// It was moved in this generation.
    was_moved: bool,
}

impl Before {
    fn of(instance: &Instance) -> Result<Self, Status> {
        let status = instance.status();
        if status.has_ended() {
            return Err(status);
        }
        Ok(Self {
            fence: TurnFence::of(instance),
            records: instance.records(),
            generation_from: instance.generation_from(),
            was_moved: instance.moved_after() > 0,
        })
    }

    fn is(&self, instance: &Instance) -> bool {
        (self.fence, self.records) == (TurnFence::of(instance), instance.records())
    }
}

/// A reset that is ready to be submitted.
struct Ready {
    parted: Parted,
    candidate: Candidate,
    verdict: Verdict,
}

impl Engine {
    /// See [`crate::Host::reset`].
    pub(crate) fn reset(
        self: &Arc<Self>,
        id: &InstanceId,
        request: &Resetting,
    ) -> Result<ResetDone, Error> {
        let slot = self.slot(id);
        self.begin_job(&slot);
        // No turn is taken meanwhile.
        let held = lock(&slot.guest);
        let done = self.reset_held(&slot, request);
        self.rest(&slot, held);
        self.done(&slot);
        done
    }

    fn reset_held(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        request: &Resetting,
    ) -> Result<ResetDone, Error> {
        for _ in 0..TRIES_MAX {
            let Ok(before) = self
                .store
                .look(&slot.id, Before::of)?
                .ok_or_else(|| self.no_longer(&slot.id))?
            else {
                return Err(self.no_longer(&slot.id));
            };
            let ready = match self.part(&slot.id, &before, request) {
                // It has gone on as new generations while its history was read.
                Err(Error::Store(wfhost_store::Error::Removed { .. })) => continue,
                ready => ready?,
            };
            let Ready {
                parted,
                candidate,
                verdict,
            } = ready;
            let mut done = ResetDone {
                from_run: before.fence.run,
                run: None,
                to_turn: request.to_turn,
                module: candidate.digest(),
                verdict,
                lost: parted.lost.clone(),
            };
            if request.dry_run {
                return Ok(done);
            }
            done.run = Some(parted.started.run);
            match self.submit_reset(slot, &before, parted, request.to_turn) {
                Ok(()) => return Ok(done),
                // Something came in.
                Err(SubmitError::Refused(Refused::Stale)) => {}
                Err(error) => return Err(Error::from((slot.id.clone(), error))),
            }
        }
        let id = slot.id.clone();
        Err(Error::Busy { id })
    }

    /// Parts the history into what is kept and what is lost, and takes the turns that are kept
    /// again on the module that is to go on.
    fn part(
        self: &Arc<Self>,
        id: &InstanceId,
        before: &Before,
        request: &Resetting,
    ) -> Result<Ready, Error> {
        let cut = self.cut(id, before, request.to_turn)?;
        let now = self.now();
        let broken = |error: wfhost_core::BrokenHistory| Error::Impossible {
            id: id.clone(),
            what: error.to_string(),
        };
        let parted = cut.part(start::random_run(), start::random_seed(), now);
        let mut parted = parted.map_err(broken)?;
        let module = before.fence.module;
        let candidate = match &request.module {
            Some(candidate) => candidate.clone(),
            None => self
                .candidate(module)?
                .ok_or(Error::NoSuchModule { module })?,
        };
        let began = Record::Started(Box::new(parted.started.clone()));
        let records = std::iter::once(&began).chain(&parted.records);
        let generation = before.fence.generation;
        let (verdict, turns) = self.try_records(&candidate, generation, records)?;
        // What its own module was moved to with was allowed then.
        let allowed_before = candidate.digest() == module && before.was_moved;
        let allow = request.allow_input_changes || allowed_before;
        if !verdict.qualifies(allow) {
            return Err(Error::NotTheSame {
                id: id.clone(),
                module: candidate.digest(),
                verdict: Box::new(verdict),
            });
        }
        let from = parted.instance.module();
        let step = candidate.as_move(allow, turns);
        // What was taken by other code, or differs, is held against it as after a move.
        if from != step.to || verdict != Verdict::Same {
            let moved = Record::Moved(Moved {
                at: now,
                from,
                to: step.to,
                contract: step.contract,
                features: step.features,
                input_changes_allowed: step.input_changes_allowed,
                turns: step.turns,
            });
            parted.instance.apply(&moved).map_err(broken)?;
            parted.records.push(moved);
        }
        Ok(Ready {
            parted,
            candidate,
            verdict,
        })
    }

    fn cut(&self, id: &InstanceId, before: &Before, turn: u64) -> Result<Cut, Error> {
        let mut cut: Option<Cut> = None;
        let mut over = false;
        self.store
            .for_each_record(id, before.generation_from, |_, record| {
                match (&mut cut, record) {
                    (none @ None, Record::Started(started)) => {
                        *none = Some(Cut::new(*started, turn));
                    }
                    // It has gone on as a new generation: that is noticed when it is submitted.
                    (Some(_), Record::Started(_)) => over = true,
                    (Some(cut), record) if !over => cut.take(record),
                    _ => {}
                }
                Ok::<(), wfhost_store::Error>(())
            })?;
        let cut = cut.ok_or_else(|| self.no_longer(id))?;
        let (first, last) = (cut.first_turn(), cut.last_turn());
        if last < first {
            return Err(Error::NotBegun { id: id.clone() });
        }
        if !(first..=last).contains(&turn) {
            let id = id.clone();
            return Err(Error::NoTurnToReset {
                id,
                turn,
                first,
                last,
            });
        }
        Ok(cut)
    }

    fn submit_reset(
        self: &Arc<Self>,
        old: &Arc<Slot>,
        before: &Before,
        parted: Parted,
        turn: u64,
    ) -> Result<(), SubmitError> {
        let Parted {
            started, records, ..
        } = parted;
        let reason = Some(format!("it was reset to turn {turn}"));
        let now = self.now();
        let begun = self.store.start_rerun(started, records, |instance| {
            if !before.is(instance) {
                return Err(Refused::Stale);
            }
            let end = decide::terminate(instance, reason, false, None, now)?;
            Ok(Reuse::Replace(vec![end]))
        })?;
        self.tell_start(&begun.submitted);
        let driven = old.is_driven() || self.wake.drives_all();
        let new = self.take_over(old);
        // Before it goes on: those whose turns are lost learn that nobody waits for them.
        match self.unfinished_children(&new.id) {
            Ok(children) => children.iter().for_each(|child| self.look_at_parent(child)),
            Err(Error::Store(error)) => self.note(Err(error.into())),
            Err(_) => {}
        }
        if driven {
            self.take_up(&new);
        } else {
            self.release(&new);
        }
        Ok(())
    }

    /// Puts a new slot in the place of one whose run is over, with those who wait for the id.
    pub(super) fn take_over(self: &Arc<Self>, old: &Arc<Slot>) -> Arc<Slot> {
        let new = Arc::new(Slot::new(old.id.clone()));
        old.end();
        self.warm.leave(old);
        self.leave_line(old, |_| true);
        self.timers.forget_before(old.number, u32::MAX);
        self.install(&new);
        for waiter in old.take_waiters() {
            new.wait(waiter);
        }
        new
    }

    /// Drives an instance that begins with open tasks: all of them are looked at.
    pub(crate) fn take_up(self: &Arc<Self>, slot: &Arc<Slot>) {
        slot.set_driven();
        self.begin_job(slot);
        let due = self.store.look(&slot.id, |instance| {
            Due::of(instance, instance.tasks().keys().copied())
        });
        match due {
            Ok(Some(due)) => self.pursue(slot, due),
            Ok(None) => {}
            Err(error) => self.note(Err(error.into())),
        }
        self.done(slot);
    }

    /// As [`Engine::take_up`], by its id.
    pub(crate) fn take_up_begun(self: &Arc<Self>, id: &InstanceId) {
        let slot = self.slot(id);
        self.take_up(&slot);
        self.release(&slot);
    }

    /// Why nothing can be done to an instance: there is none, or it has ended.
    pub(crate) fn no_longer(&self, id: &InstanceId) -> Error {
        let id = id.clone();
        match self.store.look(&id, Instance::status) {
            Ok(Some(status)) => Error::Ended { id, status },
            Ok(None) => Error::NoSuchInstance { id },
            Err(error) => error.into(),
        }
    }
}
