//! Instances, histories and modules as JSON that others can rely on: field names in snake case,
//! times in RFC 3339, a field that does not apply is null.
//!
//! What the fields are stands with the types in the files below. The same types describe the
//! answers in the API's OpenAPI document, which therefore says what is sent.

mod history;
mod instances;
mod logs;
mod modules;
mod moves;
mod needs;
mod schedules;
mod turns;
mod words;

use serde::Serialize;
use serde_json::Value;
use wfhost_core::interface::InterfaceDiff as Interface;
use wfhost_core::record::{Record, StallReason};
use wfhost_core::replay::PastTurn;
use wfhost_core::reset::Lost as LostTurns;
use wfhost_core::{Json, ModuleInfo, Name, Role};

use crate::migrate;
use crate::schedules::Scheduled;
use crate::verdict;

pub(crate) use history::HistoryRecord;
pub(crate) use instances::{Instance, Summary};
pub(crate) use logs::{Level, LogRow};
pub(crate) use modules::{Binding, Deployed, Deployment, InterfaceDiff, Module, Moved};
pub(crate) use moves::{Compared, Lost, Migrated, Plan, ResetDone, Verdict};
pub(crate) use needs::{Need, Tidied};
pub(crate) use schedules::{OverlapWord, Schedule, ScheduleId, catch_up};
pub(crate) use words::{
    Called, Digest, DueTime, Failure, Id, Outcome, Reason, Status, one_of_or_null,
};

/// As JSON, the fields by name.
pub(crate) fn json(view: impl Serialize) -> Value {
    serde_json::to_value(view).expect("keys are text, and nothing else can fail")
}

/// An instance: `id`, `run`, `workflow`, `module`, `moved_after` (the turn after which it was moved
/// there, if it was in this generation), `status`, `reason` (when stalled), `input`,
/// `output`, `failure`, `custom_status`, `parent`, `tags`, `cancel_requested`, `suspended`, `begins_at`, `reruns`,
/// `trace` (the id of the one that its starter told of),
/// `created_at`, `updated_at`, `turns`, `pending` (what it waits for), `open_updates`,
/// `unread_events`.
#[must_use]
pub fn instance(instance: &wfhost_core::Instance) -> Value {
    json(Instance::from(instance))
}

/// A schedule: `name`, `cron`, `time_zone`, `workflow`, `input`, `tags`, `overlap`, `catch_up`,
/// `catch_up_max`, `until`, `paused` (`at`, `note`), `next`, `queued` (the firing that waits),
/// `running` (ids), `firings` (the newest first: `due_at`, `at`, `outcome`, `id`, `why`),
/// `created_at`, `changed_at`.
#[must_use]
pub fn schedule(scheduled: &Scheduled) -> Value {
    json(Schedule::from(scheduled))
}

/// A module: `digest`, `label`, `bytes`, `component`, `encoder`, `contract`, `imports`,
/// `contained`, `deployed_at`, `workflows`, `activities`; each definition says whether its name is
/// `bound` to this module now.
#[must_use]
pub fn module(info: &ModuleInfo, bound: impl Fn(Role, &Name) -> bool) -> Value {
    json(Module::new(info, bound))
}

/// A module, as [`module`] shows it, with the bindings as they are.
#[must_use]
pub fn module_bound(info: &ModuleInfo, bindings: &[(Role, Name, wfhost_core::Binding)]) -> Value {
    json(bound(info, bindings))
}

pub(crate) fn bound(info: &ModuleInfo, bindings: &[(Role, Name, wfhost_core::Binding)]) -> Module {
    Module::new(info, |role, name| {
        let mut bound = bindings.iter().filter(|it| (it.0, &it.1) == (role, name));
        bound.any(|(.., binding)| binding.modules().any(|(module, _)| module == info.digest))
    })
}

/// What a name means: `module`, and `candidate` (`module`, `share` in percent) while one is rolled
/// out.
#[must_use]
pub fn binding(binding: &wfhost_core::Binding) -> Value {
    json(Binding::from(binding))
}

/// A binding that was moved: `role`, `name`, `from` (null for a new name) and `to` (null if nobody
/// has it any more) as [`binding`] shows them.
#[must_use]
pub fn moved(moved: &wfhost_core::Moved) -> Value {
    json(Moved::from(moved))
}

/// A deployment of any kind: `number`, `at`, `by`, `kind`, `of` (which it went back to or undid),
/// `modules`, `moved`.
#[must_use]
pub fn deployment(it: &wfhost_core::Deployment) -> Value {
    json(Deployment::from(it))
}

/// What a deployment did: `number` (null if nothing has changed), `modules`, `moved`, `interface`,
/// `plan` and `upgraded` (null if they were not asked for).
#[must_use]
pub fn deployed(
    deployed: &migrate::Deployed,
    bindings: &[(Role, Name, wfhost_core::Binding)],
    interface: &Interface,
) -> Value {
    let deployment = &deployed.deployment;
    let modules = deployment.modules.iter().map(|it| bound(it, bindings));
    json(Deployed {
        number: deployment.recorded.as_ref().map(|it| it.number.0),
        modules: modules.collect(),
        moved: words::all(&deployment.moved),
        interface: interface.into(),
        plan: deployed.plan.as_ref().map(Into::into),
        upgraded: deployed.upgraded.as_ref().map(Into::into),
    })
}

/// A row of a list of instances: `id`, `run`, `generation`, `workflow`, `module`, `status`,
/// `reason` (when stalled), `parent`, `tags`, `created_at`, `updated_at`, `turns`.
#[must_use]
pub fn summary(row: &wfhost_store::Summary) -> Value {
    json(Summary::from(row))
}

/// What a deployment changes of interfaces: `modules`, each with `module`, `label`, `replaces`,
/// `contained`, `was_contained`, `gained`, `lost` and `definitions`, each of those with `role`,
/// `name`, `fate` (`added`, `replaced`, `unmoved`, `removed`), `from` (the module that the name
/// means now) and `changes`, each of those with `path`, `what` and `impact` (`fits`, `unknown`,
/// `breaks`).
#[must_use]
pub fn interface_diff(diff: &Interface) -> Value {
    json(InterfaceDiff::from(diff))
}

/// A turn: `number`, `at`, `inputs`, `commands`, `state`, `step`, `log`.
#[must_use]
pub fn turn(past: &PastTurn) -> Value {
    json(HistoryRecord::turn(past, false))
}

/// A record of a history that is no turn. `activity_name` is that of the activity that an
/// attempt's task calls. One that a rerun took over is `copied`.
#[must_use]
pub fn record(record: &Record, activity_name: Option<&Name>) -> Value {
    json(HistoryRecord::new(record, activity_name))
}

/// What came of taking the turns of an instance again: `verdict`, a stable word, and what belongs
/// to it: `turn`, `place`, `history` and `code` where the two differ, `backtrace` where it
/// diverges, `turn` and `message` if the interface has changed, `message` if it could not be done.
#[must_use]
pub fn verdict(verdict: &verdict::Verdict) -> Value {
    json(Verdict::from(verdict))
}

/// Many instances whose turns were taken again: `histories`, `turns`, `verdicts` (how often each
/// was given), `moved`, `instances` (each with `id`, `workflow`, `status`, `from`, `to`, `moved`
/// and the fields of its verdict; those that do not do the same come first), `unlisted`.
#[must_use]
pub fn compared(compared: &verdict::Compared) -> Value {
    json(Compared::from(compared))
}

/// What a deployment would mean: `modules`, `live` and `ended` as [`compared`] has them (`ended` is
/// null if none were asked for), `took_ms`.
#[must_use]
pub fn plan(plan: &crate::plan::Plan) -> Value {
    json(Plan::from(plan))
}

/// What came of moving an instance: `from`, `to`, `turns`, `moved`, and the fields of its verdict.
#[must_use]
pub fn migrated(id: &wfhost_core::InstanceId, migrated: &migrate::Migrated) -> Value {
    json(Migrated::new(id, migrated))
}

/// What came of a reset: `id`, `from_run`, `run` (null if nothing was done), `to_turn`, `module`,
/// `verdict`, `lost`.
#[must_use]
pub fn reset(id: &wfhost_core::InstanceId, done: &migrate::ResetDone) -> Value {
    json(ResetDone::new(id, done))
}

/// What is lost by a reset: `turns`, `activities` and `begun_anew` (`task`, `name`, `attempts`,
/// `effectful`, `completed`), `children` (`task`, `workflow`, `id`, `detached`, `ended`), `events`
/// (`task`, `id`, `name`), `timers` (`task`, `fires_at`), `keys_written`.
#[must_use]
pub fn lost(lost: &LostTurns) -> Value {
    json(Lost::from(lost))
}

/// Why an instance does not move: `kind`, a stable word, and `message`.
#[must_use]
pub fn reason(reason: &StallReason) -> Value {
    json(Reason::from(reason))
}

/// A failure: `kind`, `message`, `retryable`, `details`.
#[must_use]
pub fn failure(failure: &wfhost_core::Failure) -> Value {
    json(Failure::from(failure))
}

/// An outcome: `output` and `failure`, one of them null.
pub(crate) fn outcome(outcome: &Result<Json, wfhost_core::Failure>) -> Value {
    json(Outcome::from(outcome))
}
