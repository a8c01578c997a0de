//! Taking in a history that another store has kept.

use wfhost_core::record::Record;
use wfhost_core::{BrokenHistory, InstanceId};

use crate::Store;
use crate::error::SubmitError;
use crate::ledger::Incoming;

impl Store {
    /// Takes in the whole kept history of an instance of another store, as it is, to look at it and
    /// to replay it. It may begin with a later generation, which the log of no file can: this is
    /// for a store in memory.
    ///
    /// # Errors
    /// [`SubmitError::Impossible`] if no instance can have such records, or has its id here.
    pub fn import(&self, records: Vec<Record>) -> Result<InstanceId, SubmitError> {
        let Some(Record::Started(started)) = records.first() else {
            return Err(BrokenHistory("it does not begin with a start".into()).into());
        };
        let id = started.id.clone();
        let (_loading, mut ledger) = self.inner.bring_up(&id)?;
        ledger.import(records.into_iter().map(Incoming::from).collect())?;
        self.inner.is_submitted(&mut ledger);
        Ok(id)
    }
}
