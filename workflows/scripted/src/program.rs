//! A program, and the workflow that runs it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wfhost_sdk::{Context, Error, Failure, Result, RetryPolicy, join_all, select_all, workflow};

/// One thing to do. What it gives stands in the result of the program.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Op {
    /// Calls an activity.
    Call(Call),
    /// Sleeps so many milliseconds.
    Sleep(u64),
    /// Waits for an event of that name.
    Event(String),
    /// Raises an event: to whom, its name, its payload.
    Raise(String, String, Value),
    /// Runs a program as a child.
    Child(Child),
    /// Runs programs at the same time, to the end of all.
    All(Vec<Vec<Op>>),
    /// Runs programs at the same time until one ends, and drops the others.
    Race(Vec<Vec<Op>>),
    /// Runs the first program; if it fails, the second. Gives the failure's kind then.
    Try(Vec<Op>, Vec<Op>),
    /// Runs the first program; if it fails, the second, and fails as the first did.
    Finally(Vec<Op>, Vec<Op>),
    /// Adds one to a number of the state store in the turn itself.
    Add(String),
    /// Writes a value that expires after so many milliseconds.
    Lend(String, Value, u64),
    /// Reads a value.
    Get(String),
    /// The keys that begin so.
    Scan(String),
    /// Shows this as its status.
    Status(Value),
    /// Waits until updates `add` have added up to so much.
    Collect(i64),
    /// The time of the turn, in milliseconds since the start of the instance.
    Now,
    /// Whether it draws the same number twice.
    Random,
    /// Whether this code has a change.
    Patched(String),
    /// Fails with this kind.
    Fail(String),
    /// Panics.
    Panic,
    /// Goes on as a new generation with this program.
    Continue(Vec<Op>),
}

/// How an activity is called.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Call {
    name: String,
    #[serde(default)]
    input: Value,
    /// Attempts in all; delays of 1, 2, 4 … seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    /// The kind that no retry follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    final_kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt_timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_timeout_ms: Option<u64>,
}

/// How a child is started.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Child {
    program: Vec<Op>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The workflow's name, if it is not this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(default)]
    detached: bool,
}

/// What the parts of a program share.
#[derive(Clone)]
struct Run {
    ctx: Context,
    sum: Rc<Cell<i64>>,
    log: Rc<RefCell<Vec<i64>>>,
}

/// Does what its input says, and returns what each step gave.
#[workflow(name = "Script")]
pub(crate) async fn script(ctx: Context, program: Vec<Op>) -> Result<Vec<Value>> {
    let run = Run {
        ctx,
        sum: Rc::default(),
        log: Rc::default(),
    };
    let (sum, log) = (Rc::clone(&run.sum), Rc::clone(&run.log));
    let change = move |number: i64| {
        sum.set(sum.get() + number);
        log.borrow_mut().push(number);
        if sum.get() == 13 {
            return Err(Error::new("unlucky", "thirteen"));
        }
        Ok(sum.get())
    };
    run.ctx.on_update("add", change);
    let read = Rc::clone(&run.log);
    run.ctx
        .on_query("added", move |(): ()| Ok(read.borrow().clone()));
    run.all(program).await
}

impl Run {
    fn all(&self, program: Vec<Op>) -> LocalBoxFuture<'static, Result<Vec<Value>>> {
        let run = self.clone();
        Box::pin(async move {
            let mut results = Vec::new();
            for op in program {
                results.push(run.one(op).await?);
            }
            Ok(results)
        })
    }

    async fn one(&self, op: Op) -> Result<Value> {
        let ctx = &self.ctx;
        Ok(match op {
            Op::Call(call) => self.call(call).await?,
            Op::Sleep(millis) => {
                ctx.sleep(Duration::from_millis(millis)).await?;
                json!("slept")
            }
            Op::Event(name) => ctx.event::<Value>(name).await?,
            Op::Raise(to, name, payload) => {
                ctx.raise_event(to, name, &payload).await?;
                json!("raised")
            }
            Op::Child(child) => self.child(child).await?,
            Op::All(programs) => {
                let all = join_all(programs.into_iter().map(|it| self.all(it))).await;
                json!(all.into_iter().collect::<Result<Vec<_>>>()?)
            }
            Op::Race(programs) => {
                let (first, number, rest) =
                    select_all(programs.into_iter().map(|it| self.all(it))).await;
                drop(rest);
                json!({ "won": number, "with": first? })
            }
            Op::Try(program, otherwise) => match self.all(program).await {
                Ok(results) => json!(results),
                Err(error) => {
                    let kind = error.into_failure().kind().to_owned();
                    json!({ "failed": kind, "then": self.all(otherwise).await? })
                }
            },
            Op::Finally(program, otherwise) => match self.all(program).await {
                Ok(results) => json!(results),
                Err(error) => {
                    self.all(otherwise).await?;
                    return Err(error);
                }
            },
            Op::Collect(sum) => {
                let collected = Rc::clone(&self.sum);
                ctx.until(move || collected.get() >= sum).await?;
                json!(self.sum.get())
            }
            Op::Continue(program) => return Err(ctx.continue_as_new(&program)?.into()),
            other => self.at_once(other)?,
        })
    }

    /// What waits for nothing.
    fn at_once(&self, op: Op) -> Result<Value> {
        let (ctx, state) = (&self.ctx, self.ctx.state());
        Ok(match op {
            Op::Add(key) => {
                let sum = state.get::<u64>(&key)?.unwrap_or(0) + 1;
                state.set(&key, &sum)?;
                json!(sum)
            }
            Op::Lend(key, value, millis) => {
                let lifetime = Duration::from_millis(millis);
                state.set_for(&key, &value, ctx.now(), lifetime)?;
                json!("lent")
            }
            Op::Get(key) => state.get::<Value>(&key)?.unwrap_or_default(),
            Op::Scan(prefix) => {
                let found = state.scan::<Value>(&prefix, 100)?;
                json!(found.into_iter().map(|(key, _)| key).collect::<Vec<_>>())
            }
            Op::Status(status) => {
                ctx.set_custom_status(&status)?;
                json!("shown")
            }
            Op::Now => {
                let since = ctx.now().unix_millis() - ctx.info().started_at.unix_millis();
                json!(since)
            }
            Op::Random => json!(ctx.random() == ctx.random()),
            Op::Patched(id) => json!(ctx.patched(&id)),
            Op::Fail(kind) => return Err(Failure::new(kind, "as the script says").into()),
            _ => panic!("the script says so"),
        })
    }

    async fn call(&self, call: Call) -> Result<Value> {
        let mut activity = self.ctx.activity::<Value>(call.name, &call.input);
        if let Some(attempts) = call.attempts {
            let policy = RetryPolicy::attempts(attempts)
                .first_delay(Duration::from_secs(1))
                .backoff(2.0)
                .jitter(0.0);
            activity = activity.retry(match call.final_kind {
                Some(kind) => policy.never_on(kind),
                None => policy,
            });
        }
        if let Some(millis) = call.attempt_timeout_ms {
            activity = activity.attempt_timeout(Duration::from_millis(millis));
        }
        if let Some(millis) = call.total_timeout_ms {
            activity = activity.total_timeout(Duration::from_millis(millis));
        }
        Ok(activity.await?)
    }

    async fn child(&self, child: Child) -> Result<Value> {
        let workflow = child.workflow.unwrap_or_else(|| "Script".to_owned());
        let mut call = self.ctx.child::<Value>(workflow, &child.program);
        if let Some(id) = child.id {
            call = call.id(id);
        }
        if let Some(attempts) = child.attempts {
            let policy = RetryPolicy::attempts(attempts).first_delay(Duration::from_secs(1));
            call = call.retry(policy.jitter(0.0));
        }
        if child.detached {
            return Ok(json!(call.detached().await?));
        }
        Ok(call.await?)
    }
}

/// How many generations are to come.
#[derive(Serialize, Deserialize)]
pub(crate) struct Generations {
    left: u64,
}

/// Continues as new so many times.
#[workflow(name = "Generations")]
pub(crate) async fn generations(ctx: Context, input: Generations) -> Result<()> {
    ctx.activity::<u64>("Echo", &input.left).await?;
    if input.left == 0 {
        return Ok(());
    }
    let left = input.left - 1;
    Err(ctx.continue_as_new(&Generations { left })?.into())
}
