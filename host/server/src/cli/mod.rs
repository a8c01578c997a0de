//! The command line. Results go to stdout, everything else to stderr.

mod args;
mod ask;
mod bench;
mod build;
mod call;
mod code_cache;
mod command;
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
mod place;
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

use std::process::ExitCode;

use clap::builder::{OsStr, Resettable};
use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use wfhost_core::BrokenHistory;
use wfhost_store::OpenError;

use crate::config::Mistake;
use crate::error::{Error, chain};
use call::Call;
use command::Command;
use place::{DB, Db, Opened, Target, check, next_step, waiting};
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

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = parse();
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

/// Reads the arguments. A data file that is named there wins over a host that the environment names.
fn parse() -> Cli {
    let names_file = |argument: String| argument == "--db" || argument.starts_with("--db=");
    let mut given = std::env::args_os().filter_map(|it| it.into_string().ok());
    let mut command = Cli::command();
    if given.any(names_file) {
        command = without_server(command);
    }
    let matches = command.get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The command, and those below it, without what names a host in the environment.
fn without_server(command: clap::Command) -> clap::Command {
    let names: Vec<_> = command
        .get_subcommands()
        .map(|it| it.get_name().to_owned())
        .collect();
    let command = command.mut_args(|arg| match arg.get_id() == "server" {
        true => arg.env(Resettable::<OsStr>::Reset),
        false => arg,
    });
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, without_server)
    })
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
