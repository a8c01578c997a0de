//! Where a command writes: to the terminal of its own process or, carried out by a running host, to
//! whoever called it.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::NamedTempFile;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;

use super::{Exit, Failure, telemetry};
use crate::error::Error;
use crate::host::Host;
use crate::serve::Stopping;

/// What a command has to say.
pub(super) enum Said {
    /// A line for stdout.
    Out(String),
    /// A line for stderr.
    Err(String),
    /// The next part of the file that the command writes.
    Part(Vec<u8>),
    /// How it ended; the last thing that is said.
    Exit(Exit),
}

/// Whoever called a command that a running host carries out.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) host: Arc<Host>,
    pub(super) to: Sender<Said>,
    pub(super) stopping: Stopping,
    /// The arguments of the call, as they were typed.
    pub(super) args: Arc<[String]>,
}

tokio::task_local! {
    /// Absent where a command runs in a process of its own.
    pub(super) static CALLER: Caller;
}

impl Caller {
    /// Who called, if a running host carries the command out.
    pub(super) fn get() -> Option<Self> {
        CALLER.try_with(Self::clone).ok()
    }

    /// Waits for a caller who is slow; whoever has gone away, or a host that stops, ends the wait.
    fn send(&self, said: Said) -> io::Result<()> {
        use tokio::sync::mpsc::error::TrySendError;
        let gone = || io::Error::from(ErrorKind::BrokenPipe);
        match self.to.try_send(said) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(gone()),
            Err(TrySendError::Full(said)) => tokio::task::block_in_place(|| {
                Handle::current().block_on(async {
                    tokio::select! {
                        sent = self.to.send(said) => sent.map_err(|_| gone()),
                        () = self.stopping.told() => Err(gone()),
                        () = self.host.failed() => Err(gone()),
                    }
                })
            }),
        }
    }
}

/// The arguments of the call, without the name of the program.
pub(super) fn arguments() -> Vec<String> {
    match Caller::get() {
        Some(caller) => caller.args.to_vec(),
        None => std::env::args().skip(1).collect(),
    }
}

/// One line to stdout. A reader that has gone away ends the command quietly, as it would `cat`.
pub(super) fn print(line: &str) -> Result<(), Failure> {
    let printed = match Caller::get() {
        Some(caller) => caller.send(Said::Out(line.to_owned())),
        None => writeln!(io::stdout().lock(), "{line}"),
    };
    match printed {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            if Caller::get().is_none() {
                GONE.store(true, Ordering::Relaxed);
            }
            Ok(())
        }
        Err(error) => Err(Failure::new(
            Exit::Host,
            format!("cannot write the result: {error}"),
        )),
        Ok(()) => Ok(()),
    }
}

/// Whether nobody reads stdout any more. What goes on without end ends then.
pub(super) fn is_gone() -> bool {
    match Caller::get() {
        Some(caller) => caller.to.is_closed(),
        None => GONE.load(Ordering::Relaxed),
    }
}

/// The reader of this process's stdout has gone away.
static GONE: AtomicBool = AtomicBool::new(false);

/// One line to stderr, or to the log if that is JSON. There is nobody to tell if that fails.
pub(super) fn say(line: std::fmt::Arguments<'_>) {
    let _ = match Caller::get() {
        Some(caller) => caller.send(Said::Err(line.to_string())),
        None if telemetry::is_json() => return tracing::info!(target: "wfhost", "{line}"),
        None => writeln!(io::stderr().lock(), "{line}"),
    };
}

/// Why a command could not do what it was asked.
pub(super) fn fail(why: &str) {
    match Caller::get() {
        None if telemetry::is_json() => tracing::error!(target: "wfhost", "{why}"),
        _ => say(format_args!("error: {why}")),
    }
}

/// A file that a command writes: under another name until it is whole and on the disk, so that
/// nobody ever sees half of it.
pub(super) struct Output {
    to: To,
    path: PathBuf,
}

enum To {
    File(BufWriter<NamedTempFile>),
    Stdout(io::Stdout),
    /// He gives it its name.
    Caller(Caller),
}

impl Output {
    /// For `path`, or for stdout if that is `-`.
    pub(super) fn new(path: &Path) -> Result<Self, Failure> {
        match Caller::get() {
            Some(caller) => Ok(Self {
                to: To::Caller(caller),
                path: path.to_owned(),
            }),
            None => Self::here(path),
        }
    }

    /// On the disk or stdout of this process.
    pub(super) fn here(path: &Path) -> Result<Self, Failure> {
        let to = if path == Path::new("-") {
            To::Stdout(io::stdout())
        } else {
            // For its owner alone to read: what is in it may be personal.
            let file = NamedTempFile::new_in(folder(path)).map_err(|it| failed(path, it))?;
            To::File(BufWriter::new(file))
        };
        let path = path.to_owned();
        Ok(Self { to, path })
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let path = &self.path;
        let file = match self.to {
            To::File(file) => file,
            To::Stdout(mut stdout) => return stdout.flush().map_err(|it| failed(path, it)),
            To::Caller(_) => return Ok(()),
        };
        let file = file
            .into_inner()
            .map_err(|error| failed(path, error.into_error()))?;
        file.as_file().sync_all().map_err(|it| failed(path, it))?;
        file.persist(path).map_err(|it| failed(path, it.error))?;
        let folder = File::open(folder(path)).and_then(|folder| folder.sync_all());
        folder.map_err(|it| failed(path, it))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.to {
            To::File(file) => file.write(bytes),
            To::Stdout(stdout) => stdout.write(bytes),
            To::Caller(caller) => {
                caller.send(Said::Part(bytes.to_vec()))?;
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::File(file) => file.flush(),
            To::Stdout(stdout) => stdout.flush(),
            To::Caller(_) => Ok(()),
        }
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn failed(path: &Path, source: io::Error) -> Failure {
    let path = path.to_owned();
    Error::File { path, source }.into()
}
