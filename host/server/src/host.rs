//! The host as a library: what the command line does, any Rust program can do.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use wfhost_core::decide::{self, Refused};
use wfhost_core::record::{Event, Record, Started, StateWrite};
use wfhost_core::state::Session;
use wfhost_core::{Digest, Instance, InstanceId, Json, ModuleInfo, Name, Position, Role, Status};
use wfhost_sandbox::{Limits, OutsideCall, Sandbox};
use wfhost_store::{Moved, NewModule, Store, SubmitError, Summary};

use crate::checked::{Checked, check_size, offered_once, prepare, trial};
use crate::engine::{Engine, Observed, Running, now, try_start};
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
///
/// What it shows is durable. Dropping it stops its threads, but [`Host::close`] tells whether the
/// last commit went well.
pub struct Host {
    /// Absent once it is closed.
    running: Option<Running>,
    store: Arc<Store>,
    payload_bytes_max: usize,
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
        let sandbox = sandbox(&options)?;
        Ok(Self::on(
            Store::open(path, options.store.clone())?,
            sandbox,
            options,
        ))
    }

    /// Opens the data file for modules that were checked before, so that bad ones leave no new file
    /// behind. They are not deployed yet.
    ///
    /// # Errors
    /// As [`Host::open`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open_for(path: &Path, checked: &Checked, options: Options) -> Result<Self, Error> {
        let store = Store::open(path, options.store.clone())?;
        Ok(Self::on(store, checked.sandbox.clone(), options))
    }

    /// Opens a data file that must be there.
    ///
    /// # Errors
    /// As [`Host::open`], and [`wfhost_store::OpenError::Missing`].
    pub fn open_existing(path: &Path, options: Options) -> Result<Self, Error> {
        let sandbox = sandbox(&options)?;
        Ok(Self::on(
            Store::open_existing(path, options.store.clone())?,
            sandbox,
            options,
        ))
    }

    /// A host whose data is gone with it, for tests and for trying things out.
    ///
    /// # Errors
    /// If this machine cannot run guests.
    pub fn in_memory(options: Options) -> Result<Self, Error> {
        let sandbox = sandbox(&options)?;
        Ok(Self::on(
            Store::in_memory(options.store.clone())?,
            sandbox,
            options,
        ))
    }

    fn on(store: Store, sandbox: Sandbox, options: Options) -> Self {
        let store = Arc::new(store);
        let running = Running::start(Arc::clone(&store), sandbox, options.guests_warm_max);
        let payload_bytes_max = options.limits.payload_bytes_max;
        Self {
            running: Some(running),
            store,
            payload_bytes_max,
        }
    }

    /// Looks at modules without touching any data file.
    ///
    /// # Errors
    /// If one is rejected.
    pub fn check(uploads: Vec<Upload>, options: &Options) -> Result<Checked, Error> {
        let sandbox = sandbox(options)?;
        let modules = uploads.into_iter().map(|upload| prepare(&sandbox, upload));
        let mut modules = modules.collect::<Result<Vec<_>, _>>()?;
        // The same file twice is one module.
        let mut seen = BTreeSet::new();
        modules.retain(|module| seen.insert(module.info.digest));
        offered_once(&modules)?;
        let payload_bytes_max = options.limits.payload_bytes_max;
        Ok(Checked {
            payload_bytes_max,
            sandbox,
            modules,
        })
    }

    /// Stops: turns that run come to their end, everything submitted is made durable. Unfinished
    /// instances go on when somebody drives them again.
    ///
    /// # Errors
    /// If the last commit failed.
    pub async fn close(mut self) -> Result<(), Error> {
        let (running, store) = (self.running.take(), Arc::clone(&self.store));
        let closed = tokio::task::spawn_blocking(move || {
            if let Some(running) = running {
                running.stop();
            }
            store.close()
        });
        closed
            .await
            .map_err(|_| Error::Unknown)?
            .map_err(Error::Store)
    }

    fn engine(&self) -> &Arc<Engine> {
        &self.running.as_ref().expect("only closing takes it").engine
    }

    /// Deploys modules: checks them all, then moves the bindings of the names that they offer, in
    /// one transaction. Attempts that start from now on take the new activities; running instances
    /// keep their workflow's module.
    ///
    /// # Errors
    /// If one is rejected, nothing has changed.
    pub async fn deploy(&self, uploads: Vec<Upload>) -> Result<Deployment, Error> {
        let engine = Arc::clone(self.engine());
        blocking(move || {
            let prepared = uploads
                .into_iter()
                .map(|upload| prepare(&engine.sandbox, upload));
            let modules = prepared.collect::<Result<Vec<_>, _>>()?;
            offered_once(&modules)?;
            deploy(&engine, modules)
        })
        .await
    }

    /// Deploys modules that were checked before.
    ///
    /// # Errors
    /// If the data file failed; then nothing has changed.
    pub async fn deploy_checked(&self, checked: Checked) -> Result<Deployment, Error> {
        let engine = Arc::clone(self.engine());
        blocking(move || deploy(&engine, checked.modules)).await
    }

    /// Starts an instance and drives it. When this returns, the start is durable.
    ///
    /// # Errors
    /// If no module offers the workflow, its code refuses the input, or the id is in use: then
    /// nothing is recorded.
    pub async fn start(&self, request: StartRequest) -> Result<InstanceId, Error> {
        let (id, position) = self.begin(request).await?;
        acknowledged(self.engine().durable(position)).await?;
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
    ) -> Result<(InstanceId, Position), Error> {
        let StartRequest {
            workflow,
            input,
            id,
            tags,
        } = request;
        let module = self.bound(&workflow)?;
        check_size(Some(&input), self.payload_bytes_max, || "the input".into())?;
        let id = id.unwrap_or_else(start::random_id);
        if let Some(status) = self.store.look(&id, Instance::status)? {
            return Err(Error::IdInUse { id, status });
        }
        let started = start::fresh(id.clone(), workflow, module, input, now());
        let begun = self.engine().start(Started { tags, ..started });
        let position = begun.await.map_err(|_| Error::Unknown)??;
        Ok((id, position))
    }

    /// Goes on with an unfinished instance; also with one that the host's deaths have stalled, since
    /// whoever asks is taken to have mended that. Does nothing for one that is driven already.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn drive(&self, id: &InstanceId) -> Result<(), Error> {
        self.engine().resume(id)
    }

    /// Waits until an instance has ended, or is stalled and nothing else of it moves. What it
    /// returns is durable.
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

    /// Raises an event to an instance. When this returns, it is durable.
    ///
    /// # Errors
    /// If there is no such instance, or it has ended.
    pub async fn raise_event(&self, id: &InstanceId, event: Event) -> Result<(), Error> {
        check_size(Some(&event.payload), self.payload_bytes_max, || {
            format!("the event `{}`", event.name)
        })?;
        self.tell(id, |instance| decide::raise_event(instance, event, now()))
            .await
    }

    /// Asks an instance to stop. When this returns, the request is durable. Asking twice is asking
    /// once.
    ///
    /// # Errors
    /// If there is no such instance, or it has ended.
    pub async fn cancel(&self, id: &InstanceId, reason: Option<String>) -> Result<(), Error> {
        let mut asked_before = false;
        let asked = self
            .tell(id, |instance| {
                let request = decide::request_cancel(instance, reason, now());
                asked_before = request == Err(Refused::Stale);
                request
            })
            .await;
        if asked_before {
            return self.shown(()).await;
        }
        asked
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
        let position = self
            .engine()
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
        acknowledged(self.engine().durable(position)).await
    }

    /// Writes to the state store, all at once. When this returns, that is durable.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn write_state(&self, writes: Vec<StateWrite>) -> Result<(), Error> {
        for write in &writes {
            check_size(write.value.as_ref(), self.payload_bytes_max, || {
                format!("the value of `{}`", write.key)
            })?;
        }
        let position = self.store.write_state(writes, now())?;
        acknowledged(self.engine().durable(position)).await
    }

    /// What a key of the state store holds.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn state(&self, key: &str) -> Result<Option<Json>, Error> {
        let entry = self.store.state_get(key, now())?;
        self.shown(entry.map(|entry| entry.value)).await
    }

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

    /// Every instance, in the order of their starts.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn list(&self) -> Result<Vec<Summary>, Error> {
        let rows = self.store.list()?;
        self.shown(rows).await
    }

    /// Hands out what was read once all of it is durable.
    async fn shown<T>(&self, read: T) -> Result<T, Error> {
        acknowledged(self.engine().durable(self.store.submitted())).await?;
        Ok(read)
    }

    /// Walks an instance's history, as far as it is durable.
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

    /// Every record that is submitted from now on, once it is durable, in the order of the log.
    #[must_use]
    pub fn observe(&self) -> mpsc::UnboundedReceiver<Observed> {
        self.engine().observe()
    }

    /// Up to where the log survives power loss.
    #[must_use]
    pub fn durable(&self) -> Position {
        self.store.durable()
    }

    /// The last position that was given out.
    #[must_use]
    pub fn submitted(&self) -> Position {
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

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

fn sandbox(options: &Options) -> Result<Sandbox, Error> {
    let sandbox = Sandbox::new(options.limits.clone())?;
    Ok(match &options.outside {
        Some(outside) => sandbox.with_outside(outside.clone()),
        None => sandbox,
    })
}

fn deploy(engine: &Arc<Engine>, modules: Vec<NewModule>) -> Result<Deployment, Error> {
    let infos = modules.iter().map(|module| module.info.clone()).collect();
    let moved = engine.store.deploy(modules, now())?;
    engine.retry_stalled()?;
    Ok(Deployment {
        modules: infos,
        moved,
    })
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    // It fails only if the work panicked, which is a bug of the host and has been printed.
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Unknown)?
}

async fn acknowledged<E>(told: oneshot::Receiver<Result<(), E>>) -> Result<(), Error> {
    match told.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Error::Unknown),
    }
}
