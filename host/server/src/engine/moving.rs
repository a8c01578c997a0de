//! Instances on other code: whether a module does the same in the turns that were taken, and the
//! move to it.
//!
//! To move an instance its guest is held, so that no turn is taken meanwhile; inputs may come in.
//! The move is fenced all the same: what is submitted stands behind the turns that were compared.

use std::sync::Arc;

use wfhost_core::decide::{self, Move, Refused, TurnFence};
use wfhost_core::record::{Record, Started};
use wfhost_core::state::ReadSet;
use wfhost_core::{Digest, Instance, InstanceId, ModuleInfo, Position, Timestamp};
use wfhost_sandbox::{FEATURE_SET, Guest, Module, TurnEnd};
use wfhost_store::SubmitError;

use super::slot::{Slot, Warm};
use super::turn::refusal;
use super::{Engine, lock};
use crate::error::Error;
use crate::replay::{Course, Replay, Stray};
use crate::verdict::Verdict;

/// A module that may run instances in place of their own.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub(crate) module: Module,
    /// The version of the contract that it is linked against.
    contract: String,
}

impl Candidate {
    pub(crate) fn new(module: Module, info: &ModuleInfo) -> Self {
        Self {
            module,
            contract: info.contract.clone(),
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        self.module.digest()
    }

    /// The move to it.
    pub(crate) fn as_move(&self, input_changes_allowed: bool, turns: u64) -> Move {
        Move {
            to: self.digest(),
            contract: self.contract.clone(),
            features: FEATURE_SET,
            input_changes_allowed,
            turns,
        }
    }
}

/// Where an instance stands whose turns are taken again.
struct Stands {
    fence: TurnFence,
    position: Position,
    generation_from: u64,
    /// Its generation has taken no turn, and is to.
    begins: bool,
    not_before: Timestamp,
    ended: bool,
}

impl Stands {
    fn of(instance: &Instance, position: Position) -> Self {
        let ended = instance.status().has_ended();
        Self {
            fence: TurnFence::of(instance),
            position,
            generation_from: instance.generation_from(),
            begins: instance.fresh() && !ended,
            not_before: instance.deliver_first(0).not_before,
            ended,
        }
    }
}

/// What came of taking the turns of an instance again.
pub(crate) struct Tried {
    pub(crate) verdict: Verdict,
    /// How many turns were taken again.
    pub(crate) turns: u64,
    /// The module that the instance runs on.
    pub(crate) from: Digest,
    fence: TurnFence,
    /// The guest, if it can go on from there.
    guest: Option<Guest>,
    ended: bool,
}

/// What came of moving an instance.
pub(crate) struct MoveEnd {
    pub(crate) verdict: Verdict,
    /// How many turns were taken again.
    pub(crate) turns: u64,
    /// The module that it ran on.
    pub(crate) from: Digest,
    /// It runs on the other one now.
    pub(crate) moved: bool,
}

impl Engine {
    /// A module of the data file.
    pub(crate) fn candidate(&self, digest: Digest) -> Result<Option<Candidate>, Error> {
        let Some(info) = self.store.module(digest)? else {
            return Ok(None);
        };
        let module = self
            .module(digest)
            .map_err(|message| Error::ModuleUnusable {
                module: digest,
                message,
            })?;
        Ok(Some(Candidate::new(module, &info)))
    }

    /// Keeps a module that is deployed by now, so that it is not compiled again.
    pub(crate) fn know(&self, candidate: &Candidate) {
        let entry = Arc::clone(lock(&self.modules).entry(candidate.digest()).or_default());
        lock(&entry).get_or_insert_with(|| candidate.module.clone());
    }

    /// Takes the turns of an instance's current generation again on another module, without
    /// effects. `None` if there is no such instance.
    pub(crate) fn try_on(
        self: &Arc<Self>,
        id: &InstanceId,
        on: &Candidate,
    ) -> Result<Option<Tried>, Error> {
        loop {
            let Some(stands) = self.store.look_at(id, Stands::of)? else {
                return Ok(None);
            };
            match self.try_from(id, on, stands) {
                // It has gone on as new generations while its history was read.
                Err(wfhost_store::Error::Removed { .. }) => {}
                tried => return Ok(tried?),
            }
        }
    }

    fn try_from(
        self: &Arc<Self>,
        id: &InstanceId,
        on: &Candidate,
        stands: Stands,
    ) -> Result<Option<Tried>, wfhost_store::Error> {
        // All its turns are those of other code.
        let course = Course {
            generation: stands.fence.generation,
            module: on.digest(),
            moved_after: u64::MAX,
        };
        let mut replay = Replay::new(self, on.module.clone(), course);
        let mut first = None;
        let walked = self
            .store
            .for_each_record(id, stands.generation_from, |at, record| {
                if at > stands.position {
                    return Ok(());
                }
                if let Record::Started(started) = &record
                    && stands.begins
                {
                    first = Some(started.clone());
                }
                replay.next(&record)
            });
        let (mut guest, turns) = (replay.guest.take(), replay.turns);
        let verdict = match walked {
            Ok(false) => return Ok(None),
            Ok(true) => match (guest.take(), first) {
                // Spent by that.
                (Some(mut born), Some(started)) => {
                    self.try_first_turn(&mut born, &started, stands.not_before)
                }
                (came_up, _) => {
                    guest = came_up;
                    Verdict::of_change(replay.change)
                }
            },
            Err(stray) => Verdict::of_stray(stray)?,
        };
        Ok(Some(Tried {
            verdict,
            turns,
            from: stands.fence.module,
            fence: stands.fence,
            guest,
            ended: stands.ended,
        }))
    }

    /// Whether a guest that is just born takes its input; what else it does is forgotten.
    fn try_first_turn(
        self: &Arc<Self>,
        guest: &mut Guest,
        started: &Started,
        not_before: Timestamp,
    ) -> Verdict {
        let at = decide::turn_time(not_before, self.now());
        match guest.turn(at, &[], self.session(at)) {
            TurnEnd::Taken { turn, state } => match refusal(&turn, &state) {
                Some(failure) => Verdict::InterfaceChanged {
                    turn: started.carried.as_ref().map_or(0, |it| it.turns) + 1,
                    message: failure.message.clone(),
                },
                None => Verdict::Same,
            },
            TurnEnd::Limit { message } => Verdict::NotReplayed { message },
            // It has read its input before it read the state.
            TurnEnd::StateChanged(_) | TurnEnd::StateFailed(_) | TurnEnd::Spent => Verdict::Same,
        }
    }

    /// Moves a live instance to a module that does the same in its turns. `None` if there is no
    /// such instance, or if it has ended.
    pub(crate) fn move_instance(
        self: &Arc<Self>,
        id: &InstanceId,
        to: &Candidate,
        allow_input_changes: bool,
    ) -> Result<Option<MoveEnd>, Error> {
        let slot = self.slot(id);
        // Counts as work, so that it is not parked meanwhile.
        self.begin_job(&slot);
        let mut held = lock(&slot.guest);
        let moved = self.move_held(&slot, &mut held, to, allow_input_changes);
        self.rest(&slot, held);
        self.done(&slot);
        moved
    }

    fn move_held(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        held: &mut Option<Warm>,
        to: &Candidate,
        allow_input_changes: bool,
    ) -> Result<Option<MoveEnd>, Error> {
        loop {
            let Some(tried) = self.try_on(&slot.id, to)?.filter(|it| !it.ended) else {
                return Ok(None);
            };
            let end = |moved| MoveEnd {
                verdict: tried.verdict.clone(),
                turns: tried.turns,
                from: tried.from,
                moved,
            };
            let is_there = tried.from == to.digest();
            if is_there || !tried.verdict.qualifies(allow_input_changes) {
                return Ok(Some(end(false)));
            }
            let (fence, step) = (tried.fence, to.as_move(allow_input_changes, tried.turns));
            let submitted = self.submit(slot, &ReadSet::default(), |instance| {
                Ok(vec![decide::move_to(instance, fence, step, self.now())?])
            });
            match submitted {
                Ok(_) => {
                    let end = end(true);
                    let module = to.digest();
                    self.replace_guest(slot, held, tried.guest, TurnFence { module, ..fence });
                    return Ok(Some(end));
                }
                // It has gone on, or was moved, from another slot.
                Err(SubmitError::Refused(Refused::Stale)) => {}
                Err(SubmitError::Refused(_) | SubmitError::NoSuchInstance(_)) => return Ok(None),
                Err(error) => return Err(Error::from((slot.id.clone(), error))),
            }
        }
    }

    /// The guest of the old code is of no use any more. Where there was one, the new one takes its
    /// place; where there was none, none is kept, so that what is parked stays so.
    fn replace_guest(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        held: &mut Option<Warm>,
        guest: Option<Guest>,
        fence: TurnFence,
    ) {
        let was_warm = held.take().is_some();
        if let Some(guest) = guest.filter(|_| was_warm) {
            self.keep(slot, held, Warm { guest, fence });
        }
    }

    /// Takes records again that are in no data file, up to their end.
    pub(crate) fn try_records<'a>(
        &self,
        on: &Candidate,
        generation: u32,
        records: impl Iterator<Item = &'a Record>,
    ) -> Result<(Verdict, u64), Error> {
        let course = Course {
            generation,
            module: on.digest(),
            moved_after: u64::MAX,
        };
        let mut replay = Replay::new(self, on.module.clone(), course);
        for record in records {
            match replay.next(record) {
                Ok(()) => {}
                Err(Stray::Store(error)) => return Err(error.into()),
                Err(stray) => return Ok((Verdict::of_stray(stray)?, replay.turns)),
            }
        }
        Ok((Verdict::of_change(replay.change), replay.turns))
    }
}
