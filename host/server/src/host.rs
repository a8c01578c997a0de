//! The host as a library: what the command line does, any Rust program can do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use wfhost_core::interface::{Bound, InterfaceDiff};
use wfhost_core::{Binding, Instance, ModuleInfo, Name, Position, Role, Share, Status};
use wfhost_sandbox::{AllowedHost, Grants, Limits, OutsideCall, Sandbox};
use wfhost_store::{Moved, NewModule, Store};

use crate::checked::{Checked, offered_once, prepare};
use crate::engine::{Bounds, Clock, Engine, Modules, Observed, Running, Script, Setup};
use crate::error::Error;
use crate::schedules::Schedules;
use crate::telemetry::{Telemetry, Traces};
use crate::tidy::{self, Retention};

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
    /// How many attempts of activities run at once.
    pub bounds: Bounds,
    /// Where all activities may send HTTP requests; nowhere by default.
    pub allowed_hosts: Vec<AllowedHost>,
    /// What each activity may have of the outside beside that; nothing by default.
    pub grants: Grants,
    /// The folder in which compiled code is kept for the next process, made if it is not there;
    /// none by default, so that each process compiles for itself. It must belong to the user of
    /// this process, who alone may write to it, and is silently not used otherwise. Several hosts
    /// may share one: the command line's is `$XDG_CACHE_HOME/wfhost`, or else
    /// `$HOME/.cache/wfhost`.
    pub code_cache: Option<PathBuf>,
    /// How long ended instances are kept.
    pub retention: Retention,
    /// What time it is.
    pub clock: Clock,
    /// Where the spans of traces are sent; nowhere by default.
    pub traces: Option<Traces>,
    /// What activities do in tests, instead of their code.
    #[doc(hidden)]
    pub script: Option<Script>,
    /// Everything in one thread, in a fixed order, for tests that compare whole histories.
    #[doc(hidden)]
    pub one_by_one: bool,
    /// Stands for the outside world in tests: modules may import `wfhost:testing/outside`.
    #[doc(hidden)]
    pub outside: Option<Outside>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            // Each takes about 80 KiB. One that was let go comes back by replay, some tens of
            // microseconds and one for each step that it has taken.
            guests_warm_max: 512,
            store: wfhost_store::Options::default(),
            bounds: Bounds::default(),
            allowed_hosts: Vec::new(),
            grants: Grants::default(),
            code_cache: None,
            retention: Retention::default(),
            clock: Clock::default(),
            traces: None,
            script: None,
            one_by_one: false,
            outside: None,
        }
    }
}

/// A module to deploy.
#[derive(Clone)]
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
    /// The names that mean something else now.
    pub moved: Vec<Moved>,
    /// How it is recorded; not at all if it brought nothing new and moved nothing.
    pub recorded: Option<wfhost_core::Deployment>,
}

/// How an instance stands once it does not move any more.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The instance.
    pub instance: Instance,
}

/// What one host after another may use, so that each module is compiled once.
#[doc(hidden)]
#[derive(Clone)]
pub struct Compiler {
    sandbox: Sandbox,
    modules: Modules,
}

impl Compiler {
    /// For hosts with these limits.
    ///
    /// # Errors
    /// If this machine cannot run guests.
    pub fn new(options: &Options) -> Result<Self, Error> {
        Ok(Self {
            sandbox: sandbox(options)?,
            modules: Modules::default(),
        })
    }
}

/// A running host on one data file. Needs a tokio runtime around it.
///
/// What it shows is durable. Dropping it stops its threads, but [`Host::close`] tells whether the
/// last commit went well.
pub struct Host {
    /// Absent once it is closed.
    running: Option<Running>,
    pub(crate) store: Arc<Store>,
    pub(crate) payload_bytes_max: usize,
    pub(crate) retention: Retention,
    /// How it was opened; not at all if its data is in memory.
    opened: Option<(PathBuf, Options)>,
    pub(crate) telemetry: Arc<Telemetry>,
    /// Lets what is kept too long go; stops with the host.
    tidying: Option<tokio::task::JoinHandle<()>>,
    pub(crate) schedules: Arc<Schedules>,
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
        let store = Store::open(path, options.store.clone())?;
        Ok(Self::on_file(path, store, sandbox, options))
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
        Ok(Self::on_file(path, store, checked.sandbox.clone(), options))
    }

    /// Opens a data file that must be there.
    ///
    /// # Errors
    /// As [`Host::open`], and [`wfhost_store::OpenError::Missing`].
    pub fn open_existing(path: &Path, options: Options) -> Result<Self, Error> {
        let sandbox = sandbox(&options)?;
        let store = Store::open_existing(path, options.store.clone())?;
        Ok(Self::on_file(path, store, sandbox, options))
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

    /// A host on data in memory that outlives it, for tests of crashes.
    ///
    /// # Errors
    /// If another host has it, or this machine cannot run guests.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[doc(hidden)]
    pub fn on_memory(
        memory: &wfhost_store::Memory,
        compiler: &Compiler,
        options: Options,
    ) -> Result<Self, Error> {
        let store = Store::on_memory(memory, options.store.clone())?;
        let Compiler { sandbox, modules } = compiler.clone();
        Ok(Self::with_modules(store, sandbox, modules, options))
    }

    fn on_file(path: &Path, store: Store, sandbox: Sandbox, options: Options) -> Self {
        let opened = (path.to_owned(), options.clone());
        let mut host = Self::on(store, sandbox, options);
        host.opened = Some(opened);
        host
    }

    fn on(store: Store, sandbox: Sandbox, options: Options) -> Self {
        Self::with_modules(store, sandbox, Modules::default(), options)
    }

    fn with_modules(store: Store, sandbox: Sandbox, modules: Modules, options: Options) -> Self {
        let store = Arc::new(store);
        let payload_bytes_max = options.limits.payload_bytes_max;
        let tidying = tidy::start(&store, options.retention, options.clock.clone());
        let telemetry = Arc::new(Telemetry::new(options.traces));
        let setup = Setup {
            guests_warm_max: options.guests_warm_max,
            modules,
            clock: options.clock,
            bounds: options.bounds,
            script: options.script,
            telemetry: Arc::clone(&telemetry),
            one_by_one: options.one_by_one,
        };
        let running = Running::start(Arc::clone(&store), sandbox, setup);
        let schedules = Schedules::new(Arc::clone(&running.engine), payload_bytes_max);
        Self {
            schedules: Arc::new(schedules),
            running: Some(running),
            store,
            payload_bytes_max,
            retention: options.retention,
            opened: None,
            telemetry,
            tidying: Some(tidying),
        }
    }

    /// Looks at modules without touching any data file.
    ///
    /// # Errors
    /// If one is rejected.
    pub fn check(uploads: Vec<Upload>, options: &Options) -> Result<Checked, Error> {
        let sandbox = sandbox(options)?;
        check(sandbox, options.limits.payload_bytes_max, uploads)
    }

    /// Stops: turns that run come to their end, everything submitted is made durable. Unfinished
    /// instances go on when somebody drives them again.
    ///
    /// # Errors
    /// If the last commit failed.
    pub async fn close(mut self) -> Result<(), Error> {
        self.stop_tasks();
        let (running, store) = (self.running.take(), Arc::clone(&self.store));
        let telemetry = Arc::clone(&self.telemetry);
        let closed = tokio::task::spawn_blocking(move || {
            if let Some(running) = running {
                running.stop();
            }
            let closed = store.close();
            // What became durable last is told last.
            telemetry.close();
            closed
        });
        closed
            .await
            .map_err(|_| Error::Unknown)?
            .map_err(Error::Store)
    }

    /// Opens the data file again as it was opened, once this host is closed; `None` if there is no
    /// file.
    pub(crate) fn opening_again(
        &self,
    ) -> Option<impl Fn() -> Result<Self, Error> + Send + Sync + use<>> {
        let (path, options) = self.opened.clone()?;
        let sandbox = self.engine().sandbox.clone();
        Some(move || {
            let store = Store::open_existing(&path, options.store.clone())?;
            Ok(Self::on_file(
                &path,
                store,
                sandbox.clone(),
                options.clone(),
            ))
        })
    }

    /// Waits until the host fails, for want of its data file or by an error of its own. Nothing goes
    /// on from then on; what was acknowledged is in the file.
    pub(crate) async fn failed(&self) {
        self.engine().lost().await;
    }

    /// Why the data file takes nothing any more, if a commit has failed.
    pub(crate) fn failure(&self) -> Option<wfhost_store::Error> {
        self.store.failure()
    }

    /// How many pieces of work wait, and how many bytes are on their way to the disk.
    pub(crate) fn strain(&self) -> (usize, u64) {
        (self.engine().queued(), self.store.undurable_bytes())
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
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
            deploy(&engine, modules, None, None)
        })
        .await
    }

    /// Deploys modules that were checked before.
    ///
    /// # Errors
    /// If the data file failed; then nothing has changed.
    pub async fn deploy_checked(&self, checked: Checked) -> Result<Deployment, Error> {
        let engine = Arc::clone(self.engine());
        blocking(move || deploy(&engine, checked.modules, None, None)).await
    }

    /// Deploys a module as another host found it to be.
    pub(crate) async fn deploy_known(&self, module: NewModule) -> Result<(), Error> {
        let engine = Arc::clone(self.engine());
        blocking(move || deploy(&engine, vec![module], None, None).map(drop)).await
    }

    /// What modules to be deployed would change for those who call the names that they offer, and
    /// what of the outside they can reach that could not be reached before.
    ///
    /// # Errors
    /// If the data file failed.
    pub fn interface_diff(&self, checked: &Checked) -> Result<InterfaceDiff, Error> {
        let modules = self.store.modules()?;
        let bindings = self.store.bindings()?;
        let bound = bindings.iter().filter_map(|(role, name, binding)| {
            let module = modules.iter().find(|info| info.digest == binding.module)?;
            Some(Bound {
                role: *role,
                name,
                module,
            })
        });
        let new: Vec<_> = checked.modules().collect();
        Ok(InterfaceDiff::of(
            &bound.collect::<Vec<_>>(),
            &new,
            wfhost_sandbox::reaches_outside,
        ))
    }

    /// Looks at modules as [`Host::check`] does, with the limits of this host.
    ///
    /// # Errors
    /// If one is rejected.
    pub async fn check_here(&self, uploads: Vec<Upload>) -> Result<Checked, Error> {
        let (sandbox, payload_bytes_max) = (self.engine().sandbox.clone(), self.payload_bytes_max);
        blocking(move || check(sandbox, payload_bytes_max, uploads)).await
    }

    /// The modules, in the order of their first deployment.
    ///
    /// # Errors
    /// If the data file failed.
    pub fn modules(&self) -> Result<Vec<ModuleInfo>, Error> {
        Ok(self.store.modules()?)
    }

    /// What each name means now.
    ///
    /// # Errors
    /// If the data file failed.
    pub fn bindings(&self) -> Result<Vec<(Role, Name, Binding)>, Error> {
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

    /// Every record of one instance that is submitted from now on, once it is durable.
    pub(crate) fn observe_one(&self, id: &wfhost_core::InstanceId) -> mpsc::Receiver<Observed> {
        self.engine().observe_one(id)
    }

    /// The time now.
    pub(crate) fn now(&self) -> wfhost_core::Timestamp {
        self.engine().now()
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

impl Host {
    fn stop_tasks(&mut self) {
        self.schedules.stop();
        if let Some(tidying) = self.tidying.take() {
            tidying.abort();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop_tasks();
        if let Some(running) = self.running.take() {
            running.stop();
            // Not left to whoever lets the store go last: that may be its own writer, who calls
            // back, and cannot wait for itself. Nobody is there to be told of a failure.
            let _ = self.store.close();
            self.telemetry.close();
        }
    }
}

fn sandbox(options: &Options) -> Result<Sandbox, Error> {
    let sandbox = Sandbox::new(options.limits.clone())?;
    let grants = options.grants.clone();
    let sandbox = sandbox.with_grants(grants.with_allowed_hosts(options.allowed_hosts.clone()));
    let sandbox = match &options.code_cache {
        Some(folder) => sandbox.with_code_cache(folder.clone()),
        None => sandbox,
    };
    Ok(match &options.outside {
        Some(outside) => sandbox.with_outside(outside.clone()),
        None => sandbox,
    })
}

fn check(
    sandbox: Sandbox,
    payload_bytes_max: usize,
    uploads: Vec<Upload>,
) -> Result<Checked, Error> {
    let modules = uploads.into_iter().map(|upload| prepare(&sandbox, upload));
    let mut modules = modules.collect::<Result<Vec<_>, _>>()?;
    // The same file twice is one module.
    let mut seen = BTreeSet::new();
    modules.retain(|module| seen.insert(module.info.digest));
    offered_once(&modules)?;
    Ok(Checked {
        payload_bytes_max,
        sandbox,
        modules,
    })
}

pub(crate) fn deploy(
    engine: &Arc<Engine>,
    modules: Vec<NewModule>,
    by: Option<&str>,
    share: Option<Share>,
) -> Result<Deployment, Error> {
    let together: Vec<_> = modules.iter().map(|module| module.info.digest).collect();
    let modules = modules.into_iter().map(|mut module| {
        module.info.deployed_with.clone_from(&together);
        module
    });
    let modules: Vec<_> = modules.collect();
    let infos = modules.iter().map(|module| module.info.clone()).collect();
    let recorded = engine.store.deploy(modules, share, by, engine.now())?;
    recorded.iter().for_each(|it| engine.tell_deployed(it));
    engine.retry_stalled()?;
    Ok(Deployment {
        modules: infos,
        moved: recorded.iter().flat_map(|it| it.moved.clone()).collect(),
        recorded,
    })
}

/// Runs what blocks where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    // It fails only if the work panicked, which is a bug of the host and has been printed.
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Unknown)?
}

pub(crate) async fn acknowledged<E>(told: oneshot::Receiver<Result<(), E>>) -> Result<(), Error> {
    match told.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Error::Unknown),
    }
}
