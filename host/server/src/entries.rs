//! The state store, from outside of any instance.

use wfhost_core::Timestamp;
use wfhost_core::record::{Entry, StateWrite};

use wfhost_store::WriteError;

use crate::checked::check_size;
use crate::error::Error;
use crate::host::{Host, acknowledged};

/// A write to the state store, with the version that it expects.
#[derive(Debug, Clone)]
pub struct StateRequest {
    /// What is written.
    pub write: StateWrite,
    /// It is written over this version only; 0: only where there is nothing. Absent: over whatever
    /// there is.
    pub if_version: Option<u64>,
}

impl From<StateWrite> for StateRequest {
    fn from(write: StateWrite) -> Self {
        Self {
            write,
            if_version: None,
        }
    }
}

/// The longest key, in bytes; the contract's.
const KEY_BYTES_MAX: usize = 1_024;

impl Host {
    /// Writes to the state store, all or nothing. When this returns, that is durable.
    ///
    /// # Errors
    /// If a key is at another version than expected, a key or a value is too large, or the data
    /// file failed.
    pub async fn write_state(&self, requests: Vec<StateRequest>) -> Result<(), Error> {
        for StateRequest { write, .. } in &requests {
            check_key(&write.key)?;
            check_size(write.value.as_ref(), self.payload_bytes_max, || {
                format!("the value of `{}`", write.key)
            })?;
        }
        let writes = requests.into_iter().map(|it| (it.write, it.if_version));
        let written = self
            .store
            .write_state_if(writes.collect(), self.engine().now());
        let position = match written {
            Ok(position) => position,
            Err(WriteError::Versions(found)) => {
                // What was found is told, so it must be durable.
                self.shown(()).await?;
                let (key, found) = found.into_iter().next().unwrap_or_default();
                return Err(Error::WrongVersion { key, found });
            }
            Err(WriteError::Read(error)) => return Err(error.into()),
            Err(WriteError::Store(error)) => return Err(error.into()),
        };
        acknowledged(self.engine().durable(position)).await
    }

    /// What a key of the state store holds.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn state(&self, key: &str) -> Result<Option<Entry>, Error> {
        let entry = self.store.state_get(key, self.engine().now())?;
        self.shown(entry).await
    }

    /// Keys that begin with `prefix`, in byte order, after `after`, at most `limit`.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn scan_state(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, Error> {
        let now: Timestamp = self.engine().now();
        let found = self.store.state_list(prefix, after, limit, now)?;
        self.shown(found).await
    }
}

pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Error::InvalidKey { bytes: key.len() });
    }
    Ok(())
}
