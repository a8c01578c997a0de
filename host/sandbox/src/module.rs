//! A module that is ready to run: compiled, linked for each of its roles.

use std::sync::Arc;

use wasmtime::Trap;
use wasmtime::component::{Component, Instance, InstancePre};
use wfhost_core::{Digest, Failure, Role as Offered, kind};

use crate::activity::{self, AttemptCall, AttemptEnd};
use crate::bindings::{activity as activity_exports, workflow as workflow_exports};
use crate::engine::{Sandbox, Shared};
use crate::inside::{Inside, Role, WorkflowRole};
use crate::link::{self, OUTSIDE};
use crate::look;
use crate::reject::Unusable;
use crate::trap::{Ended, Stop, ended};
use crate::workflow::{Birth, Guest};

/// A module that is ready to run. Cheap to clone.
#[derive(Clone)]
pub struct Module(Arc<Loaded>);

struct Loaded {
    shared: Arc<Shared>,
    digest: Digest,
    workflow: Option<(InstancePre<Inside>, workflow_exports::GuestIndices)>,
    activity: Option<(InstancePre<Inside>, activity_exports::GuestIndices)>,
    contained: bool,
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
        let contained = !look.imports(OUTSIDE);
        if !contained && shared.outside.is_none() {
            return Err(unusable(format!(
                "it imports `{OUTSIDE}`, which this host has not"
            )));
        }
        let link = || -> wasmtime::Result<Loaded> {
            let compiled = shared.compile(component)?;
            let workflow = linked(shared, &compiled, &look, Offered::Workflow)?;
            let activity = linked(shared, &compiled, &look, Offered::Activity)?;
            let workflow_exports = workflow.as_ref().map(workflow_exports::GuestIndices::new);
            let activity_exports = activity.as_ref().map(activity_exports::GuestIndices::new);
            Ok(Loaded {
                shared: shared.clone(),
                digest,
                workflow: workflow.zip(workflow_exports.transpose()?),
                activity: activity.zip(activity_exports.transpose()?),
                contained,
            })
        };
        match link() {
            Ok(loaded) => Ok(Module(Arc::new(loaded))),
            Err(error) => Err(unusable(format!("{error:#}"))),
        }
    }
}

fn linked(
    shared: &Shared,
    component: &Component,
    look: &look::Look,
    offered: Offered,
) -> wasmtime::Result<Option<InstancePre<Inside>>> {
    if !look.exports(offered.as_str()) {
        return Ok(None);
    }
    let linker = link::role(
        &shared.contract,
        component,
        offered,
        shared.outside.as_ref(),
    )?;
    linker.instantiate_pre(component).map(Some)
}

/// A new instance of a module whose imports have been checked: what fails now is its own code, or
/// the host has no room.
pub(crate) fn instantiate(
    module: &InstancePre<Inside>,
    store: &mut wasmtime::Store<Inside>,
) -> wasmtime::Result<Instance> {
    module.instantiate(store).map_err(|error| {
        if error.is::<Trap>() || error.is::<Stop>() {
            return error;
        }
        Stop::NoRoom(format!("the host has no room for another guest: {error:#}")).into()
    })
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

    /// Runs one attempt of an activity, on this thread, in a fresh guest.
    #[must_use]
    pub fn attempt(&self, call: AttemptCall) -> AttemptEnd {
        match &self.0.activity {
            Some((module, exports)) => activity::run(&self.0.shared, module, exports, call),
            None => AttemptEnd {
                outcome: Err(Failure::last(kind::TRAP, "the module offers no activities")),
                state: call.session.end(),
                log: Vec::new(),
                state_changed: false,
                state_failed: None,
                stopped: false,
            },
        }
    }
}
