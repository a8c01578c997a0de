//! A workflow's guest: it takes turns, takes them again, and answers queries.

use wasmtime::component::Instance;
use wfhost_core::comparison::{Comparison, InputChange};
use wfhost_core::record::{Step, Turn};
use wfhost_core::replay::{Divergence, PastTurn};
use wfhost_core::state::{Session, SessionEnd};
use wfhost_core::{Failure, Input, Json, Name, Timestamp, kind};

use crate::bindings::workflow;
use crate::inside::{Inside, Live, Mode, Role, Watch, WorkflowRole};
use crate::past::Past;
use crate::trap::{Ended, Stop, ended};

type Store = wasmtime::Store<Inside>;

/// The live copy of one generation of an instance.
///
/// It lives in memory alone. Drop it whenever that is needed, and bring up another by replay. One
/// that has trapped, or that has answered a query, takes no more turns.
pub struct Guest {
    store: Store,
    exports: workflow::Guest,
    life: Life,
}

/// What a guest may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Born,
    Started,
    /// It has answered beside its turns, which may have changed its memory.
    Asked,
    /// It has trapped.
    Dead,
}

/// What came of a turn.
#[derive(Debug)]
pub enum TurnEnd {
    /// It was taken. Submit it; the guest goes on from here, unless the step is an end.
    Taken {
        /// The turn as it is recorded.
        turn: Turn,
        /// What it read and wrote of the state.
        state: SessionEnd,
    },
    /// What it read of the state has changed. Bring up another guest and take the turn again.
    /// Holds what it had read and written until then.
    StateChanged(SessionEnd),
    /// It met a limit of the host; says which, and its value. The instance stalls.
    Limit {
        /// For [`wfhost_core::record::StallReason::Limit`].
        message: String,
    },
    /// The state store failed. Nothing is known about the turn.
    StateFailed(Box<dyn std::error::Error + Send + Sync>),
    /// This guest trapped or was asked before. Bring up another; this was the caller's mistake.
    Spent,
}

/// Why a turn could not be taken again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The code asked something else than the history says.
    #[error(transparent)]
    Diverged(#[from] Box<Divergence>),
    /// It met a limit of the host; says which, and its value.
    #[error("{message}")]
    Limit {
        /// For [`wfhost_core::record::StallReason::Limit`].
        message: String,
    },
    /// This guest trapped or was asked before. Bring up another; this was the caller's mistake.
    #[error("this guest takes no more turns")]
    Spent,
}

impl Guest {
    pub(crate) fn new(
        mut store: Store,
        instance: &Instance,
        exports: &workflow::GuestIndices,
    ) -> wasmtime::Result<Self> {
        let exports = exports.load(&mut store, instance)?;
        Ok(Self {
            store,
            exports,
            life: Life::Born,
        })
    }

    /// Takes a turn at the time `at`: the first one starts the workflow and takes no inputs, each
    /// later one takes these.
    ///
    /// A panic, any other trap and a payload that breaks the contract end the workflow as a
    /// recorded failure; meeting a limit does not.
    pub fn turn(&mut self, at: Timestamp, inputs: &[Input], session: Session) -> TurnEnd {
        if !self.can_go_on() {
            return TurnEnd::Spent;
        }
        let live = Live {
            commands: Vec::new(),
            state: Vec::new(),
            session,
        };
        let ran = self.run(at, inputs, Mode::Live(live));
        let log = self.store.data_mut().log.end();
        let Mode::Live(live) = self.take_mode() else {
            return TurnEnd::Spent;
        };
        let step = match ran {
            Ok(step) => step,
            Err(Ended::Failed(failure)) => Step::Failed(failure),
            Err(Ended::StateChanged) => return TurnEnd::StateChanged(live.session.end()),
            Err(Ended::StateFailed(source)) => return TurnEnd::StateFailed(source),
            Err(other) => {
                return TurnEnd::Limit {
                    message: other.message(),
                };
            }
        };
        let turn = Turn {
            at,
            inputs: u32::try_from(inputs.len()).unwrap_or(u32::MAX),
            commands: live.commands,
            state: live.state,
            step,
            log,
        };
        TurnEnd::Taken {
            turn,
            state: live.session.end(),
        }
    }

    /// Takes a recorded turn again. What it asks is compared with the record, and nothing else
    /// happens.
    ///
    /// # Errors
    /// [`ReplayError::Diverged`] if it asks something else, more, or less.
    pub fn replay(&mut self, past: PastTurn) -> Result<(), ReplayError> {
        self.replay_as(past, Comparison::Exact).map(drop)
    }

    /// Takes a recorded turn again, compared as closely as that. Where payloads or options may
    /// differ, the first that does is handed out; the guest is told what the record says all the
    /// same, and goes on.
    ///
    /// # Errors
    /// As [`Guest::replay`].
    pub fn replay_as(
        &mut self,
        past: PastTurn,
        comparison: Comparison,
    ) -> Result<Option<Box<InputChange>>, ReplayError> {
        if !self.can_go_on() {
            return Err(ReplayError::Spent);
        }
        let (at, inputs) = (past.turn.at, past.delivered.inputs.clone());
        let ran = self.run(at, &inputs, Mode::Replay(Past::new(past, comparison)));
        let Mode::Replay(mut past) = self.take_mode() else {
            return Err(ReplayError::Spent);
        };
        let step = match ran {
            Ok(step) => step,
            Err(Ended::Failed(failure)) => Step::Failed(failure),
            Err(Ended::Diverged(divergence)) => return Err(divergence.into()),
            Err(other) => {
                return Err(ReplayError::Limit {
                    message: other.message(),
                });
            }
        };
        match past.end(&step) {
            Ok(()) => Ok(past.change),
            Err(divergence) => {
                // A guest that differs from its history must not go on from there.
                self.life = Life::Dead;
                Err(divergence.into())
            }
        }
    }

    /// Asks the workflow about its state. The guest takes no more turns after that, since the
    /// answer may have changed its memory: ask a copy.
    ///
    /// # Errors
    /// The workflow's own failure, or what became of the guest: `panic`, `trap`, `limit` or
    /// `invalid-output`.
    pub fn query(&mut self, name: &Name, input: &Json) -> Result<Json, Failure> {
        let input = input.as_str().to_owned();
        self.beside("a query", |exports, store| {
            let outcome = exports.call_query(&mut *store, name.as_str(), &input)?;
            let what = || format!("the answer to the query `{name}`");
            Ok(store.data().outcome(outcome, what)?)
        })
    }

    /// Asks the workflow whether this update may be asked of it. Nothing is recorded, and the
    /// guest takes no more turns after that: ask a copy.
    ///
    /// # Errors
    /// What the workflow objects, or what became of the guest: `panic`, `trap`, `limit` or
    /// `invalid-output`.
    pub fn validate(&mut self, name: &Name, input: &Json) -> Result<(), Failure> {
        let input = input.as_str().to_owned();
        self.beside("the check of an update", |exports, store| {
            match exports.call_validate_update(&mut *store, name.as_str(), &input)? {
                Ok(()) => Ok(Ok(())),
                Err(failure) => Ok(Err(store.data().failure(failure)?)),
            }
        })
    }

    /// Has the guest answer beside its turns, where it may ask nothing. It takes no more after
    /// that.
    fn beside<T>(
        &mut self,
        asker: &'static str,
        ask: impl FnOnce(&workflow::Guest, &mut Store) -> wasmtime::Result<Result<T, Failure>>,
    ) -> Result<T, Failure> {
        if self.life == Life::Dead {
            return Err(Failure::last(kind::TRAP, "this copy has trapped before"));
        }
        self.life = Life::Asked;
        let now = self.workflow().map_or_else(Timestamp::default, |it| it.now);
        self.begin(now, Mode::Asked(asker));
        let answer = ask(&self.exports, &mut self.store);
        self.take_mode();
        answer.unwrap_or_else(|error| Err(self.died(error).into_failure()))
    }

    /// Runs the guest from one wait to the next.
    fn run(&mut self, at: Timestamp, inputs: &[Input], mode: Mode) -> Result<Step, Ended> {
        self.begin(at, mode);
        let came_back = if self.life == Life::Born {
            self.life = Life::Started;
            self.call_start()
        } else {
            let inputs: Vec<workflow::Input> = inputs.iter().map(Into::into).collect();
            self.exports.call_resume(&mut self.store, &inputs)
        };
        match came_back {
            Ok(step) => Ok(step_of(self.store.data(), step)),
            Err(error) => Err(self.died(error)),
        }
    }

    fn call_start(&mut self) -> wasmtime::Result<workflow::Step> {
        let birth = self.workflow().map(|it| {
            (
                it.birth.workflow.clone(),
                it.birth.input.as_str().to_owned(),
            )
        });
        let (workflow, input) = birth.unwrap_or_else(|| unreachable!("a guest is a workflow"));
        self.exports
            .call_start(&mut self.store, workflow.as_str(), &input)
    }

    fn begin(&mut self, at: Timestamp, mode: Mode) {
        self.store.set_epoch_deadline(1);
        let inside = self.store.data_mut();
        inside.begin_counting();
        inside.watch = Watch::new(inside.limits.turn_time_max);
        inside.log.begin(!matches!(mode, Mode::Live(_)));
        if let Role::Workflow(workflow) = &mut inside.role {
            if matches!(mode, Mode::Live(_) | Mode::Replay(_)) {
                workflow.begin_turn();
            }
            workflow.now = at;
            workflow.mode = mode;
        }
    }

    fn died(&mut self, error: wasmtime::Error) -> Ended {
        self.life = Life::Dead;
        ended(error, self.store.data_mut().panic.take())
    }

    fn take_mode(&mut self) -> Mode {
        match &mut self.store.data_mut().role {
            Role::Workflow(workflow) => std::mem::replace(&mut workflow.mode, Mode::Idle),
            Role::Attempt(_) | Role::Probe { .. } => Mode::Idle,
        }
    }

    fn workflow(&self) -> Option<&WorkflowRole> {
        match &self.store.data().role {
            Role::Workflow(workflow) => Some(workflow),
            Role::Attempt(_) | Role::Probe { .. } => None,
        }
    }

    fn can_go_on(&self) -> bool {
        matches!(self.life, Life::Born | Life::Started)
    }
}

/// The step in our own words. One that breaks the contract is a failure of the workflow.
fn step_of(inside: &Inside, step: workflow::Step) -> Step {
    let step = match step {
        workflow::Step::Waiting => Ok(Step::Waiting),
        workflow::Step::Completed(output) => inside
            .payload(output, || "the workflow's output".into())
            .map(Step::Completed),
        workflow::Step::Failed(failure) => inside.failure(failure).map(Step::Failed),
        workflow::Step::Cancelled => Ok(Step::Cancelled),
        workflow::Step::ContinuedAsNew(next) => inside
            .payload(next.input, || "the next generation's input".into())
            .map(|input| Step::ContinuedAsNew {
                input,
                current_module: next.current_module,
            }),
    };
    step.unwrap_or_else(|stop: Stop| {
        Step::Failed(Failure::last(kind::INVALID_OUTPUT, stop.to_string()))
    })
}
