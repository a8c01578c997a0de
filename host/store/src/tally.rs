//! How many instances of each workflow stand how.
//!
//! Nothing is counted before somebody asks. Then the rows are read once, as they are on disk at one
//! moment, and from that moment on each change counts: asking again reads nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::PoisonError;

use wfhost_core::{InstanceId, Name, Status};

use crate::error::{Error, Fault};
use crate::summary::Summary;
use crate::tables::{INSTANCES, NAMESPACE, read_row};
use crate::{Inner, Store};

/// So many instances of a workflow stand so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The workflow.
    pub workflow: Name,
    /// Where they stand.
    pub status: Status,
    /// How many.
    pub instances: u64,
}

/// The counts, and how far they are known.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Whether changes count.
    counts: bool,
    /// Whether what was on disk when they began to is counted too.
    whole: bool,
    /// May be below 0 for as long as it is not.
    instances: BTreeMap<(Name, Status), i64>,
}

impl Tally {
    /// Changes count from here on.
    pub(crate) fn begin(&mut self) {
        *self = Self {
            counts: true,
            ..Self::default()
        };
    }

    /// An instance is there that was not.
    pub(crate) fn enter(&mut self, workflow: &Name, status: Status) {
        self.add(workflow, status, 1);
    }

    /// One that stood so is gone.
    pub(crate) fn leave(&mut self, workflow: &Name, status: Status) {
        self.add(workflow, status, -1);
    }

    /// One stands otherwise now.
    pub(crate) fn change(&mut self, workflow: &Name, from: Status, to: Status) {
        if from != to {
            self.leave(workflow, from);
            self.enter(workflow, to);
        }
    }

    fn add(&mut self, workflow: &Name, status: Status, count: i64) {
        if self.counts {
            let key = (workflow.clone(), status);
            *self.instances.entry(key).or_default() += count;
        }
    }

    /// What was on disk, or could not be read: then nothing counts any more.
    fn complete(&mut self, on_disk: Option<BTreeMap<(Name, Status), i64>>) {
        self.whole = on_disk.is_some();
        self.counts = self.whole;
        for ((workflow, status), count) in on_disk.unwrap_or_default() {
            self.add(&workflow, status, count);
        }
    }

    /// `None` as long as it is not whole.
    fn standings(&self) -> Option<Vec<Standing>> {
        let counted = self
            .instances
            .iter()
            .filter_map(|((workflow, status), it)| {
                Some(Standing {
                    workflow: workflow.clone(),
                    status: *status,
                    instances: u64::try_from(*it).ok().filter(|it| *it > 0)?,
                })
            });
        self.whole.then(|| counted.collect())
    }
}

impl Store {
    /// How many instances of each workflow stand how, as far as they are submitted; what nobody
    /// does is left out. The first call reads the row of each instance, a second or two for a
    /// million of them, while the store goes on; later ones read nothing.
    ///
    /// # Errors
    /// If the file cannot be read, or the store is closed.
    pub fn standings(&self) -> Result<Vec<Standing>, Error> {
        let inner = &self.inner;
        let tallying = inner.tallying.lock();
        let _tallying = tallying.unwrap_or_else(PoisonError::into_inner);
        if let Some(standings) = inner.usable()?.tally.standings() {
            return Ok(standings);
        }
        let on_disk = inner.count_on_disk();
        let mut ledger = inner.ledger();
        match on_disk {
            Ok(on_disk) => {
                ledger.tally.complete(Some(on_disk));
                Ok(ledger.tally.standings().unwrap_or_default())
            }
            Err(error) => {
                ledger.tally.complete(None);
                Err(error)
            }
        }
    }
}

impl Inner {
    /// Begins the tally, and counts the instances on disk that it does not count itself.
    fn count_on_disk(&self) -> Result<BTreeMap<(Name, Status), i64>, Error> {
        // Between the two looks no commit moves an instance from memory to disk.
        let writing = self.writing();
        self.read(|transaction| {
            let counted = self.ledger().begin_tally();
            drop(writing);
            count(transaction, &counted)
        })
    }
}

fn count(
    transaction: &redb::ReadTransaction,
    counted: &HashSet<InstanceId>,
) -> Result<BTreeMap<(Name, Status), i64>, Fault> {
    let table = transaction.open_table(INSTANCES)?;
    let mut instances = BTreeMap::new();
    for row in table.range((NAMESPACE, "")..)? {
        let row: Summary = read_row("instances", row?.1.value())?;
        if !counted.contains(&row.id) {
            *instances.entry((row.workflow, row.status)).or_default() += 1;
        }
    }
    Ok(instances)
}
