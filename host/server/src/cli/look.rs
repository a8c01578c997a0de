//! The commands that only look.

use clap::Args;
use serde_json::json;
use wfhost_core::Role;

use super::{Db, Exit, Failure, Target, close, instance, print, text};
use crate::host::{Host, Upload};
use crate::narrate::{Narrator, Told};
use crate::package::upload;
use crate::replay::Replayed;
use crate::view;

/// Show one instance: status, input, output, what it waits for
///
/// As it stands now. `wfhost why ID` says what moves it on, `wfhost history ID` how it came here.
#[derive(Args)]
#[command(after_help = "\
Examples:
  wfhost show order-7
  wfhost show order-7 --json | jq .pending")]
pub(super) struct Show {
    #[command(flatten)]
    target: Target,
    /// One JSON object: id, run, workflow, module, status, reason, input, output, failure,
    /// custom_status, parent, tags, suspended, begins_at, reruns, created_at, updated_at, turns,
    /// pending, open_updates, unread_events
    #[arg(long)]
    json: bool,
}

/// Show everything that happened to an instance, in order
///
/// Every input, turn, attempt, log line and write, from the generation before the current one on:
/// what came before is not kept.
#[derive(Args)]
#[command(after_help = "\
Examples:
  wfhost history order-7
  wfhost history order-7 --json | jq 'select(.record == \"attempt\")'")]
pub(super) struct History {
    #[command(flatten)]
    target: Target,
    /// One JSON object a record, a line each; a turn has number, at, inputs, commands, state,
    /// step, log
    #[arg(long)]
    json: bool,
}

/// Run an instance's history again in the sandbox, without effects
///
/// Says whether the code does the same again. With PATH it runs on that module instead of the
/// instance's own: does new code follow an old history? Nothing is changed either way.
#[derive(Args)]
#[command(after_help = "\
Examples:
  wfhost replay order-7
  wfhost replay order-7 order-v2.wasm

Exit status: 0 the same, 1 not the same.")]
pub(super) struct Replay {
    #[command(flatten)]
    target: Target,
    /// A .wasm file or the folder of a Cargo package to replay on
    path: Option<std::path::PathBuf>,
    /// One JSON object a turn, a line each, then {"same", "turns", "module", "reason"}
    #[arg(long)]
    json: bool,
}

/// List the modules of a data file and what they offer
///
/// In the order of their first deployment. A name that several offer means the newest; instances
/// keep the workflow's module that they started with.
#[derive(Args)]
#[command(after_help = "\
Examples:
  wfhost modules
  wfhost modules --json | jq -r .digest")]
pub(super) struct Modules {
    #[command(flatten)]
    db: Db,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.target.db.open()?;
        let shown = self.on(&host).await;
        close(host, shown).await
    }

    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let shown = host.instance(&self.target.id).await?;
        if self.json {
            print(&view::instance(&shown).to_string())?;
        } else {
            let lines = instance::describe(&shown);
            lines.iter().try_for_each(|line| print(line))?;
        }
        Ok(Exit::Ok)
    }
}

impl History {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.target.db.open()?;
        let shown = self.on(&host);
        close(host, shown).await
    }

    fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let mut narrator = Narrator::default();
        host.history(&self.target.id, |record| {
            let told = narrator.next(&record)?;
            if self.json {
                return print(&Narrator::view(&told, &record).to_string());
            }
            let lines = text::history(&record, &told);
            lines.iter().try_for_each(|line| print(line))
        })?;
        Ok(Exit::Ok)
    }
}

impl Replay {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let module = self.path.as_deref();
        let module = module.map(|path| upload(path, false)).transpose()?;
        let host = self.target.db.open()?;
        let replayed = self.on(&host, module).await;
        close(host, replayed).await
    }

    async fn on(&self, host: &Host, module: Option<Upload>) -> Result<Exit, Failure> {
        let replayed = host.replay(&self.target.id, module).await?;
        if self.json {
            self.print_turns(host, replayed.turns)?;
            let row = json!({
                "same": replayed.stray.is_none(),
                "turns": replayed.turns,
                "module": replayed.module.to_string(),
                "reason": replayed.stray.as_ref().map(view::reason),
            });
            print(&row.to_string())?;
        } else {
            print(&verdict(&replayed))?;
        }
        Ok(match replayed.stray {
            None => Exit::Ok,
            Some(_) => Exit::Failed,
        })
    }

    /// The turns that were the same.
    fn print_turns(&self, host: &Host, turns: u64) -> Result<(), Failure> {
        let mut narrator = Narrator::default();
        host.history(&self.target.id, |record| {
            let told = narrator.next(&record)?;
            match &told {
                Told::Turn(past) if past.number <= turns => print(&view::turn(past).to_string()),
                _ => Ok(()),
            }
        })
    }
}

fn verdict(replayed: &Replayed) -> String {
    let turns = text::count(replayed.turns, "turn");
    match &replayed.stray {
        None if replayed.turns == 0 => "there is nothing to compare: it has taken no turn".into(),
        None => format!("the same: {turns}"),
        Some(stray) => format!("not the same; before that, {turns} the same\n{stray}"),
    }
}

impl Modules {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.db.open()?;
        let listed = self.on(&host);
        close(host, listed).await
    }

    fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let bindings = host.bindings()?;
        for info in host.modules()? {
            let bound = |role: Role, name: &wfhost_core::Name| {
                bindings
                    .iter()
                    .filter(|it| (it.0, &it.1) == (role, name))
                    .any(|it| it.2.modules().any(|(module, _)| module == info.digest))
            };
            if self.json {
                print(&view::module(&info, bound).to_string())?;
                continue;
            }
            print(&format!(
                "{}  {}  {} bytes, deployed {}",
                info.digest, info.label, info.bytes, info.deployed_at
            ))?;
            for (role, name) in info.offers() {
                let current = if bound(role, name) {
                    ""
                } else {
                    "  (another module has it now)"
                };
                print(&format!("  {:<8}  {name}{current}", role.as_str()))?;
            }
        }
        Ok(Exit::Ok)
    }
}
