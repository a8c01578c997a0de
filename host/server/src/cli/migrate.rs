//! `wfhost migrate`: one instance to another module, or back to one of its turns.

use clap::Args;
use serde::{Deserialize, Serialize};
use wfhost_core::reset::Lost;

use super::{Db, Exit, Failure, Target, close, find, print, text};
use crate::host::Host;
use crate::migrate::{MigrateRequest, Migrated, ResetDone, ResetRequest};
use crate::verdict::Verdict;
use crate::view;

/// Move an instance to another module, or back to one of its turns
///
/// The module must be deployed and offer the instance's workflow. Its code takes the turns of the
/// instance again first, without effects: if it does something else, the instance stays where it is
/// and both sides are shown.
///
/// --reset-to TURN gives up that turn and those after it: the instance goes on from there, on the
/// module of --to or on its own. What it did outside, in other instances or in the state store is
/// not undone and may be done again; --dry-run lists it. Events and requests that came since are
/// unread again.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost migrate order-7 --to 9a0b
  wfhost migrate order-7 --to 9a0b --allow-input-changes
  wfhost migrate order-7 --to 9a0b --reset-to 5 --dry-run

Exit status: 0 it is moved, 1 the module does something else: nothing has changed, 2 usage, 4 the
host failed.")]
pub(super) struct Migrate {
    #[command(flatten)]
    target: Target,
    /// The module: its digest, or as much of it as no other has
    #[arg(long, value_name = "DIGEST", required_unless_present = "reset_to")]
    to: Option<String>,
    /// Also if payloads or options differ from those recorded, which stay
    #[arg(long)]
    allow_input_changes: bool,
    /// Give up this turn and those after it; counted from 1, as `wfhost history` shows them
    #[arg(long, value_name = "TURN")]
    reset_to: Option<u64>,
    /// Only say what a reset would give up
    #[arg(long, requires = "reset_to")]
    dry_run: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Migrate {
    pub(super) fn db(&self) -> &Db {
        &self.target.db
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.target.db.open()?;
        let done = self.on(&host).await;
        close(host, done).await
    }

    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let id = &self.target.id;
        let to = self
            .to
            .as_deref()
            .map(|start| find::find_module(host, start));
        let to = to.transpose()?;
        if let Some(to_turn) = self.reset_to {
            let request = ResetRequest {
                to_turn,
                module: to,
                allow_input_changes: self.allow_input_changes,
                dry_run: self.dry_run,
            };
            let done = host.reset(id, request).await?;
            self.tell_reset(&done)?;
        } else {
            let request = MigrateRequest {
                to: to.expect("clap asks for it where there is no turn"),
                allow_input_changes: self.allow_input_changes,
            };
            let done = host.migrate(id, request).await?;
            self.tell_moved(&done)?;
        }
        Ok(Exit::Ok)
    }

    fn tell_moved(&self, done: &Migrated) -> Result<(), Failure> {
        let Migrated { from, to, .. } = done;
        if self.json {
            let row = view::migrated(&self.target.id, done);
            return print(&row.to_string());
        }
        if !done.moved {
            return print(&format!("it runs on {} already", to.short()));
        }
        let turns = text::count(done.turns, "turn");
        print(&format!(
            "moved from {} to {}; compared: {turns}",
            from.short(),
            to.short()
        ))?;
        changed(&done.verdict)
    }

    fn tell_reset(&self, done: &ResetDone) -> Result<(), Failure> {
        if self.json {
            let row = view::reset(&self.target.id, done);
            return print(&row.to_string());
        }
        let turns = text::count(done.lost.turns, "turn");
        match done.run {
            Some(_) => print(&format!(
                "goes on before turn {}; given up: {turns}",
                done.to_turn
            ))?,
            None => print(&format!(
                "would give up {turns}, from turn {} on",
                done.to_turn
            ))?,
        }
        lost_lines(&done.lost)
            .iter()
            .try_for_each(|line| print(line))?;
        changed(&done.verdict)
    }
}

fn changed(verdict: &Verdict) -> Result<(), Failure> {
    match verdict {
        Verdict::Same => Ok(()),
        other => other.to_string().lines().try_for_each(print),
    }
}

/// What was done and may be done again.
fn lost_lines(lost: &Lost) -> Vec<String> {
    let activities = lost.activities.iter().chain(&lost.begun_anew).map(|it| {
        let kind = if it.effectful {
            "effectful"
        } else {
            "contained"
        };
        let end = if it.completed {
            "completed"
        } else {
            "not completed"
        };
        let attempts = text::count(u64::from(it.attempts), "attempt");
        format!("  activity  {} ({kind}, {attempts}, {end})", it.name)
    });
    let children = lost.children.iter().map(|it| {
        let id = it.id.as_ref().map_or("without an id", |id| id.as_str());
        let end = match (it.ended, it.detached) {
            (true, _) => "it has ended",
            (false, true) => "it goes on, detached",
            (false, false) => "it is cancelled",
        };
        format!("  child     {} {id}: {end}", it.workflow)
    });
    let events = lost
        .events
        .iter()
        .map(|it| format!("  event     {} to {}", it.name, it.instance));
    let timers = lost
        .timers
        .iter()
        .map(|it| format!("  timer     for {}", it.fires_at));
    let keys = lost
        .keys_written
        .iter()
        .map(|key| format!("  key       {key} stays as it was written"));
    activities
        .chain(children)
        .chain(events)
        .chain(timers)
        .chain(keys)
        .collect()
}
