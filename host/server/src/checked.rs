//! Modules on their way in: looked at before a data file is touched.

use std::collections::BTreeMap;

use wfhost_core::record::{Entry, Started};
use wfhost_core::state::{Items, ReadError, Session, Snapshot};
use wfhost_core::{Digest, Json, ModuleInfo, Name, Position};
use wfhost_sandbox::Sandbox;
use wfhost_store::NewModule;

use crate::engine::{Clock, try_start};
use crate::error::{Error, chain};
use crate::host::Upload;
use crate::start;

/// Modules that were found to be fit, before any data file was touched.
pub struct Checked {
    pub(crate) payload_bytes_max: usize,
    pub(crate) sandbox: Sandbox,
    pub(crate) modules: Vec<NewModule>,
}

impl Checked {
    /// What the modules are, in the order given.
    pub fn modules(&self) -> impl Iterator<Item = &ModuleInfo> {
        self.modules.iter().map(|module| &module.info)
    }

    /// Whether the code of one of their workflows would take this input: runs its first turn on an
    /// empty state and forgets it. `false` if none of them has the workflow.
    ///
    /// # Errors
    /// If the code refuses the input, the input is too large, or the module cannot run here.
    pub fn check_input(&self, workflow: &Name, input: &Json) -> Result<bool, Error> {
        check_size(Some(input), self.payload_bytes_max, || "the input".into())?;
        let has_it = |it: &&NewModule| it.info.workflows.iter().any(|it| it.name == *workflow);
        let Some(NewModule {
            info,
            bytes,
            component,
        }) = self.modules.iter().find(has_it)
        else {
            return Ok(false);
        };
        let module = info.digest;
        let unusable = |error| Error::ModuleUnusable {
            module,
            message: chain(&error),
        };
        let loaded = self
            .sandbox
            .load(module, component.as_deref().unwrap_or(bytes));
        let started = trial(workflow, module, input);
        let session = Session::new(Box::new(Nothing), started.at);
        try_start(&loaded.map_err(unusable)?, &started, session)?;
        Ok(true)
    }
}

/// A state store that holds nothing.
struct Nothing;

impl Snapshot for Nothing {
    fn position(&self) -> Position {
        Position::default()
    }

    fn get(&self, _: &str) -> Result<Option<Entry>, ReadError> {
        Ok(None)
    }

    fn scan(&self, _: &str, _: Option<&str>, _: usize) -> Result<Items, ReadError> {
        Ok(Items::new())
    }
}

/// A start that is tried and forgotten.
pub(crate) fn trial(workflow: &Name, module: Digest, input: &Json) -> Started {
    start::fresh(
        start::random_id(),
        workflow.clone(),
        module,
        input.clone(),
        Clock::wall().now(),
    )
}

/// In one deployment a name means one module.
pub(crate) fn offered_once(modules: &[NewModule]) -> Result<(), Error> {
    let mut offered = BTreeMap::new();
    for info in modules.iter().map(|module| &module.info) {
        for (role, name) in info.offers() {
            if let Some(other) = offered.insert((role, name), info)
                && other.digest != info.digest
            {
                let labels = [other.label.clone(), info.label.clone()];
                return Err(Error::OfferedTwice {
                    role,
                    name: name.clone(),
                    labels,
                });
            }
        }
    }
    Ok(())
}

pub(crate) fn check_size(
    payload: Option<&Json>,
    bytes_max: usize,
    what: impl Fn() -> String,
) -> Result<(), Error> {
    let bytes = payload.map_or(0, Json::bytes);
    if bytes > bytes_max {
        return Err(Error::TooLarge {
            what: what(),
            bytes,
            bytes_max,
        });
    }
    Ok(())
}

pub(crate) fn prepare(
    sandbox: &Sandbox,
    Upload { label, bytes }: Upload,
) -> Result<NewModule, Error> {
    let prepared = sandbox.prepare(&bytes, &label, Clock::wall().now());
    let prepared = prepared.map_err(|source| Error::Rejected { label, source })?;
    let (info, component) = (prepared.info, prepared.component);
    Ok(NewModule {
        info,
        bytes,
        component,
    })
}
