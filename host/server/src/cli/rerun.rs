//! `wfhost rerun`: a new instance that does again what another did.

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wfhost_core::record::Record;
use wfhost_core::{InstanceId, TaskState};

use super::follow::Show;
use super::hosting::{self, Hosting};
use super::wait::{Driving, Showing, Signals, attend};
use super::{Db, Exit, Failure, Target, close, instance, next_step, print, say};
use crate::host::Host;
use crate::narrate::Narrator;
use crate::start;
use crate::starting::RerunRequest;

/// Do again what an instance did, as a new instance
///
/// From its input, on the module that its workflow's name means now; or with --from-turn from one
/// of its turns on, with the turns before it taken over as they were. Those write nothing to the
/// state store again; what was open at that turn, activities, children and events to others, is
/// begun anew. The old instance stays as it is.
///
/// Prints the new instance's id, which `wfhost wait ID` drives; with --wait its result instead.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost rerun order-7
  wfhost rerun order-7 --from-turn 3 --current-module --id order-7b --wait
  wfhost history order-7 --json | jq 'select(.record == \"turn\") | .number'

Exit status: 0 it is started, or completed with --wait; then also 1 it failed, 3 it is stalled or
suspended; 2 usage, 4 the host failed, 130 interrupted.")]
pub(super) struct Rerun {
    #[command(flatten)]
    target: Target,
    /// The first turn that is taken anew, from 1; `wfhost history ID` shows them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    from_turn: Option<u64>,
    /// The new instance's id; a random one if left out
    #[arg(long = "id", value_name = "ID")]
    new_id: Option<InstanceId>,
    /// Go on with the module that the workflow's name means now; its code must do the same in the
    /// turns that are taken over
    #[arg(long, requires = "from_turn")]
    current_module: bool,
    /// Drive it, and print its result
    #[arg(long)]
    wait: bool,
    /// Print {"id"} instead of the id; with --wait all that happens, as `wfhost wait --json` does
    #[arg(long)]
    json: bool,
    /// Show nothing while it runs
    #[arg(long, short, requires = "wait")]
    quiet: bool,
    #[command(flatten)]
    #[serde(skip)]
    hosting: Hosting,
}

impl Rerun {
    pub(super) fn hosting(&self) -> &Hosting {
        &self.hosting
    }

    pub(super) fn db(&self) -> &Db {
        &self.target.db
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let db = &self.target.db;
        if !self.wait {
            let host = db.open_with(hosting::at_rest())?;
            let started = self.start(&host).await;
            return close(host, started).await;
        }
        let signals = Signals::listen();
        let (options, skipping) = self.hosting.options();
        let host = db.open_with(options)?;
        // Known before it starts, so that all of it is seen and can be gone on with.
        let id = self.new_id.clone().unwrap_or_else(start::random_id);
        let go_on = db.about("wait", &id);
        let driven = async |host: &Host| self.drive(host, &id).await;
        attend(host, signals, &skipping, &go_on, driven).await
    }

    async fn start(&self, host: &Host) -> Result<Exit, Failure> {
        let id = self.rerun(host, self.new_id.clone()).await?;
        let wait = self.target.db.about("wait", &id);
        say(format_args!("{}: {wait}", next_step()));
        print(&if self.json {
            json!({ "id": id.as_str() }).to_string()
        } else {
            id.to_string()
        })?;
        Ok(Exit::Ok)
    }

    async fn drive(&self, host: &Host, id: &InstanceId) -> Result<Exit, Failure> {
        let driving = Driving {
            host,
            db: &self.target.db,
            showing: Showing {
                json: self.json,
                quiet: self.quiet,
            },
        };
        let mut show = Show::new(&driving, std::slice::from_ref(id));
        self.rerun(host, Some(id.clone())).await?;
        show.follow(id).await
    }

    async fn rerun(&self, host: &Host, new: Option<InstanceId>) -> Result<InstanceId, Failure> {
        let Target { id, .. } = &self.target;
        let begun_anew = match self.from_turn {
            Some(turn) => open_before(host, id, turn)?,
            None => Vec::new(),
        };
        let request = RerunRequest {
            from_turn: self.from_turn,
            id: new,

            current_module: self.current_module,
            trace: None,
        };
        let new = host.rerun(id, request).await?;
        match self.from_turn {
            Some(turn) => say(format_args!(
                "`{new}` does again what `{id}` did from turn {turn} on"
            )),
            None => say(format_args!("`{new}` does again what `{id}` did")),
        }
        if !begun_anew.is_empty() {
            say(format_args!("open at that turn, so begun a second time:"));
            for task in begun_anew {
                say(format_args!("  {task}"));
            }
        }
        Ok(new)
    }
}

/// What reaches beyond the instance and was open just before a turn.
fn open_before(host: &Host, id: &InstanceId, turn: u64) -> Result<Vec<String>, Failure> {
    let mut narrator = Narrator::default();
    let mut open = Vec::new();
    host.history(id, |record| {
        let is_turn = matches!(record.original(), Record::Turn(_));
        if let Some(instance) = narrator.instance()
            && is_turn
            && instance.turns() + 1 == turn
        {
            let tasks = instance.tasks().iter();
            let reaching = tasks.filter(|(_, task)| match task.state {
                TaskState::Activity { .. } | TaskState::Child { .. } | TaskState::Raise { .. } => {
                    true
                }
                TaskState::Timer { .. } | TaskState::Event { .. } => false,
            });
            open = reaching
                .map(|(id, task)| instance::task(*id, task))
                .collect();
        }
        narrator.next(&record)?;
        Ok::<_, Failure>(())
    })?;
    Ok(open)
}
