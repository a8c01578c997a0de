//! Moving by hand: deployments that take their instances along, one instance to another module, one
//! instance back to an earlier turn.

use std::sync::Arc;

use wfhost_core::reset::Lost;
use wfhost_core::{Digest, InstanceId, Name, RunId, Share};

use crate::checked::Checked;
use crate::engine::{Candidate, Engine, Resetting};
use crate::error::Error;
use crate::host::{Deployment, Host, acknowledged, blocking, deploy};
use crate::plan::{self, Plan, PlanOptions, UpgradeOptions};
use crate::verdict::{Compared, Verdict};

/// How modules are deployed.
#[derive(Debug, Clone, Default)]
pub struct DeployOptions {
    /// Who deploys, for people who look at the deployments later.
    pub by: Option<String>,
    /// They become candidates beside the modules that have their names, for this share of the
    /// instances; absent: they take the names over. With a share no live instance is taken along.
    pub share: Option<Share>,
    /// Have the live instances looked at first, and say what came of that.
    pub plan: Option<PlanOptions>,
    /// Take the live instances along that may be moved.
    pub upgrade: Option<Upgrade>,
    /// Refuse the deployment if the code does not do the same in the turns of every live instance;
    /// with [`Upgrade::allow_input_changes`], if it does something else in one of them.
    pub require_all: bool,
}

/// Which live instances a deployment takes along.
#[derive(Debug, Clone, Copy, Default)]
pub struct Upgrade {
    /// Also those whose payloads or options differ.
    pub allow_input_changes: bool,
}

/// What a deployment did.
pub struct Deployed {
    /// The modules and the names that mean them.
    pub deployment: Deployment,
    /// What was to be expected, if that was looked at.
    pub plan: Option<Plan>,
    /// What became of the live instances, if they were to be taken along.
    pub upgraded: Option<Compared>,
}

/// Where an instance is moved to.
#[derive(Debug, Clone, Copy)]
pub struct MigrateRequest {
    /// A module of the data file that offers its workflow.
    pub to: Digest,
    /// Move it though payloads or options of its past differ.
    pub allow_input_changes: bool,
}

/// What came of moving an instance.
#[derive(Debug, Clone)]
pub struct Migrated {
    /// The module that it ran on.
    pub from: Digest,
    /// The module that it runs on.
    pub to: Digest,
    /// How many turns were compared, those of its current generation.
    pub turns: u64,
    /// [`Verdict::Same`], or [`Verdict::InputChanged`] if that was allowed.
    pub verdict: Verdict,
    /// False if it ran on that module before.
    pub moved: bool,
}

/// Where an instance goes back to.
#[derive(Debug, Clone, Copy)]
pub struct ResetRequest {
    /// The first turn that is lost, from 1 over all generations; it is one of the current
    /// generation that was taken.
    pub to_turn: u64,
    /// The module that it goes on with, one of the data file that offers its workflow; its own if
    /// absent.
    pub module: Option<Digest>,
    /// Also if payloads or options differ in the turns that are kept.
    pub allow_input_changes: bool,
    /// Only say what would be lost.
    pub dry_run: bool,
}

/// What came of a reset, or would come of it.
#[derive(Debug, Clone)]
pub struct ResetDone {
    /// The run that the instance had.
    pub from_run: RunId,
    /// The run that it has now; absent if nothing was done.
    pub run: Option<RunId>,
    /// The first turn that is lost.
    pub to_turn: u64,
    /// The module that it goes on with.
    pub module: Digest,
    /// What that does in the turns that are kept: [`Verdict::Same`], or [`Verdict::InputChanged`]
    /// if that was allowed.
    pub verdict: Verdict,
    /// What is lost, and may be done again. Nothing of it is undone.
    pub lost: Lost,
}

impl Host {
    /// Deploys modules that were checked before, as [`Host::deploy_checked`] does, and takes the
    /// live instances of their workflows along if that is asked. Modules and bindings are one
    /// transaction; the instances follow one by one, as [`Host::upgrade`] moves them. An instance
    /// that goes on between may stay behind though it was to be expected otherwise: the answer
    /// says so.
    ///
    /// # Errors
    /// [`Error::NotAllTheSame`] if that was required: nothing has changed then. Else as
    /// [`Host::plan`], [`Host::deploy_checked`] and [`Host::upgrade`].
    pub async fn deploy_with(
        &self,
        checked: Checked,
        options: DeployOptions,
    ) -> Result<Deployed, Error> {
        let engine = Arc::clone(self.engine());
        let deployed = blocking(move || deploy_with(&engine, checked, options)).await;
        let deployed = self.told(deployed).await?;
        acknowledged(self.engine().durable(self.store.submitted())).await?;
        Ok(deployed)
    }

    /// Moves an instance to another module of the data file, if that does the same in the turns of
    /// its current generation. When this returns, that is durable.
    ///
    /// # Errors
    /// If there is no such instance or module, the instance has ended, or the module does not offer
    /// its workflow or cannot run here. [`Error::NotTheSame`] with both sides if it does something
    /// else; the instance stays where it is.
    pub async fn migrate(
        &self,
        id: &InstanceId,
        request: MigrateRequest,
    ) -> Result<Migrated, Error> {
        let engine = Arc::clone(self.engine());
        let of = id.clone();
        let migrated = blocking(move || migrate(&engine, &of, request)).await;
        let migrated = self.told(migrated).await?;
        acknowledged(self.engine().durable(self.store.submitted())).await?;
        Ok(migrated)
    }

    /// Puts an instance back to where it stood before one of its turns, from where it goes on, with
    /// a new run. It keeps its id, its parent, and all that was asked of it from outside since:
    /// events, updates and cancellations are unread again. What it did from that turn on is lost:
    /// attempts are stopped, children are cancelled unless they are detached, and give way to
    /// others that are to have their ids. What that did outside, in other instances or in the state
    /// store is not undone, and may be done again; the answer lists it. When this returns, that is
    /// durable.
    ///
    /// # Errors
    /// If there is no such instance, module or turn, the instance has ended, or the module does not
    /// offer its workflow or cannot run here. [`Error::NotTheSame`] if it does something else in
    /// the turns that are kept. [`Error::Busy`] if so much comes in that no moment is found.
    pub async fn reset(&self, id: &InstanceId, request: ResetRequest) -> Result<ResetDone, Error> {
        let engine = Arc::clone(self.engine());
        let of = id.clone();
        let done = blocking(move || reset(&engine, &of, request)).await;
        let done = self.told(done).await?;
        acknowledged(self.engine().durable(self.store.submitted())).await?;
        Ok(done)
    }
}

fn deploy_with(
    engine: &Arc<Engine>,
    checked: Checked,
    options: DeployOptions,
) -> Result<Deployed, Error> {
    let DeployOptions {
        by,
        share,
        plan,
        upgrade,
        require_all,
    } = options;
    let targets = plan::targets_of(engine, &checked.modules)?;
    let wanted = plan.is_some();
    let options = plan.unwrap_or_default();
    let plan = match wanted || require_all {
        true => Some(plan::make(engine, &checked.modules, &targets, &options)?),
        false => None,
    };
    let allow = upgrade.is_some_and(|it| it.allow_input_changes);
    if let Some(plan) = &plan
        && require_all
        && plan.live.verdicts.unqualified(allow) > 0
    {
        let plan = Box::new(plan.clone());
        let unqualified = plan.live.verdicts.unqualified(allow);
        return Err(Error::NotAllTheSame { unqualified, plan });
    }
    let deployment = deploy(engine, checked.modules, by.as_deref(), share)?;
    targets.values().for_each(|it| engine.know(it));
    let upgraded = match upgrade.filter(|_| share.is_none()) {
        None => None,
        Some(Upgrade {
            allow_input_changes,
        }) => {
            let options = UpgradeOptions {
                workflows: Vec::new(),
                allow_input_changes,
                listed_max: options.listed_max,
            };
            Some(plan::move_all(engine, &targets, &options)?)
        }
    };
    Ok(Deployed {
        deployment,
        plan: plan.filter(|_| wanted),
        upgraded,
    })
}

fn migrate(
    engine: &Arc<Engine>,
    id: &InstanceId,
    request: MigrateRequest,
) -> Result<Migrated, Error> {
    let to = fit(engine, id, request.to)?;
    let end = engine.move_instance(id, &to, request.allow_input_changes)?;
    let end = end.ok_or_else(|| engine.no_longer(id))?;
    if !end.moved && end.from != request.to {
        return Err(Error::NotTheSame {
            id: id.clone(),
            module: request.to,
            verdict: Box::new(end.verdict),
        });
    }
    Ok(Migrated {
        from: end.from,
        to: request.to,
        turns: end.turns,
        verdict: end.verdict,
        moved: end.moved,
    })
}

fn reset(engine: &Arc<Engine>, id: &InstanceId, request: ResetRequest) -> Result<ResetDone, Error> {
    let module = request.module.map(|it| fit(engine, id, it)).transpose()?;
    engine.reset(
        id,
        &Resetting {
            to_turn: request.to_turn,
            module,
            allow_input_changes: request.allow_input_changes,
            dry_run: request.dry_run,
        },
    )
}

/// A module of the data file that offers the workflow of an instance.
fn fit(engine: &Engine, id: &InstanceId, module: Digest) -> Result<Candidate, Error> {
    let workflow = engine.store.look(id, |it| it.started().workflow.clone())?;
    let workflow: Name = workflow.ok_or_else(|| Error::NoSuchInstance { id: id.clone() })?;
    let none = || Error::NoSuchModule { module };
    if engine.store.module(module)?.is_none() {
        return Err(none());
    }
    if !plan::offers(engine, module, &workflow)? {
        return Err(Error::NotOffered { module, workflow });
    }
    engine.candidate(module)?.ok_or_else(none)
}
