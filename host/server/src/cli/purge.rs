//! `wfhost purge`: ended instances are let go.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wfhost_core::InstanceId;
use wfhost_store::Query;

use super::find::{self, Filter};
use super::{Db, Exit, Failure, args, close, print, say, text};
use crate::asking::Children;
use crate::error::Error;
use crate::host::Host;

/// Remove instances that have ended
///
/// Their histories are gone, and their ids are free. Takes ids, or filters that must all fit; one
/// that has not ended is refused if it is named, and left if it is not. Prints the ids of those who
/// are gone, a line each.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost purge order-7 --children
  wfhost purge --status completed --older-than 30d --dry-run
  wfhost purge --tag team=billing --older-than 1h

Exit status: 0 they are gone, or there were none, 2 usage, there is no such instance or one has not
ended, 4 the host failed.")]
pub(super) struct Purge {
    /// The instances
    #[arg(value_name = "ID")]
    ids: Vec<InstanceId>,
    /// Their children too, and theirs; all must have ended
    #[arg(long, requires = "ids")]
    children: bool,
    #[command(flatten)]
    filter: Filter,
    /// To which nothing has happened for so long: 90s, 2h, 30d
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    older_than: Option<Duration>,
    /// Remove nothing, only print who would be gone
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    db: Db,
    /// Print {"id"} instead of the id
    #[arg(long)]
    json: bool,
}

impl Purge {
    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        self.check()?;
        let host = self.db.open()?;
        let purged = self.on(&host).await;
        close(host, purged).await
    }

    fn check(&self) -> Result<(), Failure> {
        let filters = !self.filter.is_empty() || self.older_than.is_some();
        if self.ids.is_empty() != filters {
            return Err(Failure::usage(if filters {
                "give ids or filters, not both"
            } else {
                "which instances? give their ids, or at least one of --workflow, --status, --tag and \
                 --older-than"
            }));
        }
        let unfinished = self.filter.status.iter().find(|it| !it.has_ended());
        match unfinished {
            Some(status) => Err(Failure::usage(format!(
                "--status {}: only what has ended can be purged; terminate it first",
                status.as_str()
            ))),
            None => Ok(()),
        }
    }

    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let gone = match (self.ids.is_empty(), self.dry_run) {
            (true, true) => host.purgeable(self.query()).await?,
            (true, false) => host.purge_all(self.query()).await?,
            (false, dry_run) => {
                let named = self.named(host).await?;
                if !dry_run {
                    for id in &named {
                        host.purge(id, Children::Not).await?;
                    }
                }
                named
            }
        };
        for id in &gone {
            print(&if self.json {
                json!({ "id": id.as_str() }).to_string()
            } else {
                id.to_string()
            })?;
        }
        let count = text::count(gone.len() as u64, "instance");
        say(format_args!(
            "{}",
            match self.dry_run {
                true => format!("{count} would be purged; nothing was changed"),
                false => format!("{count} purged"),
            }
        ));
        Ok(Exit::Ok)
    }

    fn query(&self) -> Query {
        let mut query = self.filter.query();
        query.updated_before = self.older_than.map(args::before);
        query
    }

    /// Those that are named, and their children if they are asked for; children first, so that none
    /// is left behind if this is cut off. All have ended.
    async fn named(&self, host: &Host) -> Result<Vec<InstanceId>, Error> {
        let mut seen = BTreeSet::new();
        let mut named = Vec::new();
        for id in &self.ids {
            let mut family = vec![(id.clone(), host.instance(id).await?.status())];
            if self.children {
                let children = find::descendants(host, id).await?;
                family.extend(children.into_iter().map(|row| (row.id, row.status)));
            }
            for (id, status) in family.into_iter().rev() {
                if !status.has_ended() {
                    return Err(Error::NotEnded { id, status });
                }
                if seen.insert(id.clone()) {
                    named.push(id);
                }
            }
        }
        Ok(named)
    }
}
