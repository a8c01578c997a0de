//! A turn that is taken again: what the code asks now, against what it asked then.

use wfhost_core::comparison::{self, Comparison, InputChange, Likeness};
use wfhost_core::record::{Command, StateCall, Step};
use wfhost_core::replay::{Divergence, PastTurn, describe, describe_step, same_step};

use crate::trap::Stop;

/// A recorded turn, and how far the code has come in it.
pub(crate) struct Past {
    turn: PastTurn,
    commands: usize,
    state: usize,
    comparison: Comparison,
    /// The first thing that was asked with another payload or other options.
    pub(crate) change: Option<Box<InputChange>>,
}

/// What the record says to a call to the state store.
pub(crate) enum Met<T> {
    /// It is the same, and this was its answer.
    Same(T),
    /// It is the same but for the formatting of its value.
    Reformatted(T),
    /// It writes another value; the answer is that to the one that is recorded.
    Changed(T),
}

impl Past {
    pub(crate) fn new(turn: PastTurn, comparison: Comparison) -> Self {
        Self {
            turn,
            commands: 0,
            state: 0,
            comparison,
            change: None,
        }
    }

    /// Whether payloads and options may differ.
    pub(crate) fn is_lenient(&self) -> bool {
        self.comparison == Comparison::Lenient
    }

    /// The code asks this; the record must hold the same next.
    pub(crate) fn meet(&mut self, asked: &Command) -> Result<(), Stop> {
        let recorded = self.turn.turn.commands.get(self.commands);
        if recorded == Some(asked) {
            self.commands += 1;
            return Ok(());
        }
        let lenient = recorded.filter(|_| self.is_lenient());
        let likeness = lenient.map(|recorded| comparison::commands(recorded, asked));
        match likeness.unwrap_or(Likeness::Diverges) {
            Likeness::Diverges => {
                return Err(self.differs(recorded.map(describe), describe(asked)));
            }
            Likeness::InputChanged => self.changes(recorded.map(describe), describe(asked)),
            Likeness::Same => {}
        }
        self.commands += 1;
        Ok(())
    }

    /// Whether the record holds the patch next.
    pub(crate) fn meet_patch(&mut self, asked: &str) -> bool {
        let recorded = self.turn.turn.commands.get(self.commands);
        let taken = matches!(recorded, Some(Command::Patched { id }) if id == asked);
        self.commands += usize::from(taken);
        taken
    }

    /// The code calls the state store; the record must hold the same call next, and `answer`
    /// takes what it was told then from it.
    pub(crate) fn meet_state<T>(
        &mut self,
        answer: impl FnOnce(&StateCall) -> Option<Met<T>>,
        asked: impl FnOnce() -> String,
    ) -> Result<T, Stop> {
        let recorded = self.turn.turn.state.get(self.state);
        let answer = match recorded.and_then(answer) {
            Some(Met::Same(answer)) => answer,
            Some(Met::Reformatted(answer)) if self.is_lenient() => answer,
            Some(Met::Changed(answer)) if self.is_lenient() => {
                self.changes(recorded.map(describe_state), asked());
                answer
            }
            Some(Met::Reformatted(_) | Met::Changed(_)) | None => {
                return Err(self.differs(recorded.map(describe_state), asked()));
            }
        };
        self.state += 1;
        Ok(answer)
    }

    /// The code came back so; the record must end the same way, with nothing left over.
    pub(crate) fn end(&mut self, step: &Step) -> Result<(), Box<Divergence>> {
        let turn = &self.turn.turn;
        let left_over = turn.commands.get(self.commands).map(describe);
        let left_over = left_over.or_else(|| turn.state.get(self.state).map(describe_state));
        if left_over.is_none() && same_step(&turn.step, step) {
            return Ok(());
        }
        let likeness = match left_over {
            None if self.is_lenient() => comparison::steps(&turn.step, step),
            _ => Likeness::Diverges,
        };
        let history = left_over.unwrap_or_else(|| describe_step(&turn.step));
        match likeness {
            Likeness::Same => Ok(()),
            Likeness::InputChanged => {
                self.changes(Some(history), describe_step(step));
                Ok(())
            }
            Likeness::Diverges => {
                let mut divergence = self.divergence(history, describe_step(step));
                if let Step::Failed(failure) = step {
                    divergence.failure = Some(failure.clone());
                }
                Err(divergence)
            }
        }
    }

    /// Notes that the code asks the same with another input. The first time counts.
    fn changes(&mut self, history: Option<String>, code: String) {
        if self.change.is_some() {
            return;
        }
        self.change = Some(Box::new(InputChange {
            turn: self.turn.number,
            place: self.place(),
            history: history.unwrap_or_default(),
            code,
        }));
    }

    fn place(&self) -> usize {
        self.commands + self.state + 1
    }

    fn differs(&self, history: Option<String>, code: String) -> Stop {
        let nothing = || format!("nothing more, then {}", describe_step(&self.turn.turn.step));
        Stop::Diverged(self.divergence(history.unwrap_or_else(nothing), code))
    }

    fn divergence(&self, history: String, code: String) -> Box<Divergence> {
        Box::new(Divergence {
            turn: self.turn.number,
            place: self.place(),
            history,
            code,
            backtrace: None,
            failure: None,
        })
    }
}

fn describe_state(call: &StateCall) -> String {
    match call {
        StateCall::Get { key, .. } => describe_get(key),
        StateCall::Scan {
            prefix,
            after,
            limit,
            ..
        } => describe_scan(prefix, after.as_deref(), *limit),
        StateCall::Write {
            write, if_version, ..
        } => describe_write(write, *if_version),
    }
}

pub(crate) fn describe_get(key: &str) -> String {
    format!("read the key `{key}`")
}

pub(crate) fn describe_scan(prefix: &str, after: Option<&str>, limit: u32) -> String {
    let after = after.map(|after| format!(" after `{after}`"));
    let after = after.unwrap_or_default();
    format!("read at most {limit} keys that begin with `{prefix}`{after}")
}

pub(crate) fn describe_write(
    write: &wfhost_core::record::StateWrite,
    if_version: Option<u64>,
) -> String {
    /// Most characters of a value that are shown.
    const SHOWN_CHARS_MAX: usize = 200;
    let condition = if_version.map(|version| format!(" over version {version}"));
    let condition = condition.unwrap_or_default();
    let until = write.expires_at.map(|at| format!(" until {at}"));
    let until = until.unwrap_or_default();
    match &write.value {
        None => format!("delete the key `{}`{condition}", write.key),
        Some(value) => {
            let shown: String = value.as_str().chars().take(SHOWN_CHARS_MAX).collect();
            let more = if shown.len() < value.bytes() {
                "…"
            } else {
                ""
            };
            format!(
                "write {shown}{more} under the key `{}`{condition}{until}",
                write.key
            )
        }
    }
}
