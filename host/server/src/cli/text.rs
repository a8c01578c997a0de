//! A run, a history and an instance as lines for people.

use wfhost_core::record::{
    Attempt, Command, EndedHow, Happening, LogLevel, LogLine, Record, Started, StateCall, Step,
};
use wfhost_core::replay::{PastTurn, describe, describe_step};
use wfhost_core::{Failure, Status};
use wfhost_store::Need;

use crate::narrate::Told;

/// The status with a capital, as the quickstart prints it.
pub(super) fn status(status: Status) -> String {
    let word = status.as_str();
    word[..1].to_uppercase() + &word[1..]
}

/// What a run shows of a record as it happens: attempts, with their logs, and what the workflow
/// logged itself. Everything else is in the history.
pub(super) fn progress(record: &Record, told: &Told) -> Vec<String> {
    match (record, told) {
        (Record::Turn(turn), _) => log(&turn.log, "  "),
        (
            Record::Attempt(attempt),
            Told::Other {
                activity: Some(name),
            },
        ) => {
            let mut lines = vec![format!("  {}", attempt_line(attempt, name.as_str()))];
            lines.extend(log(&attempt.log, "      "));
            lines
        }
        (
            Record::AttemptStarted(started),
            Told::Other {
                activity: Some(name),
            },
        ) => {
            vec![format!("  {name}, attempt {}, starts", started.number)]
        }
        _ => Vec::new(),
    }
}

fn attempt_line(attempt: &Attempt, name: &str) -> String {
    let took = attempt.ended_at.since(attempt.started_at);
    let head = format!("{name}, attempt {}, {took} ms", attempt.number);
    match (&attempt.outcome, attempt.retry_at) {
        (Ok(_), _) => head,
        (Err(failure), None) => {
            format!(
                "{head}: failed as `{}`: {}",
                failure.kind,
                plain(&failure.message)
            )
        }
        (Err(failure), Some(at)) => {
            format!(
                "{head}: failed as `{}`: {}; again at {at}",
                failure.kind,
                plain(&failure.message)
            )
        }
    }
}

/// One record of a history, with what belongs to it indented below.
pub(crate) fn history(record: &Record, told: &Told) -> Vec<String> {
    if let Record::Copied(copied) = record {
        let mut lines = history(copied, told);
        if let Some(first) = lines.first_mut() {
            first.push_str(" (taken over)");
        }
        return lines;
    }
    let at = record.at();
    let mut lines = Vec::new();
    match (record, told) {
        (_, Told::Turn(past)) => turn(past, &mut lines),
        (Record::Attempt(attempt), Told::Other { activity }) => {
            let name = activity
                .as_ref()
                .map_or("an activity", |name| name.as_str());
            lines.push(format!(
                "{at}  task {}: {}",
                attempt.task,
                attempt_line(attempt, name)
            ));
            if let Ok(output) = &attempt.outcome {
                lines.push(format!("    output {output}"));
            }
            for write in &attempt.writes {
                let value = write
                    .value
                    .as_ref()
                    .map_or("deleted", |value| value.as_str());
                lines.push(format!("    state {} = {value}", write.key));
            }
            lines.push(format!("    module {}", attempt.module));
            lines.extend(log(&attempt.log, "    log: "));
        }
        (record, Told::Other { activity }) => {
            let name = activity
                .as_ref()
                .map_or("an activity", |name| name.as_str());
            lines.push(format!("{at}  {}", other(record, name)));
        }
    }
    lines
}

fn turn(past: &PastTurn, lines: &mut Vec<String>) {
    let turn = &past.turn;
    let inputs = count(past.delivered.inputs.len() as u64, "input");
    lines.push(format!("{}  turn {}, {inputs}", turn.at, past.number));
    for call in &turn.state {
        lines.push(format!("    state {}", state_call(call)));
    }
    lines.extend(
        turn.commands
            .iter()
            .map(|command: &Command| format!("    {}", describe(command))),
    );
    if turn.step != Step::Waiting {
        lines.push(format!("    {}", describe_step(&turn.step)));
    }
    lines.extend(log(&turn.log, "    log: "));
}

fn other(record: &Record, activity: &str) -> String {
    match record {
        Record::Started(started) if started.generation > 0 => {
            format!("generation {} with {}", started.generation, started.input)
        }
        Record::Started(started) => first_start(started),
        Record::Accepted(accepted) => match &accepted.what {
            Happening::TimerFired { task } => format!("task {task}: the timer fired"),
            Happening::EventRaised(event) => format!("event {} {}", event.name, event.payload),
            Happening::TaskEnded {
                task,
                outcome: Ok(output),
            } => {
                format!("task {task}: completed with {output}")
            }
            Happening::TaskEnded {
                task,
                outcome: Err(failure),
            } => {
                format!(
                    "task {task}: failed as `{}`: {}",
                    failure.kind,
                    plain(&failure.message)
                )
            }
            Happening::ChildFailed {
                task,
                failure,
                retry_at,
            } => format!(
                "task {task}: the child failed as `{}`: {}; again at {retry_at}",
                failure.kind,
                plain(&failure.message)
            ),
            Happening::CancelRequested { reason } => with_reason("cancel requested", reason),
            Happening::UpdateRequested { id, name, input } => {
                format!("update {id}: {name} {input}")
            }
            Happening::Suspended { reason } => with_reason("suspended", reason),
            Happening::Resumed => "resumed".into(),
        },
        Record::AttemptStarted(started) => {
            format!(
                "task {}: {activity}, attempt {}, starts",
                started.task, started.number
            )
        }
        Record::AttemptStopped(stopped) => {
            format!(
                "task {}: {activity}, attempt {}, stopped with the host",
                stopped.task, stopped.number
            )
        }
        Record::Stalled(stalled) => format!("stalled: {}", stalled.reason),
        Record::Unstalled(unstalled) => format!("task {}: tried again", unstalled.task),
        Record::Moved(moved) => {
            let compared = count(moved.turns, "turn");
            let allowed = if moved.input_changes_allowed {
                ", input changes allowed"
            } else {
                ""
            };
            format!(
                "moved to module {}, {compared} compared{allowed}; from module {}",
                moved.to, moved.from
            )
        }
        Record::Reset(reset) => format!(
            "reset to turn {}, {} lost; before it was run {}",
            reset.turn,
            count(reset.turns_lost, "turn"),
            reset.run
        ),
        Record::Ended(ended) => match &ended.how {
            EndedHow::Terminated { reason, .. } => with_reason("terminated", reason),
        },
        Record::StateWritten(_) | Record::Turn(_) | Record::Attempt(_) | Record::Copied(_) => {
            String::new()
        }
    }
}

fn first_start(started: &Started) -> String {
    let Started {
        workflow,
        input,
        module,
        ..
    } = started;
    let mut line = format!("started {workflow} with {input}, module {module}");
    if let Some(at) = started.begins_at {
        line.push_str(&format!(", begins at {at}"));
    }
    for rerun in &started.reruns {
        let turns = count(rerun.turns, "turn");
        line.push_str(&format!(", {turns} taken over from {}", rerun.id));
    }
    for event in &started.events {
        line.push_str(&format!(", event {} {}", event.name, event.payload));
    }
    line
}

/// What was done, and why if that was said.
pub(super) fn with_reason(what: &str, reason: &Option<String>) -> String {
    reason.as_ref().map_or_else(
        || what.to_owned(),
        |reason| format!("{what}: {}", plain(reason)),
    )
}

pub(super) fn state_call(call: &StateCall) -> String {
    match call {
        StateCall::Get { key, found: None } => format!("{key}: nothing there"),
        StateCall::Get {
            key,
            found: Some(entry),
        } => {
            format!("{key}: {} (version {})", entry.value, entry.version)
        }
        StateCall::Scan { prefix, found, .. } => format!("{prefix}…: {} keys", found.len()),
        StateCall::Write {
            write,
            refused: Some(version),
            ..
        } => {
            format!("{}: not written, it has version {version}", write.key)
        }
        StateCall::Write {
            write,
            refused: None,
            ..
        } => match &write.value {
            Some(value) => format!("{} = {value}", write.key),
            None => format!("{} deleted", write.key),
        },
    }
}

/// Log lines, indented. What a guest wrote must not pass for the host's own words or move the
/// terminal's cursor: each line stands under its indent, control characters are written out.
pub(super) fn log(lines: &[LogLine], indent: &str) -> Vec<String> {
    let mut shown = Vec::new();
    for line in lines {
        let level = match line.level {
            LogLevel::Info => String::new(),
            level => format!("{}: ", level.as_str()),
        };
        for (number, part) in line.message.split('\n').enumerate() {
            let level = if number == 0 { level.as_str() } else { "  " };
            shown.push(format!("{indent}{level}{}", plain(part)));
        }
    }
    shown
}

/// Text with its control characters written out, cut where it is too long for a person.
pub(super) fn plain(text: &str) -> String {
    /// Longest line of a guest that is shown whole.
    const CHARS_MAX: usize = 2_000;
    let mut shown = String::with_capacity(text.len().min(CHARS_MAX));
    for (number, c) in text.chars().enumerate() {
        if number == CHARS_MAX {
            shown.push_str(&format!("… ({} bytes)", text.len()));
            break;
        }
        if c.is_control() && c != '\t' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A count with its noun.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A reason why a module stays, in words.
pub(crate) fn need(need: &Need) -> String {
    match need {
        Need::Bound { role, name, share } => {
            let share = match *share == wfhost_core::Share::WHOLE {
                true => String::new(),
                false => format!(", for {share} of all"),
            };
            format!("the {} `{name}` means it{share}", role.as_str())
        }
        Need::Running { instances, example } => {
            let count = count(*instances, "instance");
            format!("what runs on it: {count}, such as `{example}`")
        }
        Need::Ended { instances, example } => {
            let count = count(*instances, "instance");
            format!("what has ended on it and is kept: {count}, such as `{example}`")
        }
        Need::InUse { holders } => {
            format!(
                "{} on it under way",
                count(*holders as u64, "attempt or start")
            )
        }
        Need::Rollback { deployment } => format!("undoing deployment {deployment} needs it"),
        Need::DeployedWith { module } => {
            format!("it was deployed together with {}", module.short())
        }
    }
}

/// A failure, as a line.
pub(super) fn failure(failure: &Failure) -> String {
    format!("{}: {}", failure.kind, plain(&failure.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_words_cannot_pass_for_the_hosts() {
        let message = "a\u{1b}[2J\nWorkflow Status: Completed".to_owned();
        let line = LogLine {
            level: LogLevel::Warn,
            message,
        };
        assert_eq!(
            log(&[line], "    "),
            ["    warn: a\\u{1b}[2J", "      Workflow Status: Completed"]
        );
    }
}
