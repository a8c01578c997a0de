//! The state store, with typed values.

use core::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, Result, kind};
use crate::host::state as store;
use crate::json;
use crate::time::Timestamp;

/// The state store of the host: JSON values by key, shared by all workflows and activities.
///
/// An activity's attempt and a workflow's turn read one snapshot together with their own writes.
/// Their writes are committed with their outcome, all or none, and only if nothing that they read
/// has changed since; otherwise they run again. So reading a number, and writing a smaller one,
/// never loses an update. The writes of a failed attempt are dropped.
///
/// Keys are 1 to 1,024 bytes.
///
/// ```no_run
/// # use wfhost_sdk::{ActivityContext, Result, Failure};
/// fn take_one(ctx: &ActivityContext) -> Result<u32> {
///     let left: u32 = ctx.state().get("cars")?.unwrap_or(0);
///     let left = left.checked_sub(1).ok_or_else(|| Failure::new("sold-out", "no cars left"))?;
///     ctx.state().set("cars", &left)?;
///     Ok(left)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct State(());

/// A value in the store, and which write it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// The value.
    pub value: T,
    /// The write's place in the log, never reused; `u64::MAX` for an own write of this attempt or turn.
    pub version: u64,
}

/// Conditions on a write: see [`State::set_with`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    if_version: Option<u64>,
    expires_at: Option<Timestamp>,
}

impl WriteOptions {
    /// Writes only over this version of the value.
    #[must_use]
    pub const fn if_version(mut self, version: u64) -> Self {
        self.if_version = Some(version);
        self
    }

    /// Writes only where there is no value.
    #[must_use]
    pub const fn if_absent(self) -> Self {
        self.if_version(0)
    }

    /// The value is gone from then on.
    #[must_use]
    pub const fn expires_at(mut self, at: Timestamp) -> Self {
        self.expires_at = Some(at);
        self
    }
}

impl State {
    pub(crate) const fn new() -> Self {
        Self(())
    }

    /// The value of a key, if it has one.
    ///
    /// # Errors
    /// `invalid-state` if the value is no `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Failure> {
        store::get(key)
            .map(|entry| decode(key, &entry.value))
            .transpose()
    }

    /// The value of a key with its version, for a later conditional write.
    ///
    /// # Errors
    /// `invalid-state` if the value is no `T`.
    pub fn entry<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Entry<T>>, Failure> {
        store::get(key)
            .map(|entry| decode_entry(key, &entry))
            .transpose()
    }

    /// Writes a value, over whatever there is.
    ///
    /// # Errors
    /// `invalid-state` if the value has no JSON form.
    pub fn set(&self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
        self.set_with(key, value, WriteOptions::default())
    }

    /// Writes a value under conditions.
    ///
    /// # Errors
    /// `version-mismatch` if another version is there, with details `{"found": version}`, 0 for
    /// none; `invalid-state` if the value has no JSON form.
    pub fn set_with(
        &self,
        key: &str,
        value: &(impl Serialize + ?Sized),
        options: WriteOptions,
    ) -> Result<(), Failure> {
        let value = json::encode(value, kind::INVALID_STATE, &format!("the value of {key:?}"))?;
        let options = store::WriteOptions {
            if_version: options.if_version,
            expires_at: options.expires_at.map(Timestamp::unix_millis),
        };
        store::set(key, &value, options).map_err(|found| mismatch(key, found))
    }

    /// Writes a value that is gone after `lifetime`, counted from `now`.
    ///
    /// # Errors
    /// `invalid-state` if the value has no JSON form.
    pub fn set_for(
        &self,
        key: &str,
        value: &(impl Serialize + ?Sized),
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<(), Failure> {
        self.set_with(
            key,
            value,
            WriteOptions::default().expires_at(now + lifetime),
        )
    }

    /// Removes a key; nothing happens if it has no value.
    pub fn delete(&self, key: &str) {
        // Without a condition no version can be the wrong one.
        let _ = store::delete(key, None);
    }

    /// Removes a key if it is still at this version.
    ///
    /// # Errors
    /// `version-mismatch` if it is not, with details `{"found": version}`, 0 for none.
    pub fn delete_if(&self, key: &str, version: u64) -> Result<(), Failure> {
        store::delete(key, Some(version)).map_err(|found| mismatch(key, found))
    }

    /// The keys that begin with `prefix` in byte order, with their entries, at most `limit`.
    ///
    /// # Errors
    /// `invalid-state` if one of the values is no `T`.
    pub fn scan<T: DeserializeOwned>(
        &self,
        prefix: &str,
        limit: u32,
    ) -> Result<Vec<(String, Entry<T>)>, Failure> {
        self.scan_after(prefix, None, limit)
    }

    /// As [`scan`](Self::scan), from the first key after `after` on: the next page.
    ///
    /// # Errors
    /// `invalid-state` if one of the values is no `T`.
    pub fn scan_after<T: DeserializeOwned>(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, Entry<T>)>, Failure> {
        let items = store::scan(prefix, after, limit).into_iter();
        items
            .map(|item| decode_entry(&item.key, &item.entry).map(|entry| (item.key, entry)))
            .collect()
    }
}

fn decode<T: DeserializeOwned>(key: &str, value: &str) -> Result<T, Failure> {
    json::decode(value, kind::INVALID_STATE, "the value in the state store")
        .map_err(|failure| in_key(key, &failure))
}

fn decode_entry<T: DeserializeOwned>(key: &str, entry: &store::Entry) -> Result<Entry<T>, Failure> {
    Ok(Entry {
        value: decode(key, &entry.value)?,
        version: entry.version,
    })
}

#[cold]
fn in_key(key: &str, failure: &Failure) -> Failure {
    Failure::new(kind::INVALID_STATE, format!("key {key:?}: {failure}")).not_retryable()
}

#[cold]
fn mismatch(key: &str, found: u64) -> Failure {
    let message = match found {
        0 => format!("key {key:?} has no value"),
        found => format!("key {key:?} is at version {found}"),
    };
    Failure::new(kind::VERSION_MISMATCH, message)
        .with_details(&serde_json::json!({ "found": found }))
}
