//! The command line. Results go to stdout, everything else to stderr.

mod args;
mod ask;
mod bench;
mod build;
mod call;
mod code_cache;
mod compared;
mod deploy;
mod export;
mod find;
mod follow;
mod hosting;
pub(crate) mod instance;
mod live;
mod logs;
mod look;
mod migrate;
mod modules;
mod new;
mod openapi;
mod purge;
mod query;
mod remote;
mod replay;
mod rerun;
mod run;
mod schedules;
mod serve;
pub(crate) mod served;
mod start;
mod state;
mod step;
mod telemetry;
mod terminal;
pub(crate) mod text;
mod token;
mod wait;
mod watch;
pub(crate) mod why;
pub(crate) mod wire;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Serialize};
use wfhost_core::{BrokenHistory, InstanceId};
use wfhost_store::OpenError;

use crate::checked::Checked;
use crate::config::Mistake;
use crate::error::{Error, chain};
use crate::host::{Host, Options, Upload};
use crate::serve::Scope;
use call::Call;
use terminal::{print, say};

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

impl Exit {
    /// What an exit status says.
    fn of(status: u8) -> Self {
        let all = [
            Self::Ok,
            Self::Failed,
            Self::Usage,
            Self::Stalled,
            Self::Interrupted,
        ];
        let said = all.into_iter().find(|exit| *exit as u8 == status);
        said.unwrap_or(Self::Host)
    }
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

#[derive(Subcommand, Clone, Serialize, Deserialize)]
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
    Logs(logs::Logs),
    Watch(live::Watch),
    Replay(replay::Replay),
    Export(export::Export),
    #[serde(skip)]
    Serve(serve::Serve),
    Schedules(schedules::Schedules),
    #[serde(skip)]
    Openapi(openapi::OpenApi),
    #[serde(skip)]
    Token(token::Token),
    #[command(subcommand)]
    State(state::State),
    Deploy(deploy::Deploy),
    Modules(modules::Modules),
    Migrate(migrate::Migrate),
    #[serde(skip)]
    New(new::New),
    #[serde(skip)]
    Build(build::Build),
    #[serde(skip)]
    Bench(bench::Bench),
}

impl Command {
    /// Takes in what its arguments name: files, stdin, modules. These are of the process that was
    /// given the command, whoever carries it out.
    fn read(&mut self) -> Result<Vec<Upload>, Failure> {
        let uploads = match self {
            Self::Run(run) => run.read()?,
            Self::Start(start) => start.read()?,
            Self::Deploy(deploy) => deploy.read()?,
            Self::Replay(replay) => replay.read()?,
            other => {
                other.read_text()?;
                Vec::new()
            }
        };
        Ok(uploads)
    }

    fn read_text(&mut self) -> Result<(), Failure> {
        match self {
            Self::RaiseEvent(raise) => raise.read(),
            Self::Query(query) => query.read(),
            Self::Update(update) => update.read(),
            Self::State(state) => state.read(),
            Self::Schedules(schedules) => schedules.read(),
            Self::Export(export) => export.read(),
            Self::Watch(watch) => watch.read(),
            _ => Ok(()),
        }
    }

    async fn run(self, uploads: Vec<Upload>) -> Result<Exit, Failure> {
        match self {
            Self::Run(run) => run.run(uploads).await,
            Self::Start(start) => start.run(uploads).await,
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
            Self::Logs(logs) => logs.run().await,
            Self::Watch(watch) => watch.run().await,
            Self::Replay(replay) => replay.run(uploads).await,
            Self::Serve(serve) => serve.run().await,
            Self::Schedules(schedules) => schedules.run().await,
            Self::Openapi(openapi) => openapi.run(),
            Self::Token(token) => token.run(),
            Self::Export(export) => export.run().await,
            Self::State(state) => state.run().await,
            Self::Deploy(deploy) => deploy.run(uploads).await,
            Self::Modules(modules) => modules.run().await,
            Self::Migrate(migrate) => migrate.run().await,
            Self::New(new) => new.run(),
            Self::Build(build) => build.run(),
            Self::Bench(bench) => bench.run().await,
        }
    }

    /// Where the data is that it works on; nothing if it has its own, or none.
    fn db(&self) -> Option<&Db> {
        Some(match self {
            Self::Run(it) => it.db(),
            Self::Start(it) => it.db(),
            Self::Wait(it) => it.db(),
            Self::RaiseEvent(it) => it.db(),
            Self::Cancel(it) => it.db(),
            Self::Terminate(it) => it.db(),
            Self::Suspend(it) => it.db(),
            Self::Resume(it) => it.db(),
            Self::Query(it) => it.db(),
            Self::Update(it) => it.db(),
            Self::Rerun(it) => it.db(),
            Self::Purge(it) => it.db(),
            Self::List(it) => it.db(),
            Self::Show(it) => it.db(),
            Self::Why(it) => it.db(),
            Self::History(it) => it.db(),
            Self::Logs(it) => it.db(),
            Self::Watch(it) => it.db(),
            Self::Replay(it) => return it.db(),
            Self::Export(it) => it.db(),
            Self::State(it) => it.db(),
            Self::Schedules(it) => it.db(),
            Self::Deploy(it) => it.db(),
            Self::Modules(it) => it.db(),
            Self::Migrate(it) => it.db(),
            Self::Serve(_)
            | Self::Openapi(_)
            | Self::Token(_)
            | Self::New(_)
            | Self::Build(_)
            | Self::Bench(_) => return None,
        })
    }

    /// What a caller has to be allowed who has a running host carry it out, as the routes of the
    /// API ask for it.
    fn scope(&self) -> Scope {
        match self {
            Self::Query(_)
            | Self::List(_)
            | Self::Show(_)
            | Self::Why(_)
            | Self::History(_)
            | Self::Logs(_)
            | Self::Watch(_)
            | Self::Replay(_)
            | Self::Export(_) => Scope::Read,
            Self::Run(_)
            | Self::Start(_)
            | Self::Wait(_)
            | Self::RaiseEvent(_)
            | Self::Cancel(_)
            | Self::Terminate(_)
            | Self::Suspend(_)
            | Self::Resume(_)
            | Self::Update(_)
            | Self::Rerun(_)
            | Self::Purge(_) => Scope::Operate,
            Self::State(state) => state.scope(),
            Self::Schedules(schedules) => schedules.scope(),
            Self::Modules(modules) => modules.scope(),
            Self::Deploy(_)
            | Self::Migrate(_)
            | Self::Serve(_)
            | Self::Openapi(_)
            | Self::Token(_)
            | Self::New(_)
            | Self::Build(_)
            | Self::Bench(_) => Scope::Deploy,
        }
    }

    /// Whether it waits for what an instance does.
    fn drives(&self) -> bool {
        matches!(
            self,
            Self::Run(_) | Self::Wait(_) | Self::Rerun(_) | Self::Update(_)
        )
    }

    /// Whether a running host can carry it out as it was given.
    fn check_served(&self) -> Result<(), Failure> {
        let hosting = match self {
            Self::Run(run) => run.hosting()?,
            Self::Wait(wait) => wait.hosting(),
            Self::Update(update) => update.hosting(),
            Self::Rerun(rerun) => rerun.hosting(),
            _ => return Ok(()),
        };
        hosting.check_served()
    }
}

/// Where a data file is if nobody says otherwise.
const DB: &str = "wfhost.redb";

/// The data, for every command that needs some.
#[derive(Args, Clone, Serialize, Deserialize)]
struct Db {
    /// The data file. A host that serves it carries the command out
    #[arg(
        id = "db",
        long,
        value_name = "FILE",
        env = "WFHOST_DB",
        default_value = DB
    )]
    path: PathBuf,
    /// The running host, instead of a data file: http://HOST:PORT or https://. What WFHOST_TOKEN
    /// holds is its token
    #[arg(long, value_name = "URL", env = "WFHOST_SERVER")]
    server: Option<String>,
}

/// The one instance that a command is about.
#[derive(Args, Clone, Serialize, Deserialize)]
struct Target {
    /// The instance
    id: InstanceId,
    #[command(flatten)]
    db: Db,
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
    fn open(&self) -> Result<Opened, Error> {
        self.open_with(hosting::at_rest())
    }

    /// Opens a data file that must be there.
    fn open_with(&self, options: Options) -> Result<Opened, Error> {
        match terminal::Caller::get() {
            Some(caller) => Ok(Opened::Served(caller.host)),
            None => waiting(|| Host::open_existing(&self.path, options.clone())).map(Opened::own),
        }
    }

    /// Opens a data file for modules that were [checked](check), and makes it if it is not there.
    fn open_for(&self, checked: &Checked, options: Options) -> Result<Opened, Error> {
        match terminal::Caller::get() {
            Some(caller) => Ok(Opened::Served(caller.host)),
            None => {
                waiting(|| Host::open_for(&self.path, checked, options.clone())).map(Opened::own)
            }
        }
    }

    /// Whether there is data already.
    fn exists(&self) -> bool {
        terminal::Caller::get().is_some() || self.path.exists()
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
enum Opened {
    /// Of this process, until the command ends.
    Own(Box<Host>),
    /// It serves, and drives all instances.
    Served(Arc<Host>),
}

impl Opened {
    fn own(host: Host) -> Self {
        Self::Own(Box::new(host))
    }

    /// The host that serves.
    fn served(&self) -> Option<&Arc<Host>> {
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
async fn check(uploads: Vec<Upload>, options: &Options) -> Result<Checked, Error> {
    match terminal::Caller::get() {
        Some(caller) => caller.host.check_here(uploads).await,
        None => Host::check(uploads, options),
    }
}

/// What a person does next to see an instance go on: somebody else drives it where it is served.
fn next_step() -> &'static str {
    match terminal::Caller::get() {
        Some(_) => "follow it with",
        None => "drive it with",
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
    let result = runtime.block_on(Call::carry_out(cli.command));
    // An attempt that does not heed its stop flag must not keep the process.
    runtime.shutdown_background();
    leave(result)
}

fn leave(result: Result<Exit, Failure>) -> ExitCode {
    ExitCode::from(ended(result) as u8)
}

/// How a command ended; says why if it could not do what it was asked.
fn ended(result: Result<Exit, Failure>) -> Exit {
    result.unwrap_or_else(|failure| {
        terminal::fail(&failure.message);
        failure.exit
    })
}

/// Closes a data file that nothing was driven on, and leaves with `result`.
async fn close(host: Opened, result: Result<Exit, Failure>) -> Result<Exit, Failure> {
    let Opened::Own(host) = host else {
        return result;
    };
    let closed = host.close().await;
    let exit = result?;
    closed?;
    Ok(exit)
}

/// A command that could not do what it was asked.
struct Failure {
    exit: Exit,
    message: String,
    /// Another process has the data file.
    in_use: bool,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            in_use: false,
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
        Self {
            in_use: matches!(error, Error::Open(OpenError::InUse { .. })),
            ..Self::new(exit, chain(&error))
        }
    }
}

impl From<wfhost_store::Error> for Failure {
    fn from(error: wfhost_store::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<Mistake> for Failure {
    fn from(mistake: Mistake) -> Self {
        Self::usage(mistake.to_string())
    }
}

impl From<BrokenHistory> for Failure {
    fn from(error: BrokenHistory) -> Self {
        Self::new(Exit::Host, error.to_string())
    }
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
