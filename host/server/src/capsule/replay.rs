//! Replaying a capsule: on a host in memory, by the code that replays any history.

use std::sync::Arc;

use super::read::{Capsule, CapsuleError};
use crate::error::Error;
use crate::host::{Host, Options, Upload, blocking};
use crate::replay::Replayed;

impl Capsule {
    /// Replays the history without effects, on the modules in the capsule or on another one.
    ///
    /// # Errors
    /// As [`Host::replay`]; [`Error::ModuleUnusable`] if a module in the capsule is none that this
    /// host can run: one that was compiled before is not taken.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn replay(self, options: Options, on: Option<Upload>) -> Result<Replayed, Error> {
        let id = self.id().clone();
        let host = self.into_host(options).await?;
        let replayed = host.replay(&id, on).await;
        host.close().await?;
        replayed
    }

    /// A host in memory that holds this instance alone, to look at it and to replay it. No data file
    /// is touched. It does nothing by itself, and must not be asked to go on with the instance: what
    /// the instance calls is not there.
    ///
    /// # Errors
    /// If the records are no history, or this machine cannot run guests.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn into_host(self, options: Options) -> Result<Host, Error> {
        let host = Host::in_memory(options)?;
        let Self {
            records, modules, ..
        } = self;
        for module in modules {
            // Each by itself: several may offer the same workflow.
            host.deploy_known(module).await?;
        }
        let store = Arc::clone(&host.store);
        blocking(move || {
            let imported = store.import(records);
            imported.map_err(|error| CapsuleError::Damaged(error.to_string()))?;
            // What is shown is durable, here too.
            Ok(store.wait_durable(store.submitted())?)
        })
        .await?;
        Ok(host)
    }
}
