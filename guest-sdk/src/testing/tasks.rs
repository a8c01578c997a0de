//! What becomes of the questions of a workflow: timers, events, calls and their attempts.

use super::calls::{Call, Role};
use super::driver::{Driver, Due, Open, Taken, now_ms};
use super::report::{self, Answer, RaisedEvent, parse};
use super::stand_in::{Asked, world};
use crate::failure::Failure;
use crate::host::Task;
use crate::time::{Timestamp, millis_rounded_up};
use crate::workflow::Workflow;

/// The kind of an attempt that took longer than it may; the host's own word.
const TIMEOUT: &str = "timeout";

impl<W: Workflow> Driver<W> {
    pub(super) fn take_in(&mut self, asked: Asked) {
        match asked {
            Asked::CallActivity {
                task,
                name,
                input,
                options,
            } => {
                let call = Call {
                    retry: options.retry,
                    attempt_timeout_ms: options.attempt_timeout,
                    deadline_ms: options
                        .total_timeout
                        .map(|timeout| now_ms().saturating_add(timeout)),
                    ..self.call(Role::Activity, task, name, input)
                };
                self.open.insert(task, Open::Call(call));
                self.soon(Due::StartAttempt(task));
            }
            Asked::CallWorkflow {
                task,
                name,
                input,
                options,
            } => {
                let call = Call {
                    retry: options.retry,
                    ..self.call(Role::Child, task, name, input)
                };
                self.open.insert(task, Open::Call(call));
                if options.detached {
                    let id = options.id.unwrap_or_else(|| child_id(task));
                    self.soon(Due::Complete(task, format!("{id:?}")));
                } else {
                    self.soon(Due::StartAttempt(task));
                }
            }
            Asked::CreateTimer { task, fires_at } => {
                let at = Timestamp::from_unix_millis(fires_at);
                self.open.insert(task, Open::Timer(at));
                self.put_down(fires_at.max(now_ms()), Due::Complete(task, null()));
            }
            Asked::AwaitEvent { task, name } => {
                let key = name.to_lowercase();
                self.soon(Due::Serve(key.clone()));
                self.open.insert(task, Open::Event { name, key });
            }
            Asked::RaiseEvent {
                task,
                instance,
                name,
                payload,
            } => self.raise(task, instance, name, payload),
            Asked::Cancel(task) => self.cancel(task),
            Asked::AnswerUpdate { id, outcome } => {
                let name = self.updates[id as usize].clone();
                let outcome = outcome.map(|answer| parse(&answer));
                self.seen.updates.push(Answer { name, outcome });
            }
        }
    }

    /// Notes a call for the report.
    fn call(&mut self, role: Role, task: Task, name: String, input: String) -> Call {
        let calls = match role {
            Role::Activity => &mut self.seen.activities,
            Role::Child => &mut self.seen.children,
        };
        calls.push(report::Call {
            name: name.clone(),
            input: parse(&input),
            attempts: 0,
            asked_at: Timestamp::from_unix_millis(now_ms()),
        });
        Call {
            role,
            index: calls.len() - 1,
            name,
            input,
            retry: None,
            attempt_timeout_ms: None,
            deadline_ms: None,
            idempotency_key: idempotency_key(task),
            attempt: 0,
        }
    }

    /// Puts an event where the next wait finds it, and returns the key of its name.
    pub(super) fn arrive(&mut self, name: &str, payload: String) -> String {
        let (key, number) = (name.to_lowercase(), self.number());
        let events = self.unread.entry(key.clone()).or_default();
        events.insert(number, payload);
        key
    }

    /// Hands the oldest unread event of that name to the wait that was asked first.
    pub(super) fn serve(&mut self, key: &str) {
        let waits = |open: &Open| matches!(open, Open::Event { key: it, .. } if it == key);
        let task = self
            .open
            .iter()
            .find_map(|(task, open)| waits(open).then_some(*task));
        let (Some(task), Some(events)) = (task, self.unread.get_mut(key)) else {
            return;
        };
        let Some((number, payload)) = events.pop_first() else {
            return;
        };
        self.open.remove(&task);
        let taken = Taken {
            key: key.to_owned(),
            number,
            payload: payload.clone(),
        };
        self.taken.insert(task, taken);
        self.soon(Due::Serve(key.to_owned()));
        self.complete(task, Ok(payload));
    }

    fn raise(&mut self, task: Task, instance: String, name: String, payload: String) {
        if instance == world(|world| world.info.id.clone()) {
            let key = self.arrive(&name, payload);
            self.soon(Due::Serve(key));
        } else {
            self.seen.raised.push(RaisedEvent {
                instance: instance.clone(),
                name,
                payload: parse(&payload),
            });
        }
        self.open.insert(task, Open::Raise { instance });
        self.soon(Due::Complete(task, null()));
    }

    fn cancel(&mut self, task: Task) {
        if self.open.remove(&task).is_some() {
            return;
        }
        if let Some(Taken {
            key,
            number,
            payload,
        }) = self.taken.remove(&task)
        {
            let events = self.unread.entry(key.clone()).or_default();
            events.insert(number, payload);
            self.soon(Due::Serve(key));
        }
    }

    pub(super) fn start_attempt(&mut self, task: Task) {
        let Some(Open::Call(call)) = self.open.get_mut(&task) else {
            return;
        };
        call.attempt += 1;
        let calls = match call.role {
            Role::Activity => &mut self.seen.activities,
            Role::Child => &mut self.seen.children,
        };
        calls[call.index].attempts = call.attempt;
        let takes_ms = self.durations.get(&call.name).copied();
        let end = call.attempt_end(now_ms(), takes_ms.map_or(0, millis_rounded_up));
        let timed_out = end.timed_out;
        self.put_down(end.at_ms, Due::EndAttempt { task, timed_out });
    }

    pub(super) fn end_attempt(&mut self, task: Task, timed_out: bool) {
        // It may have been cancelled meanwhile.
        let Some(Open::Call(call)) = self.open.remove(&task) else {
            return;
        };
        let outcome = if timed_out {
            Err(Failure::new(TIMEOUT, "it took longer than it may"))
        } else {
            self.play(&call)
        };
        world(|world| match &outcome {
            Ok(_) => world.store.commit(),
            Err(_) => world.store.roll_back(),
        });
        let retry_at = outcome
            .as_ref()
            .err()
            .and_then(|failure| call.retry_at(failure, now_ms()));
        match retry_at {
            Some(at) => {
                self.open.insert(task, Open::Call(call));
                self.put_down(at, Due::StartAttempt(task));
            }
            None => self.complete(task, outcome),
        }
    }

    fn play(&mut self, call: &Call) -> Result<String, Failure> {
        let scripts = match call.role {
            Role::Activity => &mut self.activities,
            Role::Child => &mut self.children,
        };
        match scripts.get_mut(&call.name) {
            Some(code) => call.play(code, &world(|world| world.info.id.clone())),
            None => call.role.unscripted(&call.name),
        }
    }

    /// What the workflow waits for, in words.
    pub(super) fn waits(&self) -> Vec<String> {
        if self.open.is_empty() {
            return vec!["an update: it has asked for nothing else".into()];
        }
        let waits = self.open.values().map(|open| match open {
            Open::Timer(at) => format!("the timer of {at}"),
            Open::Event { name, .. } => format!("the event {name:?}"),
            Open::Raise { instance } => format!("its event to {instance:?}"),
            Open::Call(call) => match call.role {
                Role::Activity => format!("the activity {:?}", call.name),
                Role::Child => format!("the child workflow {:?}", call.name),
            },
        });
        waits.collect()
    }
}

fn null() -> String {
    "null".into()
}

fn idempotency_key(task: Task) -> String {
    world(|world| format!("{}-{}-{task}", world.info.run, world.info.generation))
}

/// The id that the host makes for a child without one.
fn child_id(task: Task) -> String {
    world(|world| format!("{}-{}-{task}", world.info.id, world.info.generation))
}
