//! What a host asks of running instances, and tells them.

use std::sync::Arc;

use wfhost_core::decide::{self, Refused};
use wfhost_core::record::{Asked, Event, Record};
use wfhost_core::{Failure, Instance, InstanceId, Json, Name, Position};
use wfhost_store::SubmitError;

use crate::checked::check_size;
use crate::error::Error;
use crate::host::{Host, acknowledged, blocking};

/// Whether something is done to the children of an instance as well, and to theirs: to those that
/// answer to it, not to detached ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Children {
    /// To them as well.
    Too,
    /// To the instance alone.
    Not,
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
        self.ask_descendants(id, children, |instance| {
            decide::suspend(instance, reason.clone(), None, now)
        })
        .await
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
        self.ask_descendants(id, children, |instance| decide::resume(instance, None, now))
            .await
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

    /// Asks the same of all that descend from an instance and answer to it, and waits once for all.
    /// One that has ended meanwhile needs nothing more.
    async fn ask_descendants(
        &self,
        id: &InstanceId,
        children: Children,
        decide: impl Fn(&Instance) -> Result<Record, Refused>,
    ) -> Result<(), Error> {
        let mut last = Position::default();
        for child in self.descendants(id, children)? {
            match self.engine().tell_instance(&child, &decide) {
                Ok(position) => last = last.max(position),
                Err(SubmitError::Refused(_) | SubmitError::NoSuchInstance(_)) => {}
                Err(error) => return Err(self.refused(&child, error)),
            }
        }
        acknowledged(self.engine().durable(last)).await
    }

    pub(crate) fn descendants(
        &self,
        id: &InstanceId,
        children: Children,
    ) -> Result<Vec<InstanceId>, Error> {
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

    pub(crate) fn refused(&self, id: &InstanceId, error: SubmitError) -> Error {
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

pub(crate) fn key_in_use(id: &InstanceId, key: Option<&str>, asked: Asked) -> Error {
    Error::KeyInUse {
        id: id.clone(),
        key: key.unwrap_or_default().to_owned(),
        asked: asked.as_str(),
    }
}

/// A child that has ended meanwhile needs nothing more.
pub(crate) fn unless_ended(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Ended { .. } | Error::NoSuchInstance { .. }) => Ok(()),
        other => other,
    }
}
