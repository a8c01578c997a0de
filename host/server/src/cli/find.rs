//! Finding instances: `wfhost list`, and the filters of other commands.

use clap::Args;
use serde::{Deserialize, Serialize};
use wfhost_core::{Digest, InstanceId, Name, Status, Timestamp};
use wfhost_store::{Query, Summary};

use super::terminal::arguments;
use super::{Db, Exit, Failure, args, close, print, say};
use crate::error::Error;
use crate::host::Host;
use crate::view;

/// List the instances of a data file
///
/// One line an instance, in the order of their starts, a page at a time. All filters given must
/// fit.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost list
  wfhost list --status running,stalled --tag team=billing
  wfhost list --created-after 2h --newest-first --limit 10
  wfhost list --json | jq -r 'select(.status == \"stalled\") | .id'")]
pub(super) struct List {
    #[command(flatten)]
    filter: Filter,
    /// Children of this instance
    #[arg(long, value_name = "ID")]
    parent: Option<InstanceId>,
    /// Running on this module: its digest, or as much of it as no other has
    #[arg(long, value_name = "DIGEST")]
    module: Option<String>,
    /// Created then or later: RFC 3339, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = args::time_or_age)]
    created_after: Option<Timestamp>,
    /// Created before then
    #[arg(long, value_name = "TIME", value_parser = args::time_or_age)]
    created_before: Option<Timestamp>,
    /// The newest first
    #[arg(long)]
    newest_first: bool,
    /// So many at most
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// The next page: what the page before said
    #[arg(long, value_name = "CURSOR")]
    after: Option<u64>,
    #[command(flatten)]
    db: Db,
    /// One JSON object a line, each as `show` prints it
    #[arg(long)]
    json: bool,
}

/// Which instances, for every command that takes many.
#[derive(Args, Clone, Serialize, Deserialize)]
pub(super) struct Filter {
    /// Of this workflow
    #[arg(long, value_name = "NAME")]
    workflow: Option<Name>,
    /// That stand so, or so
    #[arg(long, value_name = "STATUS,…", value_delimiter = ',', value_parser = args::status())]
    pub(super) status: Vec<Status>,
    /// With this tag; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = args::tag)]
    tag: Vec<(String, String)>,
}

impl Filter {
    pub(super) fn is_empty(&self) -> bool {
        self.workflow.is_none() && self.status.is_empty() && self.tag.is_empty()
    }

    pub(super) fn query(&self) -> Query {
        Query {
            workflow: self.workflow.clone(),
            statuses: self.status.clone(),
            tags: self.tag.clone(),
            limit: PAGE,
            ..Query::default()
        }
    }
}

/// So many rows are read at once where all are wanted.
const PAGE: usize = 1_000;

/// Those that have not ended, a page of them.
pub(super) fn unfinished() -> Query {
    Query {
        statuses: vec![
            Status::Pending,
            Status::Running,
            Status::Suspended,
            Status::Stalled,
        ],
        limit: PAGE,
        ..Query::default()
    }
}

/// All that match, not a page.
pub(super) async fn all(host: &Host, mut query: Query) -> Result<Vec<Summary>, Error> {
    let mut rows = Vec::new();
    loop {
        let page = host.find(&query).await?;
        rows.extend(page.rows);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(rows),
        }
    }
}

/// The children that answer to an instance, and theirs; parents before children.
pub(super) async fn descendants(host: &Host, id: &InstanceId) -> Result<Vec<Summary>, Error> {
    let mut found: Vec<Summary> = Vec::new();
    let mut next = 0;
    let mut parent = id.clone();
    loop {
        let query = Query {
            parent: Some(parent),
            limit: PAGE,
            ..Query::default()
        };
        let children = all(host, query).await?;
        found.extend(children.into_iter().filter(|child| !child.detached));
        let Some(row) = found.get(next) else {
            return Ok(found);
        };
        parent = row.id.clone();
        next += 1;
    }
}

impl List {
    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.db.open()?;
        let listed = self.on(&host).await;
        close(host, listed).await
    }

    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let module = self.module.as_deref();
        let query = Query {
            parent: self.parent.clone(),
            module: module.map(|start| find_module(host, start)).transpose()?,
            created_from: self.created_after,
            created_before: self.created_before,
            newest_first: self.newest_first,
            after: self.after,
            limit: usize::try_from(self.limit).unwrap_or(usize::MAX),
            ..self.filter.query()
        };
        let page = host.find(&query).await?;
        if !self.json && !page.rows.is_empty() {
            print(&format!(
                "{:<24} {:<10} {:>6}  {:<24}  WORKFLOW",
                "ID", "STATUS", "TURNS", "CREATED"
            ))?;
        }
        for row in &page.rows {
            if self.json {
                let instance = host.instance(&row.id).await?;
                print(&view::instance(&instance).to_string())?;
            } else {
                print(&line(row))?;
            }
        }
        if let Some(next) = page.next {
            say(format_args!("there are more: {}", next_page(next)));
        }
        Ok(Exit::Ok)
    }
}

fn line(row: &Summary) -> String {
    let reason = row.reason.as_ref().map(|reason| reason.text.as_str());
    let why = reason.and_then(|text| text.lines().next());
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    format!(
        "{:<24} {:<10} {:>6}  {:<24}  {}{why}",
        row.id.as_str(),
        row.status.as_str(),
        row.turns,
        row.created_at.to_string(),
        row.workflow,
    )
}

/// The same command for what comes after.
fn next_page(after: u64) -> String {
    let mut command = vec!["wfhost".to_owned()];
    let mut given = arguments().into_iter();
    while let Some(argument) = given.next() {
        if argument == "--after" {
            given.next();
        } else if !argument.starts_with("--after=") {
            command.push(args::quoted(&argument));
        }
    }
    command.push(format!("--after {after}"));
    command.join(" ")
}

/// The module whose digest begins so.
pub(super) fn find_module(host: &Host, start: &str) -> Result<Digest, Failure> {
    let modules = host.modules()?;
    let digests = modules.iter().map(|info| info.digest);
    let fits = |digest: &Digest| {
        let digest = digest.to_string();
        let hex = digest.rsplit(':').next().unwrap_or(&digest);
        digest.starts_with(start) || hex.starts_with(start)
    };
    let found: Vec<_> = digests.filter(fits).collect();
    match found.as_slice() {
        [only] => Ok(*only),
        [] => Err(Failure::usage(format!(
            "no module has a digest that begins with `{start}`; `wfhost modules` shows those there are"
        ))),
        many => Err(Failure::usage(format!(
            "{} modules have a digest that begins with `{start}`; give more of it",
            many.len()
        ))),
    }
}
