//! Replay: the turns of a history, and what the code asks now against what it asked then.

use std::fmt;

use crate::record::{ActivityOptions, ChildOptions, Command, Record, Step, Turn};
use crate::{BrokenHistory, Delivered, Failure, Instance, RetryPolicy, kind};

/// Walks a history and hands out its turns, with the inputs that each took.
#[derive(Debug, Default)]
pub struct Playback {
    instance: Option<Instance>,
}

/// One turn as it was taken.
#[derive(Debug)]
pub struct PastTurn {
    /// Its number, from 1, over all generations.
    pub number: u64,
    /// What it was given.
    pub delivered: Delivered,
    /// What came of it.
    pub turn: Box<Turn>,
}

impl Playback {
    /// Takes the next record in; a turn comes out.
    ///
    /// # Errors
    /// If no history can go on so.
    pub fn next(&mut self, record: &Record) -> Result<Option<PastTurn>, BrokenHistory> {
        let Some(instance) = &mut self.instance else {
            let Record::Started(started) = record else {
                return Err(BrokenHistory("it does not begin with a start".into()));
            };
            self.instance = Some(Instance::begin(started.as_ref().clone()));
            return Ok(None);
        };
        let past = match record.original() {
            Record::Turn(turn) => Some(PastTurn {
                number: instance.turns() + 1,
                delivered: instance.deliver_first(turn.inputs as usize),
                turn: turn.clone(),
            }),
            Record::Started(_)
            | Record::Accepted(_)
            | Record::AttemptStarted(_)
            | Record::AttemptStopped(_)
            | Record::Attempt(_)
            | Record::Stalled(_)
            | Record::Unstalled(_)
            | Record::Moved(_)
            | Record::Reset(_)
            | Record::Ended(_)
            | Record::StateWritten(_)
            | Record::Copied(_) => None,
        };
        instance.apply(record)?;
        Ok(past)
    }

    /// The instance as the records so far make it.
    #[must_use]
    pub fn instance(&self) -> Option<&Instance> {
        self.instance.as_ref()
    }
}

/// The code asked something else than the history says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Divergence {
    /// The turn, from 1.
    pub turn: u64,
    /// Which thing that the turn asked, from 1.
    pub place: usize,
    /// What the history holds there.
    pub history: String,
    /// What the code asks there.
    pub code: String,
    /// Where in the code, innermost first, if that is known.
    pub backtrace: Option<String>,
    /// What the code fails with there, if it does.
    pub failure: Option<Failure>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "the code differs from its history in turn {}, step {}",
            self.turn, self.place
        )?;
        writeln!(f, "  history: {}", self.history)?;
        write!(f, "  code:    {}", self.code)?;
        if let Some(backtrace) = &self.backtrace {
            for line in backtrace.lines() {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

/// What a turn did, as one line for a divergence.
#[must_use]
pub fn describe(command: &Command) -> String {
    match command {
        Command::CallActivity {
            task,
            name,
            input,
            options,
        } => {
            format!(
                "task {task}: call activity `{name}` with {}{}",
                shown(input.as_str()),
                activity_options(options)
            )
        }
        Command::CallWorkflow {
            task,
            name,
            input,
            options,
        } => {
            format!(
                "task {task}: call workflow `{name}` with {}{}",
                shown(input.as_str()),
                child_options(options)
            )
        }
        Command::CreateTimer { task, fires_at } => {
            format!("task {task}: create a timer for {fires_at}")
        }
        Command::AwaitEvent { task, name } => format!("task {task}: await the event `{name}`"),
        Command::RaiseEvent {
            task,
            instance,
            event,
        } => format!(
            "task {task}: raise the event `{}` to `{instance}` with {}",
            event.name,
            shown(event.payload.as_str())
        ),
        Command::Cancel { task } => format!("cancel task {task}"),
        Command::AnswerUpdate {
            id,
            outcome: Ok(answer),
        } => format!("answer update {id} with {}", shown(answer.as_str())),
        Command::AnswerUpdate {
            id,
            outcome: Err(failure),
        } => format!(
            "fail update {id} as `{}`: {}",
            failure.kind, failure.message
        ),
        Command::SetCustomStatus { status } => {
            format!("set the custom status to {}", shown(status.as_str()))
        }
        Command::Patched { id } => format!("take the patch `{id}`"),
    }
}

/// How a turn came back, as one line for a divergence.
#[must_use]
pub fn describe_step(step: &Step) -> String {
    match step {
        Step::Waiting => "wait".into(),
        Step::Completed(output) => format!("complete with {}", shown(output.as_str())),
        Step::Failed(failure) => format!("fail as `{}`: {}", failure.kind, failure.message),
        Step::Cancelled => "let the cancellation through".into(),
        Step::ContinuedAsNew { input, .. } => {
            format!("continue as new with {}", shown(input.as_str()))
        }
    }
}

/// Whether a turn came back as it did then. The texts of panics, of traps and of broken
/// contracts may differ: they name places in the code.
#[must_use]
pub fn same_step(history: &Step, code: &Step) -> bool {
    match (history, code) {
        (Step::Failed(then), Step::Failed(now))
            if [kind::PANIC, kind::TRAP, kind::INVALID_OUTPUT].contains(&then.kind.as_str()) =>
        {
            then.kind == now.kind
        }
        (then, now) => then == now,
    }
}

fn activity_options(options: &ActivityOptions) -> String {
    let mut said = retry(options.retry.as_ref());
    if let Some(timeout) = options.attempt_timeout {
        said += &format!(", each attempt at most {timeout} ms");
    }
    if let Some(timeout) = options.total_timeout {
        said += &format!(", all together at most {timeout} ms");
    }
    if options.at_most_once {
        said += ", at most once";
    }
    said
}

fn child_options(options: &ChildOptions) -> String {
    let mut said = retry(options.retry.as_ref());
    if let Some(id) = &options.id {
        said += &format!(", id `{id}`");
    }
    for (key, value) in &options.tags {
        said += &format!(", tag {key}={value}");
    }
    if options.detached {
        said += ", detached";
    }
    if options.same_deployment {
        said += ", of the same deployment";
    }
    said
}

fn retry(policy: Option<&RetryPolicy>) -> String {
    let Some(policy) = policy else {
        return String::new();
    };
    let attempts = match policy.max_attempts {
        0 => "without end".to_owned(),
        attempts => format!("up to {attempts} attempts"),
    };
    let mut said = format!(
        ", retried {attempts} after {} ms × {}, at most {} ms",
        policy.first_delay, policy.backoff, policy.max_delay
    );
    if policy.jitter > 0.0 {
        said += &format!(", jitter {}", policy.jitter);
    }
    if !policy.final_kinds.is_empty() {
        said += &format!(", never on {}", policy.final_kinds.join(", "));
    }
    said
}

/// Payloads can be long; a line of a message shows this many characters of one.
const SHOWN_CHARS_MAX: usize = 200;

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
    }
}
