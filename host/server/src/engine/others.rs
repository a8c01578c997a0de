//! Work between instances: children and events from one to another.
//!
//! Of a child both ends are looked at each time, and what is missing is done: the same code goes on
//! after a crash between the two. An event takes its place in both histories at once.

use std::sync::Arc;

use wfhost_core::decide::{self, TaskFence};
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
            let Started {
                id,
                run,
                generation,
                ..
            } = instance.started();
            let (id, run, generation) = (id.clone(), *run, *generation);
            let parent = Parent {
                id,
                run,
                generation,
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
            Ok(Some(Some((TaskState::Raise { instance, event }, of)))) => {
                self.raise(slot, &of, &instance, event);
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
        let (of, detached) = (fence(&parent), options.detached);
        if options.retry.is_some() || options.same_deployment {
            let message = "this version of wfhost starts a child without retry and same-deployment";
            return self.end_task(slot, of, Err(Failure::last(kind::UNSUPPORTED, message)));
        }
        let id = match &options.id {
            None => Ok(parent.id.of_child(parent.generation, of.task)),
            Some(id) => id.parse::<InstanceId>(),
        };
        let id = match id {
            Ok(id) => id,
            Err(error) => {
                let failure = Failure::last(kind::INVALID_INPUT, error.to_string());
                return self.end_task(slot, of, Err(failure));
            }
        };
        let known = self.store.look(&id, |child| {
            let ours = child
                .started()
                .parent
                .as_ref()
                .is_some_and(|of| fence(of) == fence(&parent));
            ours.then(|| outcome(child))
        });
        match known {
            Err(error) => self.note(Err(SubmitError::Store(error))),
            Ok(Some(None)) => {
                let message = format!("the instance id `{id}` is in use");
                self.end_task(slot, of, Err(Failure::last(kind::ID_IN_USE, message)));
            }
            Ok(Some(Some(_))) if detached => {
                self.end_task(slot, of, Ok(Json::of(&id.as_str().into())));
            }
            Ok(Some(Some(Some(outcome)))) => self.end_task(slot, of, outcome),
            // It runs; its end comes back here.
            Ok(Some(Some(None))) => drop(self.drive(&id)),
            Ok(None) => {
                let module = match self.store.binding(Role::Workflow, name) {
                    Ok(Some(module)) => module,
                    Ok(None) => {
                        let reason = StallReason::WorkflowMissing {
                            workflow: name.clone(),
                        };
                        self.stall(slot, Some(of.task), reason);
                        // A deployment may have brought it just now.
                        if let Ok(Some(_)) = self.store.binding(Role::Workflow, name) {
                            self.push(Job::Other(Arc::clone(slot), of.task));
                        }
                        return;
                    }
                    Err(error) => return self.note(Err(SubmitError::Store(error))),
                };
                let started = Started {
                    parent: Some(Parent { detached, ..parent }),
                    tags: options.tags,
                    ..start::fresh(id, name.clone(), module, input, now())
                };
                self.start_child(slot, of, started);
            }
        }
    }

    /// A child's input is its parent's affair: it is recorded, and fails as its code says.
    fn start_child(self: &Arc<Self>, slot: &Arc<Slot>, of: TaskFence, started: Started) {
        let (id, detached) = (
            started.id.clone(),
            started.parent.as_ref().is_some_and(|it| it.detached),
        );
        match self.store.start(started) {
            Ok(_) => {
                // If its workflow was missing before, it is not any more.
                let unstalled = self.submit(slot, &ReadSet::default(), |instance| {
                    Ok(vec![decide::unstall(instance, of.task, now())?])
                });
                self.note(unstalled.map(drop));
                if detached {
                    self.end_task(slot, of, Ok(Json::of(&id.as_str().into())));
                }
                drop(self.drive(&id));
            }
            // Somebody took the id just now; look again.
            Err(SubmitError::InUse { .. }) => self.push(Job::Other(Arc::clone(slot), of.task)),
            Err(error) => self.note(Err(error)),
        }
    }

    /// The event and the end of the task that raises it are one commit: never one without the other.
    fn raise(self: &Arc<Self>, slot: &Arc<Slot>, of: &Parent, instance: &str, event: Event) {
        let of = fence(of);
        let Ok(id) = instance.parse::<InstanceId>() else {
            return self.end_task(slot, of, Err(no_such_instance(instance)));
        };
        let raised = self.store.submit_both(&id, &slot.id, |to, from| {
            let (event, outcome) = match to.map(|to| decide::raise_event(to, event, now())) {
                Some(Ok(event)) => (Some(event), Ok(Json::null())),
                Some(Err(_)) => {
                    let message = format!("the instance `{instance}` has ended");
                    (None, Err(Failure::last(kind::ENDED, message)))
                }
                None => (None, Err(no_such_instance(instance))),
            };
            Ok((event, decide::end_task(from, of, outcome, now())?))
        });
        match raised {
            Ok((sent, told)) => {
                if let Some(sent) = sent {
                    let target = self.slot(&id);
                    self.follow(&target, &sent.records);
                    self.release(&target);
                }
                self.follow(slot, &told.records);
            }
            Err(error) => self.note(Err(error)),
        }
    }

    fn end_task(self: &Arc<Self>, slot: &Arc<Slot>, of: TaskFence, outcome: Result<Json, Failure>) {
        let ended = self.submit(slot, &ReadSet::default(), |instance| {
            Ok(vec![decide::end_task(instance, of, outcome, now())?])
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
            let waits = self.slot(&parent.id);
            // Counts as work of the parent, so that nobody takes it for stuck meanwhile.
            waits.begin_job();
            self.end_task(&waits, fence(&parent), outcome);
            self.done(&waits);
        }
    }
}

fn fence(parent: &Parent) -> TaskFence {
    TaskFence {
        run: parent.run,
        generation: parent.generation,
        task: parent.task,
    }
}

fn no_such_instance(instance: &str) -> Failure {
    Failure::last(
        kind::NO_SUCH_INSTANCE,
        format!("there is no instance `{instance}`"),
    )
}

/// How an instance ended, for whoever started it.
fn outcome(instance: &Instance) -> Option<Result<Json, Failure>> {
    let output = instance.output().cloned().map(Ok);
    output.or_else(|| instance.failure().map(Err))
}
