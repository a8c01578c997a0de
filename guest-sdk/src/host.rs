//! The host as the reactor sees it: the imports themselves, or a recorder in this crate's tests.

#[cfg(not(test))]
pub(crate) use crate::bindings::workflow::wfhost::durable::context::{
    answer_update, await_event, call_activity, call_workflow, cancel, create_timer, now,
    raise_event,
};
#[cfg(test)]
pub(crate) use recorder::*;

pub(crate) use crate::bindings::workflow::wfhost::durable::context::{
    ActivityOptions, ChildOptions, Task,
};

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signatures are wit-bindgen's"
)]
mod recorder {
    use super::{ActivityOptions, ChildOptions, Task};
    use crate::bindings::workflow::wfhost::durable::types::Failure;
    use std::cell::RefCell;

    thread_local! {
        static ASKED: RefCell<(Task, Vec<String>)> = const { RefCell::new((0, Vec::new())) };
    }

    /// Forgets what was asked, and numbers tasks from 1 again.
    pub(crate) fn start_anew() {
        ASKED.set((0, Vec::new()));
    }

    /// What was asked since the last look, one line a command.
    pub(crate) fn asked() -> Vec<String> {
        ASKED.with_borrow_mut(|(_, asked)| std::mem::take(asked))
    }

    fn record(line: String) {
        ASKED.with_borrow_mut(|(_, asked)| asked.push(line));
    }

    fn task(line: String) -> Task {
        ASKED.with_borrow_mut(|(last, asked)| {
            *last += 1;
            asked.push(format!("{last}: {line}"));
            *last
        })
    }

    pub(crate) fn call_activity(name: &str, input: &str, _: &ActivityOptions) -> Task {
        task(format!("call {name} {input}"))
    }
    pub(crate) fn call_workflow(name: &str, input: &str, options: &ChildOptions) -> Task {
        task(format!("child {name} {input} {:?}", options.id))
    }
    pub(crate) fn create_timer(fires_at: u64) -> Task {
        task(format!("timer {fires_at}"))
    }
    pub(crate) fn await_event(name: &str) -> Task {
        task(format!("await {name}"))
    }
    pub(crate) fn raise_event(instance: &str, name: &str, payload: &str) -> Task {
        task(format!("raise {instance} {name} {payload}"))
    }
    pub(crate) fn cancel(task: Task) {
        record(format!("cancel {task}"));
    }
    pub(crate) fn answer_update(id: u32, outcome: Result<&str, &Failure>) {
        record(format!(
            "answer {id} {:?}",
            outcome.map_err(|failure| &failure.kind)
        ));
    }
    pub(crate) fn now() -> u64 {
        1_000
    }
}
