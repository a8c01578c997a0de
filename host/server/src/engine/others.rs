//! Work between instances: children and events from one to another.
//!
//! Both ends are looked at each time, and what is missing is done: the same code goes on after a
//! crash between the two.

use std::sync::Arc;

use wfhost_core::decide;
use wfhost_core::record::{ChildOptions, Event, Parent, StallReason, Started};
use wfhost_core::state::ReadSet;
use wfhost_core::{Failure, Instance, InstanceId, Json, Name, Role, TaskId, TaskState, kind};
use wfhost_store::SubmitError;

use super::slot::Slot;
use super::{Engine, Job, now};
use crate::start;

impl Engine {
    /// Moves a task on that concerns another instance.
    pub(super) fn other(self: &Arc<Self>, slot: &Arc<Slot>, task: TaskId) {
        let _one_at_a_time = super::lock(&slot.others);
        let seen = self.store.look(&slot.id, |instance| {
            let started = instance.started();
            let parent = Parent {
                id: started.id.clone(),
                run: started.run,
                generation: started.generation,
                task,
                detached: false,
            };
            instance
                .tasks()
                .get(&task)
                .map(|task| (task.state.clone(), parent))
        });
        match seen {
            Ok(Some(Some((
                TaskState::Child {
                    name,
                    input,
                    options,
                },
                parent,
            )))) => {
                self.child(slot, parent, &name, input, options);
            }
            Ok(Some(Some((TaskState::Raise { instance, event }, _)))) => {
                let outcome = self.raise(&instance, event);
                self.end_task(slot, task, outcome);
            }
            Ok(_) => {}
            Err(error) => self.note(Err(SubmitError::Store(error))),
        }
    }

    fn child(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        parent: Parent,
        name: &Name,
        input: Json,
        options: ChildOptions,
    ) {
        let (task, detached) = (parent.task, options.detached);
        let id = match &options.id {
            None => Ok(parent.id.of_child(parent.generation, task)),
            Some(id) => id.parse::<InstanceId>(),
        };
        let id = match id {
            Ok(id) => id,
            Err(error) => {
                let failure = Failure::last(kind::INVALID_INPUT, error.to_string());
                return self.end_task(slot, task, Err(failure));
            }
        };
        let known = self.store.look(&id, |child| {
            let ours = child.started().parent.as_ref().is_some_and(|of| {
                (of.run, of.generation, of.task) == (parent.run, parent.generation, task)
            });
            ours.then(|| outcome(child))
        });
        match known {
            Err(error) => self.note(Err(SubmitError::Store(error))),
            Ok(Some(None)) => {
                let message = format!("the instance id `{id}` is in use");
                self.end_task(slot, task, Err(Failure::last(kind::ID_IN_USE, message)));
            }
            Ok(Some(Some(_))) if detached => {
                self.end_task(slot, task, Ok(Json::of(&id.as_str().into())));
            }
            Ok(Some(Some(Some(outcome)))) => self.end_task(slot, task, outcome),
            // It runs; its end comes back here.
            Ok(Some(Some(None))) => drop(self.drive(&id)),
            Ok(None) => {
                let module = match self.store.binding(Role::Workflow, name) {
                    Ok(Some(module)) => module,
                    Ok(None) => {
                        let workflow = name.clone();
                        return self.stall(slot, StallReason::WorkflowMissing { workflow });
                    }
                    Err(error) => return self.note(Err(SubmitError::Store(error))),
                };
                let started = Started {
                    parent: Some(Parent { detached, ..parent }),
                    tags: options.tags,
                    ..start::fresh(id, name.clone(), module, input, now())
                };
                self.start_child(slot, task, started);
            }
        }
    }

    /// A child's input is its parent's affair: it is recorded, and fails as its code says.
    fn start_child(self: &Arc<Self>, slot: &Arc<Slot>, task: TaskId, started: Started) {
        let (id, detached) = (
            started.id.clone(),
            started.parent.as_ref().is_some_and(|it| it.detached),
        );
        match self.store.start(started) {
            Ok(submitted) => {
                let child = self.slot(&id);
                self.tell(&child, submitted.position, &submitted.records);
                if detached {
                    self.end_task(slot, task, Ok(Json::of(&id.as_str().into())));
                }
                drop(self.drive(&id));
            }
            // Somebody took the id just now; look again.
            Err(SubmitError::InUse { .. }) => self.push(Job::Other(Arc::clone(slot), task)),
            Err(error) => self.note(Err(error)),
        }
    }

    fn raise(self: &Arc<Self>, instance: &str, event: Event) -> Result<Json, Failure> {
        let none = || {
            let message = format!("there is no instance `{instance}`");
            Failure::last(kind::NO_SUCH_INSTANCE, message)
        };
        let id: InstanceId = instance.parse().map_err(|_| none())?;
        let slot = self.slot(&id);
        let raised = self.submit(&slot, &ReadSet::default(), |instance| {
            decide::raise_event(instance, event, now()).map(|record| vec![record])
        });
        match raised {
            Ok(_) => Ok(Json::null()),
            Err(SubmitError::Refused(_)) => Err(Failure::last(
                kind::ENDED,
                format!("the instance `{instance}` has ended"),
            )),
            Err(_) => Err(none()),
        }
    }

    fn end_task(self: &Arc<Self>, slot: &Arc<Slot>, task: TaskId, outcome: Result<Json, Failure>) {
        let ended = self.submit(slot, &ReadSet::default(), |instance| {
            decide::end_task(instance, task, outcome, now()).map(|record| vec![record])
        });
        self.note(ended.map(drop));
    }

    /// An instance has ended: its parent, if one waits, learns of it.
    pub(super) fn ended(self: &Arc<Self>, slot: &Arc<Slot>) {
        let seen = self.store.look(&slot.id, |instance| {
            instance.started().parent.clone().zip(outcome(instance))
        });
        if let Ok(Some(Some((parent, outcome)))) = seen
            && !parent.detached
        {
            let same = self.store.look(&parent.id, |instance| {
                let started = instance.started();
                (started.run, started.generation) == (parent.run, parent.generation)
            });
            if let Ok(Some(true)) = same {
                self.end_task(&self.slot(&parent.id), parent.task, outcome);
            }
        }
    }
}

/// How an instance ended, for whoever started it.
fn outcome(instance: &Instance) -> Option<Result<Json, Failure>> {
    let output = instance.output().cloned().map(Ok);
    output.or_else(|| instance.failure().map(Err))
}
