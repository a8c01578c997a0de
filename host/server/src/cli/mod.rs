//! The command line. Results go to stdout, everything else to stderr.

mod look;
mod run;
mod text;

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use wfhost_core::BrokenHistory;
use wfhost_store::OpenError;

use crate::error::{Error, chain};
use crate::host::{Host, Options};

/// How a command ended, as its exit status says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// The workflow completed, or the command did what it was asked.
    Ok = 0,
    /// The workflow failed, or was cancelled or terminated; a replay was not the same.
    Failed = 1,
    /// The command was used wrongly, or was given bad input.
    Usage = 2,
    /// The instance is stalled.
    Stalled = 3,
    /// The host failed: the data file, the disk, the machine.
    Host = 4,
    /// Ctrl-C.
    Interrupted = 130,
}

/// Run durable workflows as sandboxed WebAssembly modules, from one data file.
#[derive(Parser)]
#[command(
    name = "wfhost",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  wfhost run order.wasm --input '{\"Name\":\"Cars\",\"TotalCost\":15000,\"Quantity\":10}'
  wfhost run workflows/order-processing --id order-7 --input @order.json
  wfhost run --id order-7          go on where it stopped, or print its result again
  wfhost list
  wfhost history order-7
  wfhost replay order-7

Exit status: 0 completed, 1 the workflow failed, 2 usage or bad input, 3 stalled,
4 the host failed, 130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Build(Build),
    List(look::List),
    Show(look::Show),
    History(look::History),
    Replay(look::Replay),
    Modules(look::Modules),
}

/// The data file, for every command that needs one.
#[derive(Args, Clone)]
struct Db {
    /// The data file
    #[arg(
        long,
        value_name = "FILE",
        env = "WFHOST_DB",
        default_value = "wfhost.redb"
    )]
    db: PathBuf,
}

impl Db {
    fn open_existing(&self) -> Result<Host, Error> {
        waiting(|| Host::open_existing(&self.db, Options::default()))
    }
}

/// How long a command waits for another that only looks.
const IN_USE_WAIT: Duration = Duration::from_secs(1);

/// Opens a data file, again and again for a moment if somebody else has it: most commands are done
/// with it at once.
fn waiting(open: impl Fn() -> Result<Host, Error>) -> Result<Host, Error> {
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

/// Compile a Cargo package into a module
///
/// Builds the package in DIR for wasm32-unknown-unknown, or for the target that its Cargo.toml
/// names under `[package.metadata.wfhost] target`, in a target folder of its own, and prints the
/// path of the module. A target that is missing is added with rustup.
#[derive(Args)]
#[command(after_help = "\
Examples:
  wfhost build workflows/order-processing
  wfhost build -o order.wasm")]
struct Build {
    /// The folder of the package
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Copy the module here
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print {"path", "bytes", "digest"} instead of the path
    #[arg(long)]
    json: bool,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return leave(Err(Failure::new(Exit::Host, error.to_string()))),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Run(run) => run.run().await,
            Command::Build(build) => build.run(),
            Command::List(list) => list.run().await,
            Command::Show(show) => show.run().await,
            Command::History(history) => history.run().await,
            Command::Replay(replay) => replay.run().await,
            Command::Modules(modules) => modules.run().await,
        }
    });
    // An attempt that does not heed its stop flag must not keep the process.
    runtime.shutdown_background();
    leave(result)
}

fn leave(result: Result<Exit, Failure>) -> ExitCode {
    let exit = match result {
        Ok(exit) => exit,
        Err(failure) => {
            say(format_args!("error: {}", failure.message));
            failure.exit
        }
    };
    ExitCode::from(exit as u8)
}

/// A command that could not do what it was asked.
struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = if error.is_callers() {
            Exit::Usage
        } else {
            Exit::Host
        };
        Self::new(exit, chain(&error))
    }
}

impl From<wfhost_store::Error> for Failure {
    fn from(error: wfhost_store::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<BrokenHistory> for Failure {
    fn from(error: BrokenHistory) -> Self {
        Self::new(Exit::Host, error.to_string())
    }
}

impl Build {
    fn run(self) -> Result<Exit, Failure> {
        let built = crate::package::build(&self.dir, false)?;
        let file = |path: &PathBuf| {
            let path = path.clone();
            move |source| Error::File { path, source }
        };
        let bytes = std::fs::read(&built).map_err(file(&built))?;
        let path = match self.output {
            None => built,
            Some(output) => {
                write_whole(&output, &bytes).map_err(file(&output))?;
                output
            }
        };
        if self.json {
            let digest = wfhost_core::Digest::of(&bytes).to_string();
            let row = serde_json::json!({ "path": path, "bytes": bytes.len(), "digest": digest });
            print(&row.to_string())?;
        } else {
            print(&path.display().to_string())?;
        }
        Ok(Exit::Ok)
    }
}

/// Writes a file so that nobody ever sees half of it.
fn write_whole(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        // What is left of it, if anything is.
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// One line to stdout. A reader that has gone away ends the command quietly, as it would `cat`.
fn print(line: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Host,
            format!("cannot write the result: {error}"),
        )),
        _ => Ok(()),
    }
}

/// One line to stderr. There is nobody to tell if that fails.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
