//! What a host does with instances: starts them, asks them, ends them.

use std::sync::Arc;

use wfhost_core::decide::{self, Refused};
use wfhost_core::record::{Asked, Event, Record, Started};
use wfhost_core::rerun::{self, Fresh};
use wfhost_core::state::Session;
use wfhost_core::{
    Digest, Failure, Instance, InstanceId, Json, Name, Position, Role, Status, Timestamp,
};
use wfhost_store::SubmitError;

use crate::checked::{check_size, trial};
use crate::engine::try_start;
use crate::error::Error;
use crate::host::{Host, Settled, Upload, acknowledged, blocking};
use crate::replay::{Replayed, replay};
use crate::start::{self, Reuse, StartRequest};

/// Whether something is done to the children of an instance as well, and to theirs: to those that
/// answer to it, not to detached ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Children {
    /// To them as well.
    Too,
    /// To the instance alone.
    Not,
}

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
}

/// Starting.
impl Host {
    /// Starts an instance and drives it. When this returns, the start is durable.
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
        let begun = self.begin(request).await;
        let (id, _) = self.told(begun).await?;
        self.wait(&id).await
    }

    pub(crate) async fn begin(
        &self,
        request: StartRequest,
    ) -> Result<(InstanceId, Position), Error> {
        let id = request.choose_id();
        let module = self.bound(&request.workflow)?;
        self.check_start(&request)?;
        if let Some(before) = self.store.look(&id, Before::of(&request))? {
            let done = self.on_id_in_use(&id, &request, before).await?;
            if let Some(position) = done {
                return Ok((id, position));
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
            ..
        } = request;
        let started = Started {
            tags,
            key,
            begins_at,
            events,
            ..start::fresh(id.clone(), workflow, module, input, self.engine().now())
        };
        let begun = self.engine().start(started, reuse);
        let position = begun.await.map_err(|_| Error::Unknown)??;
        Ok((id, position))
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
                self.check_input(&request.workflow, &request.input).await?;
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
        let (mut started, copies) = self.told(cut).await?;
        if request.current_module {
            started.module = self.bound(&workflow)?;
        }
        let refuse = |_: &Instance| Ok(wfhost_store::Reuse::Refuse);
        let begun = self.store.start_rerun(started, copies, refuse);
        let begun = begun.map_err(|error| Error::from((fresh.id.clone(), error)))?;
        self.engine().drive(&fresh.id)?;
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
        let digest = self.bound(workflow)?;
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

    fn bound(&self, workflow: &Name) -> Result<Digest, Error> {
        match self.store.binding(Role::Workflow, workflow)? {
            Some(module) => Ok(module),
            None => {
                let known = self.workflows()?;
                Err(Error::NoSuchWorkflow {
                    name: workflow.to_string(),
                    known,
                })
            }
        }
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

/// Going on, and waiting.
impl Host {
    /// Goes on with an unfinished instance and the children that answer to it; also with one that
    /// the host's deaths have stalled, since whoever asks is taken to have mended that.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn drive(&self, id: &InstanceId) -> Result<(), Error> {
        self.engine().resume(id)
    }

    /// Waits until an instance has ended; or is stalled or suspended and nothing else of it moves.
    /// What it returns is durable.
    ///
    /// # Errors
    /// If there is no such instance.
    pub async fn wait(&self, id: &InstanceId) -> Result<Settled, Error> {
        if self.store.look(id, |_| ())?.is_none() {
            return Err(Error::NoSuchInstance { id: id.clone() });
        }
        let settled = self.engine().settled(id)?;
        acknowledged(settled).await?;
        Ok(Settled {
            instance: self.instance(id).await?,
        })
    }
}

/// Asking a running instance. Where a request key is given, the same request with the same key is
/// done once, however often it is made; the latest 1,000 keys of an instance are remembered.
impl Host {
    /// Raises an event to an instance. When this returns, it is durable.
    ///
    /// # Errors
    /// If there is no such instance, it has ended, or the key was used for something else.
    pub async fn raise_event(
        &self,
        id: &InstanceId,
        event: Event,
        key: Option<String>,
    ) -> Result<(), Error> {
        check_size(Some(&event.payload), self.payload_bytes_max, || {
            format!("the event `{}`", event.name)
        })?;
        let now = self.engine().now();
        self.ask(id, key, Asked::Event, |instance, key| {
            decide::raise_event(instance, event, key, now)
        })
        .await
    }

    /// Asks an instance to stop, so that it can clean up. When this returns, the request is
    /// durable. Asking twice is asking once. Children are cancelled as their tasks end.
    ///
    /// # Errors
    /// As [`Host::raise_event`].
    pub async fn cancel(
        &self,
        id: &InstanceId,
        reason: Option<String>,
        key: Option<String>,
    ) -> Result<(), Error> {
        let now = self.engine().now();
        self.ask(id, key, Asked::Cancel, |instance, key| {
            decide::request_cancel(instance, reason, key, now)
        })
        .await
    }

    /// Ends an instance without asking its code. When this returns, that is durable; children end
    /// right after it.
    ///
    /// # Errors
    /// As [`Host::raise_event`].
    pub async fn terminate(
        &self,
        id: &InstanceId,
        reason: Option<String>,
        children: Children,
        key: Option<String>,
    ) -> Result<(), Error> {
        let (now, recursive) = (self.engine().now(), children == Children::Too);
        self.ask(id, key, Asked::Terminate, |instance, key| {
            decide::terminate(instance, reason, recursive, key, now)
        })
        .await
    }

    /// Holds the inputs of an instance back; what is under way comes to its end. When this returns,
    /// that is durable. Suspending twice is suspending once.
    ///
    /// # Errors
    /// As [`Host::raise_event`].
    pub async fn suspend(
        &self,
        id: &InstanceId,
        reason: Option<String>,
        children: Children,
        key: Option<String>,
    ) -> Result<(), Error> {
        let now = self.engine().now();
        let because = reason.clone();
        self.ask(id, key, Asked::Suspend, |instance, key| {
            decide::suspend(instance, because, key, now)
        })
        .await?;
        for child in self.descendants(id, children)? {
            let reason = reason.clone();
            let suspended = self.ask(&child, None, Asked::Suspend, |instance, _| {
                decide::suspend(instance, reason, None, now)
            });
            unless_ended(suspended.await)?;
        }
        Ok(())
    }

    /// Lets the inputs of a suspended instance flow again, in the order in which they came. When
    /// this returns, that is durable.
    ///
    /// # Errors
    /// As [`Host::raise_event`].
    pub async fn resume(
        &self,
        id: &InstanceId,
        children: Children,
        key: Option<String>,
    ) -> Result<(), Error> {
        let now = self.engine().now();
        self.ask(id, key, Asked::Resume, |instance, key| {
            decide::resume(instance, key, now)
        })
        .await?;
        for child in self.descendants(id, children)? {
            let resumed = self.ask(&child, None, Asked::Resume, |instance, _| {
                decide::resume(instance, None, now)
            });
            unless_ended(resumed.await)?;
        }
        Ok(())
    }

    /// Asks an instance about its state: on a copy that takes no turn. What it answers was durable.
    /// One that has ended answers too, as long as its history is kept.
    ///
    /// # Errors
    /// If there is no such instance, or a copy cannot be brought up. What the workflow refuses is
    /// the inner failure.
    pub async fn query(
        &self,
        id: &InstanceId,
        name: &Name,
        input: &Json,
    ) -> Result<Result<Json, Failure>, Error> {
        check_size(Some(input), self.payload_bytes_max, || "the input".into())?;
        let engine = Arc::clone(self.engine());
        let (id, name, input) = (id.clone(), name.clone(), input.clone());
        let (answer, seen) = blocking(move || engine.query(&id, &name, &input)).await?;
        acknowledged(self.engine().durable(seen)).await?;
        Ok(answer)
    }

    /// Asks something of a running instance, and waits for its answer. A copy of the workflow
    /// looks at the request first; one that it refuses is not recorded. The instance is driven.
    ///
    /// # Errors
    /// If there is no such instance, it has ended, or a copy cannot be brought up. What the
    /// workflow refuses is the inner failure.
    pub async fn update(
        &self,
        id: &InstanceId,
        name: Name,
        input: Json,
        key: Option<String>,
    ) -> Result<Result<Json, Failure>, Error> {
        check_size(Some(&input), self.payload_bytes_max, || "the input".into())?;
        self.engine().drive(id)?;
        if !self.repeats_update(id, key.as_deref())? {
            let engine = Arc::clone(self.engine());
            let (of, update, value) = (id.clone(), name.clone(), input.clone());
            let (valid, seen) = blocking(move || engine.validate(&of, &update, &value)).await?;
            acknowledged(self.engine().durable(seen)).await?;
            if let Err(failure) = valid {
                return Ok(Err(failure));
            }
            if let Some(why) = self.cannot_answer(id)? {
                return Err(why);
            }
        }
        let asked = self.engine().update(id, name, input, key.clone());
        let asked = asked.map_err(|error| self.refused_key(id, key.as_deref(), error));
        let told = self.told(asked).await?;
        let told = async {
            match told.await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) | Err(_) => Err(Error::Unknown),
            }
        };
        tokio::select! {
            biased;
            answer = told => answer,
            rests = self.rests(id) => Err(rests?),
        }
    }

    /// Resolves when an instance does not move any more though it has not ended: says why.
    async fn rests(&self, id: &InstanceId) -> Result<Error, Error> {
        self.wait(id).await?;
        match self.cannot_answer(id)? {
            Some(why) => Ok(why),
            // Its end answers those who wait; a task that stalls keeps no handler from answering.
            None => std::future::pending().await,
        }
    }

    /// Why an instance takes no update just now, if it takes none.
    fn cannot_answer(&self, id: &InstanceId) -> Result<Option<Error>, Error> {
        let why = self.store.look(id, |instance| {
            let stalled = instance.stalled_code();
            let stalled = stalled.map(|reason| format!("it is stalled: {reason}"));
            let suspended = instance.suspended();
            stalled.or_else(|| suspended.map(|_| "it is suspended; resume it first".to_owned()))
        })?;
        let id = id.clone();
        Ok(why.flatten().map(|why| Error::CannotAsk { id, why }))
    }

    fn repeats_update(&self, id: &InstanceId, key: Option<&str>) -> Result<bool, Error> {
        let asked = self
            .store
            .look(id, |it| key.and_then(|key| it.asked(key)))?;
        Ok(matches!(asked, Some(Some(Asked::Update(_)))))
    }

    fn descendants(&self, id: &InstanceId, children: Children) -> Result<Vec<InstanceId>, Error> {
        let mut found = Vec::new();
        let mut parents = match children {
            Children::Too => vec![id.clone()],
            Children::Not => Vec::new(),
        };
        while let Some(parent) = parents.pop() {
            let children = self.engine().unfinished_children(&parent)?;
            found.extend(children.iter().cloned());
            parents.extend(children);
        }
        Ok(found)
    }

    /// Submits a request; one that was made before is done.
    async fn ask(
        &self,
        id: &InstanceId,
        key: Option<String>,
        what: Asked,
        decide: impl FnOnce(&Instance, Option<String>) -> Result<Record, Refused>,
    ) -> Result<(), Error> {
        let used = key.clone();
        let told = self
            .engine()
            .tell_instance(id, |instance| decide(instance, key));
        let position = match told {
            Ok(position) => position,
            Err(SubmitError::Refused(Refused::Stale)) => self.store.submitted(),
            Err(SubmitError::Refused(Refused::Repeated(asked))) if asked == what => {
                self.store.submitted()
            }
            Err(error) => {
                let refused = self.refused_key(id, used.as_deref(), error);
                return self.told(Err(refused)).await;
            }
        };
        acknowledged(self.engine().durable(position)).await
    }

    fn refused_key(&self, id: &InstanceId, key: Option<&str>, error: SubmitError) -> Error {
        match error {
            SubmitError::Refused(Refused::Repeated(asked)) => key_in_use(id, key, asked),
            error => self.refused(id, error),
        }
    }

    fn refused(&self, id: &InstanceId, error: SubmitError) -> Error {
        match error {
            SubmitError::Refused(_) => match self.store.look(id, Instance::status) {
                Ok(Some(status)) => Error::Ended {
                    id: id.clone(),
                    status,
                },
                _ => Error::NoSuchInstance { id: id.clone() },
            },
            error => Error::from((id.clone(), error)),
        }
    }
}

fn key_in_use(id: &InstanceId, key: Option<&str>, asked: Asked) -> Error {
    Error::KeyInUse {
        id: id.clone(),
        key: key.unwrap_or_default().to_owned(),
        asked: asked.as_str(),
    }
}

/// A child that has ended meanwhile needs nothing more.
fn unless_ended(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Ended { .. } | Error::NoSuchInstance { .. }) => Ok(()),
        other => other,
    }
}

/// Looking.
impl Host {
    /// An instance as it stands.
    ///
    /// # Errors
    /// If there is none of that id.
    pub async fn instance(&self, id: &InstanceId) -> Result<Instance, Error> {
        let seen = self.store.look(id, Instance::clone)?;
        let seen = seen.ok_or_else(|| Error::NoSuchInstance { id: id.clone() })?;
        self.shown(seen).await
    }

    /// Whether there is an instance of that id.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn has_instance(&self, id: &InstanceId) -> Result<bool, Error> {
        let seen = self.store.look(id, |_| ())?;
        self.shown(seen.is_some()).await
    }

    /// Instances that match, a page of them, by index: its cost grows with the page, not with the
    /// data file.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn find(&self, query: &wfhost_store::Query) -> Result<wfhost_store::Page, Error> {
        let page = self.store.find(query)?;
        self.shown(page).await
    }

    /// A refusal tells what was seen, so it waits until that is durable.
    pub(crate) async fn told<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        match result {
            Err(error) if error.is_callers() => {
                self.shown(()).await?;
                Err(error)
            }
            other => other,
        }
    }

    /// Hands out what was read once all of it is durable.
    pub(crate) async fn shown<T>(&self, read: T) -> Result<T, Error> {
        acknowledged(self.engine().durable(self.store.submitted())).await?;
        Ok(read)
    }

    /// Walks an instance's history, as far as it is durable and kept: from the generation before
    /// the current one on.
    ///
    /// # Errors
    /// If there is no such instance, the data file failed, or `see` says so.
    pub fn history<E>(
        &self,
        id: &InstanceId,
        mut see: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E>
    where
        E: From<Error> + From<wfhost_store::Error>,
    {
        let durable = self.store.durable();
        let found = self.store.for_each_record(id, 0, |position, record| {
            if position <= durable {
                see(record)
            } else {
                Ok(())
            }
        })?;
        if found {
            return Ok(());
        }
        Err(Error::NoSuchInstance { id: id.clone() }.into())
    }

    /// Runs an instance's history again in the sandbox, without effects, on its own module or on
    /// another one, which is not deployed for it.
    ///
    /// # Errors
    /// If there is no such instance, or the other module is rejected.
    pub async fn replay(&self, id: &InstanceId, on: Option<Upload>) -> Result<Replayed, Error> {
        let engine = Arc::clone(self.engine());
        let id = id.clone();
        blocking(move || replay(&engine, &id, on)).await
    }

    /// Where time is skipped, it jumps to the next timer as soon as nothing else is left to do.
    pub fn skip_time(&self, skips: bool) {
        self.engine().set_skips(skips);
    }

    /// Waits until nothing is left to do before something comes from outside or its time comes;
    /// where time is skipped, before something comes from outside. What was done is durable then.
    ///
    /// # Errors
    /// If the host has failed.
    pub async fn quiet(&self) -> Result<(), Error> {
        self.engine().quiet().await.map_err(|_| Error::Unknown)?;
        self.shown(()).await
    }

    /// When the next timer is due, if there is one.
    #[must_use]
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.engine().next_timer()
    }

    /// Puts the host's clock forward; what is due then is done.
    pub fn advance_time(&self, by: std::time::Duration) {
        self.engine().advance(by);
    }
}
