//! Letting go: of ended instances, by hand or after their time, and of expired state.

use std::sync::Arc;
use std::time::Duration;

use wfhost_core::decide::{ParentStands, parent_stands};
use wfhost_core::{InstanceId, Status, Timestamp};
use wfhost_store::{EndedPlace, Query, Store, Summary};

use crate::asking::Children;
use crate::engine::Clock;
use crate::error::Error;
use crate::host::{Host, blocking};

/// How long instances are kept after they have ended; `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Those that completed.
    pub completed: Option<Duration>,
    /// Those that failed.
    pub failed: Option<Duration>,
    /// Those that were cancelled.
    pub cancelled: Option<Duration>,
    /// Those that were terminated.
    pub terminated: Option<Duration>,
}

impl Retention {
    /// All that have ended, so long.
    #[must_use]
    pub fn all(age: Duration) -> Self {
        Self {
            completed: Some(age),
            failed: Some(age),
            cancelled: Some(age),
            terminated: Some(age),
        }
    }

    fn ages(self) -> impl Iterator<Item = (Status, Duration)> {
        let ages = [
            (Status::Completed, self.completed),
            (Status::Failed, self.failed),
            (Status::Cancelled, self.cancelled),
            (Status::Terminated, self.terminated),
        ];
        ages.into_iter()
            .filter_map(|(status, age)| Some((status, age?)))
    }
}

/// How often a host looks for what it need not keep.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// How many instances, or keys, are let go at once.
const AT_ONCE: usize = 1_000;

/// Lets go, now and then, of what has been kept long enough.
pub(crate) fn start(
    store: &Arc<Store>,
    retention: Retention,
    clock: Clock,
) -> tokio::task::JoinHandle<()> {
    let store = Arc::downgrade(store);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(TIDY_EVERY).await;
            let Some(store) = store.upgrade() else {
                return;
            };
            let now = clock.now();
            let tidied = tokio::task::spawn_blocking(move || tidy(&store, retention, now));
            // A store that failed has told those who wait for it.
            if !matches!(tidied.await, Ok(Ok(()))) {
                return;
            }
        }
    })
}

fn tidy(store: &Store, retention: Retention, now: Timestamp) -> Result<(), wfhost_store::Error> {
    while store.sweep_expired(now, AT_ONCE)? == AT_ONCE {}
    for (status, age) in retention.ages() {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        purge_ended(store, status, Timestamp(now.0.saturating_sub(age)))?;
    }
    Ok(())
}

/// Purges those that ended so before a time, those that ended first before the others.
fn purge_ended(
    store: &Store,
    status: Status,
    before: Timestamp,
) -> Result<(), wfhost_store::Error> {
    let mut after = None;
    loop {
        let rows = store.ended(status, before, after, AT_ONCE)?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = Some(EndedPlace::of(last));
        purge_rows(store, rows)?;
    }
}

/// Purges what matches and has ended; says whom.
fn purge(store: &Store, mut query: Query) -> Result<Vec<InstanceId>, wfhost_store::Error> {
    query.limit = AT_ONCE;
    let mut purged = Vec::new();
    loop {
        let page = store.find(&query)?;
        purged.extend(purge_rows(store, page.rows)?);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(purged),
        }
    }
}

/// Purges of these what has ended and nobody waits for; says whom.
fn purge_rows(store: &Store, rows: Vec<Summary>) -> Result<Vec<InstanceId>, wfhost_store::Error> {
    let mut ids = Vec::new();
    for row in rows {
        let may_be_awaited = row.parent.is_some() && !row.detached;
        if row.status.has_ended() && !(may_be_awaited && is_awaited(store, &row.id)?) {
            ids.push(row.id);
        }
    }
    // A purge of nobody is a commit all the same.
    if ids.is_empty() {
        return Ok(ids);
    }
    store.purge(&ids)
}

/// Whether the parent of an instance has still to learn of its end. Without it the parent would
/// start it again.
fn is_awaited(store: &Store, id: &InstanceId) -> Result<bool, wfhost_store::Error> {
    let parent = store.look(id, |child| child.started().parent.clone())?;
    let Some(parent) = parent.flatten().filter(|parent| !parent.detached) else {
        return Ok(false);
    };
    let waits = store.look(&parent.id, |it| {
        !it.status().has_ended()
            && it.started().run == parent.run
            && parent_stands(it, &parent) == ParentStands::Waits
    })?;
    Ok(waits.unwrap_or(false))
}

impl Host {
    /// Lets go, now, of what has been kept long enough: ended instances by [`Retention`], values of
    /// the state store that have expired. A host does so by itself once a minute.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn tidy(&self) -> Result<(), Error> {
        let (store, retention) = (Arc::clone(&self.store), self.retention);
        let now = self.engine().now();
        blocking(move || Ok(tidy(&store, retention, now)?)).await
    }

    /// Removes an ended instance: its history and its id are gone. Its children go with it if that
    /// is asked: all must have ended, or nothing is removed. When this returns, that is durable.
    /// Says who is gone.
    ///
    /// # Errors
    /// If there is no such instance, it or a child has not ended, or its parent has still to learn
    /// of its end.
    pub async fn purge(
        &self,
        id: &InstanceId,
        children: Children,
    ) -> Result<Vec<InstanceId>, Error> {
        let store = Arc::clone(&self.store);
        let id = id.clone();
        blocking(move || {
            let ids = tree(&store, &id, children)?;
            for id in &ids {
                let status = store.look(id, wfhost_core::Instance::status)?;
                let status = status.ok_or_else(|| Error::NoSuchInstance { id: id.clone() })?;
                if !status.has_ended() {
                    return Err(Error::NotEnded {
                        id: id.clone(),
                        status,
                    });
                }
            }
            if is_awaited(&store, &id)? {
                return Err(Error::Awaited { id });
            }
            Ok(store.purge(&ids)?)
        })
        .await
    }

    /// Removes all ended instances that match. When this returns, that is durable. Says who is
    /// gone.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn purge_all(&self, query: Query) -> Result<Vec<InstanceId>, Error> {
        let store = Arc::clone(&self.store);
        blocking(move || Ok(purge(&store, query)?)).await
    }

    /// Those that [`Host::purge_all`] would remove, but for those whose parents have still to learn
    /// of their end.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn purgeable(&self, query: Query) -> Result<Vec<InstanceId>, Error> {
        let store = Arc::clone(&self.store);
        blocking(move || Ok(purgeable(&store, query)?)).await
    }
}

/// Those that match and have ended.
fn purgeable(store: &Store, mut query: Query) -> Result<Vec<InstanceId>, wfhost_store::Error> {
    query.limit = AT_ONCE;
    let mut found = Vec::new();
    loop {
        let page = store.find(&query)?;
        let ended = page.rows.into_iter().filter(|row| row.status.has_ended());
        found.extend(ended.map(|row| row.id));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(found),
        }
    }
}

/// An instance, and its children and theirs if they are asked for, detached ones not among them.
fn tree(store: &Store, id: &InstanceId, children: Children) -> Result<Vec<InstanceId>, Error> {
    let mut tree = vec![id.clone()];
    if children == Children::Not {
        return Ok(tree);
    }
    let mut next = 0;
    while let Some(parent) = tree.get(next).cloned() {
        next += 1;
        let mut query = Query {
            parent: Some(parent),
            limit: AT_ONCE,
            ..Query::default()
        };
        loop {
            let page = store.find(&query)?;
            let ours = page.rows.into_iter().filter(|row| !row.detached);
            tree.extend(ours.map(|row| row.id));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
    }
    Ok(tree)
}
