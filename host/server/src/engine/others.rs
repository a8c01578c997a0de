//! Work between instances: children and events from one to another.
//!
//! Of a child both ends are looked at each time, and what is missing is done: the same code goes on
//! after a crash between the two. An event takes its place in both histories at once.

use std::sync::Arc;

use wfhost_core::decide::{self, ParentStands, TaskFence};
use wfhost_core::record::{ChildOptions, Event, Parent, StallReason, Started};
use wfhost_core::state::ReadSet;
use wfhost_core::{
    Digest, Failure, Instance, InstanceId, Json, Name, Role, RunId, TaskId, TaskState, Trace, kind,
};
use wfhost_store::{Query, Reuse, SubmitError, Summary};

use super::slot::Slot;
use super::{Engine, Job};
use crate::error::Error;
use crate::start;
use crate::telemetry::instance_span;

/// A child that is to be there.
struct Child {
    parent: Parent,
    /// The parent's module.
    module: Digest,
    /// The runs of the parent that have asked for this child: its own, and those before a reset
    /// that has kept its task.
    asked_by: Vec<RunId>,
    /// The runs of the parent that resets have ended.
    former: Vec<RunId>,
    name: Name,
    input: Json,
    options: ChildOptions,
    /// Where the parent stands in a trace.
    trace: Option<Trace>,
}

/// What a task wants of another instance.
enum Wants {
    Child(Box<Child>),
    Raise(TaskFence, String, Event),
}

impl Wants {
    fn of(instance: &Instance, id: TaskId) -> Option<Self> {
        let started = instance.started();
        let task = TaskFence {
            run: started.run,
            generation: started.generation,
            task: id,
        };
        match &instance.tasks().get(&id)?.state {
            TaskState::Child {
                name,
                input,
                options,
                attempt,
                ..
            } => Some(Self::Child(Box::new(Child {
                parent: Parent {
                    id: started.id.clone(),
                    run: started.run,
                    generation: started.generation,
                    task: id,
                    attempt: *attempt,
                    detached: options.detached,
                },
                module: instance.module(),
                asked_by: instance
                    .former_runs()
                    .chain([started.run])
                    .filter(|run| instance.has_task_of(*run, started.generation, id))
                    .collect(),
                former: instance.former_runs().collect(),
                name: name.clone(),
                input: input.clone(),
                options: options.clone(),
                trace: started.trace.clone(),
            }))),
            TaskState::Raise { instance, event } => {
                Some(Self::Raise(task, instance.clone(), event.clone()))
            }
            _ => None,
        }
    }
}

/// What an instance that has the id of a child is to its parent.
enum Found {
    /// The child, with what came of it.
    Child(Option<Result<Json, Failure>>),
    /// A child of turns that a reset has lost.
    Lost,
    /// Something else.
    Other,
}

impl Child {
    fn found(&self, there: &Instance) -> Found {
        if self.is(there) {
            return Found::Child(outcome(there));
        }
        if self.is_lost(there) {
            Found::Lost
        } else {
            Found::Other
        }
    }

    fn is(&self, there: &Instance) -> bool {
        let of = there.started().parent.as_ref();
        of.is_some_and(|of| {
            let asked = Parent {
                run: of.run,
                ..self.parent.clone()
            };
            self.asked_by.contains(&of.run) && *of == asked
        })
    }

    fn is_lost(&self, there: &Instance) -> bool {
        let of = there.started().parent.as_ref();
        let lost = |of: &Parent| of.id == self.parent.id && self.former.contains(&of.run);
        !self.is(there) && of.is_some_and(lost)
    }
}

impl Engine {
    /// Moves a task on that concerns another instance.
    pub(super) fn other(self: &Arc<Self>, slot: &Arc<Slot>, task: TaskId) {
        let _one_at_a_time = super::lock(&slot.others);
        match self.store.look(&slot.id, |it| Wants::of(it, task)) {
            Ok(Some(Some(Wants::Child(child)))) => self.child(slot, *child),
            Ok(Some(Some(Wants::Raise(of, instance, event)))) => {
                self.raise(slot, of, &instance, event);
            }
            Ok(_) => {}
            Err(error) => self.note(Err(SubmitError::Store(error))),
        }
    }

    fn child(self: &Arc<Self>, slot: &Arc<Slot>, child: Child) {
        let Child {
            parent, options, ..
        } = &child;
        let (of, detached) = (fence(parent), options.detached);
        let first = options.child_id(&parent.id, parent.generation, of.task);
        let id = match first {
            Ok(id) => id.of_attempt(parent.attempt),
            Err(error) => {
                let failure = Failure::last(kind::INVALID_INPUT, error.to_string());
                return self.end_task(slot, of, Err(failure));
            }
        };
        let known = self.store.look(&id, |there| child.found(there));
        match known {
            Err(error) => self.note(Err(SubmitError::Store(error))),
            Ok(Some(Found::Other)) => {
                let message = format!("the instance id `{id}` is in use");
                self.end_task(slot, of, Err(Failure::last(kind::ID_IN_USE, message)));
            }
            Ok(Some(Found::Child(_))) if detached => {
                self.end_task(slot, of, Ok(Json::of(&id.as_str().into())));
            }
            Ok(Some(Found::Child(Some(outcome)))) => {
                let attempt = parent.attempt;
                self.end_child(slot, of, attempt, outcome);
            }
            // It runs; its end comes back here.
            Ok(Some(Found::Child(None))) => {
                self.unstall(slot, of.task);
                drop(self.drive(&id));
            }
            Ok(Some(Found::Lost) | None) => self.start_child(slot, child, id),
        }
    }

    /// A child's input is its parent's affair: it is recorded, and fails as its code says.
    fn start_child(self: &Arc<Self>, slot: &Arc<Slot>, child: Child, id: InstanceId) {
        let (of, detached) = (fence(&child.parent), child.options.detached);
        let module = match self.module_of_child(&child, &id) {
            Ok(Some(module)) => module,
            Ok(None) => return self.workflow_missing(slot, of.task, &child.name),
            Err(error) => return self.note(Err(SubmitError::Store(error))),
        };
        let run = child.parent.run;
        let trace = child.trace.as_ref();
        let started = Started {
            trace: self.telemetry.below(run, trace, instance_span(run)),
            parent: Some(child.parent.clone()),
            tags: child.options.tags.clone(),
            ..start::fresh(
                id.clone(),
                child.name.clone(),
                module,
                child.input.clone(),
                self.now(),
            )
        };
        let mut replaced = false;
        let begun = self.store.start(started, |there| {
            replaced = child.is_lost(there);
            Ok(self.unless_lost(replaced, there))
        });
        match begun {
            Ok(begun) => {
                self.tell_start(&begun.submitted);
                if replaced {
                    self.take_over(&self.slot(&id));
                }
                self.unstall(slot, of.task);
                if detached {
                    self.end_task(slot, of, Ok(Json::of(&id.as_str().into())));
                }
                drop(self.drive(&id));
                // The parent may have given it up just before it was there.
                self.look_at_parent(&id);
            }
            // Somebody took the id, or removed the module, just now; look again.
            Err(SubmitError::InUse { .. } | SubmitError::ModuleMissing { .. }) => {
                self.push(Job::Other(Arc::clone(slot), of.task))
            }
            Err(error) => self.note(Err(error)),
        }
    }

    /// What becomes of an instance that has the id of a child which is to start: it gives way if
    /// it was a child of turns that a reset has lost.
    fn unless_lost(&self, is_lost: bool, there: &Instance) -> Reuse {
        if !is_lost {
            return Reuse::Refuse;
        }
        let reason = Some("its parent was reset, and has started it again".to_owned());
        let end = decide::terminate(there, reason, true, None, self.now());
        Reuse::Replace(end.into_iter().collect())
    }

    /// What the name means now or, if that is asked, meant when the parent's module was deployed.
    fn module_of_child(
        &self,
        child: &Child,
        id: &InstanceId,
    ) -> Result<Option<Digest>, wfhost_store::Error> {
        if child.options.same_deployment
            && let Some(parent) = self.store.module(child.module)?
        {
            for digest in std::iter::once(&child.module).chain(&parent.deployed_with) {
                let module = self.store.module(*digest)?;
                let offers = module
                    .is_some_and(|module| module.workflows.iter().any(|it| it.name == child.name));
                if offers {
                    return Ok(Some(*digest));
                }
            }
        }
        self.store.bound(Role::Workflow, &child.name, id)
    }

    /// If the workflow of a task was missing before, it is not any more.
    fn unstall(self: &Arc<Self>, slot: &Arc<Slot>, task: TaskId) {
        let unstalled = self.submit(slot, &ReadSet::default(), |instance| {
            Ok(vec![decide::unstall(instance, task, self.now())?])
        });
        self.note(unstalled.map(drop));
    }

    fn workflow_missing(self: &Arc<Self>, slot: &Arc<Slot>, task: TaskId, workflow: &Name) {
        let reason = StallReason::WorkflowMissing {
            workflow: workflow.clone(),
        };
        self.stall(slot, Some(task), reason);
        // A deployment may have brought it just now.
        if let Ok(Some(_)) = self.store.binding(Role::Workflow, workflow) {
            self.push(Job::Other(Arc::clone(slot), task));
        }
    }

    /// The event and the end of the task that raises it are one commit: never one without the other.
    fn raise(self: &Arc<Self>, slot: &Arc<Slot>, of: TaskFence, instance: &str, event: Event) {
        let Ok(id) = instance.parse::<InstanceId>() else {
            return self.end_task(slot, of, Err(no_such_instance(instance)));
        };
        let raised = self.store.submit_both(&id, &slot.id, |to, from| {
            let raised = to.map(|to| decide::raise_event(to, event, None, self.now()));
            let (event, outcome) = match raised {
                Some(Ok(event)) => (Some(event), Ok(Json::null())),
                Some(Err(_)) => {
                    let message = format!("the instance `{instance}` has ended");
                    (None, Err(Failure::last(kind::ENDED, message)))
                }
                None => (None, Err(no_such_instance(instance))),
            };
            Ok((event, decide::end_task(from, of, outcome, self.now())?))
        });
        match raised {
            Ok((sent, told)) => {
                if let Some(sent) = sent {
                    let target = self.slot(&id);
                    self.follow(&target, 0, &sent.records, None);
                    self.release(&target);
                }
                self.follow(slot, of.generation, &told.records, None);
            }
            Err(error) => self.note(Err(error)),
        }
    }

    fn end_task(self: &Arc<Self>, slot: &Arc<Slot>, of: TaskFence, outcome: Result<Json, Failure>) {
        let ended = self.submit(slot, &ReadSet::default(), |instance| {
            Ok(vec![decide::end_task(instance, of, outcome, self.now())?])
        });
        self.note(ended.map(drop));
    }

    fn end_child(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        of: TaskFence,
        attempt: u32,
        outcome: Result<Json, Failure>,
    ) {
        let ended = self.submit(slot, &ReadSet::default(), |instance| {
            let end = decide::end_child(instance, of, attempt, outcome, self.now())?;
            // A crash may have come between the child's start and that note.
            let unstalled = decide::unstall(instance, of.task, self.now()).ok();
            Ok(unstalled.into_iter().chain([end]).collect())
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
            self.begin_job(&waits);
            self.end_child(&waits, fence(&parent), parent.attempt, outcome);
            self.done(&waits);
        }
    }
}

/// Children whose parents have left them.
impl Engine {
    /// Has looked whether the parent of this instance still waits for it.
    pub(super) fn look_at_parent(self: &Arc<Self>, child: &InstanceId) {
        self.push(Job::Parent(self.slot(child)));
    }

    /// Ends a child as its parent ended, or gave it up, if it did.
    pub(super) fn parent_of(self: &Arc<Self>, slot: &Arc<Slot>) {
        let parent = self.store.look(&slot.id, |child| {
            let parent = child.started().parent.clone();
            parent.filter(|parent| !parent.detached)
        });
        let parent = match parent {
            Ok(Some(Some(parent))) => parent,
            Ok(_) => return,
            Err(error) => return self.note(Err(SubmitError::Store(error))),
        };
        let stands = self
            .store
            .look(&parent.id, |it| decide::parent_stands(it, &parent));
        let stands = match stands {
            // An instance that is purged has ended, and its children with it.
            Ok(stands) => stands.unwrap_or(ParentStands::Waits),
            Err(error) => return self.note(Err(SubmitError::Store(error))),
        };
        if stands == ParentStands::Waits {
            return;
        }
        let told = self.submit(slot, &ReadSet::default(), |child| {
            Ok(vec![decide::end_with_parent(child, stands, self.now())?])
        });
        if told.is_ok() {
            // Its parent may have been the only one who drove it.
            drop(self.drive(&slot.id));
        }
        self.note(told.map(drop));
    }

    /// Has looked whether those who answer to an instance that was terminated end with it: also
    /// those that it had given up before.
    pub(super) fn look_at_children(self: &Arc<Self>, id: &InstanceId) {
        match self.unfinished_children(id) {
            Ok(children) => children.iter().for_each(|child| self.look_at_parent(child)),
            Err(Error::Store(error)) => self.note(Err(SubmitError::Store(error))),
            Err(_) => {}
        }
    }

    /// Goes on with the children of an instance that answer to it and have not ended, and theirs:
    /// a crash may have come between the parent's end and theirs.
    pub(super) fn resume_children(self: &Arc<Self>, id: &InstanceId) -> Result<(), Error> {
        let mut parents = vec![id.clone()];
        while let Some(parent) = parents.pop() {
            let children = self.unfinished_children(&parent)?;
            for child in &children {
                self.look_at_parent(child);
                self.drive(child)?;
            }
            parents.extend(children);
        }
        Ok(())
    }

    /// The children of an instance that answer to it and have not ended.
    pub(crate) fn unfinished_children(&self, id: &InstanceId) -> Result<Vec<InstanceId>, Error> {
        let runs = self.store.look(id, |parent| {
            let own = parent.started().run;
            parent.former_runs().chain([own]).collect::<Vec<_>>()
        })?;
        let Some(runs) = runs else {
            return Ok(Vec::new());
        };
        let mut query = Query {
            parent: Some(id.clone()),
            limit: 1_000,
            ..Query::default()
        };
        let answers =
            |row: &&Summary| row.parent_run.is_some_and(|run| runs.contains(&run)) && !row.detached;
        let mut children = Vec::new();
        loop {
            let page = self.store.find(&query)?;
            let unfinished = page.rows.iter().filter(|row| !row.status.has_ended());
            children.extend(unfinished.filter(answers).map(|row| row.id.clone()));
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(children),
            }
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
