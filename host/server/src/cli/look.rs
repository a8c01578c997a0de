//! The commands that only look.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Db, Exit, Failure, Target, close, instance, print, text};
use crate::host::Host;
use crate::narrate::Narrator;
use crate::view;

/// Show one instance: status, input, output, what it waits for
///
/// As it stands now. `wfhost why ID` says what moves it on, `wfhost history ID` how it came here.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost show order-7
  wfhost show order-7 --json | jq .pending")]
pub(super) struct Show {
    #[command(flatten)]
    target: Target,
    /// One JSON object: id, run, workflow, module, status, reason, input, output, failure,
    /// custom_status, parent, tags, suspended, begins_at, reruns, trace, created_at, updated_at, turns,
    /// pending, open_updates, unread_events
    #[arg(long)]
    json: bool,
}

/// Show everything that happened to an instance, in order
///
/// Every input, turn, attempt, log line and write, from the generation before the current one on:
/// what came before is not kept.
#[derive(Args, Clone, Serialize, Deserialize)]
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

impl Show {
    pub(super) fn db(&self) -> &Db {
        &self.target.db
    }

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
    pub(super) fn db(&self) -> &Db {
        &self.target.db
    }

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
