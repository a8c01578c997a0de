//! The guest of the world: it takes turns and asks random things.

use std::collections::BTreeSet;

use super::super::tests::{json, name};
use super::deeds::{Ask, End, retry};
use super::world::{World, event, spelt};
use crate::decide::{self, TurnFence};
use crate::record::{ActivityOptions, ChildOptions, Command, Turn};
use crate::{Digest, Input, TaskId, Timestamp};

impl World {
    pub(super) fn begin_turn(&mut self) {
        let due = self.instance.turn_due_at();
        if self.under_way.is_none() && due.is_some_and(|due| due.0 <= self.now) {
            self.under_way = Some((TurnFence::of(&self.instance), self.instance.deliver()));
        }
    }

    /// Ends the turn that is under way, or one that begins now.
    pub(super) fn end_turn(&mut self, asks: &[Ask], end: End) {
        self.begin_turn();
        let Some((fence, given)) = self.under_way.take() else {
            return;
        };
        if self.instance.fresh() {
            (self.next_task, self.updates) = (1, BTreeSet::new());
        }
        self.updates.extend(given.inputs.iter().filter_map(update));
        let at = decide::turn_time(given.not_before, Timestamp(self.now));
        let turn = Turn {
            at,
            inputs: given.inputs.len() as u32,
            commands: asks.iter().filter_map(|ask| self.asks(ask, at)).collect(),
            state: Vec::new(),
            step: end.step(),
            log: Vec::new(),
        };
        let next = matches!(end, End::Again(true)).then(|| Digest::of(b"next"));
        let Ok(records) = decide::take_turn(&self.instance, fence, turn, next) else {
            return;
        };
        self.story.given.push(given);
        for record in records {
            self.append(record);
        }
    }

    fn asks(&mut self, ask: &Ask, at: Timestamp) -> Option<Command> {
        let task = TaskId(self.next_task);
        let command = match ask {
            Ask::Call(policy) => Command::CallActivity {
                task,
                name: name("Pay"),
                input: json("1"),
                options: ActivityOptions {
                    retry: retry(*policy),
                    total_timeout: (policy & 4 == 0).then_some(150),
                    ..ActivityOptions::default()
                },
            },
            Ask::Child(policy) => Command::CallWorkflow {
                task,
                name: name("Ship"),
                input: json("1"),
                options: ChildOptions {
                    retry: retry(*policy),
                    detached: policy & 4 == 0,
                    ..ChildOptions::default()
                },
            },
            Ask::Timer(ms) => Command::CreateTimer {
                task,
                fires_at: at.after((*ms).into()),
            },
            Ask::Await(which) => Command::AwaitEvent {
                task,
                name: spelt(*which),
            },
            Ask::Raise(which) => Command::RaiseEvent {
                task,
                instance: "other".into(),
                event: event(*which, 0),
            },
            Ask::Cancel(which) => {
                // Mostly of one that there is, and now and then of one that there is not yet.
                let task = TaskId(1 + u32::from(*which) % (self.next_task + 1));
                return Some(Command::Cancel { task });
            }
            Ask::Answer(nth) => {
                let known: Vec<_> = self.updates.iter().copied().collect();
                let id = *known.get(usize::from(*nth) % known.len().max(1))?;
                self.updates.remove(&id);
                let outcome = Ok(json("2"));
                return Some(Command::AnswerUpdate { id, outcome });
            }
            Ask::Status(number) => {
                let status = json(&number.to_string());
                return Some(Command::SetCustomStatus { status });
            }
            Ask::Patched => return Some(Command::Patched { id: "p".into() }),
        };
        self.next_task += 1;
        Some(command)
    }
}

fn update(input: &Input) -> Option<u32> {
    match input {
        Input::UpdateRequested { id, .. } => Some(*id),
        _ => None,
    }
}
