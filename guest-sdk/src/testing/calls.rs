//! One call of an activity or a child: its attempts, by the options of its caller.

use super::scenario::Code;
use crate::bindings::activity::exports::wfhost::durable::activity::Invocation;
use crate::bindings::workflow::wfhost::durable::types::RetryPolicy;
use crate::failure::Failure;

/// A call that is under way.
pub(super) struct Call {
    pub(super) role: Role,
    /// Its place among the calls of its role.
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) input: String,
    pub(super) retry: Option<RetryPolicy>,
    pub(super) attempt_timeout_ms: Option<u64>,
    /// When all attempts together must be over.
    pub(super) deadline_ms: Option<u64>,
    pub(super) idempotency_key: String,
    /// The attempt that runs or is next, from 1.
    pub(super) attempt: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Activity,
    Child,
}

impl Role {
    /// Refuses to go on without a script, in words that say how to write one.
    #[cold]
    pub(super) fn unscripted(self, name: &str) -> ! {
        match self {
            Self::Activity => panic!(
                "the workflow called the activity {name:?}, of which this test says nothing: add \
                 `.activity({name:?}, |input: Input| Ok(output))`, or \
                 `.real_activity::<its function>()`, before `.run()`"
            ),
            Self::Child => panic!(
                "the workflow started the child workflow {name:?}, of which this test says \
                 nothing: add `.child({name:?}, |input: Input| Ok(output))` before `.run()`"
            ),
        }
    }
}

/// When an attempt is over, and whether it came to its end by itself.
pub(super) struct AttemptEnd {
    pub(super) at_ms: u64,
    pub(super) timed_out: bool,
}

impl Call {
    /// The end of an attempt that starts now and would take so long.
    pub(super) fn attempt_end(&self, now_ms: u64, takes_ms: u64) -> AttemptEnd {
        let done = now_ms.saturating_add(takes_ms);
        let attempt = self.attempt_timeout_ms.map(|ms| now_ms.saturating_add(ms));
        let stopped = [attempt, self.deadline_ms].into_iter().flatten().min();
        match stopped {
            Some(stopped) if stopped < done => AttemptEnd {
                at_ms: stopped,
                timed_out: true,
            },
            _ => AttemptEnd {
                at_ms: done,
                timed_out: false,
            },
        }
    }

    /// Runs the script as this attempt.
    pub(super) fn play(&self, code: &mut Code, instance: &str) -> Result<String, Failure> {
        let invocation = Invocation {
            instance: instance.into(),
            attempt: self.attempt,
            idempotency_key: self.idempotency_key.clone(),
            deadline: self.deadline_ms,
        };
        code(crate::ActivityContext::new(invocation), &self.input)
    }

    /// When the next attempt starts after this one failed so, if another follows.
    ///
    /// The rules are the host's, without the random share of a delay.
    pub(super) fn retry_at(&self, failure: &Failure, now_ms: u64) -> Option<u64> {
        let policy = self.retry.as_ref()?;
        let exhausted = policy.max_attempts != 0 && self.attempt >= policy.max_attempts;
        let is_final = policy.final_kinds.iter().any(|it| it == failure.kind());
        if exhausted || is_final || !failure.is_retryable() {
            return None;
        }
        let exponent = i32::try_from(self.attempt - 1).unwrap_or(i32::MAX);
        let delay = policy.first_delay as f64 * policy.backoff.max(1.0).powi(exponent);
        let at = now_ms.saturating_add(delay.min(policy.max_delay as f64) as u64);
        self.deadline_ms
            .is_none_or(|deadline| at < deadline)
            .then_some(at)
    }
}
