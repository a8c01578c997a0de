//! Going on with instances, waiting for them, and looking at them.

use std::sync::Arc;

use wfhost_core::record::Record;
use wfhost_core::{Instance, InstanceId, Position, Timestamp};

use crate::engine::Lost;
use crate::error::Error;
use crate::host::{Host, Settled, Upload, acknowledged, blocking};
use crate::replay::{Replayed, replay};

/// Going on, and waiting.
impl Host {
    /// Goes on with an unfinished instance and the children that answer to it; also with one that
    /// the host's deaths have stalled, since whoever asks is taken to have mended that.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn drive(&self, id: &InstanceId) -> Result<(), Error> {
        self.engine().resume(id)
    }

    /// Drives every instance of the data file that has not ended, from here on: what is due is done
    /// at once, what becomes due in its time, and what is told to an instance is followed by it.
    /// When this returns, those that have been due for longest are under way; the others follow.
    ///
    /// Instances that wait for a later time or for something from outside take no memory. Schedules
    /// are driven too.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn drive_all(&self) -> Result<(), Error> {
        self.engine().drive_all().await?;
        self.schedules.start();
        Ok(())
    }

    /// How many instances the scheduler has in memory.
    #[doc(hidden)]
    #[must_use]
    pub fn instances_in_memory(&self) -> usize {
        self.engine().slots_in_memory()
    }

    /// Waits until an instance has ended; or is stalled or suspended and nothing else of it moves.
    /// What it returns is durable.
    ///
    /// # Errors
    /// If there is no such instance.
    pub async fn wait(&self, id: &InstanceId) -> Result<Settled, Error> {
        if self.store.look(id, |_| ())?.is_none() {
            return Err(Error::NoSuchInstance { id: id.clone() });
        }
        let settled = self.engine().settled(id)?.await;
        self.settled(id, settled.map_err(|_| Error::Unknown)?).await
    }

    /// How an instance stands that does not move any more.
    pub(crate) async fn settled(
        &self,
        id: &InstanceId,
        durable: Result<(), Lost>,
    ) -> Result<Settled, Error> {
        durable.map_err(|Lost| Error::Unknown)?;
        Ok(Settled {
            instance: self.instance(id).await?,
        })
    }
}

/// Looking.
impl Host {
    /// An instance as it stands.
    ///
    /// # Errors
    /// If there is none of that id.
    pub async fn instance(&self, id: &InstanceId) -> Result<Instance, Error> {
        let seen = self
            .store
            .look_at(id, |instance, last| (instance.clone(), last))?;
        let none = || Error::NoSuchInstance { id: id.clone() };
        let (instance, last) = seen.ok_or_else(none)?;
        // What others have submitted since was not seen.
        acknowledged(self.engine().durable(last)).await?;
        Ok(instance)
    }

    /// Whether there is an instance of that id.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn has_instance(&self, id: &InstanceId) -> Result<bool, Error> {
        let seen = self.store.look(id, |_| ())?;
        self.shown(seen.is_some()).await
    }

    /// Instances that match, a page of them, by index: its cost grows with the page, not with the
    /// data file.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn find(&self, query: &wfhost_store::Query) -> Result<wfhost_store::Page, Error> {
        let page = self.store.find(query)?;
        self.shown(page).await
    }

    /// A refusal tells what was seen, so it waits until that is durable.
    pub(crate) async fn told<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        match result {
            Err(error) if error.is_callers() => {
                self.shown(()).await?;
                Err(error)
            }
            other => other,
        }
    }

    /// Hands out what was read once all of it is durable.
    pub(crate) async fn shown<T>(&self, read: T) -> Result<T, Error> {
        acknowledged(self.engine().durable(self.store.submitted())).await?;
        Ok(read)
    }

    /// Walks an instance's history, as far as it is durable and kept: from the generation before
    /// the current one on.
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
        self.history_with_positions(id, |_, record| see(record))
    }

    /// The same, each record with its position.
    pub(crate) fn history_with_positions<E>(
        &self,
        id: &InstanceId,
        mut see: impl FnMut(Position, Record) -> Result<(), E>,
    ) -> Result<(), E>
    where
        E: From<Error> + From<wfhost_store::Error>,
    {
        let durable = self.store.durable();
        let found = self.store.for_each_record(id, 0, |position, record| {
            if position <= durable {
                see(position, record)
            } else {
                Ok(())
            }
        })?;
        if found {
            return Ok(());
        }
        Err(Error::NoSuchInstance { id: id.clone() }.into())
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

    /// Where time is skipped, it jumps to the next timer as soon as nothing else is left to do.
    pub fn skip_time(&self, skips: bool) {
        self.engine().set_skips(skips);
    }

    /// Waits until nothing is left to do before something comes from outside or its time comes;
    /// where time is skipped, before something comes from outside. What was done is durable then.
    /// No time is skipped for schedules, which would go on for ever.
    ///
    /// # Errors
    /// If the host has failed.
    pub async fn quiet(&self) -> Result<(), Error> {
        loop {
            self.engine().quiet().await.map_err(|_| Error::Unknown)?;
            if !self.schedules.run_due().await? {
                return self.shown(()).await;
            }
        }
    }

    /// When the next timer is due, if there is one.
    #[must_use]
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.engine().next_timer()
    }

    /// Puts the host's clock forward; what is due then is done.
    pub fn advance_time(&self, by: std::time::Duration) {
        self.engine().advance(by);
        self.schedules.look_again();
    }
}
