//! Turns: a guest runs from one wait to the next, and what it asked is submitted.

use std::sync::Arc;

use tokio::sync::oneshot;
use wfhost_core::decide::{self, Refused, TurnFence};
use wfhost_core::record::{Asked, Rerun, StallReason, Started, Step, Turn};
use wfhost_core::state::{Session, SessionEnd};
use wfhost_core::{Delivered, Digest, Failure, Instance, Name, Position, Role, Timestamp, kind};
use wfhost_sandbox::{Birth, Guest, Module, Origin, TurnEnd, Unusable};
use wfhost_store::{Held, SubmitError};

use super::gate::Lost;
use super::reserve::{CONFLICTS_MAX, Claim};
use super::slot::{Slot, Waiter, Warm};
use super::{Engine, Job};
use crate::error::Error;
use crate::replay::{Course, Replay};
use crate::start::Reuse;
use crate::telemetry::GuestKind;

/// A start that waits for a worker.
pub(crate) struct Begun {
    pub(super) slot: Arc<Slot>,
    started: Started,
    /// Its module stays where it is until the start is recorded.
    module: Held,
    reuse: Reuse,
    who: Starter,
}

/// Who wants to know what of a start.
enum Starter {
    /// Once it began.
    Begun(oneshot::Sender<Result<Position, Error>>),
    /// Only why it did not, or how the instance settled.
    Ran(oneshot::Sender<Result<Result<(), Lost>, Error>>),
}

/// What there is to do for an instance that began.
enum Next {
    /// The turns that are due.
    Turns,
    Stall(StallReason),
    Nothing,
}

/// What a turn needs to know of its instance.
struct Standing {
    fence: TurnFence,
    delivered: Delivered,
    course: Course,
    /// Which record began its generation.
    generation_from: u64,
}

impl Engine {
    /// Starts an instance and drives it. Resolves once its first turn has been submitted, or with
    /// the reason why it was not started; then nothing of it is recorded.
    pub(crate) fn start(
        self: &Arc<Self>,
        started: Started,
        module: Held,
        reuse: Reuse,
    ) -> oneshot::Receiver<Result<Position, Error>> {
        let (told, result) = oneshot::channel();
        self.push_start(started, module, reuse, Starter::Begun(told));
        result
    }

    /// Starts an instance and drives it. Resolves with the reason why it was not started, or once
    /// it has settled, as [`Engine::settled`] does.
    pub(crate) fn start_and_settle(
        self: &Arc<Self>,
        started: Started,
        module: Held,
        reuse: Reuse,
    ) -> oneshot::Receiver<Result<Result<(), Lost>, Error>> {
        let (told, result) = oneshot::channel();
        self.push_start(started, module, reuse, Starter::Ran(told));
        result
    }

    fn push_start(self: &Arc<Self>, started: Started, module: Held, reuse: Reuse, who: Starter) {
        // It is the id's own once the start is recorded.
        let slot = Arc::new(Slot::new(started.id.clone()));
        self.push(Job::Begin(Box::new(Begun {
            slot,
            started,
            module,
            reuse,
            who,
        })));
    }

    /// The first turn runs before anything is recorded: an input that the code does not accept is
    /// the caller's mistake, and leaves no trace.
    pub(super) fn begin(self: &Arc<Self>, begun: Begun) {
        let Begun {
            slot,
            started,
            module: _stays,
            reuse,
            who,
        } = begun;
        let mut held = super::lock(&slot.guest);
        let begun = self.try_begin(&slot, started, reuse, &mut held);
        // Nobody may wait any more.
        let next = match (begun, who) {
            (Ok((position, next)), Starter::Begun(told)) => {
                let _ = told.send(Ok(position));
                next
            }
            (Ok((_, next)), Starter::Ran(told)) => {
                // A store that failed tells every waiter.
                let _ = self.wait_for(&slot.id, Waiter::Ran(told));
                next
            }
            (Err(error), Starter::Begun(told)) => return drop(told.send(Err(error))),
            (Err(error), Starter::Ran(told)) => return drop(told.send(Err(error))),
        };
        match next {
            Next::Turns => self.take_turns(&slot, &mut held),
            Next::Stall(reason) => {
                slot.unqueue_turn();
                self.stall(&slot, None, reason);
            }
            // The start was made before, by another slot.
            Next::Nothing => {}
        }
        self.rest(&slot, held);
    }

    fn first_turn(self: &Arc<Self>, started: &Started) -> Result<(Guest, TurnEnd), Error> {
        let unusable = |message| Error::ModuleUnusable {
            module: started.module,
            message,
        };
        let module = self.module(started.module).map_err(unusable)?;
        let guest = self.guest(&module, started);
        let mut guest = guest.map_err(|error| unusable(crate::error::chain(&error)))?;
        self.telemetry.metrics.guest(GuestKind::New);
        let end = guest.turn(started.at, &[], self.session(started.at));
        check_input(&started.workflow, &end)?;
        Ok((guest, end))
    }

    fn try_begin(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        started: Started,
        reuse: Reuse,
        held: &mut Option<Warm>,
    ) -> Result<(Position, Next), Error> {
        let later = started.begins_at.is_some_and(|at| at > self.now());
        // As it starts: whoever moves it to other code before its first turn is submitted has that
        // refused.
        let fence = TurnFence {
            run: started.run,
            generation: started.generation,
            module: started.module,
            turns: 0,
        };
        let (guest, end) = self.first_turn(&started)?;
        let (key, mut repeated) = (started.key.clone(), false);
        let begun = self.store.start(started, |before| {
            let asked = key.as_ref().and_then(|key| before.asked(key));
            // The same request was made at the same time, and was faster.
            repeated = asked == Some(Asked::Start);
            Ok(if repeated {
                wfhost_store::Reuse::Refuse
            } else {
                reuse.on(before)
            })
        });
        if repeated {
            return Ok((self.store.submitted(), Next::Nothing));
        }
        let begun = begun.map_err(|error| Error::from((slot.id.clone(), error)))?;
        let position = begun.submitted;
        self.tell_start(&position);
        slot.set_driven();
        self.install(slot);
        // The turns that are due from here on are this job's.
        slot.queue_turn();
        self.follow(slot, 0, &position.records, None);
        if later {
            // That was for its input only.
            return Ok((position.position, Next::Turns));
        }
        match end {
            TurnEnd::Taken { turn, state } => {
                // Whatever comes of it, the instance is started; what is not done here is due.
                let _ = self.submit_turn(slot, fence, turn, &state, guest, held);
                Ok((position.position, Next::Turns))
            }
            TurnEnd::Limit { message } => Ok((
                position.position,
                Next::Stall(StallReason::Limit { message }),
            )),
            TurnEnd::StateChanged(_) | TurnEnd::StateFailed(_) | TurnEnd::Spent => {
                Ok((position.position, Next::Turns))
            }
        }
    }

    /// Takes turns until none is due.
    pub(super) fn turns(self: &Arc<Self>, slot: &Arc<Slot>) {
        let mut held = super::lock(&slot.guest);
        self.take_turns(slot, &mut held);
        self.rest(slot, held);
    }

    /// While this runs the slot counts as queued, so that nobody queues a second job for it.
    fn take_turns(self: &Arc<Self>, slot: &Arc<Slot>, held: &mut Option<Warm>) {
        loop {
            let result = self.take_due_turns(slot, held);
            if let Ok(Rest::Yields) = result {
                // It stays queued, behind everyone else.
                return self.push(Job::Turn(Arc::clone(slot)));
            }
            slot.unqueue_turn();
            match result {
                Ok(_) => {}
                Err(Stop::Stall(reason)) => return self.stall(slot, None, reason),
                Err(Stop::Unreadable) => return self.lose(),
                Err(Stop::Failed(error)) => return self.note(Err(SubmitError::Store(error))),
            }
            // What came in before the slot was free again queued nothing.
            let due = self.standing(slot);
            if !matches!(due, Ok(Some(_))) || !slot.queue_turn() {
                return;
            }
        }
    }

    fn take_due_turns(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        held: &mut Option<Warm>,
    ) -> Result<Rest, Stop> {
        let mut conflicts = 0;
        let mut reservation = None;
        let mut taken = 0;
        while let Some(standing) = self.standing(slot)? {
            if slot.has_ended() {
                // Another run has the id.
                break;
            }
            let warm = held.take().filter(|warm| warm.fence == standing.fence);
            self.telemetry.metrics.guest(match &warm {
                Some(_) => GuestKind::Warm,
                None if standing.fence.turns == 0 => GuestKind::New,
                None => GuestKind::Replayed,
            });
            let mut guest = match warm {
                Some(warm) => warm.guest,
                None => self.bring_up(slot, standing.course, standing.generation_from)?,
            };
            // What the turn before has asked need not wait for this one.
            self.share_next();
            taken += 1;
            let at = decide::turn_time(standing.delivered.not_before, self.now());
            let claim = match guest.turn(at, &standing.delivered.inputs, self.session(at)) {
                TurnEnd::Taken { turn, state } => {
                    let submitted = if self
                        .reservations
                        .may_write(&state.writes, reservation.as_ref())
                    {
                        self.submit_turn(slot, standing.fence, turn, &state, guest, held)
                    } else {
                        Err(Refused::Conflict)
                    };
                    match submitted {
                        Ok(()) => None,
                        Err(Refused::Conflict) => Some(Claim::of(&state)),
                        // Somebody else moved the instance on; look again.
                        Err(Refused::Stale | Refused::Ended | Refused::Repeated(_)) => continue,
                    }
                }
                TurnEnd::StateChanged(state) => Some(Claim::of(&state)),
                TurnEnd::Limit { message } => {
                    return Err(Stop::Stall(StallReason::Limit { message }));
                }
                TurnEnd::StateFailed(_) => return Err(Stop::Unreadable),
                TurnEnd::Spent => unreachable!("a spent guest is never kept"),
            };
            conflicts = if claim.is_some() { conflicts + 1 } else { 0 };
            // Given back first: nobody holds two.
            drop(reservation.take());
            if conflicts >= CONFLICTS_MAX {
                reservation = claim.map(|claim| self.reservations.reserve(claim));
            } else if taken >= TURNS_MAX || self.stopping() {
                return Ok(Rest::Yields);
            }
        }
        Ok(Rest::Idle)
    }

    fn standing(&self, slot: &Slot) -> Result<Option<Standing>, wfhost_store::Error> {
        let now = self.now();
        let standing = self.store.look(&slot.id, |it| Standing::of(it, now))?;
        Ok(standing.flatten())
    }

    fn submit_turn(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        fence: TurnFence,
        turn: Turn,
        state: &SessionEnd,
        guest: Guest,
        held: &mut Option<Warm>,
    ) -> Result<(), Refused> {
        let waits = turn.step == Step::Waiting;
        let next = match &turn.step {
            Step::ContinuedAsNew {
                current_module: true,
                ..
            } => self.current_module(slot),
            _ => None,
        };
        let submitted = self.submit(slot, &state.reads, |instance| {
            decide::take_turn(instance, fence, turn, next)
        });
        match submitted {
            Ok(_) => {
                self.telemetry.metrics.turn();
                let fence = TurnFence {
                    turns: fence.turns + 1,
                    ..fence
                };
                if waits && self.guests_warm_max > 0 {
                    self.keep(slot, held, Warm { guest, fence });
                }
                Ok(())
            }
            Err(SubmitError::Refused(refused)) => Err(refused),
            // The next generation's module was removed since its name was looked up: the turn is
            // taken again, with what the name means now.
            Err(SubmitError::ModuleMissing { .. }) => Err(Refused::Stale),
            Err(error) => {
                self.note(Err(error));
                Err(Refused::Ended)
            }
        }
    }

    /// A new guest. Where there is no room for one more, some that are warm make way: they come
    /// back by replay.
    pub(crate) fn guest(&self, module: &Module, started: &Started) -> Result<Guest, Unusable> {
        for _ in 0..COOLED_ROUNDS {
            match module.guest(birth(started)) {
                Err(unusable) if unusable.passing && self.cool_some(COOLED_AT_ONCE) => {}
                other => return other,
            }
        }
        module.guest(birth(started))
    }

    /// The module that the instance's workflow means now.
    fn current_module(&self, slot: &Slot) -> Option<Digest> {
        let workflow = self
            .store
            .look(&slot.id, |it| it.started().workflow.clone())
            .ok()??;
        self.store.bound(Role::Workflow, &workflow, &slot.id).ok()?
    }

    /// A fresh guest, replayed to where the instance stands.
    fn bring_up(&self, slot: &Slot, course: Course, from: u64) -> Result<Guest, StallReason> {
        let unusable = |message| StallReason::ModuleUnusable { message };
        let module = self.module(course.module).map_err(unusable)?;
        let mut replay = Replay::new(self, module, course);
        let walked = self
            .store
            .for_each_record(&slot.id, from, |_, record| replay.next(&record));
        match walked {
            Ok(_) => replay
                .guest
                .ok_or_else(|| unusable("its history is empty".into())),
            Err(stray) => Err(stray.reason()),
        }
    }

    pub(super) fn session(self: &Arc<Self>, at: Timestamp) -> Session {
        Session::new(self.store.snapshot_when_read(at), at)
    }
}

/// Turns that one instance takes before the others have theirs. One more costs it a place in the
/// queue; a workflow that never waits must not hold a worker for ever.
const TURNS_MAX: u32 = 16;

/// So many guests make way at once where there is no room for one more, so often: more than any
/// workers that are about to make one can need, and not all.
const COOLED_AT_ONCE: usize = 64;
const COOLED_ROUNDS: usize = 4;

/// How a row of turns came to its end.
enum Rest {
    /// None is due.
    Idle,
    /// Others have their turn first.
    Yields,
}

/// Why no further turn is taken.
enum Stop {
    Stall(StallReason),
    Failed(wfhost_store::Error),
    /// The state could not be read.
    Unreadable,
}

impl From<StallReason> for Stop {
    fn from(reason: StallReason) -> Self {
        Self::Stall(reason)
    }
}

impl From<wfhost_store::Error> for Stop {
    fn from(error: wfhost_store::Error) -> Self {
        Self::Failed(error)
    }
}

impl Standing {
    fn of(instance: &Instance, now: Timestamp) -> Option<Self> {
        let due = instance.turn_due_at().is_some_and(|at| at <= now);
        due.then(|| Self {
            fence: TurnFence::of(instance),
            delivered: instance.deliver(),
            course: Course::of(instance),
            generation_from: instance.generation_from(),
        })
    }
}

fn birth(started: &Started) -> Birth {
    Birth {
        id: started.id.clone(),
        run: started.run,
        workflow: started.workflow.clone(),
        parent: started.parent.as_ref().map(|parent| parent.id.to_string()),
        started_at: started.at,
        generation: started.generation,
        seed: started.seed,
        input: started.input.clone(),
        origins: started.reruns.iter().map(origin).collect(),
    }
}

fn origin(rerun: &Rerun) -> Origin {
    Origin {
        id: rerun.id.clone(),
        run: rerun.run,
        parent: rerun.parent.as_ref().map(ToString::to_string),
        seed: rerun.seed,
        turns: rerun.turns,
    }
}

/// Runs the first turn of a start on a module that need not be deployed, and forgets it.
///
/// # Errors
/// If the code refuses the input, or cannot run.
pub(crate) fn try_start(module: &Module, started: &Started, session: Session) -> Result<(), Error> {
    let mut guest = module
        .guest(birth(started))
        .map_err(|error| Error::ModuleUnusable {
            module: started.module,
            message: crate::error::chain(&error),
        })?;
    check_input(&started.workflow, &guest.turn(started.at, &[], session))
}

/// Whether a first turn did anything but refuse its input.
fn check_input(workflow: &Name, first: &TurnEnd) -> Result<(), Error> {
    match first {
        TurnEnd::Taken { turn, state } => match refusal(turn, state) {
            Some(failure) => Err(Error::InvalidInput {
                workflow: workflow.clone(),
                message: failure.message.clone(),
            }),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// The failure of a first turn that did nothing but refuse its input.
pub(super) fn refusal<'a>(turn: &'a Turn, state: &SessionEnd) -> Option<&'a Failure> {
    let idle = turn.commands.is_empty() && state.writes.is_empty();
    match &turn.step {
        Step::Failed(failure) if idle && failure.kind == kind::INVALID_INPUT => Some(failure),
        _ => None,
    }
}
