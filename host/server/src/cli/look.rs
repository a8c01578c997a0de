//! The commands that only look.

use clap::Args;
use serde_json::json;
use wfhost_core::{Instance, InstanceId, Role};

use super::run::upload;
use super::{Db, Exit, Failure, print, text};
use crate::error::Error;
use crate::host::Host;
use crate::narrate::Narrator;
use crate::view;

/// List the instances of a data file
///
/// One line an instance, in the order of their starts.
#[derive(Args)]
#[command(after_help = "\
Examples:
  wfhost list
  wfhost list --json | jq -r 'select(.status == \"stalled\") | .id'")]
pub(super) struct List {
    #[command(flatten)]
    db: Db,
    /// One JSON object a line, each as `show` prints it
    #[arg(long)]
    json: bool,
}

/// Show one instance: status, input, output, what it waits for
#[derive(Args)]
#[command(after_help = "\
Examples:
  wfhost show order-7
  wfhost show order-7 --json | jq .pending")]
pub(super) struct Show {
    /// The instance
    id: InstanceId,
    #[command(flatten)]
    db: Db,
    /// One JSON object: id, run, workflow, module, status, reason, input, output, failure,
    /// custom_status, parent, tags, created_at, updated_at, turns, pending
    #[arg(long)]
    json: bool,
}

/// Show everything that happened to an instance, in order
#[derive(Args)]
#[command(after_help = "\
Examples:
  wfhost history order-7
  wfhost history order-7 --json | jq 'select(.record == \"attempt\")'")]
pub(super) struct History {
    /// The instance
    id: InstanceId,
    #[command(flatten)]
    db: Db,
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
    /// The instance
    id: InstanceId,
    /// A .wasm file or the folder of a Cargo package to replay on
    path: Option<std::path::PathBuf>,
    #[command(flatten)]
    db: Db,
    /// One JSON object a turn, a line each, then {"same", "turns", "module", "reason"}
    #[arg(long)]
    json: bool,
}

/// List the modules of a data file and what they offer
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

impl List {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.db.open_existing()?;
        let rows = host.list().await?;
        if !self.json && !rows.is_empty() {
            print(&format!(
                "{:<24} {:<10} {:>6}  {:<24}  WORKFLOW",
                "ID", "STATUS", "TURNS", "CREATED"
            ))?;
        }
        for row in rows {
            if self.json {
                let instance = host.instance(&row.id).await?;
                print(&view::instance(&instance).to_string())?;
                continue;
            }
            let why = row
                .reason
                .as_ref()
                .map(|reason| format!(": {}", reason.text))
                .unwrap_or_default();
            print(&format!(
                "{:<24} {:<10} {:>6}  {:<24}  {}{}",
                row.id.as_str(),
                row.status.as_str(),
                row.turns,
                row.created_at.to_string(),
                row.workflow,
                why.lines().next().unwrap_or_default(),
            ))?;
        }
        close(host, Exit::Ok).await
    }
}

impl Show {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.db.open_existing()?;
        let instance = host.instance(&self.id).await?;
        if self.json {
            print(&view::instance(&instance).to_string())?;
        } else {
            for line in describe(&instance) {
                print(&line)?;
            }
        }
        close(host, Exit::Ok).await
    }
}

fn describe(instance: &Instance) -> Vec<String> {
    let started = instance.started();
    let mut lines = vec![
        format!("{}  {}", started.id, instance.status().as_str()),
        format!("  workflow    {}", started.workflow),
        format!("  module      {}", instance.module()),
        format!("  run         {}", started.run),
        format!("  created at  {}", started.created_at),
        format!("  updated at  {}", instance.updated_at()),
        format!("  turns       {}", instance.turns()),
        format!("  input       {}", instance.first_input()),
    ];
    if let Some(parent) = &started.parent {
        lines.push(format!("  parent      {}", parent.id));
    }
    for (key, value) in &started.tags {
        lines.push(format!("  tag         {key}={value}"));
    }
    if let Some(status) = instance.custom_status() {
        lines.push(format!("  shows       {status}"));
    }
    if let Some(output) = instance.output() {
        lines.push(format!("  output      {output}"));
    }
    if let Some(failure) = instance.failure() {
        lines.push(format!(
            "  failure     {}: {}",
            failure.kind, failure.message
        ));
    }
    if let Some(reason) = instance.stall() {
        lines.push(format!("  stalled     {reason}"));
    }
    for line in text::pending(instance) {
        lines.push(format!("  waits for   {line}"));
    }
    lines
}

impl History {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.db.open_existing()?;
        let mut narrator = Narrator::default();
        host.history(&self.id, |record| {
            let told = narrator.next(&record)?;
            if self.json {
                return print(&Narrator::view(&told, &record).to_string());
            }
            text::history(&record, &told)
                .iter()
                .try_for_each(|line| print(line))
        })?;
        close(host, Exit::Ok).await
    }
}

impl Replay {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let on = self
            .path
            .as_deref()
            .map(|path| upload(path, false))
            .transpose()?;
        let host = self.db.open_existing()?;
        let replayed = host.replay(&self.id, on).await?;
        if self.json {
            self.print_turns(&host, replayed.turns)?;
            let row = json!({
                "same": replayed.stray.is_none(),
                "turns": replayed.turns,
                "module": replayed.module.to_string(),
                "reason": replayed.stray.as_ref().map(view::reason),
            });
            print(&row.to_string())?;
        } else {
            match &replayed.stray {
                None if replayed.turns == 0 => {
                    print("there is nothing to compare: it has taken no turn")?;
                }
                None => print(&format!(
                    "the same: {}",
                    text::count(replayed.turns, "turn")
                ))?,
                Some(stray) => {
                    let turns = text::count(replayed.turns, "turn");
                    print(&format!("not the same; before that, {turns} the same"))?;
                    print(&stray.to_string())?;
                }
            }
        }
        close(
            host,
            if replayed.stray.is_none() {
                Exit::Ok
            } else {
                Exit::Failed
            },
        )
        .await
    }

    /// The turns that were the same.
    fn print_turns(&self, host: &Host, turns: u64) -> Result<(), Failure> {
        let mut narrator = Narrator::default();
        host.history(&self.id, |record| {
            let told = narrator.next(&record)?;
            match &told {
                crate::Told::Turn(past) if past.number <= turns => {
                    print(&view::turn(past).to_string())
                }
                _ => Ok(()),
            }
        })
    }
}

impl Modules {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.db.open_existing()?;
        let bindings = host.bindings()?;
        for info in host.modules()? {
            let bound = |role: Role, name: &wfhost_core::Name| {
                bindings
                    .iter()
                    .any(|it| (it.0, &it.1, it.2) == (role, name, info.digest))
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
        close(host, Exit::Ok).await
    }
}

async fn close(host: Host, exit: Exit) -> Result<Exit, Failure> {
    host.close()
        .await
        .map_err(|error: Error| Failure::from(error))?;
    Ok(exit)
}
