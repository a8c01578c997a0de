//! Looking at instances. Everything shows what is submitted.

use std::sync::MutexGuard;

use wfhost_core::record::Record;
use wfhost_core::{Instance, InstanceId, Position};

use crate::error::Error;
use crate::ledger::{Ledger, Live};
use crate::{Inner, Store};

/// Looking.
impl Store {
    /// Shows an instance; `None` if there is none of that id.
    ///
    /// # Errors
    /// If the disk fails, where the instance is not in memory.
    pub fn look<T>(
        &self,
        id: &InstanceId,
        see: impl FnOnce(&Instance) -> T,
    ) -> Result<Option<T>, Error> {
        self.look_at(id, |instance, _| see(instance))
    }

    /// Shows an instance with the position of its last record: whoever tells the outside what
    /// they saw waits for that first.
    ///
    /// # Errors
    /// As [`Store::look`].
    pub fn look_at<T>(
        &self,
        id: &InstanceId,
        see: impl FnOnce(&Instance, Position) -> T,
    ) -> Result<Option<T>, Error> {
        if let Some(live) = self.inner.usable()?.look(id) {
            return Ok(Some(see(&live.instance, live.last)));
        }
        let _loading = self.inner.begin_loading(id);
        let (loaded, mut ledger) = self.inner.load_and(id, Inner::usable)?;
        match loaded {
            // Nothing can happen to it any more, so it need not stay.
            Some(live) if live.instance.status().has_ended() && ledger.number_of(id).is_none() => {
                drop(ledger);
                return Ok(Some(see(&live.instance, live.last)));
            }
            Some(live) => self.inner.keep(&mut ledger, id, live),
            None => {}
        }
        Ok(ledger.look(id).map(|live| see(&live.instance, live.last)))
    }

    /// The history of an instance as far as it is kept, in order; `None` if there is none of that
    /// id. Of the generations before the one before the current nothing is kept.
    ///
    /// # Errors
    /// If the disk fails, or a record is missing, damaged, or not linked to the one before it.
    pub fn history(&self, id: &InstanceId) -> Result<Option<Vec<Record>>, Error> {
        loop {
            let mut records = Vec::new();
            let found = self.for_each_record(id, 0, |_, record| {
                records.push(record);
                Ok::<(), Error>(())
            });
            match found {
                Err(Error::Removed { .. }) => {}
                found => return Ok(found?.then_some(records)),
            }
        }
    }

    /// Hands out the records of an instance one by one, with their positions, from index `from`
    /// on, counted from 0, or from where its history is kept. `false` if there is no instance of
    /// that id. `each` may call the store.
    ///
    /// # Errors
    /// As [`Store::history`]; [`Error::Removed`] if what comes next was removed after some were
    /// handed out; and whatever `each` returns, which ends it.
    pub fn for_each_record<E: From<Error>>(
        &self,
        id: &InstanceId,
        from: u64,
        each: impl FnMut(Position, Record) -> Result<(), E>,
    ) -> Result<bool, E> {
        self.inner.for_each_record(id, from, each)
    }
}

impl Inner {
    /// The ledger with an instance in memory, if there is such an instance. To be bound in this
    /// order: the first locks the ledger when it goes.
    pub(crate) fn bring_up(
        &self,
        id: &InstanceId,
    ) -> Result<(Option<Loading<'_>>, MutexGuard<'_, Ledger>), Error> {
        let ledger = self.room()?;
        if ledger.number_of(id).is_some() {
            return Ok((None, ledger));
        }
        drop(ledger);
        let loading = self.begin_loading(id);
        let (loaded, mut ledger) = self.load_and(id, Self::room)?;
        if let Some(live) = loaded {
            self.keep(&mut ledger, id, live);
        }
        Ok((Some(loading), ledger))
    }

    /// Loads an instance and locks the ledger, which knows of nothing that has removed it since.
    fn load_and<'a>(
        &'a self,
        id: &InstanceId,
        lock: impl Fn(&'a Self) -> Result<MutexGuard<'a, Ledger>, Error>,
    ) -> Result<(Option<Live>, MutexGuard<'a, Ledger>), Error> {
        loop {
            let purges = self.ledger().purges;
            let loaded = self.steadily(|| self.load(id))?;
            let ledger = lock(self)?;
            if ledger.purges == purges {
                return Ok((loaded, ledger));
            }
        }
    }

    /// Folds an instance from disk.
    fn load(&self, id: &InstanceId) -> Result<Option<Live>, Error> {
        let Some(summary) = self.summary_on_disk(id)? else {
            return Ok(None);
        };
        let folded = self.fold(summary.number)?;
        let records = folded.as_ref().map_or(0, |live| live.instance.records());
        if records < summary.records {
            return Err(self.cut_off(summary.number, records, summary.records));
        }
        Ok(folded)
    }

    fn keep(&self, ledger: &mut Ledger, id: &InstanceId, live: Live) {
        ledger.loaded(id, live);
        if ledger.is_crowded(self.options.live_max) {
            ledger.evict(self.options.live_max);
        }
    }

    /// From here on the instance stays in memory, once it is there.
    pub(crate) fn begin_loading(&self, id: &InstanceId) -> Loading<'_> {
        self.ledger().begin_loading(id);
        Loading {
            inner: self,
            id: id.clone(),
        }
    }
}

/// Keeps an instance from being evicted while it is being loaded.
pub(crate) struct Loading<'a> {
    inner: &'a Inner,
    id: InstanceId,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.inner.ledger().end_loading(&self.id);
    }
}
