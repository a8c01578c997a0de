//! The durable context: what a workflow asks becomes commands, or is held against the record.

use wfhost_core::record::{Command, Event};
use wfhost_core::{TaskId, Timestamp};

use crate::bindings::{context, types};
use crate::inside::{Inside, Live, Mode, WorkflowRole, name};
use crate::trap::Stop;

/// Longest name of a patch, in bytes.
const PATCH_BYTES_MAX: usize = 200;

impl context::Host for Inside {
    fn info(&mut self) -> wasmtime::Result<context::InstanceInfo> {
        let workflow = self.workflow("info")?;
        let (birth, own) = (&workflow.birth, workflow.identity());
        Ok(context::InstanceInfo {
            id: own.id.to_string(),
            run: own.run.to_string(),
            workflow: birth.workflow.to_string(),
            parent: own.parent.map(str::to_owned),
            started_at: birth.started_at.0,
            generation: birth.generation,
        })
    }

    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.workflow("now")?.now.0)
    }

    fn random(&mut self) -> wasmtime::Result<u64> {
        let workflow = self.workflow("random")?;
        match workflow.mode {
            Mode::Live(_) | Mode::Replay(_) => Ok(workflow.random.number()),
            Mode::Idle | Mode::Asked(_) => Err(out_of_turn(&workflow.mode, "random").into()),
        }
    }

    fn patched(&mut self, id: String) -> wasmtime::Result<bool> {
        let commands_max = self.limits.commands_per_turn_max;
        let workflow = self.workflow("patched")?;
        if let Some(answer) = workflow.patches.get(&id) {
            return Ok(*answer);
        }
        if id.len() > PATCH_BYTES_MAX {
            let message = format!("the name of a patch has more than {PATCH_BYTES_MAX} bytes");
            return Err(Stop::InvalidOutput(message).into());
        }
        let answer = match &mut workflow.mode {
            Mode::Replay(past) => past.meet_patch(&id),
            Mode::Live(live) => {
                live.push(Command::Patched { id: id.clone() }, commands_max)?;
                true
            }
            mode @ (Mode::Idle | Mode::Asked(_)) => return Err(out_of_turn(mode, "patched").into()),
        };
        workflow.patches.insert(id, answer);
        Ok(answer)
    }

    fn call_activity(
        &mut self,
        activity: String,
        input: String,
        options: context::ActivityOptions,
    ) -> wasmtime::Result<u32> {
        let name = name(&activity, "an activity")?;
        let input = self.payload(input, || format!("the input of the activity `{activity}`"))?;
        let options = options.into();
        self.open("call-activity", |task| Command::CallActivity {
            task,
            name,
            input,
            options,
        })
    }

    fn call_workflow(
        &mut self,
        workflow: String,
        input: String,
        options: context::ChildOptions,
    ) -> wasmtime::Result<u32> {
        let name = name(&workflow, "a workflow")?;
        let input = self.payload(input, || format!("the input of the workflow `{workflow}`"))?;
        let options = options.into();
        self.open("call-workflow", |task| Command::CallWorkflow {
            task,
            name,
            input,
            options,
        })
    }

    fn create_timer(&mut self, fires_at: u64) -> wasmtime::Result<u32> {
        let fires_at = Timestamp(fires_at);
        self.open("create-timer", |task| Command::CreateTimer {
            task,
            fires_at,
        })
    }

    fn await_event(&mut self, event: String) -> wasmtime::Result<u32> {
        let name = name(&event, "an event")?;
        self.open("await-event", |task| Command::AwaitEvent { task, name })
    }

    fn raise_event(
        &mut self,
        instance: String,
        event: String,
        payload: String,
    ) -> wasmtime::Result<u32> {
        let name = name(&event, "an event")?;
        let payload = self.payload(payload, || format!("the payload of the event `{event}`"))?;
        self.open("raise-event", |task| Command::RaiseEvent {
            task,
            instance,
            event: Event { name, payload },
        })
    }

    fn cancel(&mut self, task: u32) -> wasmtime::Result<()> {
        let last = self.workflow("cancel")?.last_task;
        if task == 0 || task > last {
            let message = format!("it cancelled task {task}; the last task is {last}");
            return Err(Stop::Forbidden(message).into());
        }
        let task = TaskId(task);
        self.ask("cancel", Command::Cancel { task })
    }

    fn answer_update(
        &mut self,
        id: u32,
        outcome: Result<String, types::Failure>,
    ) -> wasmtime::Result<()> {
        let outcome = self.outcome(outcome, || format!("the answer to update {id}"))?;
        self.ask("answer-update", Command::AnswerUpdate { id, outcome })
    }

    fn set_custom_status(&mut self, status: String) -> wasmtime::Result<()> {
        let status = self.payload(status, || "the custom status".into())?;
        self.ask("set-custom-status", Command::SetCustomStatus { status })
    }
}

impl Inside {
    /// Asks for a new task.
    fn open(
        &mut self,
        what: &str,
        command: impl FnOnce(TaskId) -> Command,
    ) -> wasmtime::Result<u32> {
        let task = self.workflow(what)?.last_task + 1;
        self.ask(what, command(TaskId(task)))?;
        self.workflow(what)?.last_task = task;
        Ok(task)
    }

    fn ask(&mut self, what: &str, command: Command) -> wasmtime::Result<()> {
        let commands_max = self.limits.commands_per_turn_max;
        let WorkflowRole { mode, .. } = self.workflow(what)?;
        match mode {
            Mode::Live(live) => live.push(command, commands_max)?,
            Mode::Replay(past) => past.meet(&command)?,
            Mode::Idle | Mode::Asked(_) => return Err(out_of_turn(mode, what).into()),
        }
        Ok(())
    }
}

impl Live {
    fn push(&mut self, command: Command, commands_max: usize) -> Result<(), Stop> {
        if self.commands.len() >= commands_max {
            let message = format!("it asked for more than {commands_max} commands in one turn");
            return Err(Stop::Limit(message));
        }
        self.commands.push(command);
        Ok(())
    }
}

/// Why something cannot be asked outside of a turn.
pub(crate) fn out_of_turn(mode: &Mode, what: &str) -> Stop {
    Stop::Forbidden(match mode {
        Mode::Asked(asker) => format!("{asker} called `{what}`; it may ask only `info` and `now`"),
        Mode::Idle | Mode::Live(_) | Mode::Replay(_) => {
            format!("`{what}` was called before the workflow was started")
        }
    })
}
