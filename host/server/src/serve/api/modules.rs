//! Modules: which there are, new ones and what they would mean, and the way back.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use wfhost_core::{DeploymentNumber, Share};

use super::instances::{module, page};
use super::{At, Body, Parameters, Problem};
use crate::host::Upload;
use crate::migrate::{DeployOptions, MigrateRequest, ResetRequest, Upgrade};
use crate::plan::PlanOptions;
use crate::serve::Served;
use crate::{InstanceId, Names, view};

pub(super) async fn list(State(served): State<Served>) -> Result<Json<Value>, Problem> {
    let bindings = served.host.bindings()?;
    let modules = served.host.modules()?;
    let rows = modules
        .iter()
        .map(|info| view::module_bound(info, &bindings));
    Ok(Json(json!({ "modules": rows.collect::<Vec<_>>() })))
}

/// How the module that is the body is deployed, as `wfhost deploy` says.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Deploying {
    label: Option<String>,
    by: Option<String>,
    weight: Option<String>,
    plan: bool,
    upgrade: bool,
    allow_input_changes: bool,
    require_all: bool,
    ended: usize,
    force: bool,
    allow_capabilities: bool,
}

/// Deploys the module that is the body, or says what that would mean.
pub(super) async fn deploy(
    State(served): State<Served>,
    Parameters(how): Parameters<Deploying>,
    bytes: Bytes,
) -> Result<Response, Problem> {
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
        let (interface, plan) = (view::interface_diff(&interface), view::plan(&plan));
        return Ok(Json(json!({ "interface": interface, "plan": plan })).into_response());
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
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Before {
    before: Option<u64>,
    limit: Option<usize>,
}

pub(super) async fn deployments(
    State(served): State<Served>,
    Parameters(Before { before, limit }): Parameters<Before>,
) -> Result<Json<Value>, Problem> {
    let limit = page(limit)?;
    let rows = served
        .host
        .deployments(before.map(DeploymentNumber), limit)?;
    let rows: Vec<_> = rows.iter().map(view::deployment).collect();
    Ok(Json(json!({ "deployments": rows })))
}

/// Who changes what names mean, and back to where.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Change {
    by: Option<String>,
    to: Option<u64>,
}

/// Back to what was before the last deployment, or after the one named. Null if all stands so.
pub(super) async fn rollback(
    State(served): State<Served>,
    Body(Change { by, to }): Body<Change>,
) -> Result<Json<Value>, Problem> {
    let done = match to {
        None => Some(served.host.rollback(by).await?),
        Some(to) => served.host.rollback_to(DeploymentNumber(to), by).await?,
    };
    Ok(Json(done.as_ref().map_or(Value::Null, view::deployment)))
}

pub(super) async fn promote(
    State(served): State<Served>,
    Body(Change { by, .. }): Body<Change>,
) -> Result<Json<Value>, Problem> {
    let done = served.host.promote(Names::All, by).await?;
    Ok(Json(view::deployment(&done)))
}

pub(super) async fn abort(
    State(served): State<Served>,
    Body(Change { by, .. }): Body<Change>,
) -> Result<Json<Value>, Problem> {
    let done = served.host.abort(Names::All, by).await?;
    Ok(Json(view::deployment(&done)))
}

/// Where an instance is moved.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Moving {
    to: Option<String>,
    allow_input_changes: bool,
    reset_to: Option<u64>,
    dry_run: bool,
}

pub(super) async fn migrate(
    State(served): State<Served>,
    At(id): At<InstanceId>,
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
        return Ok(Json(view::reset(&id, &done)));
    }
    let to = to.ok_or_else(|| {
        Problem::bad_parameter("to", &"it is the module's digest, or the begin of it")
    })?;
    let request = MigrateRequest {
        to,
        allow_input_changes,
    };
    let done = host.migrate(&id, request).await?;
    Ok(Json(view::migrated(&id, &done)))
}
