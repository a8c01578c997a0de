//! `wfhost run`: start an instance or go on with one, and show it as it happens.

use clap::Args;
use serde::{Deserialize, Serialize};
use wfhost_core::{Instance, InstanceId, Json};

use super::follow::Show;
use super::hosting::Hosting;
use super::start::{Found, Ready, Starting, deploy};
use super::terminal::Caller;
use super::wait::{Driving, Showing, Signals, attend};
use super::watch::{self, Watched, swapping};
use super::{Db, Exit, Failure, find, say};
use crate::error::Error;
use crate::host::{Host, Upload};

/// Run a workflow to its end, durably
///
/// Deploys the modules given, starts an instance and shows it as it happens on stderr; the result,
/// JSON alone, goes to stdout. Everything shown is on disk: whatever stops the process, `wfhost run
/// --id ID` goes on where it was. For an instance that has ended it prints the result again.
///
/// Only this instance and what it starts are driven; others in the data file stay as they are.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost run order.wasm --input '{\"Name\":\"Cars\",\"TotalCost\":15000,\"Quantity\":10}'
  wfhost run workflows/order-processing --id order-7 --input @order.json
  wfhost run --id order-7                          go on where it stopped
  wfhost run pay-v2.wasm --id order-7              swap an activity and go on
  wfhost run order.wasm --state 'Cars={\"name\":\"Cars\",\"totalCost\":15000,\"quantity\":3}'
  wfhost run reminder.wasm --skip-time             wait for no timer
  wfhost run fetch.wasm --allow-host api.example.com
  wfhost run --watch workflows/order-processing --input @order.json

Exit status: 0 completed, 1 the workflow failed or was cancelled or terminated, 2 usage or bad
input, 3 the instance is stalled or suspended, 4 the host failed (file, disk), 130 interrupted.")]
pub(super) struct Run {
    #[command(flatten)]
    starting: Starting,
    /// Build and deploy again what changes in this folder while it runs: a Cargo package, or a
    /// folder of packages and .wasm files. The instance goes along if the new code does the same in
    /// the turns that it has taken. Deployed first if there is no PATH
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    watch: Option<std::path::PathBuf>,
    #[command(flatten)]
    showing: Showing,
    #[command(flatten)]
    #[serde(skip)]
    hosting: Hosting,
}

impl Run {
    pub(super) fn db(&self) -> &Db {
        &self.starting.db
    }

    pub(super) fn hosting(&self) -> Result<&Hosting, Failure> {
        match &self.watch {
            None => Ok(&self.hosting),
            Some(_) => Err(Failure::usage(
                "--watch is for a host that the command starts itself; `wfhost serve --watch` has a \
                 running host look at a folder",
            )),
        }
    }

    pub(super) fn read(&mut self) -> Result<Vec<Upload>, Failure> {
        self.starting.paths = watch::paths(&self.starting.paths, self.watch.as_deref())?;
        self.starting.read(self.showing.quiet)
    }

    pub(super) async fn run(self, uploads: Vec<Upload>) -> Result<Exit, Failure> {
        let mut signals = Signals::listen();
        let (options, skipping) = self.hosting.options();
        // Modules are compiled here, which takes its time.
        let opening = self.starting.open(uploads, options);
        let (host, ready) = tokio::select! {
            opened = opening => opened?,
            () = signals.recv() => {
                say(format_args!("interrupted; nothing was started"));
                return Ok(Exit::Interrupted);
            }
        };
        let id = match self.starting.choose_id(&host, &ready) {
            Ok(id) => id,
            Err(failure) => return super::close(host, Err(failure)).await,
        };
        let go_on = self.starting.db.command(&format!("run --id={id}"));
        let watched = self.watch.as_deref().map(Watched::new).transpose();
        let mut watched = match watched {
            Ok(watched) => watched,
            Err(failure) => return super::close(host, Err(failure)).await,
        };
        let driven = async |host: &Host| {
            tokio::select! {
                driven = self.on(host, ready, &id) => driven,
                () = swapping(watched.as_mut(), host) => unreachable!("it watches without end"),
            }
        };
        attend(host, signals, &skipping, &go_on, driven).await
    }

    async fn on(&self, host: &Host, ready: Ready, id: &InstanceId) -> Result<Exit, Failure> {
        let driving = Driving {
            host,
            db: &self.starting.db,
            showing: self.showing,
        };
        let mut show = Show::new(&driving, std::slice::from_ref(id));
        if Caller::get().is_none() {
            self.mention_others(host, id).await?;
        }
        match self.starting.find(host, id, ready.input.as_ref()).await? {
            Found::Kept { instance, repeated } => {
                let used = self.starting.uses(&instance) && !repeated;
                if !used {
                    self.check_same(&instance, ready.input.as_ref())?;
                }
                show.prime(id).await?;
                if used {
                    let request = self.starting.prepare(host, ready, id).await?;
                    host.begin(request).await?;
                } else {
                    deploy(host, ready.checked).await?;
                    self.mention_left_out();
                }
                show.go_on(id).await?;
            }
            Found::Free => {
                let starting = &self.starting;
                let only_goes_on = ready.checked.is_none() && starting.workflow.is_none();
                if only_goes_on && host.has_instance(id).await? {
                    return Err(Failure::usage(format!(
                        "to start `{id}` anew, say what to start: a PATH or --workflow"
                    )));
                }
                if only_goes_on && ready.input.is_none() {
                    return Err(Error::NoSuchInstance { id: id.clone() }.into());
                }
                let request = starting.prepare(host, ready, id).await?;
                host.begin(request).await?;
            }
        }
        show.follow(id).await
    }

    /// An id names one instance: the same call goes on with it, another is refused.
    fn check_same(&self, instance: &Instance, input: Option<&Json>) -> Result<(), Failure> {
        let id = &instance.started().id;
        let other = |what: &str| {
            Failure::usage(format!(
                "the instance `{id}` was started with another {what}; choose another --id, or leave \
                 --{what} out to go on with it"
            ))
        };
        let workflow = self.starting.workflow.as_deref();
        if workflow.is_some_and(|name| name != instance.started().workflow.as_str()) {
            return Err(other("workflow"));
        }
        if input.is_some_and(|input| input.value() != instance.first_input().value()) {
            return Err(other("input"));
        }
        Ok(())
    }

    fn mention_left_out(&self) {
        for flag in self.starting.for_a_new_one() {
            say(format_args!("{flag} is for a new instance; it is left out"));
        }
    }

    async fn mention_others(&self, host: &Host, id: &InstanceId) -> Result<(), Failure> {
        let page = host.find(&find::unfinished()).await?;
        let ours = find::descendants(host, id).await?;
        let is_ours = |it: &InstanceId| it == id || ours.iter().any(|row| row.id == *it);
        let others = page.rows.iter().filter(|row| !is_ours(&row.id)).count();
        let more = page.next.map_or("", |_| "more than ");
        if others > 0 && !self.showing.quiet {
            let (are, s, they) = match others {
                1 => ("is", "", "it is"),
                _ => ("are", "s", "they are"),
            };
            let list = self.starting.db.command("list");
            say(format_args!(
                "there {are} {more}{others} other unfinished instance{s}, left as {they}; see: {list}"
            ));
        }
        Ok(())
    }
}
