//! Between the generated exports and the author's functions: tables by name, and the one run.
//!
//! A guest is started once and serves one instance, so its run stands in a thread-local.

use core::cell::RefCell;
use std::rc::Rc;

use crate::activity::{Activity, ActivityContext};
use crate::bindings::activity::exports::wfhost::durable::activity as activity_exports;
use crate::bindings::workflow::exports::wfhost::durable::workflow as workflow_exports;
use crate::bindings::workflow::wfhost::durable::types;
use crate::context::Context;
use crate::failure::{Failure, kind};
use crate::json;
use crate::logging;
use crate::reactor::{Reactor, Run, Step};
use crate::workflow::Workflow;

/// What the host is told of a workflow or an activity.
struct Offered {
    name: &'static str,
    description: &'static str,
    // Made when the host asks, so that a guest that runs pays nothing for them.
    input_schema: fn() -> Option<String>,
    output_schema: fn() -> Option<String>,
}

/// One workflow of the module.
pub struct WorkflowEntry {
    offered: Offered,
    start: fn(&str) -> Result<(Run, Step), Failure>,
}

impl WorkflowEntry {
    /// The entry of a `#[workflow]` function.
    pub const fn of<W: Workflow>() -> Self {
        Self {
            offered: Offered {
                name: W::NAME,
                description: W::DESCRIPTION,
                input_schema: W::input_schema,
                output_schema: W::output_schema,
            },
            start: start::<W>,
        }
    }
}

/// One activity of the module.
pub struct ActivityEntry {
    offered: Offered,
    run: fn(ActivityContext, &str) -> Result<String, Failure>,
}

impl ActivityEntry {
    /// The entry of an `#[activity]` function.
    pub const fn of<A: Activity>() -> Self {
        Self {
            offered: Offered {
                name: A::NAME,
                description: A::DESCRIPTION,
                input_schema: A::input_schema,
                output_schema: A::output_schema,
            },
            run: run::<A>,
        }
    }
}

fn start<W: Workflow>(input: &str) -> Result<(Run, Step), Failure> {
    let input = json::decode(input, kind::INVALID_INPUT, "the input")?;
    Ok(start_with::<W>(input, drop))
}

/// Starts a `#[workflow]` function, and gives its output to `keep` once it is written as JSON.
pub(crate) fn start_with<W: Workflow>(
    input: W::Input,
    keep: impl FnOnce(W::Output) + 'static,
) -> (Run, Step) {
    let reactor = Rc::<Reactor>::default();
    let code = W::run(Context::new(Rc::clone(&reactor)), input);
    Run::start(reactor, async move {
        let output = code.await?;
        let written = json::encode(&output, kind::INVALID_OUTPUT, "the result")?;
        keep(output);
        Ok(written)
    })
}

/// Runs one attempt of an `#[activity]` function.
pub(crate) fn run<A: Activity>(ctx: ActivityContext, input: &str) -> Result<String, Failure> {
    json::through(input, "the result", |input| A::run(ctx, input))
}

/// The workflows of a module, as the generated exports ask for them.
pub struct Workflows(pub &'static [WorkflowEntry]);

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

impl Workflows {
    /// `workflow.definitions`
    pub fn definitions(&self) -> Vec<types::Definition> {
        self.0
            .iter()
            .map(|entry| definition(&entry.offered))
            .collect()
    }

    /// `workflow.start`
    pub fn start(&self, name: &str, input: &str) -> workflow_exports::Step {
        logging::install();
        let Some(entry) = self.0.iter().find(|entry| entry.offered.name == name) else {
            let names = self.0.iter().map(|entry| entry.offered.name);
            return failed(unknown(kind::UNKNOWN_WORKFLOW, "workflow", name, names));
        };
        match (entry.start)(input) {
            Ok((run, step)) => {
                RUN.set(Some(run));
                told(step)
            }
            Err(failure) => failed(failure),
        }
    }

    /// `workflow.resume`
    pub fn resume(&self, inputs: Vec<workflow_exports::Input>) -> workflow_exports::Step {
        RUN.with_borrow_mut(|run| {
            told(
                run.as_mut()
                    .expect("the host starts before it resumes")
                    .resume(inputs),
            )
        })
    }

    /// `workflow.query`
    ///
    /// # Errors
    /// `unknown-query`, or what the handler fails with.
    pub fn query(&self, name: &str, input: &str) -> Result<String, types::Failure> {
        RUN.with_borrow(|run| {
            let run = run.as_ref().expect("the host starts before it asks");
            run.query(name, input).map_err(Into::into)
        })
    }

    /// `workflow.validate-update`
    ///
    /// # Errors
    /// `unknown-update`, `invalid-input`, or what the validator objects.
    pub fn validate_update(&self, name: &str, input: &str) -> Result<(), types::Failure> {
        RUN.with_borrow(|run| {
            let run = run.as_ref().expect("the host starts before it asks");
            run.validate_update(name, input).map_err(Into::into)
        })
    }
}

/// The activities of a module, as the generated exports ask for them.
pub struct Activities(pub &'static [ActivityEntry]);

impl Activities {
    /// `activity.definitions`
    pub fn definitions(&self) -> Vec<types::Definition> {
        self.0
            .iter()
            .map(|entry| definition(&entry.offered))
            .collect()
    }

    /// `activity.run`
    ///
    /// # Errors
    /// What the activity fails with; `unknown-activity`; `invalid-input`.
    pub fn run(
        &self,
        name: &str,
        input: &str,
        invocation: activity_exports::Invocation,
    ) -> Result<String, types::Failure> {
        logging::install();
        let outcome = match self.0.iter().find(|entry| entry.offered.name == name) {
            Some(entry) => (entry.run)(ActivityContext::new(invocation), input),
            None => {
                let names = self.0.iter().map(|entry| entry.offered.name);
                Err(unknown(kind::UNKNOWN_ACTIVITY, "activity", name, names))
            }
        };
        outcome.map_err(Into::into)
    }
}

fn definition(offered: &Offered) -> types::Definition {
    types::Definition {
        name: offered.name.into(),
        description: offered.description.into(),
        input_schema: (offered.input_schema)(),
        output_schema: (offered.output_schema)(),
    }
}

#[cold]
fn unknown<'a>(
    kind: &'static str,
    what: &str,
    name: &str,
    names: impl Iterator<Item = &'a str>,
) -> Failure {
    let names: Vec<&str> = names.collect();
    let message = format!(
        "this module has no {what} {name:?}; it has: {}",
        names.join(", ")
    );
    Failure::new(kind, message).not_retryable()
}

fn told(step: Step) -> workflow_exports::Step {
    match step {
        Step::Waiting => workflow_exports::Step::Waiting,
        Step::Cancelled => workflow_exports::Step::Cancelled,
        Step::Ended(Ok(output)) => workflow_exports::Step::Completed(output),
        Step::Ended(Err(error)) => match error.into_parts() {
            (_, Some(continuation)) => {
                workflow_exports::Step::ContinuedAsNew(workflow_exports::Continuation {
                    input: continuation.input,
                    current_module: continuation.current_module,
                })
            }
            (failure, None) => failed(failure),
        },
    }
}

fn failed(failure: Failure) -> workflow_exports::Step {
    workflow_exports::Step::Failed(failure.into())
}

/// Refuses to compile a module that offers two things by one name.
pub const fn assert_unique(names: &[&str]) {
    let mut at = 0;
    while at < names.len() {
        let mut other = at + 1;
        while other < names.len() {
            assert!(
                !equal(names[at].as_bytes(), names[other].as_bytes()),
                "two of the exported names are the same"
            );
            other += 1;
        }
        at += 1;
    }
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Exports the workflows and activities of a module: the one line that makes a crate a module.
///
/// ```
/// # use wfhost_sdk::{ActivityContext, Context, Result, activity, workflow};
/// # #[workflow] async fn order(ctx: Context, quantity: u32) -> Result<u32> { Ok(quantity) }
/// # #[activity] fn reserve(ctx: ActivityContext, quantity: u32) -> Result<u32> { Ok(quantity) }
/// wfhost_sdk::export!(workflows: [order], activities: [reserve]);
/// # fn main() {}
/// ```
///
/// Either list may be left out. Names must be unique within each list.
#[macro_export]
macro_rules! export {
    (workflows: [$($workflow:path),* $(,)?] $(,)?) => {
        $crate::__export_workflows!($($workflow),*);
    };
    (activities: [$($activity:path),* $(,)?] $(,)?) => {
        $crate::__export_activities!($($activity),*);
    };
    (workflows: [$($workflow:path),* $(,)?], activities: [$($activity:path),* $(,)?] $(,)?) => {
        $crate::__export_workflows!($($workflow),*);
        $crate::__export_activities!($($activity),*);
    };
    (activities: [$($activity:path),* $(,)?], workflows: [$($workflow:path),* $(,)?] $(,)?) => {
        $crate::export!(workflows: [$($workflow),*], activities: [$($activity),*]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_workflows {
    ($($workflow:path),*) => {
        const _: () = {
            use $crate::__private::{WorkflowEntry, Workflows, types, workflow_exports as exports};

            static WORKFLOWS: Workflows = Workflows(&[$(WorkflowEntry::of::<$workflow>()),*]);
            $crate::__private::assert_unique(&[$(<$workflow as $crate::Workflow>::NAME),*]);

            struct Module;

            impl exports::Guest for Module {
                fn definitions() -> Vec<types::Definition> {
                    WORKFLOWS.definitions()
                }
                fn start(name: String, input: String) -> exports::Step {
                    WORKFLOWS.start(&name, &input)
                }
                fn resume(inputs: Vec<exports::Input>) -> exports::Step {
                    WORKFLOWS.resume(inputs)
                }
                fn query(name: String, input: String) -> Result<String, types::Failure> {
                    WORKFLOWS.query(&name, &input)
                }
                fn validate_update(name: String, input: String) -> Result<(), types::Failure> {
                    WORKFLOWS.validate_update(&name, &input)
                }
            }

            #[cfg(target_family = "wasm")]
            $crate::__private::workflow::export_workflow_module!(
                Module with_types_in $crate::__private::workflow
            );
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_activities {
    ($($activity:path),*) => {
        const _: () = {
            use $crate::__private::{Activities, ActivityEntry, activity_exports as exports, types};

            static ACTIVITIES: Activities = Activities(&[$(ActivityEntry::of::<$activity>()),*]);
            $crate::__private::assert_unique(&[$(<$activity as $crate::Activity>::NAME),*]);

            struct Module;

            impl exports::Guest for Module {
                fn definitions() -> Vec<types::Definition> {
                    ACTIVITIES.definitions()
                }
                fn run(
                    name: String,
                    input: String,
                    invocation: exports::Invocation,
                ) -> Result<String, types::Failure> {
                    ACTIVITIES.run(&name, &input, invocation)
                }
            }

            #[cfg(target_family = "wasm")]
            $crate::__private::activity::export_activity_module!(
                Module with_types_in $crate::__private::activity
            );
        };
    };
}
