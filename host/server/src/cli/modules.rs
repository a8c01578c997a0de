//! `wfhost modules`: which there are, why each stays, and what their names mean.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use wfhost_core::interface::InterfaceDiff;
use wfhost_core::{Deployment, DeploymentNumber, ModuleInfo, Name, Role};
use wfhost_store::{GcOptions, Names, Need};

use super::deploy::{kind, meant, moved_line};
use super::terminal::Output;
use super::{Db, Exit, Failure, close, find, print, say, text};
use crate::error::Error;
use crate::host::Host;
use crate::serve::Scope;
use crate::view;

/// List the modules of a data file, and manage what their names mean
///
/// A module is named by the digest of its bytes, or by as much of it as no other has. Without a
/// command it lists them.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  wfhost modules
  wfhost modules show sha256:1f2e
  wfhost modules rollback
  wfhost modules gc --dry-run"
)]
pub(super) struct Modules {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Subcommand, Clone, Serialize, Deserialize)]
enum Command {
    List(List),
    Show(Show),
    Diff(Diff),
    Deployments(Deployments),
    Rollback(Rollback),
    Promote(Promote),
    Abort(Abort),
    Gc(Gc),
    Export(Export),
}

/// List the modules and what they offer
///
/// In the order of their first deployment. A name that several offer means the newest, unless a
/// roll-out or a rollback says otherwise; instances keep the module that they started with.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost modules list
  wfhost modules list --json | jq -r .digest")]
struct List {
    #[command(flatten)]
    db: Db,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Show one module: what it offers and imports, and why it stays
///
/// Also by whom and when it was first deployed, its schemas, and whether it can reach the outside.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost modules show sha256:1f2e
  wfhost modules show 1f2e --json | jq .needs")]
struct Show {
    /// The module: its digest, or as much of it as no other has
    module: String,
    #[command(flatten)]
    db: Db,
    /// One JSON object: the module, with needs
    #[arg(long)]
    json: bool,
}

/// Compare what two modules offer and want
///
/// Definitions that came or went, changes of their inputs and outputs, whether callers of the first
/// can meet the second, and what the second can reach of the outside beyond the first.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost modules diff 1f2e 9a0b

Exit status: 0 callers of the first can meet the second, 1 they cannot.")]
struct Diff {
    /// The module before
    from: String,
    /// The module after
    to: String,
    #[command(flatten)]
    db: Db,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// List deployments, roll-outs and rollbacks, the newest first
///
/// Each with its number, who made it and when, and the names that it moved.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost modules deployments
  wfhost modules deployments --limit 1 --json")]
struct Deployments {
    /// So many at most
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only those before this one: the next page
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
    #[command(flatten)]
    db: Db,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Go back to what the names meant before the last deployment
///
/// Again, it goes one further back. With --to it puts all names back to what they meant after that
/// deployment. Running instances keep the module that they run on.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost modules rollback
  wfhost modules rollback --to 7")]
struct Rollback {
    /// The deployment after which all was well
    #[arg(long, value_name = "NUMBER")]
    to: Option<u64>,
    #[command(flatten)]
    change: Change,
}

/// Give names whole to the modules that are being rolled out
///
/// What `wfhost deploy --weight` has given to a share of the instances, all get from now on.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost modules promote
  wfhost modules promote --activity ProcessPaymentActivity")]
struct Promote {
    #[command(flatten)]
    names: ChosenNames,
    #[command(flatten)]
    change: Change,
}

/// Take modules back that are being rolled out
///
/// No instance starts on them any more and no call takes them; those that have started keep theirs.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost modules abort
  wfhost modules abort --workflow OrderProcessingWorkflow")]
struct Abort {
    #[command(flatten)]
    names: ChosenNames,
    #[command(flatten)]
    change: Change,
}

/// Which names are meant; all that are being rolled out if none are given.
#[derive(Args, Clone, Serialize, Deserialize)]
struct ChosenNames {
    /// This workflow; may be repeated
    #[arg(long, value_name = "NAME")]
    workflow: Vec<Name>,
    /// This activity; may be repeated
    #[arg(long, value_name = "NAME")]
    activity: Vec<Name>,
}

/// A change to what names mean.
#[derive(Args, Clone, Serialize, Deserialize)]
struct Change {
    /// Who does it, for those who look later
    #[arg(long, value_name = "NAME", env = "WFHOST_BY")]
    by: Option<String>,
    #[command(flatten)]
    db: Db,
    /// One JSON object: number, at, by, kind, of, modules, moved
    #[arg(long)]
    json: bool,
}

/// Remove modules that nothing needs
///
/// A module stays as long as a name means it, an instance runs on it or has ended on it and is kept,
/// or the next rollback needs it; every reason is told. What goes is used again by what is written
/// next.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost modules gc --dry-run
  wfhost modules gc")]
struct Gc {
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Remove also what only the next rollback needs
    #[arg(long)]
    forget_rollback: bool,
    #[command(flatten)]
    db: Db,
    /// One JSON object: removed, kept, bytes
    #[arg(long)]
    json: bool,
}

/// Write a module's bytes to a file, as they were deployed
///
/// Their digest is the module's name.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost modules export 1f2e -o order.wasm")]
struct Export {
    /// The module: its digest, or as much of it as no other has
    module: String,
    /// The file; one that is there is replaced
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    db: Db,
}

impl Modules {
    pub(super) fn db(&self) -> &Db {
        let Some(command) = &self.command else {
            return &self.list.db;
        };
        match command {
            Command::List(List { db, .. })
            | Command::Show(Show { db, .. })
            | Command::Diff(Diff { db, .. })
            | Command::Deployments(Deployments { db, .. })
            | Command::Rollback(Rollback {
                change: Change { db, .. },
                ..
            })
            | Command::Promote(Promote {
                change: Change { db, .. },
                ..
            })
            | Command::Abort(Abort {
                change: Change { db, .. },
                ..
            })
            | Command::Gc(Gc { db, .. })
            | Command::Export(Export { db, .. }) => db,
        }
    }

    pub(super) fn scope(&self) -> Scope {
        match &self.command {
            None
            | Some(
                Command::List(_)
                | Command::Show(_)
                | Command::Diff(_)
                | Command::Deployments(_)
                | Command::Export(_),
            ) => Scope::Read,
            Some(
                Command::Rollback(_) | Command::Promote(_) | Command::Abort(_) | Command::Gc(_),
            ) => Scope::Deploy,
        }
    }

    /// The file that it writes where it was called.
    pub(super) fn output(&self) -> Option<&Path> {
        match &self.command {
            Some(Command::Export(export)) => Some(&export.output),
            _ => None,
        }
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.db().open()?;
        let command = self.command.unwrap_or(Command::List(self.list));
        let done = match &command {
            Command::List(it) => it.on(&host),
            Command::Show(it) => it.on(&host).await,
            Command::Diff(it) => it.on(&host),
            Command::Deployments(it) => it.on(&host),
            Command::Rollback(it) => it.on(&host).await,
            Command::Promote(it) => it.on(&host).await,
            Command::Abort(it) => it.on(&host).await,
            Command::Gc(it) => it.on(&host).await,
            Command::Export(it) => it.on(&host),
        };
        close(host, done).await
    }
}

/// The module whose digest begins so.
fn module(host: &Host, start: &str) -> Result<ModuleInfo, Failure> {
    let digest = find::find_module(host, start)?;
    let mut modules = host.modules()?.into_iter();
    let found = modules.find(|info| info.digest == digest);
    found.ok_or_else(|| Failure::usage(format!("the module {digest} was just removed")))
}

impl List {
    fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let bindings = host.bindings()?;
        for info in host.modules()? {
            if self.json {
                print(&view::module_bound(&info, &bindings).to_string())?;
                continue;
            }
            print(&headline(&info))?;
            for (role, name) in info.offers() {
                let binding = bindings.iter().find(|it| (it.0, &it.1) == (role, name));
                let current = match binding {
                    Some((.., binding)) if binding.module == info.digest => {
                        match &binding.candidate {
                            None => String::new(),
                            Some(other) => format!("  (for {} of all)", other.share.rest()),
                        }
                    }
                    Some((.., binding)) => match &binding.candidate {
                        Some(it) if it.module == info.digest => {
                            format!("  (for {} of all)", it.share)
                        }
                        _ => "  (another module has it now)".into(),
                    },
                    None => "  (nobody has it now)".into(),
                };
                print(&format!("  {:<8}  {name}{current}", role.as_str()))?;
            }
        }
        Ok(Exit::Ok)
    }
}

fn headline(info: &ModuleInfo) -> String {
    let by = info.deployed_by.as_ref().map(|by| format!(" by {by}"));
    format!(
        "{}  {}  {} bytes, deployed {}{}",
        info.digest,
        info.label,
        info.bytes,
        info.deployed_at,
        by.unwrap_or_default()
    )
}

impl Show {
    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let info = module(host, &self.module)?;
        let bindings = host.bindings()?;
        let needs = host.module_needs(true).await?.into_iter();
        let needs = needs.filter(|it| it.digest == info.digest);
        let needs: Vec<_> = needs.flat_map(|it| it.needs).collect();
        if self.json {
            let mut row = view::module_bound(&info, &bindings);
            row["needs"] = needs
                .iter()
                .map(|it| view::json(view::Need::from(it)))
                .collect();
            print(&row.to_string())?;
            return Ok(Exit::Ok);
        }
        print(&headline(&info))?;
        for (role, name) in info.offers() {
            let binding = bindings.iter().find(|it| (it.0, &it.1) == (role, name));
            let now = binding.map_or("nobody".into(), |(.., binding)| meant(binding));
            print(&format!("  {:<8}  {name}  (now {now})", role.as_str()))?;
        }
        let reach = match info.contained {
            true => "contained: its activities reach nothing but the state store",
            false => "effectful: its activities can reach the outside",
        };
        print(&format!("  {reach}"))?;
        for import in &info.imports {
            print(&format!("  imports   {import}"))?;
        }
        match needs.is_empty() {
            true => print("  nothing needs it: `wfhost modules gc` removes it")?,
            false => reasons(&needs)
                .iter()
                .try_for_each(|it| print(&format!("  stays: {it}")))?,
        }
        Ok(Exit::Ok)
    }
}

impl Diff {
    fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let (from, to) = (module(host, &self.from)?, module(host, &self.to)?);
        let diff = InterfaceDiff::between(&from, &to, wfhost_sandbox::reaches_outside);
        match self.json {
            true => print(&view::interface_diff(&diff).to_string())?,
            false => print(&diff.to_string())?,
        }
        Ok(match diff.breaks().next() {
            None => Exit::Ok,
            Some(_) => Exit::Failed,
        })
    }
}

impl Deployments {
    fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let rows = host.deployments(self.before.map(DeploymentNumber), limit)?;
        for row in &rows {
            told(row, self.json)?;
        }
        if let Some(last) = rows
            .last()
            .filter(|it| rows.len() == limit && it.number.0 > 1)
            && !self.json
        {
            say(format_args!("there may be more: --before {}", last.number));
        }
        Ok(Exit::Ok)
    }
}

/// Prints a deployment.
fn told(row: &Deployment, json: bool) -> Result<(), Failure> {
    if json {
        return print(&view::deployment(row).to_string());
    }
    let by = row.by.as_ref().map(|by| format!(" by {by}"));
    let by = by.unwrap_or_default();
    print(&format!(
        "{}  {}  {}{by}",
        row.number,
        row.at,
        kind(&row.kind)
    ))?;
    row.moved.iter().try_for_each(|it| print(&moved_line(it)))
}

impl Rollback {
    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let by = self.change.by.clone();
        match self.to {
            None => told(&host.rollback(by).await?, self.change.json)?,
            Some(number) => match host.rollback_to(DeploymentNumber(number), by).await? {
                Some(done) => told(&done, self.change.json)?,
                None => say(format_args!(
                    "all names mean that already; nothing has changed"
                )),
            },
        }
        Ok(Exit::Ok)
    }
}

impl ChosenNames {
    fn names(&self) -> Names {
        let workflows = self.workflow.iter().map(|it| (Role::Workflow, it.clone()));
        let activities = self.activity.iter().map(|it| (Role::Activity, it.clone()));
        let names: BTreeSet<_> = workflows.chain(activities).collect();
        match names.is_empty() {
            true => Names::All,
            false => Names::These(names),
        }
    }
}

impl Promote {
    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let done = host
            .promote(self.names.names(), self.change.by.clone())
            .await?;
        told(&done, self.change.json)?;
        Ok(Exit::Ok)
    }
}

impl Abort {
    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let done = host
            .abort(self.names.names(), self.change.by.clone())
            .await?;
        told(&done, self.change.json)?;
        Ok(Exit::Ok)
    }
}

impl Gc {
    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let options = GcOptions {
            keep_for_rollback: !self.forget_rollback,
            dry_run: self.dry_run,
        };
        let done = host.collect_modules(options).await?;
        if self.json {
            let row = view::json(view::Tidied::from(&done));
            print(&row.to_string())?;
            return Ok(Exit::Ok);
        }
        let goes = if self.dry_run { "would go" } else { "gone" };
        for it in &done.removed {
            print(&format!(
                "{goes}: {}  {}  {} bytes",
                it.digest, it.label, it.bytes
            ))?;
        }
        for it in &done.kept {
            print(&format!("stays: {}  {}", it.digest, it.label))?;
            reasons(&it.needs)
                .iter()
                .try_for_each(|it| print(&format!("  {it}")))?;
        }
        say(format_args!(
            "{} {goes}, {} bytes",
            text::count(done.removed.len() as u64, "module"),
            done.bytes()
        ));
        Ok(Exit::Ok)
    }
}

/// Why a module stays, in words; of the names that mean it only one.
fn reasons(needs: &[Need]) -> Vec<String> {
    let (names, others): (Vec<_>, Vec<_>) = needs
        .iter()
        .partition(|it| matches!(it, Need::Bound { .. }));
    let more = match names.len() {
        0 | 1 => String::new(),
        names => format!(", and {} more names", names - 1),
    };
    let first = names.first().map(|it| format!("{}{more}", text::need(it)));
    first
        .into_iter()
        .chain(others.into_iter().map(text::need))
        .collect()
}

impl Export {
    fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let info = module(host, &self.module)?;
        let bytes = host.module_bytes(info.digest)?;
        let mut output = Output::new(&self.output)?;
        output.write_all(&bytes).map_err(|source| {
            let path = self.output.clone();
            Error::File { path, source }
        })?;
        output.finish()?;
        say(format_args!(
            "wrote {} to {}",
            info.digest,
            self.output.display()
        ));
        Ok(Exit::Ok)
    }
}
