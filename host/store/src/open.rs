//! Opening a data file, and making a new one.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use std::time::Duration;

use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError, TableError,
};

use crate::backend::Gate;
use crate::error::{Error, Fault, OpenError};
use crate::tables::{self, HEADER, Header, NAMESPACE};
use crate::{Inner, Options, Store, holder, unless_it_panics};

/// What every redb file begins with.
const REDB_MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";

impl Store {
    /// Opens a data file, or makes one where there is none. A new one appears under its name only
    /// when it is complete.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing has changed then.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        match Self::open_existing(path, options.clone()) {
            Err(OpenError::Missing { .. }) => create_file(path, options),
            done => done,
        }
    }

    /// Opens a data file.
    ///
    /// # Errors
    /// [`OpenError::Missing`] if there is none; else see [`OpenError`]. Nothing has changed then.
    pub fn open_existing(path: &Path, options: Options) -> Result<Self, OpenError> {
        let not_ours = |why: &str| OpenError::NotOurs {
            path: path.into(),
            why: why.into(),
        };
        let io = |error| io_error(path, error);
        if fs::metadata(path).map_err(io)?.is_dir() {
            return Err(not_ours("it is a folder"));
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(io)?;
        let mut start = Vec::new();
        let magic_bytes = REDB_MAGIC.len() as u64;
        (&mut file)
            .take(magic_bytes)
            .read_to_end(&mut start)
            .map_err(io)?;
        if start.is_empty() {
            return Err(not_ours("it is empty"));
        }
        if start != REDB_MAGIC {
            return Err(not_ours("it begins otherwise"));
        }
        open_on(path.into(), Box::new(file_backend(path, file)?), options)
    }
}

/// Makes a data file under a temporary name and gives it its own when it is complete.
fn create_file(path: &Path, options: Options) -> Result<Store, OpenError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(OpenError::NoFolder {
            path: path.into(),
            folder: folder.into(),
        });
    }
    sweep_abandoned(path, folder);
    let temporary = temporary_name(path);
    let made = create_file_as(path, folder, &temporary, &options);
    if made.is_err() {
        // It may not even exist.
        let _ = fs::remove_file(&temporary);
    }
    match made? {
        Some(opening) => opening.start(),
        // Somebody else was faster; theirs it is.
        None => Store::open_existing(path, options),
    }
}

fn create_file_as(
    path: &Path,
    folder: &Path,
    temporary: &Path,
    options: &Options,
) -> Result<Option<Opening>, OpenError> {
    let io = |error| io_error(path, error);
    let mut how = OpenOptions::new();
    let file = how
        .read(true)
        .write(true)
        .create_new(true)
        .open(temporary)
        .map_err(io)?;
    let backend = Box::new(file_backend(path, file)?);
    let opening = create_on(path.into(), backend, options.clone())?;
    // A link, since a rename would put itself over a file that somebody made meanwhile.
    match fs::hard_link(temporary, path) {
        Ok(()) => fs::remove_file(temporary).map_err(io)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(temporary).map_err(io)?;
            return Ok(None);
        }
        // Some file systems have no links.
        Err(_) => fs::rename(temporary, path).map_err(io)?,
    }
    if cfg!(unix) {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(io)?;
    }
    Ok(Some(opening))
}

/// How old a temporary file must be before it counts as abandoned. Making one takes milliseconds.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

/// Removes what a process that was killed while it made this file has left.
fn sweep_abandoned(path: &Path, folder: &Path) {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return;
    };
    let is_ours = |file: &str| {
        let middle = file
            .strip_prefix(name)?
            .strip_prefix('.')?
            .strip_suffix(".new")?;
        let (pid, count) = middle.split_once('-')?;
        Some((pid.parse::<u32>().ok()?, count.parse::<u64>().ok()?))
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_str().and_then(is_ours).is_some()) {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        if age.is_some_and(|age| age > ABANDONED_AFTER) {
            // Another process may be doing the same.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A name beside the file's that no other process and no other thread uses.
fn temporary_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}-{count}.new", std::process::id()));
    name.into()
}

/// A database that is known to be ours.
pub(crate) struct Opening {
    path: PathBuf,
    database: Database,
    gate: Gate,
    options: Options,
}

impl Opening {
    /// Brings the store to where the file stands, and starts it.
    pub(crate) fn start(self) -> Result<Store, OpenError> {
        let inner = Inner::new(self.path, self.database, self.gate, self.options);
        let inner = Arc::new(inner);
        inner.recover()?;
        let registry = inner.registry_on_disk()?;
        inner.ledger().registry = registry;
        Store::run(inner)
    }
}

/// Makes a new database in an empty storage.
pub(crate) fn create_on(
    path: PathBuf,
    backend: Box<dyn StorageBackend>,
    options: Options,
) -> Result<Opening, OpenError> {
    let gate = Gate::shut(backend).map_err(|error| io_error(&path, error))?;
    gate.open().map_err(|error| io_error(&path, error))?;
    let made = Builder::new()
        .set_cache_size(options.cache_bytes)
        .create_with_backend(gate.backend());
    let database = made.map_err(|error| database_error(&path, error))?;
    let create = || {
        let transaction = database.begin_write()?;
        tables::create(&transaction)?;
        Ok(transaction.commit()?)
    };
    create().map_err(|fault: Fault| fault.committing(&path))?;
    Ok(Opening {
        path,
        database,
        gate,
        options,
    })
}

/// Opens the database in a storage. Nothing is written to it unless it is ours.
pub(crate) fn open_on(
    path: PathBuf,
    backend: Box<dyn StorageBackend>,
    options: Options,
) -> Result<Store, OpenError> {
    let gate = Gate::shut(backend).map_err(|error| io_error(&path, error))?;
    let opened = unless_it_panics(|| Ok(open_database(&path, &gate, &options)));
    let database = opened.map_err(|fault| fault.reading(&path))??;
    gate.open().map_err(|error| io_error(&path, error))?;
    let opening = Opening {
        path,
        database,
        gate,
        options,
    };
    opening.start()
}

fn open_database(path: &Path, gate: &Gate, options: &Options) -> Result<Database, OpenError> {
    let opened = Builder::new()
        .set_cache_size(options.cache_bytes)
        .create_with_backend(gate.backend());
    let database = opened.map_err(|error| database_error(path, error))?;
    check_header(path, &database)?;
    Ok(database)
}

fn check_header(path: &Path, database: &Database) -> Result<(), OpenError> {
    let reading = |fault: Fault| OpenError::from(fault.reading(path));
    let not_ours = || OpenError::NotOurs {
        path: path.into(),
        why: "it is the database of another program".into(),
    };
    let transaction = database
        .begin_read()
        .map_err(|error| reading(error.into()))?;
    let table = match transaction.open_table(HEADER) {
        Ok(table) => table,
        Err(TableError::Storage(error)) => return Err(reading(error.into())),
        Err(_) => return Err(not_ours()),
    };
    let row = table
        .get(NAMESPACE)
        .map_err(|error| reading(error.into()))?;
    match row.map_or(Header::NotOurs, |row| tables::read_header(row.value())) {
        Header::Ours => Ok(()),
        Header::NotOurs => Err(not_ours()),
        Header::OtherFormat(found) => Err(OpenError::UnknownFormat {
            path: path.into(),
            found,
            known: tables::FORMAT,
        }),
    }
}

fn file_backend(path: &Path, file: File) -> Result<FileBackend, OpenError> {
    FileBackend::new(file).map_err(|error| database_error(path, error))
}

fn database_error(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenError::InUse {
                path: path.into(),
                holder: holder::of(path),
            }
        }
        DatabaseError::UpgradeRequired(_) => OpenError::NotOurs {
            path: path.into(),
            why: "it is a database of an old redb".into(),
        },
        DatabaseError::Storage(StorageError::Io(error)) => io_error(path, error),
        DatabaseError::Storage(StorageError::Corrupted(what)) => Error::Damaged {
            path: path.into(),
            what,
        }
        .into(),
        other => Fault::from(other).reading(path).into(),
    }
}

fn io_error(path: &Path, source: std::io::Error) -> OpenError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::NotFound => OpenError::Missing { path },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            OpenError::ReadOnly { path, source }
        }
        ErrorKind::UnexpectedEof => Error::Damaged {
            path,
            what: "it is cut off".into(),
        }
        .into(),
        _ => OpenError::Io { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not tried on a real folder: whoever runs the tests as root may write everywhere.
    #[test]
    fn what_may_not_be_written_is_told_from_what_fails() {
        for kind in [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem] {
            let error = io_error(Path::new("a.redb"), kind.into());
            assert!(matches!(error, OpenError::ReadOnly { .. }));
            assert!(
                error.to_string().starts_with("cannot write a.redb: "),
                "{error}"
            );
        }
        let error = io_error(Path::new("a.redb"), ErrorKind::StorageFull.into());
        assert!(matches!(error, OpenError::Io { .. }));
    }
}
