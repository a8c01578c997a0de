//! The registry of modules: who deployed what, roll-outs, the way back, and what may go.

use std::sync::Arc;

use wfhost_core::{DeploymentNumber, Digest};
use wfhost_store::{Collected, GcOptions, ModuleNeeds, Names, Store};

use crate::engine::Engine;
use crate::error::Error;
use crate::host::{Host, blocking};

impl Host {
    /// The bytes of a module, as they were deployed.
    ///
    /// # Errors
    /// If there is no such module, or the data file failed.
    pub fn module_bytes(&self, module: Digest) -> Result<Vec<u8>, Error> {
        let bytes = self.store.module_bytes(module)?;
        bytes.ok_or(Error::NoSuchModule { module })
    }

    /// Deployments, roll-outs and rollbacks, the newest first, at most `limit`; only those before a
    /// number, if one is given.
    ///
    /// # Errors
    /// If the data file failed.
    pub fn deployments(
        &self,
        before: Option<DeploymentNumber>,
        limit: usize,
    ) -> Result<Vec<wfhost_core::Deployment>, Error> {
        Ok(self.store.deployments(before, limit)?)
    }

    /// Gives names whole to their candidates. Durable when this returns.
    ///
    /// # Errors
    /// If there is nothing to promote, or a name that is meant has no candidate; then nothing has
    /// changed.
    pub async fn promote(
        &self,
        names: Names,
        by: Option<String>,
    ) -> Result<wfhost_core::Deployment, Error> {
        self.rebind(move |engine| {
            let now = engine.now();
            Ok(engine.store.promote(&names, by.as_deref(), now)?)
        })
        .await
    }

    /// Takes candidates away from their names. Durable when this returns.
    ///
    /// # Errors
    /// As [`Host::promote`].
    pub async fn abort(
        &self,
        names: Names,
        by: Option<String>,
    ) -> Result<wfhost_core::Deployment, Error> {
        self.rebind(move |engine| {
            let now = engine.now();
            Ok(engine.store.abort(&names, by.as_deref(), now)?)
        })
        .await
    }

    /// Undoes the newest deployment that is not undone: every name that it moved means again what it
    /// meant before. Running instances keep their workflow's module. Durable when this returns.
    ///
    /// # Errors
    /// If there is none, or a module that it needs was removed; then nothing has changed.
    pub async fn rollback(&self, by: Option<String>) -> Result<wfhost_core::Deployment, Error> {
        self.rebind(move |engine| Ok(engine.store.rollback(by.as_deref(), engine.now())?))
            .await
    }

    /// Puts all names back to what they meant after a deployment; `None` if they mean that already.
    /// Durable when this returns.
    ///
    /// # Errors
    /// If there is no such deployment, or a module that it needs was removed; then nothing has
    /// changed.
    pub async fn rollback_to(
        &self,
        number: DeploymentNumber,
        by: Option<String>,
    ) -> Result<Option<wfhost_core::Deployment>, Error> {
        self.rebind(move |engine| {
            let now = engine.now();
            Ok(engine.store.rollback_to(number, by.as_deref(), now)?)
        })
        .await
    }

    /// Why each module stays in the data file; with or without what the next rollback needs.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn module_needs(&self, keep_for_rollback: bool) -> Result<Vec<ModuleNeeds>, Error> {
        self.on_store(move |store| Ok(store.module_needs(keep_for_rollback)?))
            .await
    }

    /// Removes the modules that nothing needs. Durable when this returns.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn collect_modules(&self, options: GcOptions) -> Result<Collected, Error> {
        self.on_store(move |store| Ok(store.gc(options)?)).await
    }

    async fn on_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = Arc::clone(&self.store);
        blocking(move || work(&store)).await
    }

    /// Moves bindings; what waited for a module may find one now.
    async fn rebind<T: AsDeployment + Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let engine = Arc::clone(self.engine());
        blocking(move || {
            let done = work(&engine)?;
            if let Some(deployment) = done.deployment() {
                engine.tell_deployed(deployment);
            }
            engine.retry_stalled()?;
            Ok(done)
        })
        .await
    }
}

/// What moved bindings, if anything did.
trait AsDeployment {
    fn deployment(&self) -> Option<&wfhost_core::Deployment>;
}

impl AsDeployment for wfhost_core::Deployment {
    fn deployment(&self) -> Option<&wfhost_core::Deployment> {
        Some(self)
    }
}

impl AsDeployment for Option<wfhost_core::Deployment> {
    fn deployment(&self) -> Option<&wfhost_core::Deployment> {
        self.as_ref()
    }
}
