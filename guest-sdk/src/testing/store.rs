//! A state store in memory: what is committed, and the writes of the turn or attempt above it.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::bindings::workflow::wfhost::durable::state::{Entry, Item, WriteOptions};

/// The version of a write that is not committed.
const OWN_WRITE: u64 = u64::MAX;

#[derive(Default)]
pub(crate) struct Store {
    committed: BTreeMap<String, Value>,
    /// `None` is a key that was removed.
    writes: BTreeMap<String, Option<Value>>,
    last_version: u64,
}

struct Value {
    json: String,
    version: u64,
    expires_at_ms: Option<u64>,
}

impl Value {
    fn entry(&self, now_ms: u64) -> Option<Entry> {
        let lives = self.expires_at_ms.is_none_or(|at| at > now_ms);
        lives.then(|| Entry {
            value: self.json.clone(),
            version: self.version,
        })
    }
}

impl Store {
    pub(crate) fn get(&self, key: &str, now_ms: u64) -> Option<Entry> {
        let value = match self.writes.get(key) {
            Some(written) => written.as_ref(),
            None => self.committed.get(key),
        };
        value?.entry(now_ms)
    }

    pub(crate) fn set(
        &mut self,
        key: &str,
        json: &str,
        options: WriteOptions,
        now_ms: u64,
    ) -> Result<(), u64> {
        self.check(key, options.if_version, now_ms)?;
        let value = Value {
            json: json.into(),
            version: OWN_WRITE,
            expires_at_ms: options.expires_at,
        };
        self.writes.insert(key.into(), Some(value));
        Ok(())
    }

    pub(crate) fn delete(
        &mut self,
        key: &str,
        if_version: Option<u64>,
        now_ms: u64,
    ) -> Result<(), u64> {
        self.check(key, if_version, now_ms)?;
        self.writes.insert(key.into(), None);
        Ok(())
    }

    /// Writes a value that stands there before anything runs.
    pub(crate) fn put(&mut self, key: &str, json: &str) {
        let value = Value {
            json: json.into(),
            version: OWN_WRITE,
            expires_at_ms: None,
        };
        self.writes.insert(key.into(), Some(value));
        self.commit();
    }

    fn check(&self, key: &str, if_version: Option<u64>, now_ms: u64) -> Result<(), u64> {
        let found = self.get(key, now_ms).map_or(0, |entry| entry.version);
        match if_version {
            Some(version) if version != found => Err(found),
            _ => Ok(()),
        }
    }

    pub(crate) fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
        now_ms: u64,
    ) -> Vec<Item> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = (from, Bound::Unbounded);
        let mut keys: Vec<&String> = self
            .committed
            .range::<str, _>(range)
            .map(|(key, _)| key)
            .chain(self.writes.range::<str, _>(range).map(|(key, _)| key))
            .filter(|key| key.starts_with(prefix))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter()
            .filter_map(|key| {
                let entry = self.get(key, now_ms)?;
                Some(Item {
                    key: key.clone(),
                    entry,
                })
            })
            .take(limit as usize)
            .collect()
    }

    /// Makes the writes of the turn or attempt part of the store, each under a version of its own.
    pub(crate) fn commit(&mut self) {
        for (key, written) in core::mem::take(&mut self.writes) {
            self.last_version += 1;
            match written {
                Some(value) => {
                    let version = self.last_version;
                    self.committed.insert(key, Value { version, ..value });
                }
                None => drop(self.committed.remove(&key)),
            }
        }
    }

    /// Forgets the writes of an attempt that failed.
    pub(crate) fn roll_back(&mut self) {
        self.writes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: WriteOptions = WriteOptions {
        if_version: None,
        expires_at: None,
    };

    fn keys(store: &Store, prefix: &str, after: Option<&str>, limit: u32) -> Vec<String> {
        let items = store.scan(prefix, after, limit, 0);
        items.into_iter().map(|item| item.key).collect()
    }

    #[test]
    fn a_scan_sees_own_writes_in_order_and_page_by_page() {
        let mut store = Store::default();
        for key in ["a1", "a3", "b"] {
            store.set(key, "1", ANY, 0).unwrap();
        }
        store.commit();
        store.set("a2", "1", ANY, 0).unwrap();
        store.delete("a3", None, 0).unwrap();
        assert_eq!(keys(&store, "a", None, 10), ["a1", "a2"]);
        assert_eq!(keys(&store, "a", Some("a1"), 10), ["a2"]);
        assert_eq!(keys(&store, "", None, 1), ["a1"]);
        store.roll_back();
        assert_eq!(keys(&store, "a", None, 10), ["a1", "a3"]);
    }

    #[test]
    fn a_conditional_write_tells_the_version_that_it_found() {
        let only = |version| WriteOptions {
            if_version: Some(version),
            ..ANY
        };
        let mut store = Store::default();
        assert_eq!(store.set("k", "1", only(5), 0), Err(0));
        assert_eq!(store.set("k", "1", only(0), 0), Ok(()));
        assert_eq!(store.set("k", "2", only(0), 0), Err(OWN_WRITE));
        store.commit();
        assert_eq!(store.delete("k", Some(2), 0), Err(1));
        assert_eq!(store.delete("k", Some(1), 0), Ok(()));
    }

    #[test]
    fn a_value_is_gone_once_it_expires() {
        let mut store = Store::default();
        let expires_at = Some(10);
        store
            .set("k", "1", WriteOptions { expires_at, ..ANY }, 0)
            .unwrap();
        assert!(store.get("k", 9).is_some());
        assert!(store.get("k", 10).is_none());
    }
}
