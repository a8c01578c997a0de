//! Data files in memory, for tests: what happens to a file happens to them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use crate::error::OpenError;
use crate::open::{create_on, open_on};
use crate::{Options, Store};

/// A data file in memory. It outlives the stores that are opened on it, one at a time. Cheap to
/// clone: the clones are one file.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    bytes: InMemoryBackend,
    in_use: AtomicBool,
}

/// The file, while a store has it open.
#[derive(Debug)]
struct Opened {
    shared: Arc<Shared>,
    released: AtomicBool,
}

impl Memory {
    /// Another file with the same bytes, as a crash would leave them.
    #[cfg(test)]
    pub(crate) fn copied(&self) -> Self {
        let copy = Self::default();
        let mut bytes = vec![0; usize::try_from(self.0.bytes.len().unwrap()).unwrap()];
        self.0.bytes.read(0, &mut bytes).unwrap();
        copy.0.bytes.set_len(bytes.len() as u64).unwrap();
        copy.0.bytes.write(0, &bytes).unwrap();
        copy
    }

    fn open(&self) -> Result<Opened, OpenError> {
        if self.0.in_use.swap(true, Ordering::AcqRel) {
            return Err(OpenError::InUse {
                path: "memory".into(),
                holder: Some("this process itself".into()),
            });
        }
        Ok(Opened {
            shared: self.0.clone(),
            released: AtomicBool::new(false),
        })
    }
}

impl Opened {
    /// Lets the file go, once: somebody else may have it after that.
    fn release(&self) {
        if !self.released.swap(true, Ordering::AcqRel) {
            self.shared.in_use.store(false, Ordering::Release);
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.release();
    }
}

impl Store {
    /// A store without a file, for tests and benchmarks.
    ///
    /// # Errors
    /// None in practice.
    pub fn in_memory(options: Options) -> Result<Self, OpenError> {
        Self::on_memory(&Memory::default(), options)
    }

    /// Opens a data file in memory, or makes one where nothing is.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while another store has it open.
    pub fn on_memory(memory: &Memory, options: Options) -> Result<Self, OpenError> {
        let opened = Box::new(memory.open()?);
        match opened.len() {
            Ok(0) => create_on("memory".into(), opened, options)?.start(),
            _ => open_on("memory".into(), opened, options),
        }
    }
}

impl StorageBackend for Opened {
    fn len(&self) -> io::Result<u64> {
        self.shared.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.shared.bytes.read(offset, out)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.shared.bytes.set_len(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.shared.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.shared.bytes.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.release();
        Ok(())
    }
}
