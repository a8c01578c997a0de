//! The command line. Results go to stdout, everything else to stderr.

mod args;
mod ask;
mod bench;
mod build;
mod code_cache;
mod compared;
mod deploy;
mod export;
mod find;
mod follow;
mod hosting;
pub(crate) mod instance;
mod look;
mod migrate;
mod modules;
mod new;
mod purge;
mod query;
mod replay;
mod rerun;
mod run;
mod serve;
mod start;
mod state;
mod step;
mod telemetry;
pub(crate) mod text;
mod wait;
mod watch;
mod why;

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use wfhost_core::{BrokenHistory, InstanceId};
use wfhost_store::OpenError;

use crate::error::{Error, chain};
use crate::host::{Host, Options};

/// How a command ended, as its exit status says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Exit {
    /// The workflow completed, or the command did what it was asked.
    Ok = 0,
    /// The workflow failed, or was cancelled or terminated; it refused what it was asked; a replay
    /// was not the same; there is nothing under a key.
    Failed = 1,
    /// The command was used wrongly, or was given bad input.
    Usage = 2,
    /// The instance is stalled or suspended.
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
  wfhost start order.wasm --id order-8 --input @order.json
  wfhost raise-event order-8 approval true
  wfhost wait order-8
  wfhost list --status running,stalled
  wfhost why order-8
  wfhost history order-7

Exit status: 0 completed, 1 the workflow failed, 2 usage or bad input, 3 stalled or suspended,
4 the host failed, 130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Start(start::Start),
    Wait(wait::Wait),
    RaiseEvent(ask::RaiseEvent),
    Cancel(ask::Cancel),
    Terminate(ask::Terminate),
    Suspend(ask::Suspend),
    Resume(ask::Resume),
    Query(query::Query),
    Update(query::Update),
    Rerun(rerun::Rerun),
    Purge(purge::Purge),
    List(find::List),
    Show(look::Show),
    Why(why::Why),
    History(look::History),
    Replay(replay::Replay),
    Export(export::Export),
    Serve(serve::Serve),
    #[command(subcommand)]
    State(state::State),
    Deploy(deploy::Deploy),
    Modules(modules::Modules),
    Migrate(migrate::Migrate),
    New(new::New),
    Build(build::Build),
    Bench(bench::Bench),
}

impl Command {
    async fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Run(run) => run.run().await,
            Self::Start(start) => start.run().await,
            Self::Wait(wait) => wait.run().await,
            Self::RaiseEvent(raise) => raise.run().await,
            Self::Cancel(cancel) => cancel.run().await,
            Self::Terminate(terminate) => terminate.run().await,
            Self::Suspend(suspend) => suspend.run().await,
            Self::Resume(resume) => resume.run().await,
            Self::Query(query) => query.run().await,
            Self::Update(update) => update.run().await,
            Self::Rerun(rerun) => rerun.run().await,
            Self::Purge(purge) => purge.run().await,
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Why(why) => why.run().await,
            Self::History(history) => history.run().await,
            Self::Replay(replay) => replay.run().await,
            Self::Serve(serve) => serve.run().await,
            Self::Export(export) => export.run().await,
            Self::State(state) => state.run().await,
            Self::Deploy(deploy) => deploy.run().await,
            Self::Modules(modules) => modules.run().await,
            Self::Migrate(migrate) => migrate.run().await,
            Self::New(new) => new.run(),
            Self::Build(build) => build.run(),
            Self::Bench(bench) => bench.run().await,
        }
    }
}

/// The data file, for every command that needs one.
#[derive(Args, Clone)]
struct Db {
    /// The data file
    #[arg(
        id = "db",
        long,
        value_name = "FILE",
        env = "WFHOST_DB",
        default_value = DB
    )]
    path: PathBuf,
}

/// Where a data file is if nobody says otherwise.
const DB: &str = "wfhost.redb";

/// The one instance that a command is about.
#[derive(Args, Clone)]
struct Target {
    /// The instance
    id: InstanceId,
    #[command(flatten)]
    db: Db,
}

impl Db {
    /// Opens a data file that must be there, to look at it or to write something down: no activity
    /// runs.
    fn open(&self) -> Result<Host, Error> {
        self.open_with(hosting::at_rest())
    }

    /// Opens a data file that must be there.
    fn open_with(&self, options: Options) -> Result<Host, Error> {
        waiting(|| Host::open_existing(&self.path, options.clone()))
    }

    /// A command about an instance of this data file, as a person would type it.
    fn about(&self, command: &str, id: &InstanceId) -> String {
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
    fn command(&self, command: &str) -> String {
        if self.path == Path::new(DB) {
            return format!("wfhost {command}");
        }
        let path = args::quoted(&self.path.display().to_string());
        format!("wfhost {command} --db {path}")
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
    let result = runtime.block_on(cli.command.run());
    // An attempt that does not heed its stop flag must not keep the process.
    runtime.shutdown_background();
    leave(result)
}

fn leave(result: Result<Exit, Failure>) -> ExitCode {
    let exit = match result {
        Ok(exit) => exit,
        Err(failure) => {
            if telemetry::is_json() {
                tracing::error!(target: "wfhost", "{}", failure.message);
            } else {
                say(format_args!("error: {}", failure.message));
            }
            failure.exit
        }
    };
    ExitCode::from(exit as u8)
}

/// Closes a data file that nothing was driven on, and leaves with `result`.
async fn close(host: Host, result: Result<Exit, Failure>) -> Result<Exit, Failure> {
    let closed = host.close().await;
    let exit = result?;
    closed?;
    Ok(exit)
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
        let exit = match &error {
            // What was expected of the key did not hold: no mistake in the call.
            Error::WrongVersion { .. } => Exit::Failed,
            // Nor is it one that the code does something else.
            Error::NotTheSame { .. } | Error::NotAllTheSame { .. } => Exit::Failed,
            error if error.is_callers() => Exit::Usage,
            _ => Exit::Host,
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

/// One line to stderr, or to the log if that is JSON. There is nobody to tell if that fails.
fn say(line: std::fmt::Arguments<'_>) {
    if telemetry::is_json() {
        return tracing::info!(target: "wfhost", "{line}");
    }
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does_in_a_line_a_paragraph_and_examples() {
        fn check(command: &clap::Command) {
            let name = command.get_name();
            let about = command.get_about().expect(name).to_string();
            assert!(about.len() < 80 && !about.ends_with('.'), "{name}: {about}");
            let mut children = command.get_subcommands().peekable();
            if children.peek().is_none() {
                let long = command.get_long_about().expect(name).to_string();
                assert!(long.lines().count() > 2, "{name} has no paragraph");
                let after = command.get_after_help().expect(name).to_string();
                assert!(after.starts_with("Examples:"), "{name}: {after}");
            }
            children.for_each(check);
        }
        super::Cli::command().get_subcommands().for_each(check);
    }
}
