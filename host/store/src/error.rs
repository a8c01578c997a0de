//! What can go wrong here, one variant for each reaction of the caller.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wfhost_core::decide::Refused;
use wfhost_core::state::ReadError;
use wfhost_core::{BrokenHistory, DeploymentNumber, Digest, InstanceId, Moved, Name, Role, Status};

/// A cause that several waiters can be told of.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// The data file could not be opened. Nothing in it has changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such file, and none was to be made.
    #[error("there is no data file {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The folder that the file was to be made in does not exist.
    #[error("cannot create {}: there is no folder {}; create it first", path.display(), folder.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// Another host has it open. One file has one host at a time.
    #[error(
        "the data file {} is in use by {}; stop that first, or use another file",
        path.display(),
        holder.as_deref().unwrap_or("another process")
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// Who has it open, where the system tells: `process 1234 (wfhost run …)`.
        holder: Option<String>,
    },
    /// It is some other file. It was not touched.
    #[error("{} is not a data file of wfhost: {why}; it was left as it is", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
    /// Another version of this program wrote it.
    #[error(
        "{} has format {found}, this program knows format {known}; use the program that wrote it",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: u32,
        /// The format that this program reads and writes.
        known: u32,
    },
    /// The file or its folder cannot be written.
    #[error("cannot write {}: {source}; allow writing to it and to its folder, or use another file", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The disk failed otherwise.
    #[error("cannot open {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is ours, and what is in it cannot be read.
    #[error(transparent)]
    Unusable(#[from] Error),
}

/// The store cannot do its work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The file does not hold what was written to it. Restore it from a copy.
    #[error("the data file {} is damaged: {what}; restore it from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// The instance was purged or replaced, or its history was cut, while its history was read.
    /// Look again.
    #[error("the history of `{id}` was removed from {} while it was read; look again", path.display())]
    Removed {
        /// The file.
        path: PathBuf,
        /// The instance.
        id: InstanceId,
    },
    /// Reading failed. Nothing has changed; try again, or look after the disk.
    #[error("cannot read the data file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: Cause,
    },
    /// A commit failed; whether it is there is unknown. The store takes nothing any more: drop all
    /// above the last durable position, close the store and open the file again.
    #[error(
        "a commit to the data file {} failed, and whether it took place is unknown; \
         open the file again: {source}",
        path.display()
    )]
    Failed {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: Cause,
    },
    /// The same, because the disk is full, or what this user may have of it. First make room.
    #[error(
        "a commit to the data file {} failed, because there is no more room for it: {source}",
        path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: Cause,
    },
    /// The store was closed.
    #[error("the store of {} is closed", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// Whether there is no room on the disk.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// A submission was not taken. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It does not fit any more; see the reason.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is no such instance.
    #[error("there is no instance {0}")]
    NoSuchInstance(InstanceId),
    /// The id of a start is taken.
    #[error("the id is in use by an instance that is {status}", status = status.as_str())]
    InUse {
        /// Where the instance that has the id stands.
        status: Status,
    },
    /// Its module is not in the data file: it was removed, or never there. Look again what the name
    /// of its workflow means.
    #[error("the module {module} is not in the data file; deploy it again")]
    ModuleMissing {
        /// Which.
        module: Digest,
    },
    /// No instance that stands there can have such a record: an error of this program.
    #[error(transparent)]
    Impossible(#[from] BrokenHistory),
    /// The store cannot do its work.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Bindings were not moved. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// No name has a candidate.
    #[error("no name has a candidate; deploy a module with a share first")]
    NoCandidates,
    /// A name that was asked for has no candidate.
    #[error(
        "the {} `{name}` has no candidate; deploy a module that offers it with a share first",
        role.as_str()
    )]
    NoCandidate {
        /// What the name is for.
        role: Role,
        /// The name.
        name: Name,
    },
    /// All deployments that moved bindings are undone.
    #[error("there is no deployment to undo")]
    NothingToUndo,
    /// There is no deployment of that number.
    #[error("there is no deployment {number}; {}", known(*newest))]
    NoSuchDeployment {
        /// The number asked for.
        number: DeploymentNumber,
        /// The last that there is.
        newest: Option<DeploymentNumber>,
    },
    /// A name would mean a module that was removed.
    #[error(
        "the {} `{name}` would mean the module {module}, which was removed; deploy that instead",
        role.as_str()
    )]
    ModuleRemoved {
        /// The module.
        module: Digest,
        /// What the name is for.
        role: Role,
        /// The name.
        name: Name,
    },
    /// A binding does not stand as the deployment that is to be undone left it.
    #[error(
        "the {} `{}` was moved otherwise since deployment {number}; deploy what it should mean",
        moved.role.as_str(), moved.name
    )]
    MovedSince {
        /// The deployment.
        number: DeploymentNumber,
        /// How it moved the binding.
        moved: Box<Moved>,
    },
    /// The store cannot do its work.
    #[error(transparent)]
    Store(#[from] Error),
}

fn known(newest: Option<DeploymentNumber>) -> String {
    match newest {
        None => "there is none at all".into(),
        Some(newest) => format!("there are 1 to {newest}"),
    }
}

/// A write to the state that depends on what is there was not made. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Other versions are there than the ones that were expected. Read them and decide again.
    #[error("{} has another version than the one expected", keys(.0))]
    Versions(Vec<(String, u64)>),
    /// What is there could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store cannot do its work.
    #[error(transparent)]
    Store(#[from] Error),
}

/// The keys, each with the version that it has.
fn keys(versions: &[(String, u64)]) -> String {
    let keys = versions.iter().map(|(key, version)| match version {
        0 => format!("`{key}` (absent)"),
        _ => format!("`{key}` ({version})"),
    });
    keys.collect::<Vec<_>>().join(", ")
}

/// What failed inside, before it is known where.
#[derive(Debug)]
pub(crate) enum Fault {
    Redb(Box<redb::Error>),
    Damaged(String),
    Closed,
}

impl Fault {
    /// The error of something that only reads.
    pub(crate) fn reading(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Redb(source) => Error::Read {
                path,
                source: Arc::from(source as Box<dyn std::error::Error + Send + Sync>),
            },
            Self::Damaged(what) => Error::Damaged { path, what },
            Self::Closed => Error::Closed { path },
        }
    }

    /// The error of a commit.
    pub(crate) fn committing(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Redb(source) if is_full(&source) => Error::Full {
                path,
                source: Arc::from(source as Box<dyn std::error::Error + Send + Sync>),
            },
            Self::Redb(source) => Error::Failed {
                path,
                source: Arc::from(source as Box<dyn std::error::Error + Send + Sync>),
            },
            Self::Damaged(what) => Error::Damaged { path, what },
            Self::Closed => Error::Closed { path },
        }
    }
}

/// Whether the system has no room, for this file or at all.
fn is_full(error: &redb::Error) -> bool {
    let redb::Error::Io(error) = error else {
        return false;
    };
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Fault {
            fn from(error: redb::$error) -> Self {
                Self::Redb(Box::new(error.into()))
            }
        }
    )*};
}
from_redb!(
    StorageError,
    TableError,
    TransactionError,
    CommitError,
    DatabaseError,
    CursorError
);
