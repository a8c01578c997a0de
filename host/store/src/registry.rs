//! Which modules there are and what each name means, in memory: part of the ledger, so that whoever
//! records an instance on a module does so while it is there.

use std::collections::HashMap;
use std::sync::Arc;

use wfhost_core::record::Record;
use wfhost_core::{Binding, Bindings, Digest, InstanceId, Name, Role};

use crate::Store;
use crate::error::{Error, SubmitError};

/// The modules of the file, and the bindings.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// With each, how many hold it.
    modules: HashMap<Digest, Arc<()>>,
    bindings: Bindings,
}

/// A module that is in use: [`Store::gc`] leaves it where it is as long as this lives. Cheap to
/// clone and to drop.
#[derive(Debug, Clone)]
pub struct Held {
    module: Digest,
    _counted: Arc<()>,
}

impl Held {
    /// Which.
    #[must_use]
    pub fn module(&self) -> Digest {
        self.module
    }
}

impl Registry {
    pub(crate) fn new(modules: impl IntoIterator<Item = Digest>, bindings: Bindings) -> Self {
        let modules = modules.into_iter();
        Self {
            modules: modules.map(|module| (module, Arc::default())).collect(),
            bindings,
        }
    }

    pub(crate) fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    pub(crate) fn has(&self, module: Digest) -> bool {
        self.modules.contains_key(&module)
    }

    /// How many hold a module.
    pub(crate) fn holders(&self, module: Digest) -> usize {
        let counted = self.modules.get(&module);
        counted.map_or(0, |counted| Arc::strong_count(counted) - 1)
    }

    /// Modules are there, and the names mean this.
    pub(crate) fn deployed(&mut self, modules: impl IntoIterator<Item = Digest>, after: Bindings) {
        for module in modules {
            self.modules.entry(module).or_default();
        }
        self.bindings = after;
    }

    /// A module is no more.
    pub(crate) fn forget(&mut self, module: Digest) {
        self.modules.remove(&module);
    }

    /// An instance cannot be recorded on a module that is not there.
    pub(crate) fn admits<'a>(
        &self,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<(), SubmitError> {
        let mut modules = records.into_iter().filter_map(Record::runs_on);
        match modules.find(|module| !self.has(*module)) {
            Some(module) => Err(SubmitError::ModuleMissing { module }),
            None => Ok(()),
        }
    }

    fn binding(&self, role: Role, name: &Name) -> Option<&Binding> {
        self.bindings.get(&(role, name.clone()))
    }

    fn hold(&self, module: Digest) -> Option<Held> {
        let counted = self.modules.get(&module)?;
        Some(Held {
            module,
            _counted: Arc::clone(counted),
        })
    }
}

/// What names mean. Reads memory only.
impl Store {
    /// What a name means now.
    ///
    /// # Errors
    /// If the store is closed or a commit has failed.
    pub fn binding(&self, role: Role, name: &Name) -> Result<Option<Binding>, Error> {
        let ledger = self.inner.usable()?;
        Ok(ledger.registry.binding(role, name).copied())
    }

    /// The module that a name means now for an instance: for an activity the one that calls it, for
    /// a workflow the one that is to be started, or that goes on as a new generation. It need not
    /// exist.
    ///
    /// # Errors
    /// As [`Store::binding`].
    pub fn bound(&self, role: Role, name: &Name, id: &InstanceId) -> Result<Option<Digest>, Error> {
        let binding = self.binding(role, name)?;
        Ok(binding.map(|binding| binding.module_for(id)))
    }

    /// As [`Store::bound`]; the module stays as long as it is held.
    ///
    /// # Errors
    /// As [`Store::binding`].
    pub fn hold_bound(
        &self,
        role: Role,
        name: &Name,
        id: &InstanceId,
    ) -> Result<Option<Held>, Error> {
        let ledger = self.inner.usable()?;
        let binding = ledger.registry.binding(role, name);
        Ok(binding.and_then(|binding| ledger.registry.hold(binding.module_for(id))))
    }

    /// Holds a module; `None` if it is not there.
    ///
    /// # Errors
    /// As [`Store::binding`].
    pub fn hold(&self, module: Digest) -> Result<Option<Held>, Error> {
        Ok(self.inner.usable()?.registry.hold(module))
    }

    /// All bindings, workflows first, by name.
    ///
    /// # Errors
    /// As [`Store::binding`].
    pub fn bindings(&self) -> Result<Vec<(Role, Name, Binding)>, Error> {
        let ledger = self.inner.usable()?;
        let bindings = ledger.registry.bindings().iter();
        Ok(bindings
            .map(|((role, name), binding)| (*role, name.clone(), *binding))
            .collect())
    }
}
