//! `wfhost deploy`: modules into the data file, with a look at the instances before.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wfhost_core::interface::{DefinitionDiff, Fate, InterfaceDiff, Refusal};
use wfhost_core::{Binding, DeploymentKind, Moved, Share};

use super::compared::{self, print_compared};
use super::{Db, Exit, Failure, check, close, hosting, print, say};
use crate::checked::Checked;
use crate::error::Error;
use crate::host::Host;
use crate::migrate::{DeployOptions, Upgrade};
use crate::package::upload;
use crate::plan::PlanOptions;
use crate::{Upload, view};

/// Deploy modules: what their names mean from now on
///
/// Activities: attempts under way end on the old module, the next attempt takes the new one.
/// Workflows: new instances start on the new module, running ones keep theirs, unless --upgrade
/// takes them along. All modules of a call are one deployment: all of it or nothing.
///
/// --plan changes nothing: it takes the turns of every live instance of these workflows again, on
/// the new code and without effects, and says which would do the same. That proves what the code
/// does in the turns that were taken, and no more.
///
/// What callers of today could not meet any more is refused unless --force is given, and a module
/// that wants to reach more of the outside than what it takes over from unless
/// --allow-capabilities is.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost deploy payments.wasm                      swap activities under running instances
  wfhost deploy workflows/order-processing --plan  what would become of the instances?
  wfhost deploy order-v2.wasm --upgrade --require-all
  wfhost deploy order-v2.wasm --weight 10%         a tenth of the new instances
  wfhost modules promote                           … and then all
  wfhost modules rollback                          back to what was before

Exit status: 0 it is deployed, or with --plan: it would be, and every live instance does the same; 1
with --plan: not so, or refused by --require-all; 2 usage, a bad module, or refused; 4 the host failed.")]
pub(super) struct Deploy {
    /// .wasm files, or folders of Cargo packages, which are compiled first
    #[arg(value_name = "PATH", required = true)]
    #[serde(skip)]
    paths: Vec<PathBuf>,
    /// Only say what would become of the live instances; change nothing
    #[arg(long)]
    plan: bool,
    /// Move the live instances along that do the same on the new module; the others stay on theirs
    #[arg(long, conflicts_with = "weight")]
    upgrade: bool,
    /// Move also those that ask the same with another payload or other options; what is recorded of
    /// their past stays
    #[arg(long)]
    allow_input_changes: bool,
    /// Refuse the deployment if one live instance does not do the same
    #[arg(long)]
    require_all: bool,
    /// Look at so many instances of each workflow that have ended as well, the newest
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    ended: usize,
    /// Only this share of the new instances and of the calls gets them, such as 10%; chosen by
    /// instance id, so that a larger share has the same ones and more
    #[arg(long, value_name = "SHARE")]
    weight: Option<Share>,
    /// What the module is called for people, such as order@1.4.0; its file's name if left out
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Who deploys, for those who look later
    #[arg(long, value_name = "NAME", env = "WFHOST_BY")]
    by: Option<String>,
    /// Deploy it though callers of today could not meet it any more
    #[arg(long)]
    force: bool,
    /// Deploy it though it wants to reach more of the outside than before
    #[arg(long)]
    allow_capabilities: bool,
    #[command(flatten)]
    db: Db,
    /// One JSON object: modules, moved, number, interface, plan, upgraded
    #[arg(long)]
    json: bool,
}

impl Deploy {
    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    pub(super) fn read(&mut self) -> Result<Vec<Upload>, Failure> {
        let uploads = self.paths.iter().map(|path| upload(path, self.json));
        let mut uploads = uploads.collect::<Result<Vec<_>, _>>()?;
        match (&self.label, uploads.as_mut_slice()) {
            (None, _) => {}
            (Some(label), [one]) => one.label.clone_from(label),
            _ => return Err(Failure::usage("--label names one module; deploy it alone")),
        }
        Ok(uploads)
    }

    pub(super) async fn run(self, uploads: Vec<Upload>) -> Result<Exit, Failure> {
        let options = hosting::at_rest();
        let checked = check(uploads, &options).await?;
        let host = if self.plan {
            self.db.open_with(options)?
        } else {
            self.db.open_for(&checked, options)?
        };
        let deployed = self.on(&host, checked).await;
        close(host, deployed).await
    }

    async fn on(&self, host: &Host, checked: Checked) -> Result<Exit, Failure> {
        let diff = host.interface_diff(&checked)?;
        if !self.json && worth_telling(&diff) {
            print(&diff.to_string())?;
        }
        let planning = PlanOptions {
            ended_sample: self.ended,
            ..PlanOptions::default()
        };
        if self.plan {
            let plan = host.plan(&checked, planning).await?;
            if self.json {
                let interface = view::interface_diff(&diff);
                let row = json!({ "interface": interface, "plan": view::plan(&plan) });
                print(&row.to_string())?;
            } else {
                compared::print_plan(&plan)?;
            }
            let refused = self.refuse(&diff);
            if let Err(refused) = &refused {
                say(format_args!("{}", refused.message));
            }
            let unqualified = plan.live.verdicts.unqualified(self.allow_input_changes);
            return Ok(match unqualified == 0 && refused.is_ok() {
                true => Exit::Ok,
                false => Exit::Failed,
            });
        }
        self.refuse(&diff)?;
        let options = DeployOptions {
            by: self.by.clone(),
            share: self.weight,
            plan: (self.require_all || self.ended > 0).then_some(planning),
            upgrade: self.upgrade.then_some(Upgrade {
                allow_input_changes: self.allow_input_changes,
            }),
            require_all: self.require_all,
        };
        let deployed = match host.deploy_with(checked, options).await {
            Err(Error::NotAllTheSame { unqualified, plan }) => {
                if self.json {
                    print(&json!({ "plan": view::plan(&plan) }).to_string())?;
                } else {
                    compared::print_plan(&plan)?;
                }
                return Err(Error::NotAllTheSame { unqualified, plan }.into());
            }
            other => other?,
        };
        let bindings = host.bindings()?;
        if self.json {
            let row = view::deployed(&deployed, &bindings, &diff);
            print(&row.to_string())?;
            return Ok(Exit::Ok);
        }
        match &deployed.deployment.recorded {
            None => say(format_args!(
                "all of it was deployed before; nothing has changed"
            )),
            Some(recorded) => {
                print(&format!("deployment {}", recorded.number))?;
                deployed
                    .deployment
                    .moved
                    .iter()
                    .try_for_each(|it| print(&moved_line(it)))?;
            }
        }
        if let Some(plan) = &deployed.plan {
            compared::print_plan(plan)?;
        }
        if let Some(upgraded) = &deployed.upgraded {
            print(&format!(
                "moved along: {} of {}",
                upgraded.moved, upgraded.histories
            ))?;
            print_compared(upgraded)?;
        }
        Ok(Exit::Ok)
    }
}

impl Deploy {
    /// What the operator has to say a word to first.
    fn refuse(&self, diff: &InterfaceDiff) -> Result<(), Failure> {
        let Some(refusal) = diff.refusal(self.force, self.allow_capabilities) else {
            return Ok(());
        };
        let word = match refusal {
            Refusal::Breaks => "--force",
            Refusal::Gains => "--allow-capabilities",
        };
        let why = format!("nothing is deployed: {refusal} with {word}");
        Err(Failure::usage(why))
    }
}

/// Whether anything changes but the code behind the names.
fn worth_telling(diff: &InterfaceDiff) -> bool {
    let same = |it: &DefinitionDiff| {
        matches!(it.fate, Fate::Replaced { .. } | Fate::Unmoved) && it.changes.is_empty()
    };
    diff.modules.iter().any(|module| {
        let taken_over = !module.replaces.is_empty();
        let reach = !module.gained.is_empty() || !module.lost.is_empty();
        taken_over && (reach || !module.definitions.iter().all(same))
    })
}

/// A binding that was moved, as a line.
pub(super) fn moved_line(moved: &Moved) -> String {
    let Moved {
        role,
        name,
        from,
        to,
    } = moved;
    let shown = |binding: &Option<Binding>| binding.as_ref().map_or("nobody".into(), meant);
    let (from, to) = (shown(from), shown(to));
    format!("  {:<8}  {name}: {from} → {to}", role.as_str())
}

/// What a name means, as part of a line.
pub(super) fn meant(binding: &Binding) -> String {
    let module = binding.module.short();
    match &binding.candidate {
        None => module.to_string(),
        Some(candidate) => {
            let (other, share) = (candidate.module.short(), candidate.share);
            format!("{module}, for {share} {other}")
        }
    }
}

/// What was done in a deployment, in words.
pub(super) fn kind(kind: &DeploymentKind) -> String {
    match kind {
        DeploymentKind::Deploy => "deployed".into(),
        DeploymentKind::Rollback { of } => format!("rolled back {of}"),
        DeploymentKind::RollbackTo { number } => format!("rolled back to {number}"),
        DeploymentKind::Promote => "promoted".into(),
        DeploymentKind::Abort => "aborted".into(),
    }
}
