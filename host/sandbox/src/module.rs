//! A module that is ready to run: compiled, linked for each of its roles.

use std::sync::Arc;

use wasmtime::Trap;
use wasmtime::component::{Component, Instance, InstancePre};
use wfhost_core::{Digest, Failure, Role as Offered, kind};

use crate::activity::{self, AttemptCall, AttemptEnd};
use crate::bindings::{activity as activity_exports, workflow as workflow_exports};
use crate::birth::Birth;
use crate::effectful::Effectful;
use crate::engine::{Sandbox, Shared};
use crate::inside::{Inside, Role, WorkflowRole};
use crate::link::{self, OUTSIDE};
use crate::look;
use crate::reject::Unusable;
use crate::trap::{Ended, Stop, ended};
use crate::workflow::Guest;

/// A module that is ready to run. Cheap to clone.
#[derive(Clone)]
pub struct Module(Arc<Loaded>);

struct Loaded {
    shared: Arc<Shared>,
    digest: Digest,
    workflow: Option<(InstancePre<Inside>, workflow_exports::GuestIndices)>,
    activity: Option<Activity>,
    contained: bool,
}

/// How the activities of a module run.
enum Activity {
    /// Nothing of the outside is linked to them.
    Contained(InstancePre<Inside>, activity_exports::GuestIndices),
    Effectful(Effectful),
}

impl Sandbox {
    /// Compiles a component that [`Sandbox::prepare`] has let in once, and links it for each of
    /// its roles. `digest` is the module's name.
    ///
    /// # Errors
    /// If this host cannot run it: it was built for another contract, or needs an import that
    /// this host does not have. The instances that need it stall.
    pub fn load(&self, digest: Digest, component: &[u8]) -> Result<Module, Unusable> {
        let unusable = |what: String| Unusable {
            digest,
            what,
            passing: false,
        };
        let look = look::component(component).map_err(|error| unusable(error.to_string()))?;
        look.check_contract()
            .map_err(|error| unusable(error.to_string()))?;
        let shared = &self.0;
        if look.imports(OUTSIDE) && shared.outside.is_none() {
            return Err(unusable(format!(
                "it imports `{OUTSIDE}`, which this host has not"
            )));
        }
        let link = || -> wasmtime::Result<Loaded> {
            let compiled = shared.compile(component)?;
            let workflow = match look.exports(Offered::Workflow.as_str()) {
                true => Some(link::inert(&shared.contract, &compiled)?.instantiate_pre(&compiled)?),
                false => None,
            };
            let workflow_exports = workflow.as_ref().map(workflow_exports::GuestIndices::new);
            Ok(Loaded {
                shared: shared.clone(),
                digest,
                workflow: workflow.zip(workflow_exports.transpose()?),
                activity: Activity::linked(shared, &compiled, &look)?,
                contained: look.contained(),
            })
        };
        match link() {
            Ok(loaded) => Ok(Module(Arc::new(loaded))),
            Err(error) => Err(unusable(format!("{error:#}"))),
        }
    }
}

impl Activity {
    /// The activities of a component, linked to whatever they may have.
    fn linked(
        shared: &Shared,
        component: &Component,
        look: &look::Look,
    ) -> wasmtime::Result<Option<Self>> {
        if !look.exports(Offered::Activity.as_str()) {
            return Ok(None);
        }
        if look.contained() {
            let linked = link::inert(&shared.contract, component)?.instantiate_pre(component)?;
            let exports = activity_exports::GuestIndices::new(&linked)?;
            return Ok(Some(Self::Contained(linked, exports)));
        }
        let linked = reaching(shared, component, look)?;
        Effectful::new(linked, look.http()).map(|it| Some(Self::Effectful(it)))
    }
}

/// The activities of a component that reaches the outside, linked to it.
pub(crate) fn reaching(
    shared: &Shared,
    component: &Component,
    look: &look::Look,
) -> wasmtime::Result<InstancePre<Inside>> {
    let outside = shared.outside.as_ref().filter(|_| look.imports(OUTSIDE));
    link::reaching(&shared.contract, component, outside, look.http())?.instantiate_pre(component)
}

/// A new instance of a module whose imports have been checked: what fails now is its own code, or
/// the host has no room.
pub(crate) fn instantiate(
    module: &InstancePre<Inside>,
    store: &mut wasmtime::Store<Inside>,
) -> wasmtime::Result<Instance> {
    module.instantiate(store).map_err(no_room)
}

/// Why there is no instance of a module whose imports have been checked.
pub(crate) fn no_room(error: wasmtime::Error) -> wasmtime::Error {
    if error.is::<Trap>() || error.is::<Stop>() {
        return error;
    }
    Stop::NoRoom(format!("the host has no room for another guest: {error:#}")).into()
}

impl Module {
    /// The module's name.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Whether nothing of the outside is linked to its activities.
    #[must_use]
    pub fn contained(&self) -> bool {
        self.0.contained
    }

    /// Brings a workflow's guest to life. Its first turn starts the workflow; a first
    /// [`Guest::replay`] takes that turn again.
    ///
    /// # Errors
    /// If the module has no workflows, or does not come to life on this host; or if the host has no
    /// room for another guest just now, which passes.
    pub fn guest(&self, birth: Birth) -> Result<Guest, Unusable> {
        let Loaded {
            shared,
            digest,
            workflow,
            ..
        } = &*self.0;
        let unusable = |what: String| Unusable {
            digest: *digest,
            what,
            passing: false,
        };
        let Some((module, exports)) = workflow else {
            return Err(unusable("it offers no workflows".into()));
        };
        let role = WorkflowRole::new(birth);
        let mut store = shared.store(Role::Workflow(Box::new(role)));
        match instantiate(module, &mut store) {
            Ok(instance) => Guest::new(store, &instance, exports)
                .map_err(|error| unusable(format!("{error:#}"))),
            Err(error) => {
                let why = ended(error, store.data_mut().panic.take());
                let passing = matches!(why, Ended::NoRoom(_));
                Err(Unusable {
                    passing,
                    ..unusable(why.message())
                })
            }
        }
    }

    /// Runs one attempt of an activity of a module that is contained, on this thread, in a fresh
    /// guest. One of a module that is not fails: [`Module::attempt_async`] runs those.
    #[must_use]
    pub fn attempt(&self, call: AttemptCall) -> AttemptEnd {
        match &self.0.activity {
            Some(Activity::Contained(module, exports)) => {
                activity::run(&self.0.shared, module, exports, call)
            }
            Some(Activity::Effectful(_)) => AttemptEnd::failed(
                call,
                "the module is not contained, and was run as if it were",
            ),
            None => AttemptEnd::failed(call, NO_ACTIVITIES),
        }
    }

    /// Runs one attempt of an activity in a fresh guest, wherever it waits for the outside without
    /// holding the thread. Once it must end, it is dropped where it waits, with what it waits for.
    ///
    /// The guest computes on the thread that polls, so that should be one that may block: by
    /// `Handle::block_on` within `spawn_blocking`. The runtime must have its clock, and for HTTP
    /// its input and output, enabled.
    pub async fn attempt_async(&self, call: AttemptCall) -> AttemptEnd {
        match &self.0.activity {
            Some(Activity::Contained(..)) => self.attempt(call),
            Some(Activity::Effectful(effectful)) => effectful.run(&self.0.shared, call).await,
            None => AttemptEnd::failed(call, NO_ACTIVITIES),
        }
    }
}

const NO_ACTIVITIES: &str = "the module offers no activities";

impl AttemptEnd {
    /// That of an attempt which there was no guest for.
    fn failed(call: AttemptCall, message: &str) -> Self {
        Self {
            outcome: Err(Failure::last(kind::TRAP, message)),
            state: call.session.end(),
            log: Vec::new(),
            state_changed: false,
            state_failed: None,
            stopped: false,
        }
    }
}
