//! Finding instances: one index is walked in the order of creation, the rest of what is asked is
//! looked up in the rows.

mod walk;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use wfhost_core::{Digest, Instance, InstanceId, Name, Status, Timestamp};

use crate::error::Error;
use crate::index::Key;
use crate::ledger::Live;
use crate::summary::Summary;
use crate::{Inner, Store};
use walk::Walk;

/// How many rows are looked at in one read transaction. A long one would keep the file from reusing
/// its pages.
pub(crate) const ROWS_AT_ONCE: usize = 1_000;

/// Which instances are looked for. What is absent or empty does not matter.
#[derive(Debug, Clone)]
pub struct Query {
    /// Of this workflow.
    pub workflow: Option<Name>,
    /// That stand so, or so.
    pub statuses: Vec<Status>,
    /// With these tags, all of them.
    pub tags: Vec<(String, String)>,
    /// That answer to this instance.
    pub parent: Option<InstanceId>,
    /// That run on this module.
    pub module: Option<Digest>,
    /// Created then or later.
    pub created_from: Option<Timestamp>,
    /// Created earlier than that.
    pub created_before: Option<Timestamp>,
    /// To which something last happened earlier than that.
    pub updated_before: Option<Timestamp>,
    /// That a host looks at when it starts: see [`Instance::is_due_at_start`].
    pub due_at_start: bool,
    /// In the order of creation, the newest first.
    pub newest_first: bool,
    /// Only those that come after this one in the order: [`Page::next`] of the page before.
    pub after: Option<u64>,
    /// At most so many, at least 1.
    pub limit: usize,
}

impl Default for Query {
    /// All instances, the first hundred of them.
    fn default() -> Self {
        Self {
            workflow: None,
            statuses: Vec::new(),
            tags: Vec::new(),
            parent: None,
            module: None,
            created_from: None,
            created_before: None,
            updated_before: None,
            due_at_start: false,
            newest_first: false,
            after: None,
            limit: 100,
        }
    }
}

/// Some of the instances that were looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// One row an instance, in the order asked.
    pub rows: Vec<Summary>,
    /// Where the next page begins; absent if this is the last.
    pub next: Option<u64>,
}

impl Store {
    /// Finds instances, as they are submitted. Each that fits from the first page to the last is
    /// met exactly once; one that begins or ceases to fit meanwhile may be or not.
    ///
    /// It walks the narrowest of what is asked: the parent, a tag, the module, what is due at the
    /// start of a host, those that ended before a time if these are few, the statuses, the workflow;
    /// else all that were created within the times asked. What takes long are filters that few of the
    /// walked instances pass.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn find(&self, query: &Query) -> Result<Page, Error> {
        self.inner.find(query)
    }

    /// The instances that have not ended, in the order of their creation.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn unfinished(&self) -> Result<Vec<InstanceId>, Error> {
        let mut query = Query {
            statuses: [
                Status::Pending,
                Status::Running,
                Status::Suspended,
                Status::Stalled,
            ]
            .into(),
            limit: 10 * ROWS_AT_ONCE,
            ..Query::default()
        };
        let mut unfinished = Vec::new();
        loop {
            let page = self.find(&query)?;
            unfinished.extend(page.rows.into_iter().map(|row| row.id));
            query.after = page.next;
            if page.next.is_none() {
                return Ok(unfinished);
            }
        }
    }
}

/// What of an instance a query asks for.
struct Facets<'a> {
    number: u64,
    workflow: &'a Name,
    status: Status,
    tags: &'a [(String, String)],
    parent: Option<&'a InstanceId>,
    module: Digest,
    created_at: Timestamp,
    updated_at: Timestamp,
    due_at_start: bool,
}

impl<'a> Facets<'a> {
    fn of_row(row: &'a Summary) -> Self {
        Self {
            number: row.number,
            workflow: &row.workflow,
            status: row.status,
            tags: &row.tags,
            parent: row.parent.as_ref(),
            module: row.module,
            created_at: row.created_at,
            updated_at: row.updated_at,
            due_at_start: row.due_at_start,
        }
    }

    /// Whether it is due at the start of a host is seen only if that is asked: it is a walk through
    /// its tasks.
    fn of_live(live: &'a Live, query: &Query) -> Self {
        let instance: &Instance = &live.instance;
        let started = instance.started();
        Self {
            number: live.number,
            workflow: &started.workflow,
            status: instance.status(),
            tags: &started.tags,
            parent: started.parent.as_ref().map(|parent| &parent.id),
            module: instance.module(),
            created_at: started.created_at,
            updated_at: instance.updated_at(),
            due_at_start: query.due_at_start && instance.is_due_at_start(),
        }
    }
}

impl Query {
    fn admits(&self, it: &Facets<'_>) -> bool {
        self.is_ahead(it.number)
            && self
                .workflow
                .as_ref()
                .is_none_or(|name| name == it.workflow)
            && (self.statuses.is_empty() || self.statuses.contains(&it.status))
            && self.tags.iter().all(|tag| it.tags.contains(tag))
            && self.parent.as_ref().is_none_or(|id| Some(id) == it.parent)
            && self.module.is_none_or(|module| module == it.module)
            && self.created_from.is_none_or(|from| it.created_at >= from)
            && self.created_before.is_none_or(|end| it.created_at < end)
            && self.updated_before.is_none_or(|end| it.updated_at < end)
            && (it.due_at_start || !self.due_at_start)
    }

    fn is_ahead(&self, number: u64) -> bool {
        match self.after {
            None => true,
            Some(after) if self.newest_first => number < after,
            Some(after) => number > after,
        }
    }

    /// Up to which time those ended that are looked for, if that is asked and nothing narrower is.
    fn ended_before(&self) -> Option<Timestamp> {
        let all_ended = !self.statuses.is_empty() && self.statuses.iter().all(|it| it.has_ended());
        let narrower = self.parent.is_some()
            || !self.tags.is_empty()
            || self.module.is_some()
            || self.due_at_start;
        self.updated_before.filter(|_| all_ended && !narrower)
    }

    /// The entries of the index to walk, together; none: there is nothing better than all.
    fn keys(&self) -> Vec<Key> {
        if let Some(parent) = &self.parent {
            vec![Key::parent(parent)]
        } else if let Some((key, value)) = self.tags.first() {
            vec![Key::tag(key, value)]
        } else if let Some(module) = self.module {
            vec![Key::module(module)]
        } else if self.due_at_start {
            vec![Key::at_start()]
        } else if !self.statuses.is_empty() {
            self.each_status().into_iter().map(Key::status).collect()
        } else {
            self.workflow
                .as_ref()
                .map(Key::workflow)
                .into_iter()
                .collect()
        }
    }

    /// The statuses, each once.
    fn each_status(&self) -> BTreeSet<Status> {
        self.statuses.iter().copied().collect()
    }
}

/// What memory knows of instances with records that are not gathered. It counts over their rows.
struct InMemory {
    ids: HashSet<InstanceId>,
    /// Those that were looked for, by number.
    found: BTreeMap<u64, Summary>,
}

impl Inner {
    pub(crate) fn find(&self, query: &Query) -> Result<Page, Error> {
        let limit = query.limit.max(1);
        // Memory first: what is gathered after this is met twice, not missed.
        let memory = self.find_in_memory(query)?;
        let mut rows = self.find_on_disk(query, &memory.ids, limit)?;
        rows.extend(memory.found.into_values());
        rows.sort_unstable_by_key(|row| row.number);
        if query.newest_first {
            rows.reverse();
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| row.number);
        Ok(Page { rows, next })
    }

    fn find_in_memory(&self, query: &Query) -> Result<InMemory, Error> {
        let ledger = self.usable()?;
        let found = ledger
            .ungathered()
            .filter(|live| query.admits(&Facets::of_live(live, query)));
        Ok(InMemory {
            found: found.map(|live| (live.number, live.summary())).collect(),
            ids: ledger
                .ungathered()
                .map(|live| live.instance.started().id.clone())
                .collect(),
        })
    }

    /// The first rows that were looked for, one more than `limit` if there are so many.
    fn find_on_disk(
        &self,
        query: &Query,
        in_memory: &HashSet<InstanceId>,
        limit: usize,
    ) -> Result<Vec<Summary>, Error> {
        let mut query = query.clone();
        let mut found = Vec::new();
        while found.len() <= limit {
            let wanted = (limit - found.len()).saturating_add(1);
            let walked = self.read(|transaction| {
                let walk = Walk::begin(transaction, &query)?;
                walk.take(&query, in_memory, wanted, &mut found)
            })?;
            match walked {
                Some(last) => query.after = Some(last),
                None => break,
            }
        }
        Ok(found)
    }
}
