//! One turn of a replay, with all that went in and all that came out, as lines for people.

use wfhost_core::Input;
use wfhost_core::replay::{PastTurn, describe, describe_step};

use super::text;

/// The turn: number and time, then inputs, state calls, commands, step and log, indented.
pub(super) fn lines(past: &PastTurn) -> Vec<String> {
    let turn = &past.turn;
    let mut lines = vec![format!("turn {}  {}", past.number, turn.at)];
    let inputs = past.delivered.inputs.iter().map(input);
    lines.extend(inputs.map(|it| format!("    input: {it}")));
    let calls = turn.state.iter().map(text::state_call);
    lines.extend(calls.map(|it| format!("    state: {}", text::plain(&it))));
    lines.extend(
        turn.commands
            .iter()
            .map(|it| format!("    {}", describe(it))),
    );
    lines.push(format!("    {}", describe_step(&turn.step)));
    lines.extend(text::log(&turn.log, "    log: "));
    lines
}

fn input(input: &Input) -> String {
    match input {
        Input::Completed {
            task,
            outcome: Ok(output),
        } => format!(
            "task {task}: completed with {}",
            text::plain(output.as_str())
        ),
        Input::Completed {
            task,
            outcome: Err(failure),
        } => format!("task {task}: failed as {}", text::failure(failure)),
        Input::CancelRequested { reason } => text::with_reason("cancel requested", reason),
        Input::UpdateRequested { id, name, input } => {
            format!("update {id}: {name} with {}", text::plain(input.as_str()))
        }
    }
}
