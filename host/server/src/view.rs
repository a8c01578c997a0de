//! Instances, histories and modules as JSON that others can rely on: field names in snake case,
//! times in RFC 3339, a field that does not apply is null.

use serde_json::{Map, Value, json};
use wfhost_core::interface::{DefinitionDiff, Fate, InterfaceDiff, ModuleDiff};
use wfhost_core::record::{
    Accepted, Attempt, Command, EndedHow, Entry, Event, Happening, LogLine, Parent, Record, Rerun,
    StallReason, StateCall, StateWrite, Step, Turn,
};
use wfhost_core::replay::PastTurn;
use wfhost_core::reset::{Lost, LostActivity};
use wfhost_core::{
    Binding, Delivered, DeploymentKind, Failure, Input, Instance, InstanceId, Json, ModuleInfo,
    Name, Role, Task, TaskId, TaskState, Trace,
};

use crate::migrate::{Deployed, Migrated, ResetDone};
use crate::plan::Plan;
use crate::verdict::{Compared, InstanceVerdict, Verdict};

/// An instance: `id`, `run`, `workflow`, `module`, `moved_after` (the turn after which it was moved
/// there, if it was in this generation), `status`, `reason` (when stalled), `input`,
/// `output`, `failure`, `custom_status`, `parent`, `tags`, `cancel_requested`, `suspended`, `begins_at`, `reruns`,
/// `trace` (the id of the one that its starter told of),
/// `created_at`, `updated_at`, `turns`, `pending` (what it waits for), `open_updates`,
/// `unread_events`.
#[must_use]
pub fn instance(instance: &Instance) -> Value {
    let started = instance.started();
    let pending: Vec<_> = instance
        .tasks()
        .iter()
        .map(|(id, task)| pending(*id, task))
        .collect();
    json!({
        "id": started.id.as_str(),
        "run": started.run.to_string(),
        "generation": started.generation,
        "workflow": started.workflow.as_str(),
        "module": instance.module().to_string(),
        "moved_after": (instance.moved_after() > 0).then_some(instance.moved_after()),
        "status": instance.status().as_str(),
        "reason": instance.stall().map(reason),
        "input": instance.first_input().value(),
        "output": instance.output().map(Json::value),
        "failure": instance.failure().as_ref().map(failure),
        "custom_status": instance.custom_status().map(Json::value),
        "parent": started.parent.as_ref().map(parent),
                "tags": tags(&started.tags),
                "cancel_requested": instance.cancel_requested().then(|| {
            json!({ "reason": instance.cancel_reason() })
        }),
        "suspended": instance.suspended().map(|it| json!({ "reason": it.reason })),
        "begins_at": instance.begins_at().map(|at| at.to_string()),
        "reruns": reruns(&started.reruns),
        "trace": trace(started.trace.as_ref()),
        "created_at": started.created_at.to_string(),
        "updated_at": instance.updated_at().to_string(),
                "turns": instance.turns(),
        "pending": pending,
        "open_updates": instance.open_updates(),
        "unread_events": instance.unread_events().iter().map(event).collect::<Vec<_>>(),
    })
}

/// The id of the trace, as `traceparent` has it.
fn trace(trace: Option<&Trace>) -> Option<String> {
    trace.map(|trace| format!("{:032x}", trace.id))
}

/// A module: `digest`, `label`, `bytes`, `component`, `encoder`, `contract`, `imports`,
/// `contained`, `deployed_at`, `workflows`, `activities`; each definition says whether its name is
/// `bound` to this module now.
#[must_use]
pub fn module(info: &ModuleInfo, bound: impl Fn(Role, &Name) -> bool) -> Value {
    let definitions = |role, definitions: &[wfhost_core::Definition]| -> Vec<Value> {
        let one = |it: &wfhost_core::Definition| {
            json!({
                "name": it.name.as_str(),
                "description": it.description,
                "bound": bound(role, &it.name),
                "input_schema": it.input_schema,
                "output_schema": it.output_schema,
            })
        };
        definitions.iter().map(one).collect()
    };
    json!({
        "digest": info.digest.to_string(),
        "label": info.label,
        "bytes": info.bytes,
        "component": info.component.to_string(),
        "encoder": info.encoder,
        "contract": info.contract,
        "imports": info.imports,
        "contained": info.contained,
        "deployed_at": info.deployed_at.to_string(),
        "deployed_by": info.deployed_by,
        "workflows": definitions(Role::Workflow, &info.workflows),
        "activities": definitions(Role::Activity, &info.activities),
    })
}

/// A module, as [`module`] shows it, with the bindings as they are.
#[must_use]
pub fn module_bound(info: &ModuleInfo, bindings: &[(Role, Name, Binding)]) -> Value {
    module(info, |role, name| {
        let mut bound = bindings.iter().filter(|it| (it.0, &it.1) == (role, name));
        bound.any(|(.., binding)| binding.modules().any(|(module, _)| module == info.digest))
    })
}

/// What a name means: `module`, and `candidate` (`module`, `share` in percent) while one is rolled
/// out.
#[must_use]
pub fn binding(binding: &Binding) -> Value {
    let candidate = binding
        .candidate
        .as_ref()
        .map(|it| json!({ "module": it.module.to_string(), "share": it.share.to_string() }));
    json!({ "module": binding.module.to_string(), "candidate": candidate })
}

/// A binding that was moved: `role`, `name`, `from` (null for a new name) and `to` (null if nobody
/// has it any more) as [`binding`] shows them.
#[must_use]
pub fn moved(moved: &wfhost_core::Moved) -> Value {
    json!({
        "role": moved.role.as_str(),
        "name": moved.name.as_str(),
        "from": moved.from.as_ref().map(binding),
        "to": moved.to.as_ref().map(binding),
    })
}

/// A deployment of any kind: `number`, `at`, `by`, `kind`, `of` (which it went back to or undid),
/// `modules`, `moved`.
#[must_use]
pub fn deployment(it: &wfhost_core::Deployment) -> Value {
    let of = match it.kind {
        DeploymentKind::Rollback { of } => Some(of.0),
        DeploymentKind::RollbackTo { number } => Some(number.0),
        DeploymentKind::Deploy | DeploymentKind::Promote | DeploymentKind::Abort => None,
    };
    json!({
        "number": it.number.0,
        "at": it.at.to_string(),
        "by": it.by,
        "kind": it.kind.as_str(),
        "of": of,
        "modules": it.modules.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "moved": it.moved.iter().map(moved).collect::<Vec<_>>(),
    })
}

/// What a deployment did: `number` (null if nothing has changed), `modules`, `moved`, `interface`,
/// `plan` and `upgraded` (null if they were not asked for).
#[must_use]
pub fn deployed(
    deployed: &Deployed,
    bindings: &[(Role, Name, Binding)],
    interface: &InterfaceDiff,
) -> Value {
    let Deployed {
        deployment,
        plan: planned,
        upgraded,
    } = deployed;
    let modules = deployment
        .modules
        .iter()
        .map(|it| module_bound(it, bindings));
    json!({
        "number": deployment.recorded.as_ref().map(|it| it.number.0),
        "modules": modules.collect::<Vec<_>>(),
        "moved": deployment.moved.iter().map(moved).collect::<Vec<_>>(),
        "interface": interface_diff(interface),
        "plan": planned.as_ref().map(plan),
        "upgraded": upgraded.as_ref().map(compared),
    })
}

/// A row of a list of instances: `id`, `run`, `generation`, `workflow`, `module`, `status`,
/// `reason` (when stalled), `parent`, `tags`, `created_at`, `updated_at`, `turns`.
#[must_use]
pub fn summary(row: &wfhost_store::Summary) -> Value {
    let reason = row.reason.as_ref();
    json!({
        "id": row.id.as_str(),
        "run": row.run.to_string(),
        "generation": row.generation,
        "workflow": row.workflow.as_str(),
        "module": row.module.to_string(),
        "status": row.status.as_str(),
        "reason": reason.map(|it| json!({ "kind": it.word, "message": it.text })),
        "parent": row.parent.as_ref().map(|it| it.as_str()),
        "tags": tags(&row.tags),
        "created_at": row.created_at.to_string(),
        "updated_at": row.updated_at.to_string(),
        "turns": row.turns,
    })
}

/// What a deployment changes of interfaces: `modules`, each with `module`, `label`, `replaces`,
/// `contained`, `was_contained`, `gained`, `lost` and `definitions`, each of those with `role`,
/// `name`, `fate` (`added`, `replaced`, `unmoved`, `removed`), `from` (the module that the name
/// means now) and `changes`, each of those with `path`, `what` and `impact` (`fits`, `unknown`,
/// `breaks`).
#[must_use]
pub fn interface_diff(diff: &InterfaceDiff) -> Value {
    let definition = |it: &DefinitionDiff| {
        let (fate, from) = match it.fate {
            Fate::Added => ("added", None),
            Fate::Unmoved => ("unmoved", None),
            Fate::Replaced { from } => ("replaced", Some(from)),
            Fate::Removed { stays_on } => ("removed", Some(stays_on)),
        };
        json!({
            "role": it.role.as_str(), "name": it.name.as_str(), "fate": fate,
            "from": from.map(|it| it.to_string()), "changes": it.changes,
        })
    };
    let module = |it: &ModuleDiff| {
        let replaces = it.replaces.iter();
        let replaces =
            replaces.map(|(digest, label)| json!({ "module": digest.to_string(), "label": label }));
        json!({
            "module": it.module.to_string(), "label": it.label,
            "replaces": replaces.collect::<Vec<_>>(),
            "contained": it.contained, "was_contained": it.was_contained,
            "gained": it.gained, "lost": it.lost,
            "definitions": it.definitions.iter().map(definition).collect::<Vec<_>>(),
        })
    };
    json!({ "modules": diff.modules.iter().map(module).collect::<Vec<_>>() })
}

/// A turn: `number`, `at`, `inputs`, `commands`, `state`, `step`, `log`.
#[must_use]
pub fn turn(past: &PastTurn) -> Value {
    let Turn {
        at,
        commands,
        state,
        step: came_back,
        log,
        ..
    } = past.turn.as_ref();
    json!({
        "record": "turn",
        "number": past.number,
        "at": at.to_string(),
        "inputs": inputs(&past.delivered),
        "commands": commands.iter().map(command).collect::<Vec<_>>(),
        "state": state.iter().map(state_call).collect::<Vec<_>>(),
        "step": step(came_back),
        "log": lines(log),
    })
}

/// A record of a history that is no turn. `activity_name` is that of the activity that an
/// attempt's task calls. One that a rerun took over is `copied`.
#[must_use]
pub fn record(record: &Record, activity_name: Option<&Name>) -> Value {
    let at = record.at().to_string();
    let activity = activity_name.map(Name::as_str);
    match record {
        Record::Copied(copied) => {
            let mut row = self::record(copied, activity_name);
            row["copied"] = json!(true);
            row
        }
        Record::Started(started) => json!({
            "record": "started", "at": at, "id": started.id.as_str(),
            "run": started.run.to_string(), "generation": started.generation,
            "workflow": started.workflow.as_str(), "module": started.module.to_string(),
                                    "contract": started.contract, "features": started.features, "seed": started.seed,
            "input": started.input.value(),
            "parent": started.parent.as_ref().map(parent), "tags": tags(&started.tags),
            "key": started.key, "begins_at": started.begins_at.map(|at| at.to_string()),
            "events": started.events.iter().map(event).collect::<Vec<_>>(),
            "reruns": reruns(&started.reruns), "trace": trace(started.trace.as_ref()),
        }),
        Record::Accepted(accepted) => happening(accepted, &at),
        Record::Turn(_) => json!({ "record": "turn", "at": at }),
        Record::AttemptStarted(started) => json!({
            "record": "attempt-started", "at": at, "task": started.task.0, "activity": activity,
            "attempt": started.number, "module": started.module.to_string(),
        }),
        Record::Attempt(attempt) => ended_attempt(attempt, activity),
        Record::AttemptStopped(stopped) => json!({
            "record": "attempt-stopped", "at": at, "task": stopped.task.0, "activity": activity,
            "attempt": stopped.number, "begun": stopped.begun,
        }),
        Record::Stalled(stalled) => json!({
            "record": "stalled", "at": at, "task": stalled.task.map(|task| task.0),
            "reason": reason(&stalled.reason),
        }),
        Record::Unstalled(unstalled) => json!({
            "record": "unstalled", "at": at, "task": unstalled.task.0,
        }),
        Record::Moved(moved) => json!({
            "record": "moved", "at": at, "from": moved.from.to_string(),
            "to": moved.to.to_string(), "contract": moved.contract, "features": moved.features,
            "input_changes_allowed": moved.input_changes_allowed, "turns": moved.turns,
        }),
        Record::Reset(reset) => json!({
            "record": "reset", "at": at, "from_run": reset.run.to_string(), "turn": reset.turn,
            "turns_lost": reset.turns_lost, "tasks_kept": reset.tasks_kept,
        }),
        Record::Ended(ended) => match &ended.how {
            EndedHow::Terminated { reason, recursive } => json!({
                "record": "terminated", "at": at, "reason": reason, "recursive": recursive,
                "key": ended.key,
            }),
        },
        Record::StateWritten(written) => json!({
            "record": "state-written", "at": at,
            "writes": written.writes.iter().map(write).collect::<Vec<_>>(),
        }),
    }
}

/// What came of taking the turns of an instance again: `verdict`, a stable word, and what belongs
/// to it: `turn`, `place`, `history` and `code` where the two differ, `backtrace` where it
/// diverges, `turn` and `message` if the interface has changed, `message` if it could not be done.
#[must_use]
pub fn verdict(verdict: &Verdict) -> Value {
    let mut row = match verdict {
        Verdict::Same => json!({}),
        Verdict::InputChanged(it) => json!({
            "turn": it.turn, "place": it.place, "history": it.history, "code": it.code,
        }),
        Verdict::Diverges(it) => json!({
            "turn": it.turn, "place": it.place, "history": it.history, "code": it.code,
            "backtrace": it.backtrace,
        }),
        Verdict::InterfaceChanged { turn, message } => json!({ "turn": turn, "message": message }),
        Verdict::NotReplayed { message } => json!({ "message": message }),
    };
    row["verdict"] = json!(verdict.word());
    row
}

/// Many instances whose turns were taken again: `histories`, `turns`, `verdicts` (how often each
/// was given), `moved`, `instances` (each with `id`, `workflow`, `status`, `from`, `to`, `moved`
/// and the fields of its verdict; those that do not do the same come first), `unlisted`.
#[must_use]
pub fn compared(compared: &Compared) -> Value {
    let one = |it: &InstanceVerdict| {
        let mut row = verdict(&it.verdict);
        row["id"] = json!(it.id.as_str());
        row["workflow"] = json!(it.workflow.as_str());
        row["status"] = json!(it.status.as_str());
        row["from"] = json!(it.from.to_string());
        row["to"] = json!(it.to.to_string());
        row["moved"] = json!(it.moved);
        row
    };
    let verdicts = compared.verdicts;
    json!({
        "histories": compared.histories,
        "turns": compared.turns,
        "verdicts": {
            "same": verdicts.same,
            "input-changed": verdicts.input_changed,
            "diverges": verdicts.diverges,
            "interface-changed": verdicts.interface_changed,
            "not-replayed": verdicts.not_replayed,
        },
        "moved": compared.moved,
        "instances": compared.instances.iter().map(one).collect::<Vec<_>>(),
        "unlisted": compared.unlisted,
    })
}

/// What a deployment would mean: `modules`, `live` and `ended` as [`compared`] has them (`ended` is
/// null if none were asked for), `took_ms`.
#[must_use]
pub fn plan(plan: &Plan) -> Value {
    let modules: Vec<_> = plan.modules.iter().map(ToString::to_string).collect();
    json!({
        "modules": modules,
        "live": compared(&plan.live),
        "ended": plan.ended.as_ref().map(compared),
        "took_ms": plan.took_ms,
    })
}

/// What came of moving an instance: `from`, `to`, `turns`, `moved`, and the fields of its verdict.
#[must_use]
pub fn migrated(id: &InstanceId, migrated: &Migrated) -> Value {
    let mut row = verdict(&migrated.verdict);
    row["id"] = json!(id.as_str());
    row["from"] = json!(migrated.from.to_string());
    row["to"] = json!(migrated.to.to_string());
    row["turns"] = json!(migrated.turns);
    row["moved"] = json!(migrated.moved);
    row
}

/// What came of a reset: `id`, `from_run`, `run` (null if nothing was done), `to_turn`, `module`,
/// `verdict`, `lost`.
#[must_use]
pub fn reset(id: &InstanceId, done: &ResetDone) -> Value {
    json!({
        "id": id.as_str(),
        "from_run": done.from_run.to_string(),
        "run": done.run.map(|run| run.to_string()),
        "to_turn": done.to_turn,
        "module": done.module.to_string(),
        "verdict": verdict(&done.verdict),
        "lost": lost(&done.lost),
    })
}

/// What is lost by a reset: `turns`, `activities` and `begun_anew` (`task`, `name`, `attempts`,
/// `effectful`, `completed`), `children` (`task`, `workflow`, `id`, `detached`, `ended`), `events`
/// (`task`, `id`, `name`), `timers` (`task`, `fires_at`), `keys_written`.
#[must_use]
pub fn lost(lost: &Lost) -> Value {
    let activity = |it: &LostActivity| {
        json!({
            "task": it.task.0, "name": it.name.as_str(), "attempts": it.attempts,
            "effectful": it.effectful, "completed": it.completed,
        })
    };
    let children = lost.children.iter().map(|it| {
        json!({
            "task": it.task.0, "workflow": it.workflow.as_str(),
            "id": it.id.as_ref().map(InstanceId::as_str), "detached": it.detached,
            "ended": it.ended,
        })
    });
    let events = lost
        .events
        .iter()
        .map(|it| json!({ "task": it.task.0, "id": it.instance, "name": it.name.as_str() }));
    let timers = lost
        .timers
        .iter()
        .map(|it| json!({ "task": it.task.0, "fires_at": it.fires_at.to_string() }));
    json!({
        "turns": lost.turns,
        "activities": lost.activities.iter().map(activity).collect::<Vec<_>>(),
        "children": children.collect::<Vec<_>>(),
        "events": events.collect::<Vec<_>>(),
        "timers": timers.collect::<Vec<_>>(),
        "keys_written": lost.keys_written,
        "begun_anew": lost.begun_anew.iter().map(activity).collect::<Vec<_>>(),
    })
}

fn event(event: &Event) -> Value {
    json!({ "name": event.name.as_str(), "payload": event.payload.value() })
}

fn reruns(reruns: &[Rerun]) -> Vec<Value> {
    let one =
        |it: &Rerun| json!({ "id": it.id.as_str(), "run": it.run.to_string(), "turns": it.turns });
    reruns.iter().map(one).collect()
}

/// Why an instance does not move: `kind`, a stable word, and `message`.
#[must_use]
pub fn reason(reason: &StallReason) -> Value {
    json!({ "kind": reason.word(), "message": reason.to_string() })
}

/// A failure: `kind`, `message`, `retryable`, `details`.
#[must_use]
pub fn failure(failure: &Failure) -> Value {
    json!({
        "kind": failure.kind,
        "message": failure.message,
        "retryable": failure.retryable,
        "details": failure.details.as_ref().map(Json::value),
    })
}

fn pending(id: TaskId, task: &Task) -> Value {
    let mut row = match &task.state {
        TaskState::Activity {
            name,
            attempt,
            ready_at,
            last_failure,
            ..
        } => json!({
            "waits_for": "activity", "name": name.as_str(), "attempt": attempt,
            "ready_at": ready_at.to_string(), "last_failure": last_failure.as_ref().map(failure),
        }),
        TaskState::Child {
            name,
            options,
            attempt,
            ready_at,
            last_failure,
            ..
        } => json!({
            "waits_for": "workflow", "name": name.as_str(), "id": options.id,
            "attempt": attempt, "ready_at": ready_at.to_string(),
            "last_failure": last_failure.as_ref().map(failure),
        }),
        TaskState::Timer { fires_at } => {
            json!({ "waits_for": "timer", "fires_at": fires_at.to_string() })
        }
        TaskState::Event { name } => json!({ "waits_for": "event", "name": name.as_str() }),
        TaskState::Raise { instance, event } => {
            json!({ "waits_for": "raise-event", "name": event.name.as_str(), "id": instance })
        }
    };
    row["task"] = json!(id.0);
    row["asked_at"] = json!(task.asked_at.to_string());
    row
}

fn parent(parent: &Parent) -> Value {
    json!({
        "id": parent.id.as_str(), "run": parent.run.to_string(), "task": parent.task.0,
                "detached": parent.detached, "attempt": parent.attempt,
    })
}

fn tags(tags: &[(String, String)]) -> Value {
    let tags = tags.iter().map(|(key, value)| (key.clone(), json!(value)));
    Value::Object(tags.collect::<Map<_, _>>())
}

fn inputs(delivered: &Delivered) -> Vec<Value> {
    let one = |input: &Input| match input {
        Input::Completed { task, outcome } => {
            outcome_of(json!({ "input": "completed", "task": task.0 }), outcome)
        }
        Input::CancelRequested { reason } => {
            json!({ "input": "cancel-requested", "reason": reason })
        }
        Input::UpdateRequested { id, name, input } => json!({
            "input": "update-requested", "id": id, "name": name.as_str(), "value": input.value(),
        }),
    };
    delivered.inputs.iter().map(one).collect()
}

fn command(command: &Command) -> Value {
    match command {
        Command::CallActivity {
            task,
            name,
            input,
            options,
        } => json!({
            "command": "call-activity", "task": task.0, "name": name.as_str(),
            "input": input.value(), "options": options,
        }),
        Command::CallWorkflow {
            task,
            name,
            input,
            options,
        } => json!({
            "command": "call-workflow", "task": task.0, "name": name.as_str(),
            "input": input.value(), "options": options,
        }),
        Command::CreateTimer { task, fires_at } => json!({
            "command": "create-timer", "task": task.0, "fires_at": fires_at.to_string(),
        }),
        Command::AwaitEvent { task, name } => {
            json!({ "command": "await-event", "task": task.0, "name": name.as_str() })
        }
        Command::RaiseEvent {
            task,
            instance,
            event,
        } => json!({
            "command": "raise-event", "task": task.0, "id": instance,
            "name": event.name.as_str(), "payload": event.payload.value(),
        }),
        Command::Cancel { task } => json!({ "command": "cancel", "task": task.0 }),
        Command::AnswerUpdate { id, outcome } => {
            outcome_of(json!({ "command": "answer-update", "id": id }), outcome)
        }
        Command::SetCustomStatus { status } => {
            json!({ "command": "set-custom-status", "status": status.value() })
        }
        Command::Patched { id } => json!({ "command": "patched", "id": id }),
    }
}

fn state_call(call: &StateCall) -> Value {
    match call {
        StateCall::Get { key, found } => {
            json!({ "call": "get", "key": key, "found": found.as_ref().map(entry) })
        }
        StateCall::Scan {
            prefix,
            after,
            limit,
            found,
        } => {
            let found: Vec<_> = found
                .iter()
                .map(|(key, it)| json!({ "key": key, "entry": entry(it) }))
                .collect();
            json!({
                "call": "scan", "prefix": prefix, "after": after, "limit": limit, "found": found,
            })
        }
        StateCall::Write {
            write: written,
            if_version,
            refused,
        } => {
            let mut row = write(written);
            row["call"] = json!(if written.value.is_some() {
                "set"
            } else {
                "delete"
            });
            row["if_version"] = json!(if_version);
            row["refused"] = json!(refused);
            row
        }
    }
}

fn entry(entry: &Entry) -> Value {
    json!({ "value": entry.value.value(), "version": entry.version })
}

fn write(write: &StateWrite) -> Value {
    json!({
        "key": write.key,
        "value": write.value.as_ref().map(Json::value),
        "expires_at": write.expires_at.map(|at| at.to_string()),
    })
}

fn step(step: &Step) -> Value {
    match step {
        Step::Waiting => json!({ "step": "waiting" }),
        Step::Completed(output) => json!({ "step": "completed", "output": output.value() }),
        Step::Failed(failed) => json!({ "step": "failed", "failure": failure(failed) }),
        Step::Cancelled => json!({ "step": "cancelled" }),
        Step::ContinuedAsNew {
            input,
            current_module,
        } => json!({
            "step": "continued-as-new", "input": input.value(), "current_module": current_module,
        }),
    }
}

fn happening(accepted: &Accepted, at: &str) -> Value {
    let mut row = match &accepted.what {
        Happening::TimerFired { task } => json!({ "input": "timer-fired", "task": task.0 }),
        Happening::EventRaised(event) => json!({
            "input": "event-raised", "name": event.name.as_str(),
            "payload": event.payload.value(),
        }),
        Happening::TaskEnded { task, outcome } => {
            outcome_of(json!({ "input": "task-ended", "task": task.0 }), outcome)
        }
        Happening::ChildFailed {
            task,
            failure: why,
            retry_at,
        } => json!({
            "input": "child-failed", "task": task.0, "failure": failure(why),
            "retry_at": retry_at.to_string(),
        }),
        Happening::CancelRequested { reason } => {
            json!({ "input": "cancel-requested", "reason": reason })
        }
        Happening::UpdateRequested { id, name, input } => json!({
            "input": "update-requested", "id": id, "name": name.as_str(), "value": input.value(),
        }),
        Happening::Suspended { reason } => json!({ "input": "suspended", "reason": reason }),
        Happening::Resumed => json!({ "input": "resumed" }),
    };
    row["record"] = json!("accepted");
    row["key"] = json!(accepted.key);
    row["at"] = json!(at);
    row
}

fn ended_attempt(attempt: &Attempt, activity: Option<&str>) -> Value {
    let row = json!({
        "record": "attempt",
        "at": attempt.ended_at.to_string(),
        "task": attempt.task.0,
        "activity": activity,
        "attempt": attempt.number,
        "module": attempt.module.to_string(),
        "contained": attempt.contained,
        "started_at": attempt.started_at.to_string(),
        "retry_at": attempt.retry_at.map(|at| at.to_string()),
        "writes": attempt.writes.iter().map(write).collect::<Vec<_>>(),
        "log": lines(&attempt.log),
    });
    outcome_of(row, &attempt.outcome)
}

/// An outcome as two fields more: `output` and `failure`, one of them null.
pub(crate) fn outcome_of(mut row: Value, outcome: &Result<Json, Failure>) -> Value {
    row["output"] = json!(outcome.as_ref().ok().map(Json::value));
    row["failure"] = json!(outcome.as_ref().err().map(failure));
    row
}

fn lines(log: &[LogLine]) -> Vec<Value> {
    log.iter()
        .map(|line| json!({ "level": line.level.as_str(), "message": line.message }))
        .collect()
}
