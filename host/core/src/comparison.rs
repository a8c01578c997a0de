//! What code asks in a turn that it takes again, held against what the history says of it.
//!
//! Exact comparison is equality, and is for those who call. What is here tells apart how far two
//! things differ that are not equal: whether the code does something else, or the same with other
//! payloads or options.

use std::fmt;

use crate::record::{ChildOptions, Command, StateWrite, Step};
use crate::replay::same_step;
use crate::{EventName, Failure, Json};

/// How closely code must follow its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// It asks the same, to the byte.
    Exact,
    /// It asks the same of the same, in the same order; payloads and options may differ.
    Lenient,
}

/// How far what the code asks is what the history holds. The worse is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// The same; payloads are compared as JSON values, so that their formatting and the order of
    /// keys do not count.
    Same,
    /// The same, with another payload or other options.
    InputChanged,
    /// Something else: the order, the kind, a name, a target or a time differs.
    Diverges,
}

/// The first place where code asks the same as its history with another payload or other options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputChange {
    /// The turn, from 1.
    pub turn: u64,
    /// Which thing that the turn asked, from 1.
    pub place: usize,
    /// What the history holds there.
    pub history: String,
    /// What the code asks there.
    pub code: String,
}

impl fmt::Display for InputChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "the code asks the same as its history with another payload or other options in turn \
             {}, step {}",
            self.turn, self.place
        )?;
        writeln!(f, "  history: {}", self.history)?;
        write!(f, "  code:    {}", self.code)
    }
}

/// Compares two commands.
#[must_use]
pub fn commands(history: &Command, code: &Command) -> Likeness {
    use Command as C;
    match (history, code) {
        (
            C::CallActivity {
                task,
                name,
                input,
                options,
            },
            C::CallActivity {
                task: task_now,
                name: name_now,
                input: input_now,
                options: options_now,
            },
        ) if (task, name) == (task_now, name_now) => {
            unless_changed(same_json(input, input_now) && options == options_now)
        }
        (
            C::CallWorkflow {
                task,
                name,
                input,
                options,
            },
            C::CallWorkflow {
                task: task_now,
                name: name_now,
                input: input_now,
                options: options_now,
            },
        ) if (task, name, target(options)) == (task_now, name_now, target(options_now)) => {
            unless_changed(same_json(input, input_now) && options == options_now)
        }
        (
            C::AwaitEvent { task, name },
            C::AwaitEvent {
                task: task_now,
                name: name_now,
            },
        ) if task == task_now && EventName::from(name) == EventName::from(name_now) => {
            Likeness::Same
        }
        (
            C::RaiseEvent {
                task,
                instance,
                event,
            },
            C::RaiseEvent {
                task: task_now,
                instance: instance_now,
                event: event_now,
            },
        ) if (task, instance) == (task_now, instance_now)
            && EventName::from(&event.name) == EventName::from(&event_now.name) =>
        {
            unless_changed(same_json(&event.payload, &event_now.payload))
        }
        (
            C::AnswerUpdate { id, outcome },
            C::AnswerUpdate {
                id: id_now,
                outcome: outcome_now,
            },
        ) if id == id_now => unless_changed(same_outcome(outcome, outcome_now)),
        (C::SetCustomStatus { status }, C::SetCustomStatus { status: status_now }) => {
            unless_changed(same_json(status, status_now))
        }
        (then, now) if then == now => Likeness::Same,
        _ => Likeness::Diverges,
    }
}

/// Compares how a turn came back.
#[must_use]
pub fn steps(history: &Step, code: &Step) -> Likeness {
    match (history, code) {
        (then, now) if same_step(then, now) => Likeness::Same,
        (Step::Completed(then), Step::Completed(now)) => unless_changed(same_json(then, now)),
        (Step::Failed(then), Step::Failed(now)) => unless_changed(same_failure(then, now)),
        (
            Step::ContinuedAsNew {
                input,
                current_module,
            },
            Step::ContinuedAsNew {
                input: input_now,
                current_module: current_now,
            },
        ) => unless_changed(same_json(input, input_now) && current_module == current_now),
        _ => Likeness::Diverges,
    }
}

/// Compares two writes to the state store. What the code is told of a write depends on the version
/// that it names, so that must be the same.
#[must_use]
pub fn writes(
    (history, if_version): (&StateWrite, Option<u64>),
    (code, if_version_now): (&StateWrite, Option<u64>),
) -> Likeness {
    match (&history.value, &code.value) {
        _ if (&history.key, if_version) != (&code.key, if_version_now) => Likeness::Diverges,
        (Some(then), Some(now)) => {
            unless_changed(same_json(then, now) && history.expires_at == code.expires_at)
        }
        (None, None) => unless_changed(history.expires_at == code.expires_at),
        (Some(_), None) | (None, Some(_)) => Likeness::Diverges,
    }
}

/// Which instance a child is to be, if the code says so.
fn target(options: &ChildOptions) -> Option<&str> {
    options.id.as_deref()
}

fn unless_changed(same: bool) -> Likeness {
    if same {
        Likeness::Same
    } else {
        Likeness::InputChanged
    }
}

fn same_json(then: &Json, now: &Json) -> bool {
    then == now || then.value() == now.value()
}

fn same_outcome(then: &Result<Json, Failure>, now: &Result<Json, Failure>) -> bool {
    match (then, now) {
        (Ok(then), Ok(now)) => same_json(then, now),
        (Err(then), Err(now)) => same_failure(then, now),
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}

fn same_failure(then: &Failure, now: &Failure) -> bool {
    let same_details = match (&then.details, &now.details) {
        (Some(then), Some(now)) => same_json(then, now),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    same_details
        && (&then.kind, &then.message, then.retryable) == (&now.kind, &now.message, now.retryable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ActivityOptions, Event};
    use crate::{TaskId, Timestamp};
    use Likeness::{Diverges, InputChanged, Same};

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn activity(task: u32, name: &str, input: &str, timeout: Option<u64>) -> Command {
        Command::CallActivity {
            task: TaskId(task),
            name: name.parse().unwrap(),
            input: json(input),
            options: ActivityOptions {
                attempt_timeout: timeout,
                ..ActivityOptions::default()
            },
        }
    }

    fn child(name: &str, input: &str, id: Option<&str>, detached: bool) -> Command {
        Command::CallWorkflow {
            task: TaskId(1),
            name: name.parse().unwrap(),
            input: json(input),
            options: ChildOptions {
                id: id.map(ToOwned::to_owned),
                detached,
                ..ChildOptions::default()
            },
        }
    }

    fn awaits(task: u32, name: &str) -> Command {
        Command::AwaitEvent {
            task: TaskId(task),
            name: name.parse().unwrap(),
        }
    }

    fn raises(to: &str, name: &str, payload: &str) -> Command {
        Command::RaiseEvent {
            task: TaskId(1),
            instance: to.into(),
            event: Event {
                name: name.parse().unwrap(),
                payload: json(payload),
            },
        }
    }

    fn timer(at: u64) -> Command {
        Command::CreateTimer {
            task: TaskId(1),
            fires_at: Timestamp(at),
        }
    }

    fn answers(id: u32, outcome: Result<Json, Failure>) -> Command {
        Command::AnswerUpdate { id, outcome }
    }

    fn shows(status: &str) -> Command {
        Command::SetCustomStatus {
            status: json(status),
        }
    }

    fn patch(id: &str) -> Command {
        Command::Patched { id: id.into() }
    }

    #[test]
    fn a_command_is_the_same_or_has_another_input_or_is_another() {
        let cancel = |task| Command::Cancel { task: TaskId(task) };
        let failed = |message: &str| Err(Failure::last("no", message));
        let base = activity(1, "Pay", r#"{"a":1,"b":[2]}"#, None);
        let cases = [
            (
                Same,
                base.clone(),
                activity(1, "Pay", r#"{ "b": [2], "a": 1 }"#, None),
            ),
            (
                InputChanged,
                base.clone(),
                activity(1, "Pay", r#"{"a":1,"b":[3]}"#, None),
            ),
            (
                InputChanged,
                base.clone(),
                activity(1, "Pay", r#"{"a":1,"b":[2]}"#, Some(9)),
            ),
            (
                Diverges,
                base.clone(),
                activity(1, "pay", r#"{"a":1,"b":[2]}"#, None),
            ),
            (
                Diverges,
                base.clone(),
                activity(2, "Pay", r#"{"a":1,"b":[2]}"#, None),
            ),
            (Diverges, base, child("Pay", "1", None, false)),
            (
                Same,
                child("Ship", "[1]", None, false),
                child("Ship", "[ 1]", None, false),
            ),
            (
                InputChanged,
                child("Ship", "1", None, false),
                child("Ship", "2", None, false),
            ),
            (
                InputChanged,
                child("Ship", "1", None, false),
                child("Ship", "1", None, true),
            ),
            (
                Diverges,
                child("Ship", "1", None, false),
                child("Send", "1", None, false),
            ),
            (
                Diverges,
                child("Ship", "1", None, false),
                child("Ship", "1", Some("x"), false),
            ),
            (Same, timer(5), timer(5)),
            (Diverges, timer(5), timer(6)),
            (Same, awaits(1, "go"), awaits(1, "GO")),
            (Diverges, awaits(1, "go"), awaits(2, "go")),
            (Diverges, awaits(1, "go"), awaits(1, "stop")),
            (Same, raises("x", "go", "1"), raises("x", "Go", " 1")),
            (InputChanged, raises("x", "go", "1"), raises("x", "go", "2")),
            (Diverges, raises("x", "go", "1"), raises("y", "go", "1")),
            (Diverges, raises("x", "go", "1"), raises("x", "no", "1")),
            (Same, cancel(1), cancel(1)),
            (Diverges, cancel(1), cancel(2)),
            (Same, answers(1, Ok(json("1"))), answers(1, Ok(json("1 ")))),
            (
                InputChanged,
                answers(1, Ok(json("1"))),
                answers(1, Ok(json("2"))),
            ),
            (
                InputChanged,
                answers(1, Ok(json("1"))),
                answers(1, failed("no")),
            ),
            (
                InputChanged,
                answers(1, failed("a")),
                answers(1, failed("b")),
            ),
            (
                Diverges,
                answers(1, Ok(json("1"))),
                answers(2, Ok(json("1"))),
            ),
            (Same, shows("[1,2]"), shows("[1, 2]")),
            (InputChanged, shows("[1,2]"), shows("[2,1]")),
            (Same, patch("a"), patch("a")),
            (Diverges, patch("a"), patch("b")),
        ];
        for (expected, history, code) in cases {
            assert_eq!(
                commands(&history, &code),
                expected,
                "{history:?} | {code:?}"
            );
        }
    }

    #[test]
    fn a_step_is_the_same_or_has_another_result_or_is_another() {
        let done = |output: &str| Step::Completed(json(output));
        let failed = |kind: &str, message: &str| Step::Failed(Failure::last(kind, message));
        let again = |input: &str, current_module| Step::ContinuedAsNew {
            input: json(input),
            current_module,
        };
        let cases = [
            (Same, Step::Waiting, Step::Waiting),
            (Diverges, Step::Waiting, done("1")),
            (Same, done("[1]"), done("[1 ]")),
            (InputChanged, done("1"), done("2")),
            (Diverges, done("1"), failed("no", "")),
            (InputChanged, failed("no", "a"), failed("no", "b")),
            (InputChanged, failed("no", "a"), failed("other", "a")),
            // The text of a panic names places in the code.
            (Same, failed("panic", "at 1"), failed("panic", "at 2")),
            (Same, Step::Cancelled, Step::Cancelled),
            (Diverges, Step::Cancelled, failed("cancelled", "")),
            (Same, again("1", true), again(" 1", true)),
            (InputChanged, again("1", true), again("2", true)),
            (InputChanged, again("1", true), again("1", false)),
        ];
        for (expected, history, code) in cases {
            assert_eq!(steps(&history, &code), expected, "{history:?} | {code:?}");
        }
    }

    #[test]
    fn a_write_is_the_same_or_has_another_value_or_is_another() {
        let write = |key: &str, value: Option<&str>, expires: Option<u64>| StateWrite {
            key: key.into(),
            value: value.map(json),
            expires_at: expires.map(Timestamp),
        };
        let base = (write("k", Some("[1]"), Some(5)), Some(3));
        let cases = [
            (Same, (write("k", Some("[ 1 ]"), Some(5)), Some(3))),
            (InputChanged, (write("k", Some("[2]"), Some(5)), Some(3))),
            (InputChanged, (write("k", Some("[1]"), None), Some(3))),
            (Diverges, (write("k", Some("[1]"), Some(5)), None)),
            (Diverges, (write("k", None, Some(5)), Some(3))),
            (Diverges, (write("j", Some("[1]"), Some(5)), Some(3))),
        ];
        for (expected, code) in cases {
            let found = writes((&base.0, base.1), (&code.0, code.1));
            assert_eq!(found, expected, "{code:?}");
        }
    }
}
