//! `wfhost state`: the state store from outside.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wfhost_core::record::{Entry, StateWrite};

use super::{Db, Exit, Failure, args, close, print, say, text};
use crate::entries::StateRequest;
use crate::host::Host;
use crate::serve::Scope;

/// Read and write the state store
#[derive(Subcommand, Clone, Serialize, Deserialize)]
pub(super) enum State {
    Get(Get),
    Set(Set),
    Delete(Delete),
    List(List),
}

/// Print what stands under a key
///
/// The value alone, as it was written. With --json its version too, which `set` and `delete` can
/// ask for.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost state get Cars
  wfhost state get Cars --json | jq .version

Exit status: 0 it is there, 1 there is nothing, 2 usage, 4 the host failed.")]
pub(super) struct Get {
    /// The key
    key: String,
    #[command(flatten)]
    db: Db,
    /// Print {"key", "value", "version"}
    #[arg(long)]
    json: bool,
}

/// Write a value under a key
///
/// A running activity or turn that has read the key runs again on the new value.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost state set Cars '{\"name\":\"Cars\",\"totalCost\":15000,\"quantity\":3}'
  wfhost state set lock '\"ada\"' --if-version 0 --expires-in 1h

Exit status: 0 it is written, 1 the key is at another version, 2 usage or bad input, 4 the host
failed.")]
pub(super) struct Set {
    /// The key: 1 to 1,024 bytes
    key: String,
    /// The value: JSON, @FILE, or - for stdin
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    value: String,
    /// Only over this version; 0: only where there is nothing
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
    /// From then on there is nothing again: 90s, 2h, 30d
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    expires_in: Option<Duration>,
    #[command(flatten)]
    db: Db,
    /// Print {"key", "value", "version"} as it stands then
    #[arg(long)]
    json: bool,
}

/// Remove a key
///
/// One that is not there is no error, unless --if-version says that it must be.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost state delete Cars
  wfhost state delete lock --if-version 412

Exit status: 0 it is not there any more, 1 the key is at another version, 2 usage, 4 the host failed.")]
pub(super) struct Delete {
    /// The key
    key: String,
    /// Only this version
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
    #[command(flatten)]
    db: Db,
    /// Print {"key", "value", "version"}, the last two null
    #[arg(long)]
    json: bool,
}

/// List keys and what stands under them
///
/// In byte order, a page at a time: key, version and value, a line each.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost state list
  wfhost state list stock/ --json | jq -r .key

Exit status: 0 also if there are none, 2 usage, 4 the host failed.")]
pub(super) struct List {
    /// Keys that begin so
    #[arg(default_value = "")]
    prefix: String,
    /// Keys after this one
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    /// So many at most
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    #[command(flatten)]
    db: Db,
    /// One JSON object {"key", "value", "version"} a line
    #[arg(long)]
    json: bool,
}

impl State {
    pub(super) fn db(&self) -> &Db {
        match self {
            Self::Get(Get { db, .. })
            | Self::Set(Set { db, .. })
            | Self::Delete(Delete { db, .. })
            | Self::List(List { db, .. }) => db,
        }
    }

    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::Get(_) | Self::List(_) => Scope::Read,
            Self::Set(_) | Self::Delete(_) => Scope::Operate,
        }
    }

    pub(super) fn read(&mut self) -> Result<(), Failure> {
        match self {
            Self::Set(set) => args::read("the value", &mut set.value),
            Self::Get(_) | Self::Delete(_) | Self::List(_) => Ok(()),
        }
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Get(get) => get.run().await,
            Self::Set(set) => set.run().await,
            Self::Delete(delete) => delete.run().await,
            Self::List(list) => list.run().await,
        }
    }
}

impl Get {
    async fn run(self) -> Result<Exit, Failure> {
        let host = self.db.open()?;
        let got = self.on(&host).await;
        close(host, got).await
    }

    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let Some(entry) = host.state(&self.key).await? else {
            return Err(Failure::new(
                Exit::Failed,
                format!(
                    "there is nothing under the key `{}`; `{}` shows the keys there are",
                    text::plain(&self.key),
                    self.db.command("state list")
                ),
            ));
        };
        print(&if self.json {
            row(&self.key, Some(&entry))
        } else {
            entry.value.to_string()
        })?;
        Ok(Exit::Ok)
    }
}

impl Set {
    async fn run(self) -> Result<Exit, Failure> {
        let value = args::json("the value", &self.value)?;
        let expires_in = self.expires_in.map(args::millis);
        let write = StateWrite {
            key: self.key,
            value: Some(value),
            expires_at: expires_in.map(|wait| args::now().after(wait)),
        };
        write_one(&self.db, write, self.if_version, self.json).await
    }
}

impl Delete {
    async fn run(self) -> Result<Exit, Failure> {
        let write = StateWrite {
            key: self.key,
            value: None,
            expires_at: None,
        };
        write_one(&self.db, write, self.if_version, self.json).await
    }
}

async fn write_one(
    db: &Db,
    write: StateWrite,
    if_version: Option<u64>,
    json: bool,
) -> Result<Exit, Failure> {
    let host = db.open()?;
    let written = async {
        let key = write.key.clone();
        host.write_state(vec![StateRequest { write, if_version }])
            .await?;
        if json {
            // The file is this process's own, so this is what was written.
            print(&row(&key, host.state(&key).await?.as_ref()))?;
        }
        Ok(Exit::Ok)
    };
    let written = written.await;
    close(host, written).await
}

impl List {
    async fn run(self) -> Result<Exit, Failure> {
        let host = self.db.open()?;
        let listed = self.on(&host).await;
        close(host, listed).await
    }

    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let limit = usize::from(self.limit);
        // One more, to know whether there are more.
        let mut found = host
            .scan_state(&self.prefix, self.after.as_deref(), limit + 1)
            .await?;
        let more = found.len() > limit;
        found.truncate(limit);
        for (key, entry) in &found {
            print(&if self.json {
                row(key, Some(entry))
            } else {
                let Entry { value, version } = entry;
                format!("{:<24} {version:>8}  {value}", text::plain(key))
            })?;
        }
        if let (true, Some((last, _))) = (more, found.last()) {
            let list = self.db.command("state list");
            let (prefix, last) = (args::quoted(&self.prefix), args::quoted(last));
            say(format_args!(
                "there are more: {list} {prefix} --after={last} --limit {limit}"
            ));
        }
        Ok(Exit::Ok)
    }
}

fn row(key: &str, entry: Option<&Entry>) -> String {
    let value = entry.map(|entry| entry.value.value());
    let version = entry.map(|entry| entry.version);
    json!({ "key": key, "value": value, "version": version }).to_string()
}
