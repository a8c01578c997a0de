//! The storage under redb: one that writes nothing to a file before the file is known to be ours.
//!
//! Opening a database writes to it: a mark that it is open, and repairs after a crash. So until
//! [`Gate::open`], writes are held in memory in their order; then they are carried out, with their
//! syncs, and from there on everything goes straight through.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redb::{BackendError, StorageBackend};

/// Lets writes through, and knows what the storage has been asked to do.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Shared>);

struct Shared {
    inner: Box<dyn StorageBackend>,
    open: AtomicBool,
    held: Mutex<Vec<Held>>,
    bytes: AtomicU64,
    written: AtomicU64,
    syncs: AtomicU64,
    /// How long all of them took, in nanoseconds.
    syncing: AtomicU64,
}

enum Held {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
}

impl Gate {
    /// In front of an existing file: shut.
    pub(crate) fn shut(inner: Box<dyn StorageBackend>) -> io::Result<Self> {
        let bytes = AtomicU64::new(inner.len()?);
        Ok(Self(Arc::new(Shared {
            inner,
            open: AtomicBool::new(false),
            held: Mutex::default(),
            bytes,
            written: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            syncing: AtomicU64::new(0),
        })))
    }

    /// The storage to give to redb.
    pub(crate) fn backend(&self) -> impl StorageBackend {
        Gated(self.0.clone())
    }

    /// Carries out what was held back; nothing is from here on.
    pub(crate) fn open(&self) -> io::Result<()> {
        let mut held = self.held();
        for step in held.drain(..) {
            match step {
                Held::Write(at, data) => self.0.write(at, &data)?,
                Held::Length(bytes) => self.0.inner.set_len(bytes)?,
                Held::Sync => self.0.inner.sync_data()?,
            }
        }
        self.0.open.store(true, Ordering::Release);
        Ok(())
    }

    /// The length of the storage.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// How many bytes were written to it, those that replace others among them.
    pub(crate) fn written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// How often it was synced.
    pub(crate) fn syncs(&self) -> u64 {
        self.0.syncs.load(Ordering::Relaxed)
    }

    /// How long all syncs took.
    pub(crate) fn syncing(&self) -> Duration {
        Duration::from_nanos(self.0.syncing.load(Ordering::Relaxed))
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Vec<Held>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.inner.write(offset, data)
    }
}

struct Gated(Arc<Shared>);

impl fmt::Debug for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.inner.fmt(f)
    }
}

impl Gated {
    /// Holds a step back, unless the gate is open.
    fn hold(&self, step: impl FnOnce() -> Held) -> bool {
        if self.0.open.load(Ordering::Acquire) {
            return false;
        }
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have been opened meanwhile.
        if self.0.open.load(Ordering::Acquire) {
            return false;
        }
        held.push(step());
        true
    }

    /// What the storage would hold if the steps had been carried out.
    fn read_held(&self, held: &[Held], offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset + out.len() as u64;
        if end > self.0.bytes.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let there = self.0.inner.len()?.min(end).saturating_sub(offset);
        let there = usize::try_from(there).map_err(io::Error::other)?;
        let (from_file, beyond) = out.split_at_mut(there);
        if !from_file.is_empty() {
            self.0.inner.read(offset, from_file)?;
        }
        beyond.fill(0);
        for step in held {
            match step {
                Held::Write(at, data) => overlay(out, offset, *at, data),
                // What was cut off and grown again is empty.
                Held::Length(bytes) if *bytes < end => {
                    let kept = usize::try_from(bytes.saturating_sub(offset));
                    out[kept.map_err(io::Error::other)?..].fill(0);
                }
                Held::Length(_) | Held::Sync => {}
            }
        }
        Ok(())
    }
}

/// Puts what of `data`, which stands at `at`, falls into `out`, which stands at `offset`.
fn overlay(out: &mut [u8], offset: u64, at: u64, data: &[u8]) {
    let start = at.max(offset);
    let end = (at + data.len() as u64).min(offset + out.len() as u64);
    if start < end {
        let [to, from] = [start - offset, start - at].map(|n| n as usize);
        let length = (end - start) as usize;
        out[to..to + length].copy_from_slice(&data[from..from + length]);
    }
}

impl StorageBackend for Gated {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.bytes.load(Ordering::Relaxed))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if !self.0.open.load(Ordering::Acquire) {
            let held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
            return self.read_held(&held, offset, out);
        }
        self.0.inner.read(offset, out)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        if !self.hold(|| Held::Length(bytes)) {
            self.0.inner.set_len(bytes)?;
        }
        self.0.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.hold(|| Held::Sync) {
            return Ok(());
        }
        let begun = Instant::now();
        let synced = self.0.inner.sync_data();
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0.syncs.fetch_add(1, Ordering::Relaxed);
        self.0.syncing.fetch_add(took, Ordering::Relaxed);
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.hold(|| Held::Write(offset, data.to_vec())) {
            return Ok(());
        }
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.inner.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shut_gate_shows_the_writes_and_keeps_them_from_the_storage() {
        let inner = redb::backends::InMemoryBackend::new();
        inner.set_len(8).unwrap();
        inner.write(0, b"01234567").unwrap();
        let gate = Gate::shut(Box::new(inner)).unwrap();
        let backend = gate.backend();
        let read = |from: u64, bytes: usize| {
            let mut out = vec![9; bytes];
            backend.read(from, &mut out).unwrap();
            out
        };
        backend.write(2, b"ab").unwrap();
        backend.set_len(4).unwrap();
        backend.set_len(10).unwrap();
        backend.write(8, b"xy").unwrap();
        assert_eq!(read(0, 10), b"01ab\0\0\0\0xy");
        assert_eq!(read(3, 2), b"b\0");
        assert!(backend.read(9, &mut [0; 2]).is_err());
        assert_eq!(gate.0.inner.len().unwrap(), 8);
        assert_eq!(gate.written(), 0);

        gate.open().unwrap();
        assert_eq!(gate.written(), 4);
        assert_eq!(read(0, 10), b"01ab\0\0\0\0xy");
        assert_eq!(gate.0.inner.len().unwrap(), 10);
    }
}
