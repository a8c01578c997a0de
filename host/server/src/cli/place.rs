//! Where a command finds what it works on: a data file that it opens, or the running host that
//! carries it out.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use wfhost_core::InstanceId;
use wfhost_store::OpenError;

use super::terminal::Caller;
use super::{args, hosting};
use crate::checked::Checked;
use crate::error::Error;
use crate::host::{Host, Options, Upload};

/// Where a data file is if nobody says otherwise.
pub(super) const DB: &str = "wfhost.redb";

/// The data, for every command that needs some.
#[derive(Args, Clone, Serialize, Deserialize)]
pub(super) struct Db {
    /// The data file. A host that serves it carries the command out
    #[arg(
        id = "db",
        long,
        value_name = "FILE",
        env = "WFHOST_DB",
        default_value = DB
    )]
    pub(super) path: PathBuf,
    /// The running host, instead of a data file: http://HOST:PORT or https://. What WFHOST_TOKEN
    /// holds is its token
    #[arg(long, value_name = "URL", env = "WFHOST_SERVER")]
    pub(super) server: Option<String>,
}

/// The one instance that a command is about.
#[derive(Args, Clone, Serialize, Deserialize)]
pub(super) struct Target {
    /// The instance
    pub(super) id: InstanceId,
    #[command(flatten)]
    pub(super) db: Db,
}

impl Default for Db {
    fn default() -> Self {
        Self {
            path: DB.into(),
            server: None,
        }
    }
}

impl Db {
    /// Opens a data file that must be there, to look at it or to write something down: no activity
    /// runs.
    pub(super) fn open(&self) -> Result<Opened, Error> {
        self.open_with(hosting::at_rest())
    }

    /// Opens a data file that must be there.
    pub(super) fn open_with(&self, options: Options) -> Result<Opened, Error> {
        match Caller::get() {
            Some(caller) => Ok(Opened::Served(caller.host)),
            None => waiting(|| Host::open_existing(&self.path, options.clone())).map(Opened::own),
        }
    }

    /// Opens a data file for modules that were [checked](check), and makes it if it is not there.
    pub(super) fn open_for(&self, checked: &Checked, options: Options) -> Result<Opened, Error> {
        match Caller::get() {
            Some(caller) => Ok(Opened::Served(caller.host)),
            None => {
                waiting(|| Host::open_for(&self.path, checked, options.clone())).map(Opened::own)
            }
        }
    }

    /// Whether there is data already.
    pub(super) fn exists(&self) -> bool {
        Caller::get().is_some() || self.path.exists()
    }

    /// A command about an instance of this data file, as a person would type it.
    pub(super) fn about(&self, command: &str, id: &InstanceId) -> String {
        let command = self.command(command);
        // An id may begin like a flag.
        let end_of_flags = if id.as_str().starts_with('-') {
            "-- "
        } else {
            ""
        };
        format!("{command} {end_of_flags}{id}")
    }

    /// A command on this data file, as a person would type it.
    pub(super) fn command(&self, command: &str) -> String {
        if let Some(server) = &self.server {
            return format!("wfhost {command} --server {}", args::quoted(server));
        }
        if self.path == Path::new(DB) {
            return format!("wfhost {command}");
        }
        let path = args::quoted(&self.path.display().to_string());
        format!("wfhost {command} --db {path}")
    }
}

/// The host that a command works on.
pub(super) enum Opened {
    /// Of this process, until the command ends.
    Own(Box<Host>),
    /// It serves, and drives all instances.
    Served(Arc<Host>),
}

impl Opened {
    pub(super) fn own(host: Host) -> Self {
        Self::Own(Box::new(host))
    }

    /// The host that serves.
    pub(super) fn served(&self) -> Option<&Arc<Host>> {
        match self {
            Self::Own(_) => None,
            Self::Served(host) => Some(host),
        }
    }
}

impl Deref for Opened {
    type Target = Host;

    fn deref(&self) -> &Host {
        match self {
            Self::Own(host) => host,
            Self::Served(host) => host,
        }
    }
}

/// Looks at modules before any data file is touched.
pub(super) async fn check(uploads: Vec<Upload>, options: &Options) -> Result<Checked, Error> {
    match Caller::get() {
        Some(caller) => caller.host.check_here(uploads).await,
        None => Host::check(uploads, options),
    }
}

/// What a person does next to see an instance go on: somebody else drives it where it is served.
pub(super) fn next_step() -> &'static str {
    match Caller::get() {
        Some(_) => "follow it with",
        None => "drive it with",
    }
}

/// How long a command waits for another that only looks.
const IN_USE_WAIT: Duration = Duration::from_secs(1);

/// Opens a data file, again and again for a moment if somebody else has it: most commands are done
/// with it at once.
pub(super) fn waiting(open: impl Fn() -> Result<Host, Error>) -> Result<Host, Error> {
    let until = Instant::now() + IN_USE_WAIT;
    loop {
        match open() {
            Err(Error::Open(OpenError::InUse { .. })) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}
