//! How a host starts instances: anew, under an id that is in use, or as a rerun.

use std::sync::Arc;

use wfhost_core::decide::{self, Refused};
use wfhost_core::record::{Asked, Event, Record, Started};
use wfhost_core::rerun::{self, Fresh};
use wfhost_core::state::Session;
use wfhost_core::{Digest, Instance, InstanceId, Json, Name, Position, Role, Status, Trace};
use wfhost_store::{Held, SubmitError};

use crate::asking::{Children, key_in_use, unless_ended};
use crate::checked::{check_size, trial};
use crate::engine::try_start;
use crate::error::Error;
use crate::host::{Host, Settled, acknowledged, blocking};
use crate::start::{self, Reuse, StartRequest};

/// Where a rerun begins.
#[derive(Debug, Clone, Default)]
pub struct RerunRequest {
    /// The first turn that is taken anew, from 1 over all generations; those before it are taken
    /// over. Absent: the instance is started again from its input.
    pub from_turn: Option<u64>,
    /// The new instance's id; a random one if absent.
    pub id: Option<InstanceId>,
    /// It goes on with the module that its workflow's name means now; else with the same one. A
    /// start from the input always takes the current one.
    pub current_module: bool,
    /// Where it stands in the trace of whoever asks for it.
    pub trace: Option<Trace>,
}

/// What there is to do for a start.
enum Prepared {
    /// Nothing: it was made before, or another instance does for it.
    Done(InstanceId, Position),
    New(Box<Started>, Held, Reuse),
}

/// Starting.
impl Host {
    /// Starts an instance and drives it. When this returns, the start is durable. Where more is to be
    /// done than the host keeps up with, it waits first, so that callers cannot fill its memory.
    ///
    /// # Errors
    /// If no module offers the workflow, its code refuses the input, or the id or the request key
    /// is in use: then nothing is recorded.
    pub async fn start(&self, request: StartRequest) -> Result<InstanceId, Error> {
        let begun = self.begin(request).await;
        let (id, position) = self.told(begun).await?;
        acknowledged(self.engine().durable(position)).await?;
        Ok(id)
    }

    /// Starts an instance and waits until it settles: a start whose caller needs nothing before
    /// the end costs no commit of its own.
    ///
    /// # Errors
    /// As [`Host::start`] and [`Host::wait`].
    pub async fn run(&self, request: StartRequest) -> Result<Settled, Error> {
        let (started, module, reuse) = match self.told(self.prepare(request).await).await? {
            Prepared::Done(id, _) => return self.wait(&id).await,
            Prepared::New(started, module, reuse) => (started, module, reuse),
        };
        let id = started.id.clone();
        let ran = self.engine().start_and_settle(*started, module, reuse);
        let ran = ran.await;
        let ran = ran.map_err(|_| Error::Unknown)?;
        self.settled(&id, self.told(ran).await?).await
    }

    pub(crate) async fn begin(
        &self,
        request: StartRequest,
    ) -> Result<(InstanceId, Position), Error> {
        match self.prepare(request).await? {
            Prepared::Done(id, position) => Ok((id, position)),
            Prepared::New(started, module, reuse) => {
                let id = started.id.clone();
                let begun = self.engine().start(*started, module, reuse);
                Ok((id, begun.await.map_err(|_| Error::Unknown)??))
            }
        }
    }

    async fn prepare(&self, request: StartRequest) -> Result<Prepared, Error> {
        self.engine().room().await;
        let id = request.choose_id();
        let module = self.bound(&request.workflow, &id)?;
        self.check_start(&request)?;
        if let Some(before) = self.store.look(&id, Before::of(&request))? {
            let done = self.on_id_in_use(&id, &request, before).await?;
            if let Some(position) = done {
                return Ok(Prepared::Done(id, position));
            }
        }
        let StartRequest {
            workflow,
            input,
            tags,
            key,
            reuse,
            begins_at,
            events,
            trace,
            ..
        } = request;
        let started = Started {
            tags,
            key,
            begins_at,
            events,
            trace,
            ..start::fresh(id, workflow, module.module(), input, self.engine().now())
        };
        Ok(Prepared::New(Box::new(started), module, reuse))
    }

    fn check_start(&self, request: &StartRequest) -> Result<(), Error> {
        let bytes_max = self.payload_bytes_max;
        check_size(Some(&request.input), bytes_max, || "the input".into())?;
        for event in &request.events {
            check_size(Some(&event.payload), bytes_max, || {
                format!("the event `{}`", event.name)
            })?;
        }
        Ok(())
    }

    /// What a start does whose id is in use: it is done if that gives a position, else the id may
    /// be taken.
    async fn on_id_in_use(
        &self,
        id: &InstanceId,
        request: &StartRequest,
        before: Before,
    ) -> Result<Option<Position>, Error> {
        let Before {
            status,
            workflow,
            same_input,
            asked,
        } = before;
        match asked {
            Some(Asked::Start) if workflow == request.workflow && same_input => {
                return Ok(Some(self.store.submitted()));
            }
            Some(Asked::Event) if request.reuse == Reuse::UseRunning => {
                return Ok(Some(self.store.submitted()));
            }
            Some(asked) => return Err(key_in_use(id, request.key.as_deref(), asked)),
            None => {}
        }
        match request.reuse {
            Reuse::UseRunning if !status.has_ended() => {
                let events = request.events.clone();
                let now = self.engine().now();
                if events.is_empty() {
                    return Ok(Some(self.store.submitted()));
                }
                let known = |error: &SubmitError| {
                    matches!(error, SubmitError::Refused(Refused::Repeated(Asked::Event)))
                };
                // The key stands for all of them, since they are raised at once.
                let mut key = request.key.clone();
                let told = self.engine().tell_all(id, |instance| {
                    let events = events.into_iter();
                    let raised =
                        events.map(|it| decide::raise_event(instance, it, key.take(), now));
                    raised.collect()
                });
                match told {
                    Ok(position) => Ok(Some(position)),
                    Err(error) if known(&error) => Ok(Some(self.store.submitted())),
                    // It has ended meanwhile: its id is taken.
                    Err(SubmitError::Refused(Refused::Ended)) => Ok(None),
                    Err(error) => Err(self.refused(id, error)),
                }
            }
            Reuse::Terminate if !status.has_ended() => {
                // Before anything is ended: the new one must be able to begin.
                let (workflow, input) = (&request.workflow, &request.input);
                self.check_input_of(id, workflow, input).await?;
                let reason = Some("a new start took its id".to_owned());
                for child in self.descendants(id, Children::Too)? {
                    let ended = self.terminate(&child, reason.clone(), Children::Too, None);
                    unless_ended(ended.await)?;
                }
                unless_ended(self.terminate(id, reason, Children::Too, None).await)?;
                Ok(None)
            }
            reuse if reuse.takes(status) => Ok(None),
            _ => Err(Error::IdInUse {
                id: id.clone(),
                status,
            }),
        }
    }

    /// Starts an instance that does again what another did: from its input, or from one of its
    /// turns on, with the turns before it taken over as they were. Nothing that those wrote to the
    /// state store is written again; activities, children and events that were open at that turn
    /// are begun anew. When this returns, the start is durable.
    ///
    /// # Errors
    /// If there is no such instance or turn, or the id is in use.
    pub async fn rerun(&self, id: &InstanceId, request: RerunRequest) -> Result<InstanceId, Error> {
        let seen = self.store.look(id, |it| {
            let started = it.started();
            let input = it.first_input().clone();
            (
                started.workflow.clone(),
                input,
                started.tags.clone(),
                it.generation_from(),
            )
        })?;
        let none = || Error::NoSuchInstance { id: id.clone() };
        let (workflow, input, tags, from) = seen.ok_or_else(none)?;
        let Some(turn) = request.from_turn else {
            let start = StartRequest {
                id: request.id,
                tags,
                events: self.first_events(id)?,
                trace: request.trace,
                ..StartRequest::new(workflow, input)
            };
            return self.start(start).await;
        };
        let fresh = Fresh {
            id: request.id.unwrap_or_else(start::random_id),
            run: start::random_run(),
            seed: start::random_seed(),
            at: self.engine().now(),
        };
        let cut = self.cut(id, from, turn, fresh.clone());
        let (mut started, mut copies) = self.told(cut).await?;
        started.trace = request.trace;
        let current = request.current_module;
        let current = current.then(|| self.bound(&workflow, &fresh.id));
        let current = current.transpose()?;
        if let Some(current) = &current {
            started.module = current.module();
            rerun::stay_on(&mut copies, current.module());
        }
        let refuse = |_: &Instance| Ok(wfhost_store::Reuse::Refuse);
        let begun = self.store.start_rerun(started, copies, refuse);
        let begun = begun.map_err(|error| Error::from((fresh.id.clone(), error)))?;
        self.engine().tell_start(&begun.submitted);
        self.engine().take_up_begun(&fresh.id);
        acknowledged(self.engine().durable(begun.submitted.position)).await?;
        Ok(fresh.id)
    }

    /// The events that came with the start, as long as that is kept.
    fn first_events(&self, id: &InstanceId) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        self.store.for_each_record(id, 0, |_, record| {
            if let Record::Started(started) = record
                && started.generation == 0
            {
                events = started.events;
            }
            Ok::<(), wfhost_store::Error>(())
        })?;
        Ok(events)
    }

    /// The records of an instance's generation before a turn, as a rerun takes them over.
    fn cut(
        &self,
        id: &InstanceId,
        from: u64,
        turn: u64,
        fresh: Fresh,
    ) -> Result<(Started, Vec<Record>), Error> {
        let mut original = None;
        let mut taken = Vec::new();
        let (mut turns, mut over) = (0, false);

        self.store.for_each_record(id, from, |_, record| {
            match (&original, record) {
                (None, Record::Started(started)) => {
                    turns = started.carried.as_ref().map_or(0, |it| it.turns);
                    original = Some((started, turns));
                }
                // It has gone on as a new generation meanwhile.
                (Some(_), Record::Started(_)) => over = true,
                (Some(_), record) if turns < turn && !over => {
                    let is_turn = matches!(record.original(), Record::Turn(_));
                    turns += u64::from(is_turn);
                    taken.push((turns, record));
                }
                _ => {}
            }
            Ok::<(), wfhost_store::Error>(())
        })?;
        let none = || Error::NoSuchInstance { id: id.clone() };
        let (original, before) = original.ok_or_else(none)?;
        // One that goes on has a turn before it that it has not taken yet.
        let ended = self.store.look(id, |it| it.status().has_ended())?;
        let last = turns + u64::from(ended == Some(false));
        if turn <= before || turn > last {
            return Err(Error::NoSuchTurn {
                id: id.clone(),
                turn,
                first: before + 1,
                last,
            });
        }
        let copies = taken.into_iter().filter(|(number, _)| *number < turn);
        let copies = copies.filter_map(|(_, record)| rerun::copy(record));
        let started = rerun::start(&original, turn - 1 - before, fresh);
        Ok((started, copies.collect()))
    }

    /// Whether a workflow's code would take this input: runs its first turn and forgets it.
    ///
    /// # Errors
    /// As [`Host::start`] would, of what can be known beforehand.
    pub async fn check_input(&self, workflow: &Name, input: &Json) -> Result<(), Error> {
        self.check_input_of(&start::random_id(), workflow, input)
            .await
    }

    /// The same for the instance that would have that id.
    async fn check_input_of(
        &self,
        id: &InstanceId,
        workflow: &Name,
        input: &Json,
    ) -> Result<(), Error> {
        let held = self.bound(workflow, id)?;
        let digest = held.module();
        check_size(Some(input), self.payload_bytes_max, || "the input".into())?;
        let started = trial(workflow, digest, input);
        let engine = Arc::clone(self.engine());
        blocking(move || {
            let unusable = |message| Error::ModuleUnusable {
                module: digest,
                message,
            };
            let module = engine.module(digest).map_err(unusable)?;
            let session = Session::new(engine.store.snapshot(started.at), started.at);
            try_start(&module, &started, session)
        })
        .await
    }

    /// The module that a workflow's name means for an instance, which stays while it is held.
    fn bound(&self, workflow: &Name, id: &InstanceId) -> Result<Held, Error> {
        let held = self.store.hold_bound(Role::Workflow, workflow, id)?;
        held.ok_or(())
            .or_else(|()| Err(self.no_workflow(workflow)?))
    }

    /// The module that a workflow's name means, but for what is being rolled out.
    pub(crate) fn bound_whole(&self, workflow: &Name) -> Result<Digest, Error> {
        let binding = self.store.binding(Role::Workflow, workflow)?;
        let module = binding.map(|binding| binding.module);
        module
            .ok_or(())
            .or_else(|()| Err(self.no_workflow(workflow)?))
    }

    fn no_workflow(&self, workflow: &Name) -> Result<Error, Error> {
        Ok(Error::NoSuchWorkflow {
            name: workflow.to_string(),
            known: self.workflows()?,
        })
    }
}

/// What a start sees of the instance that has its id.
struct Before {
    status: Status,
    workflow: Name,
    /// Whether it was started with the same input.
    same_input: bool,
    /// What the request key was used for.
    asked: Option<Asked>,
}

impl Before {
    fn of(request: &StartRequest) -> impl FnOnce(&Instance) -> Self + '_ {
        let key = request.key.as_deref();
        move |instance| Self {
            status: instance.status(),
            workflow: instance.started().workflow.clone(),
            same_input: instance.first_input().value() == request.input.value(),
            asked: key.and_then(|key| instance.asked(key)),
        }
    }
}
