//! All commands, and what holds for each of them.

use std::path::Path;

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::place::Db;
use super::{
    Exit, Failure, ask, bench, build, deploy, export, find, live, logs, look, migrate, modules,
    new, openapi, purge, query, replay, rerun, run, schedules, serve, start, state, token, wait,
    why,
};
use crate::host::Upload;
use crate::serve::Scope;

#[derive(Subcommand, Clone, Serialize, Deserialize)]
pub(super) enum Command {
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
    pub(super) fn read(&mut self) -> Result<Vec<Upload>, Failure> {
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

    pub(super) async fn run(self, uploads: Vec<Upload>) -> Result<Exit, Failure> {
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
    pub(super) fn db(&self) -> Option<&Db> {
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
    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::Query(_)
            | Self::List(_)
            | Self::Show(_)
            | Self::Why(_)
            | Self::History(_)
            | Self::Logs(_)
            | Self::Watch(_)
            | Self::Wait(_)
            | Self::Replay(_)
            | Self::Export(_) => Scope::Read,
            Self::Run(_)
            | Self::Start(_)
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

    /// Whether it says itself what becomes of it on Ctrl-C.
    pub(super) fn heeds_signals(&self) -> bool {
        matches!(
            self,
            Self::Run(_)
                | Self::Wait(_)
                | Self::Rerun(_)
                | Self::Update(_)
                | Self::Serve(_)
                | Self::Bench(_)
        )
    }

    /// Whether it waits for what an instance does.
    pub(super) fn drives(&self) -> bool {
        matches!(
            self,
            Self::Run(_) | Self::Wait(_) | Self::Rerun(_) | Self::Update(_)
        )
    }

    /// Whether a running host can carry it out as it was given. What is refused here does not travel,
    /// so that the host need not look again.
    pub(super) fn check_served(&self) -> Result<(), Failure> {
        let hosting = match self {
            Self::Run(run) => run.hosting()?,
            Self::Wait(wait) => wait.hosting(),
            Self::Update(update) => update.hosting(),
            Self::Rerun(rerun) => rerun.hosting(),
            _ => return Ok(()),
        };
        hosting.check_served()
    }

    /// The file that it writes where it was called, if it writes one.
    pub(super) fn output(&self) -> Option<&Path> {
        match self {
            Self::Export(export) => Some(export.output()),
            Self::Modules(modules) => modules.output(),
            _ => None,
        }
    }
}
