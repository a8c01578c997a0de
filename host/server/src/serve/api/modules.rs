//! Modules: which there are, new ones and what they would mean, and the way back.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use wfhost_core::interface::InterfaceDiff;
use wfhost_core::{DeploymentNumber, ModuleInfo, Share};

use super::filter::{module, page};
use super::{Answer, At, Body, One, Parameters, Problem, Whole, shown, whole};
use crate::host::{Host, Upload, blocking};
use crate::migrate::{DeployOptions, MigrateRequest, ResetRequest, Upgrade};
use crate::plan::PlanOptions;
use crate::serve::Served;
use crate::{GcOptions, Names, view};

/// The modules that there are.
#[derive(Serialize, ToSchema)]
pub(super) struct Modules {
    modules: Vec<view::Module>,
}

/// Lists the modules
#[utoipa::path(
    get, path = "/modules", tag = "modules", operation_id = "list_modules",
    responses((status = 200, description = "All of them.", body = Modules)),
)]
pub(super) async fn list(State(served): State<Served>) -> Result<Json<Value>, Problem> {
    let bindings = served.host.bindings()?;
    let modules = served.host.modules()?;
    let modules = modules.iter().map(|info| view::bound(info, &bindings));
    Ok(shown(Modules {
        modules: modules.collect(),
    }))
}

/// The module that a call is about.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ByDigest {
    /// Its digest; the begin of it is enough.
    #[param(value_type = String, pattern = "^(sha256:)?[0-9a-f]{1,64}$")]
    digest: String,
}

impl ByDigest {
    fn info(&self, host: &Host) -> Result<ModuleInfo, Problem> {
        let digest = module(host, &self.digest)?;
        let found = host.modules()?.into_iter().find(|it| it.digest == digest);
        found.ok_or_else(|| crate::Error::NoSuchModule { module: digest }.into())
    }
}

/// A module, and why it stays.
#[derive(Serialize, ToSchema)]
pub(super) struct Needed {
    #[serde(flatten)]
    module: view::Module,
    needs: Vec<view::Need>,
}

/// Shows a module, and why it stays
#[utoipa::path(
    get, path = "/modules/{digest}", tag = "modules", operation_id = "show_module",
    params(ByDigest),
    responses((status = 200, description = "The module.", body = Needed)),
    extensions(("x-problems" = json!(["bad-parameter", "no-such-module", "ambiguous-module"]))),
)]
pub(super) async fn show(State(served): State<Served>, At(named): At<ByDigest>) -> Answer {
    let info = named.info(&served.host)?;
    let needs = served.host.module_needs(true).await?.into_iter();
    let needs = needs.filter(|it| it.digest == info.digest);
    let needs = needs.flat_map(|it| it.needs);
    let row = Needed {
        module: view::bound(&info, &served.host.bindings()?),
        needs: needs.map(|it| (&it).into()).collect(),
    };
    Ok(shown(row).into_response())
}

/// Hands out a module's bytes, as they were deployed
#[utoipa::path(
    get, path = "/modules/{digest}/bytes", tag = "modules", operation_id = "export_module",
    params(ByDigest),
    responses((
        status = 200, description = "The module.", content_type = "application/wasm", body = Whole,
    )),
    extensions(("x-problems" = json!(["bad-parameter", "no-such-module", "ambiguous-module"]))),
)]
pub(super) async fn bytes(State(served): State<Served>, At(named): At<ByDigest>) -> Answer {
    let info = named.info(&served.host)?;
    let host = served.host;
    let bytes = blocking(move || host.module_bytes(info.digest)).await?;
    let kind = [(header::CONTENT_TYPE, "application/wasm")];
    Ok((kind, bytes).into_response())
}

/// The modules that are compared.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Pair {
    /// The digest of the one before; the begin of it is enough.
    #[param(value_type = String, pattern = "^(sha256:)?[0-9a-f]{1,64}$")]
    digest: String,
    /// The digest of the one after.
    #[param(value_type = String, pattern = "^(sha256:)?[0-9a-f]{1,64}$")]
    to: String,
}

/// Compares what two modules offer and want
#[utoipa::path(
    get, path = "/modules/{digest}/diff/{to}", tag = "modules", operation_id = "diff_modules",
    params(Pair),
    responses((status = 200, description = "What differs.", body = view::InterfaceDiff)),
    extensions(("x-problems" = json!(["bad-parameter", "no-such-module", "ambiguous-module"]))),
)]
pub(super) async fn diff(
    State(served): State<Served>,
    At(Pair { digest, to }): At<Pair>,
) -> Answer {
    let from = ByDigest { digest }.info(&served.host)?;
    let to = ByDigest { digest: to }.info(&served.host)?;
    let diff = InterfaceDiff::between(&from, &to, wfhost_sandbox::reaches_outside);
    Ok(shown(view::InterfaceDiff::from(&diff)).into_response())
}

/// What is removed.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Collect)]
pub(super) struct Collecting {
    /// Removes none, and says which would be.
    dry_run: bool,
    /// Also what only the next rollback needs.
    forget_rollback: bool,
}

/// Removes modules that nothing needs
#[utoipa::path(
    post, path = "/modules/gc", tag = "modules", operation_id = "collect_modules",
    request_body = Option<Collecting>,
    responses((status = 200, description = "Which went, and why others stay.", body = view::Tidied)),
)]
pub(super) async fn collect(
    State(served): State<Served>,
    Body(Collecting {
        dry_run,
        forget_rollback,
    }): Body<Collecting>,
) -> Answer {
    let options = GcOptions {
        keep_for_rollback: !forget_rollback,
        dry_run,
    };
    let done = served.host.collect_modules(options).await?;
    Ok(shown(view::Tidied::from(&done)).into_response())
}

/// How the module that is the body is deployed, as `wfhost deploy` says.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Deploying {
    /// Where it comes from, for people; `module.wasm` if it is left out.
    #[param(value_type = String)]
    label: Option<String>,
    /// Who deploys it, in their words.
    #[param(value_type = String)]
    by: Option<String>,
    /// Only this share of new instances gets it, from 0.01% to 100%.
    #[param(
        value_type = String, example = "10%",
        pattern = "^([1-9][0-9]?([.][0-9]{1,2})?|0[.](0[1-9]|[1-9][0-9]?)|100)%$"
    )]
    weight: Option<String>,
    /// Deploys nothing, and says what it would mean.
    plan: bool,
    /// Takes live instances along whose turns are the same on it.
    upgrade: bool,
    /// Those as well whose payloads or options differ.
    allow_input_changes: bool,
    /// Deploys nothing unless all can be taken along.
    require_all: bool,
    /// Looks at so many as well that have ended.
    #[param(value_type = u32, minimum = 0, maximum = 1_000_000)]
    ended: usize,
    /// Even if it breaks callers.
    force: bool,
    /// Even if it reaches more of the outside.
    allow_capabilities: bool,
}

/// The most ended instances that a plan looks at.
const ENDED_MAX: usize = 1_000_000;

/// What a deployment would mean.
#[derive(Serialize, ToSchema)]
struct Planned {
    interface: view::InterfaceDiff,
    plan: view::Plan,
}

/// Deploys the module that is the body
///
/// Its names mean it from then on. Instances that run go on with the code that they started with,
/// unless `upgrade` takes them along.
#[utoipa::path(
    post, path = "/modules", tag = "modules", operation_id = "deploy_module",
    params(Deploying),
    request_body(
        content = inline(Whole), content_type = "application/octet-stream",
        description = "A WebAssembly component, or a core module with what makes it one.",
    ),
    responses(
        (status = 200, description = "With `plan`: what it would mean.", body = Planned),
        (status = 201, description = "It is deployed, and that is durable.", body = view::Deployed),
    ),
    extensions(("x-problems" = json!([
        "module-rejected", "offered-twice", "interface", "not-all-the-same", "bindings", "too-large",
    ]))),
)]
pub(super) async fn deploy(
    State(served): State<Served>,
    Parameters(how): Parameters<Deploying>,
    Whole(bytes): Whole,
) -> Result<Response, Problem> {
    if how.ended > ENDED_MAX {
        let why = format!("it is 0 to {ENDED_MAX}");
        return Err(Problem::bad_parameter("ended", &why));
    }
    let share = how.weight.as_deref().map(str::parse::<Share>).transpose();
    let share = share.map_err(|error| Problem::bad_parameter("weight", &error))?;
    let upload = Upload {
        label: how.label.clone().unwrap_or_else(|| "module.wasm".into()),
        bytes: bytes.into(),
    };
    let checked = served.host.check_here(vec![upload]).await?;
    let interface = served.host.interface_diff(&checked)?;
    let planning = PlanOptions {
        ended_sample: how.ended,
        ..PlanOptions::default()
    };
    if how.plan {
        let plan = served.host.plan(&checked, planning).await?;
        let (interface, plan) = ((&interface).into(), (&plan).into());
        return Ok(shown(Planned { interface, plan }).into_response());
    }
    if let Some(why) = interface.refusal(how.force, how.allow_capabilities) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "interface",
            why.to_string(),
        ));
    }
    let options = DeployOptions {
        by: how.by,
        share,
        plan: (how.require_all || how.ended > 0).then_some(planning),
        upgrade: how.upgrade.then_some(Upgrade {
            allow_input_changes: how.allow_input_changes,
        }),
        require_all: how.require_all,
    };
    let deployed = served.host.deploy_with(checked, options).await?;
    let body = view::deployed(&deployed, &served.host.bindings()?, &interface);
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// Which deployments are listed.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Before {
    /// Those before the one of this number.
    before: Option<u64>,
    /// The most that are answered at once; 100 if it is left out.
    #[param(value_type = u32, minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Deployments.
#[derive(Serialize, ToSchema)]
pub(super) struct Deployments {
    deployments: Vec<view::Deployment>,
}

/// Lists the deployments, the newest first
#[utoipa::path(
    get, path = "/deployments", tag = "modules", operation_id = "list_deployments",
    params(Before),
    responses((status = 200, description = "A page of them.", body = Deployments)),
)]
pub(super) async fn deployments(
    State(served): State<Served>,
    Parameters(Before { before, limit }): Parameters<Before>,
) -> Result<Json<Value>, Problem> {
    let limit = page(limit)?;
    let rows = served
        .host
        .deployments(before.map(DeploymentNumber), limit)?;
    let deployments = rows.iter().map(Into::into).collect();
    Ok(shown(Deployments { deployments }))
}

/// Who goes back, and to where.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Rollback)]
pub(super) struct Back {
    /// Who does it, in their words.
    by: Option<String>,
    /// To how names stood after the deployment of this number; left out: before the last one.
    #[serde(deserialize_with = "whole")]
    to: Option<u64>,
}

/// Who changes what names mean.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Candidates)]
pub(super) struct Change {
    /// Who does it, in their words.
    by: Option<String>,
}

/// Goes back to what names meant before
///
/// The answer is null if all stands so already.
#[utoipa::path(
    post, path = "/deployments/rollback", tag = "modules", operation_id = "rollback",
    request_body = Option<Back>,
    responses((
        status = 200, description = "What was done, durably.", body = Option<view::Deployment>,
    )),
    extensions(("x-problems" = json!(["bindings"]))),
)]
pub(super) async fn rollback(
    State(served): State<Served>,
    Body(Back { by, to }): Body<Back>,
) -> Result<Json<Value>, Problem> {
    let done = match to {
        None => Some(served.host.rollback(by).await?),
        Some(to) => served.host.rollback_to(DeploymentNumber(to), by).await?,
    };
    Ok(Json(done.as_ref().map_or(Value::Null, view::deployment)))
}

/// Gives names to the modules that are rolled out
#[utoipa::path(
    post, path = "/deployments/promote", tag = "modules", operation_id = "promote",
    request_body = Option<Change>,
    responses((status = 200, description = "What was done, durably.", body = view::Deployment)),
    extensions(("x-problems" = json!(["bindings"]))),
)]
pub(super) async fn promote(
    State(served): State<Served>,
    Body(Change { by }): Body<Change>,
) -> Result<Json<Value>, Problem> {
    let done = served.host.promote(Names::All, by).await?;
    Ok(Json(view::deployment(&done)))
}

/// Takes names away from the modules that are rolled out
#[utoipa::path(
    post, path = "/deployments/abort", tag = "modules", operation_id = "abort",
    request_body = Option<Change>,
    responses((status = 200, description = "What was done, durably.", body = view::Deployment)),
    extensions(("x-problems" = json!(["bindings"]))),
)]
pub(super) async fn abort(
    State(served): State<Served>,
    Body(Change { by }): Body<Change>,
) -> Result<Json<Value>, Problem> {
    let done = served.host.abort(Names::All, by).await?;
    Ok(Json(view::deployment(&done)))
}

/// Where an instance is moved.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Migrate)]
pub(super) struct Moving {
    /// The module; the begin of its digest is enough. A reset may do without.
    #[schema(pattern = "^(sha256:)?[0-9a-f]{1,64}$")]
    to: Option<String>,
    /// Even if payloads or options of its past differ.
    allow_input_changes: bool,
    /// Loses the turns from this one on, and goes on from there.
    #[serde(deserialize_with = "whole")]
    reset_to: Option<u64>,
    /// With `reset_to`: changes nothing, and says what would be lost.
    dry_run: bool,
}

/// What came of it: of a move, or with `reset_to` of a reset.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Elsewhere {
    Migrated(view::Migrated),
    Reset(view::ResetDone),
}

/// Moves an instance to another module, or back to an earlier turn
#[utoipa::path(
    post, path = "/instances/{id}/migrate", tag = "instances", operation_id = "migrate",
    params(One),
    request_body = Moving,
    responses((status = 200, description = "What came of it, durably.", body = Elsewhere)),
    extensions(("x-problems" = json!([
        "bad-parameter", "no-such-instance", "no-such-module", "ambiguous-module", "nowhere", "not-offered",
        "not-the-same", "no-such-turn", "not-begun", "ended", "busy", "bindings",
    ]))),
)]
pub(super) async fn migrate(
    State(served): State<Served>,
    At(One { id }): At<One>,
    Body(moving): Body<Moving>,
) -> Result<Json<Value>, Problem> {
    let host = &served.host;
    let to = moving.to.as_deref().map(|start| module(host, start));
    let (to, allow_input_changes) = (to.transpose()?, moving.allow_input_changes);
    if let Some(to_turn) = moving.reset_to {
        let request = ResetRequest {
            to_turn,
            module: to,
            allow_input_changes,
            dry_run: moving.dry_run,
        };
        let done = host.reset(&id, request).await?;
        return Ok(shown(Elsewhere::Reset(view::ResetDone::new(&id, &done))));
    }
    let to = to.ok_or_else(|| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let detail = "`to` is the module's digest, or the begin of it; only a reset does without";
        Problem::new(status, "nowhere", detail)
    })?;
    let request = MigrateRequest {
        to,
        allow_input_changes,
    };
    let done = host.migrate(&id, request).await?;
    Ok(shown(Elsewhere::Migrated(view::Migrated::new(&id, &done))))
}
