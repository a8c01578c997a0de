//! One instance as lines for people.

use wfhost_core::{Instance, Task, TaskId, TaskState, Timestamp};

use super::text;

/// All that there is to see of it, a line each.
pub(super) fn describe(instance: &Instance) -> Vec<String> {
    let mut lines = who(instance);
    let mut add = |what: &str, text: String| lines.push(format!("  {what:<11} {text}"));
    if instance.moved_after() > 0 {
        let after = format!("to this module after turn {}", instance.moved_after());
        add("moved", after);
    }
    if let Some(status) = instance.custom_status() {
        add("shows", status.to_string());
    }
    if let Some(output) = instance.output() {
        add("output", output.to_string());
    }
    if let Some(failure) = instance.failure() {
        add("failure", text::failure(&failure));
    }
    if let Some(reason) = instance.stall() {
        add("stalled", reason.to_string());
    }
    if instance.cancel_requested() && !instance.status().has_ended() {
        add(
            "cancel",
            instance.cancel_reason().unwrap_or("asked").to_owned(),
        );
    }
    if let Some(suspension) = instance.suspended() {
        add(
            "suspended",
            suspension.reason.clone().unwrap_or("yes".into()),
        );
    }
    if let Some(at) = instance.begins_at() {
        add("begins at", at.to_string());
    }
    for (id, state) in instance.tasks() {
        add("waits for", task(*id, state));
    }
    for event in instance.unread_events() {
        add("unread", format!("event {} {}", event.name, event.payload));
    }
    for update in instance.open_updates() {
        add("owes", format!("an answer to update {update}"));
    }
    lines
}

/// Who it is and where it comes from.
fn who(instance: &Instance) -> Vec<String> {
    let started = instance.started();
    let mut lines = vec![
        format!("{}  {}", started.id, instance.status().as_str()),
        format!("  workflow    {}", started.workflow),
        format!("  module      {}", instance.module()),
        format!("  run         {}", started.run),
        format!("  created at  {}", started.created_at),
        format!("  updated at  {}", instance.updated_at()),
        format!("  turns       {}", instance.turns()),
        format!("  input       {}", instance.first_input()),
    ];
    if let Some(parent) = &started.parent {
        let detached = if parent.detached { ", detached" } else { "" };
        lines.push(format!("  parent      {}{detached}", parent.id));
    }
    for rerun in &started.reruns {
        let turns = text::count(rerun.turns, "turn");
        lines.push(format!("  rerun of    {}, {turns} taken over", rerun.id));
    }
    for (key, value) in &started.tags {
        lines.push(format!("  tag         {key}={value}"));
    }
    lines
}

/// What an instance waits for.
pub(crate) fn task(id: TaskId, task: &Task) -> String {
    let again =
        |what: String, ready_at: Timestamp, failure: &Option<wfhost_core::Failure>| match failure {
            Some(failure) => format!(
                "{what} at {ready_at}, after `{}`: {}",
                failure.kind,
                text::plain(&failure.message)
            ),
            None => what,
        };
    let what = match &task.state {
        TaskState::Activity {
            name,
            attempt,
            ready_at,
            last_failure,
            ..
        } => again(
            format!("activity {name}, attempt {attempt}"),
            *ready_at,
            last_failure,
        ),
        TaskState::Child {
            name,
            attempt,
            ready_at,
            last_failure,
            ..
        } => again(
            format!("workflow {name}, start {attempt}"),
            *ready_at,
            last_failure,
        ),
        TaskState::Timer { fires_at } => format!("timer at {fires_at}"),
        TaskState::Event { name } => format!("event {name}"),
        TaskState::Raise { instance, event } => {
            format!("raise event {} to {}", event.name, text::plain(instance))
        }
    };
    format!("task {id}: {what}")
}
