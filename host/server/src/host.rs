//! The host as a library: what the command line does, any Rust program can do.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use wfhost_core::decide::{self, Refused};
use wfhost_core::record::{Event, Record, StateWrite};
use wfhost_core::{Digest, Instance, InstanceId, Json, ModuleInfo, Name, Role, Status};
use wfhost_sandbox::{Limits, OutsideCall, Sandbox};
use wfhost_store::{Moved, NewModule, Store, SubmitError, Summary};

use crate::engine::{Observed, Running, now};
use crate::error::Error;
use crate::replay::{Replayed, replay};
use crate::start::{self, StartRequest};

/// An outside world made up for a test.
#[doc(hidden)]
pub type Outside = Arc<dyn Fn(&OutsideCall) -> Result<String, String> + Send + Sync>;

/// How a host is set up.
#[derive(Clone)]
pub struct Options {
    /// What guests may use.
    pub limits: Limits,
    /// How many guests stay in memory between their turns. The others come back by replay.
    pub guests_warm_max: usize,
    /// How the data file is kept.
    pub store: wfhost_store::Options,
    /// Stands for the outside world in tests: modules may import `wfhost:testing/outside`.
    #[doc(hidden)]
    pub outside: Option<Outside>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            // Each takes about 80 KiB and four memory mappings, of which the kernel allows 65,530.
            guests_warm_max: 1_000,
            store: wfhost_store::Options::default(),
            outside: None,
        }
    }
}

/// A module to deploy.
pub struct Upload {
    /// Where it came from, for people.
    pub label: String,
    /// A component, or a core module with component metadata.
    pub bytes: Vec<u8>,
}

/// What a deployment did.
pub struct Deployment {
    /// The modules, in the order given.
    pub modules: Vec<ModuleInfo>,
    /// The names that mean another module now.
    pub moved: Vec<Moved>,
}

/// How an instance stands once it does not move any more.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The instance.
    pub instance: Instance,
}

/// A running host on one data file. Needs a tokio runtime around it.
pub struct Host {
    running: Running,
    store: Arc<Store>,
}

impl Host {
    /// Opens the data file, and creates it if there is none.
    ///
    /// # Errors
    /// If the file is in use, not ours, or cannot be read or written.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(path: &Path, options: Options) -> Result<Self, Error> {
        Self::on(Store::open(path, options.store.clone())?, options)
    }

    /// Opens the data file once these modules have been found to be fit: bad ones leave no new file
    /// behind.
    ///
    /// # Errors
    /// As [`Host::open`], and [`Error::Rejected`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn open_checked(
        path: &Path,
        options: Options,
        uploads: &[Upload],
    ) -> Result<Self, Error> {
        if !path.exists() {
            let sandbox = Self::sandbox(&options)?;
            for Upload { label, bytes } in uploads {
                let fit = sandbox.prepare(bytes, label, now());
                fit.map_err(|source| Error::Rejected {
                    label: label.clone(),
                    source,
                })?;
            }
        }
        Self::open(path, options)
    }

    /// Opens a data file that must be there.
    ///
    /// # Errors
    /// As [`Host::open`], and [`wfhost_store::OpenError::Missing`].
    pub fn open_existing(path: &Path, options: Options) -> Result<Self, Error> {
        Self::on(Store::open_existing(path, options.store.clone())?, options)
    }

    /// A host whose data is gone with it, for tests and for trying things out.
    ///
    /// # Errors
    /// If this machine cannot run guests.
    pub fn in_memory(options: Options) -> Result<Self, Error> {
        Self::on(Store::in_memory(options.store.clone())?, options)
    }

    fn on(store: Store, options: Options) -> Result<Self, Error> {
        let sandbox = Self::sandbox(&options)?;
        let store = Arc::new(store);
        let running = Running::start(Arc::clone(&store), sandbox, options.guests_warm_max);
        Ok(Self { running, store })
    }

    fn sandbox(options: &Options) -> Result<Sandbox, Error> {
        let sandbox = Sandbox::new(options.limits.clone())?;
        Ok(match &options.outside {
            Some(outside) => sandbox.with_outside(outside.clone()),
            None => sandbox,
        })
    }

    /// Stops: turns that run come to their end, everything submitted is made durable. Unfinished
    /// instances go on when somebody drives them again.
    ///
    /// # Errors
    /// If the last commit failed.
    pub async fn close(self) -> Result<(), Error> {
        let Self { running, store } = self;
        let closed = tokio::task::spawn_blocking(move || {
            running.stop();
            store.close()
        });
        closed
            .await
            .map_err(|_| Error::Unknown)?
            .map_err(Error::Store)
    }

    /// Deploys modules: checks them all, then moves the bindings of the names that they offer, in
    /// one transaction. Attempts that start from now on take the new activities; running instances
    /// keep their workflow's module.
    ///
    /// # Errors
    /// If one is rejected, nothing has changed.
    pub async fn deploy(&self, uploads: Vec<Upload>) -> Result<Deployment, Error> {
        let engine = Arc::clone(&self.running.engine);
        let deployed = tokio::task::spawn_blocking(move || {
            let at = now();
            let mut modules = Vec::new();
            let mut infos = Vec::new();
            for Upload { label, bytes } in uploads {
                let known = engine.store.module(Digest::of(&bytes))?;
                let (info, component) = match known {
                    Some(info) => (info, None),
                    None => {
                        let prepared = engine
                            .sandbox
                            .prepare(&bytes, &label, at)
                            .map_err(|source| Error::Rejected { label, source })?;
                        (prepared.info, prepared.component)
                    }
                };
                infos.push(info.clone());
                modules.push(NewModule {
                    info,
                    bytes,
                    component,
                });
            }
            let moved = engine.store.deploy(modules, at)?;
            engine.retry_stalled()?;
            Ok(Deployment {
                modules: infos,
                moved,
            })
        });
        deployed.await.map_err(|_| Error::Unknown)?
    }

    /// Starts an instance and drives it. When this returns, the start is durable.
    ///
    /// # Errors
    /// If no module offers the workflow, its code refuses the input, or the id is in use: then
    /// nothing is recorded.
    pub async fn start(&self, request: StartRequest) -> Result<InstanceId, Error> {
        let (id, position) = self.begin(request).await?;
        acknowledged(self.running.engine.durable(position)).await?;
        Ok(id)
    }

    /// Starts an instance and waits until it settles: a start whose caller needs nothing before
    /// the end costs no commit of its own.
    ///
    /// # Errors
    /// As [`Host::start`] and [`Host::wait`].
    pub async fn run(&self, request: StartRequest) -> Result<Settled, Error> {
        let (id, _) = self.begin(request).await?;
        self.wait(&id).await
    }

    pub(crate) async fn begin(
        &self,
        request: StartRequest,
    ) -> Result<(InstanceId, wfhost_core::Position), Error> {
        let StartRequest {
            workflow,
            input,
            id,
            tags,
        } = request;
        let Some(module) = self.store.binding(Role::Workflow, &workflow)? else {
            let known = self.workflows()?;
            return Err(Error::NoSuchWorkflow {
                name: workflow.to_string(),
                known,
            });
        };
        let id = id.unwrap_or_else(start::random_id);
        if let Some(status) = self.store.look(&id, Instance::status)? {
            return Err(Error::IdInUse { id, status });
        }
        let started = start::fresh(id.clone(), workflow, module, input, now());
        let begun = self
            .running
            .engine
            .start(wfhost_core::record::Started { tags, ..started });
        let position = begun.await.map_err(|_| Error::Unknown)??;
        Ok((id, position))
    }

    /// Goes on with an unfinished instance. Does nothing for one that is driven already.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn drive(&self, id: &InstanceId) -> Result<(), Error> {
        self.running.engine.drive(id)
    }

    /// Waits until an instance has ended, or is stalled and nothing else of it moves. What it
    /// returns is durable.
    ///
    /// # Errors
    /// If there is no such instance.
    pub async fn wait(&self, id: &InstanceId) -> Result<Settled, Error> {
        self.instance(id)?;
        let settled = self.running.engine.settled(id)?;
        acknowledged(settled).await?;
        Ok(Settled {
            instance: self.instance(id)?,
        })
    }

    /// Raises an event to an instance. When this returns, it is durable.
    ///
    /// # Errors
    /// If there is no such instance, or it has ended.
    pub async fn raise_event(&self, id: &InstanceId, event: Event) -> Result<(), Error> {
        self.tell(id, |instance| decide::raise_event(instance, event, now()))
            .await
    }

    /// Asks an instance to stop. When this returns, the request is durable. Asking twice is asking
    /// once.
    ///
    /// # Errors
    /// If there is no such instance, or it has ended.
    pub async fn cancel(&self, id: &InstanceId, reason: Option<String>) -> Result<(), Error> {
        if self.store.look(id, Instance::cancel_requested)? == Some(true) {
            return Ok(());
        }
        self.tell(id, |instance| {
            decide::request_cancel(instance, reason, now())
        })
        .await
    }

    /// Ends an instance without asking its code. When this returns, that is durable.
    ///
    /// # Errors
    /// If there is no such instance, or it has ended.
    pub async fn terminate(&self, id: &InstanceId, reason: Option<String>) -> Result<(), Error> {
        self.tell(id, |instance| decide::terminate(instance, reason, now()))
            .await
    }

    async fn tell(
        &self,
        id: &InstanceId,
        decide: impl FnOnce(&Instance) -> Result<Record, Refused>,
    ) -> Result<(), Error> {
        let position =
            self.running
                .engine
                .tell_instance(id, decide)
                .map_err(|error| match error {
                    SubmitError::Refused(_) => match self.store.look(id, Instance::status) {
                        Ok(Some(status)) => Error::Ended {
                            id: id.clone(),
                            status,
                        },
                        _ => Error::NoSuchInstance { id: id.clone() },
                    },
                    error => Error::from((id.clone(), error)),
                })?;
        acknowledged(self.running.engine.durable(position)).await
    }

    /// Writes to the state store, all at once. When this returns, that is durable.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn write_state(&self, writes: Vec<StateWrite>) -> Result<(), Error> {
        let position = self.store.write_state(writes, now())?;
        acknowledged(self.running.engine.durable(position)).await
    }

    /// What a key of the state store holds.
    ///
    /// # Errors
    /// If the data file failed.
    pub fn state(&self, key: &str) -> Result<Option<Json>, Error> {
        Ok(self.store.state_get(key, now())?.map(|entry| entry.value))
    }

    /// An instance as it stands.
    ///
    /// # Errors
    /// If there is none of that id.
    pub fn instance(&self, id: &InstanceId) -> Result<Instance, Error> {
        let seen = self.store.look(id, Instance::clone)?;
        seen.ok_or_else(|| Error::NoSuchInstance { id: id.clone() })
    }

    /// Whether there is an instance of that id.
    ///
    /// # Errors
    /// If the data file failed.
    pub fn has_instance(&self, id: &InstanceId) -> Result<bool, Error> {
        Ok(self.store.look(id, |_| ())?.is_some())
    }

    /// Every instance, in the order of their starts.
    ///
    /// # Errors
    /// If the data file failed.
    pub fn list(&self) -> Result<Vec<Summary>, Error> {
        Ok(self.store.list()?)
    }

    /// Walks an instance's history.
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
        if self.store.for_each_record(id, 0, |_, record| see(record))? {
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
        let engine = Arc::clone(&self.running.engine);
        let id = id.clone();
        let replayed = tokio::task::spawn_blocking(move || replay(&engine, &id, on));
        replayed.await.map_err(|_| Error::Unknown)?
    }

    /// The modules, in the order of their first deployment.
    ///
    /// # Errors
    /// If the data file failed.
    pub fn modules(&self) -> Result<Vec<ModuleInfo>, Error> {
        Ok(self.store.modules()?)
    }

    /// Which module each name means now.
    ///
    /// # Errors
    /// If the data file failed.
    pub fn bindings(&self) -> Result<Vec<(Role, Name, Digest)>, Error> {
        Ok(self.store.bindings()?)
    }

    /// The workflows that may be started.
    ///
    /// # Errors
    /// If the data file failed.
    pub fn workflows(&self) -> Result<Vec<Name>, Error> {
        let bindings = self.store.bindings()?.into_iter();
        Ok(bindings
            .filter(|(role, ..)| *role == Role::Workflow)
            .map(|(_, name, _)| name)
            .collect())
    }

    /// How many instances have not ended.
    ///
    /// # Errors
    /// If the data file failed.
    pub fn unfinished(&self) -> Result<Vec<InstanceId>, Error> {
        Ok(self.store.unfinished()?)
    }

    /// Every record that becomes durable from now on.
    #[must_use]
    pub fn observe(&self) -> mpsc::UnboundedReceiver<Observed> {
        self.running.engine.observe()
    }

    /// Up to where the log survives power loss.
    #[must_use]
    pub fn durable(&self) -> wfhost_core::Position {
        self.store.durable()
    }

    /// The last position that was given out.
    #[must_use]
    pub fn submitted(&self) -> wfhost_core::Position {
        self.store.submitted()
    }

    /// What the data file has been asked to do, for benchmarks.
    #[must_use]
    pub fn counts(&self) -> wfhost_store::Counts {
        self.store.counts()
    }
}

/// Whether an instance that settled did so by completing.
impl Settled {
    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.instance.status()
    }
}

async fn acknowledged<E>(told: oneshot::Receiver<Result<(), E>>) -> Result<(), Error> {
    match told.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Error::Unknown),
    }
}
