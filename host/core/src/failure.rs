//! Failures and what follows them.

use serde::{Deserialize, Serialize};

use crate::{Digest, DurationMs, Json};

/// Why something failed. It is data: recorded in the history and handed to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable word to match on, such as `out-of-stock`.
    pub kind: String,
    /// For a person to read.
    pub message: String,
    /// Whether another attempt may succeed.
    pub retryable: bool,
    /// Whatever else the author gave.
    pub details: Option<Json>,
}

/// The kinds of failure that the host itself makes.
pub mod kind {
    /// The guest panicked.
    pub const PANIC: &str = "panic";
    /// The guest trapped in any other way.
    pub const TRAP: &str = "trap";
    /// The guest met a limit of the host.
    pub const LIMIT: &str = "limit";
    /// An attempt, or all attempts together, took too long.
    pub const TIMEOUT: &str = "timeout";
    /// What an effectful attempt had read of the state was changed meanwhile.
    pub const STATE_CONFLICT: &str = "state-conflict";
    /// The host's death cut an at-most-once attempt off.
    pub const INTERRUPTED: &str = "interrupted";
    /// The input does not fit the type that the code expects.
    pub const INVALID_INPUT: &str = "invalid-input";
    /// An event does not fit the type that the code expects.
    pub const INVALID_PAYLOAD: &str = "invalid-payload";
    /// A value of the state store does not fit the type that the code expects.
    pub const INVALID_STATE: &str = "invalid-state";
    /// An event or a child named an instance that there is not.
    pub const NO_SUCH_INSTANCE: &str = "no-such-instance";
    /// An event was raised to an instance that has ended.
    pub const ENDED: &str = "ended";
    /// The instance was cancelled.
    pub const CANCELLED: &str = "cancelled";
    /// The instance was terminated.
    pub const TERMINATED: &str = "terminated";
    /// A child's id is taken by another instance.
    pub const ID_IN_USE: &str = "id-in-use";
    /// The guest broke the contract: what it returned is not JSON, or is too large.
    pub const INVALID_OUTPUT: &str = "invalid-output";
}

impl Failure {
    /// A failure that the host makes and that another attempt may mend.
    #[must_use]
    pub fn retryable(kind: &str, message: impl Into<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            message: message.into(),
            retryable: true,
            details: None,
        }
    }

    /// A failure that the host makes and that no other attempt can mend.
    #[must_use]
    pub fn last(kind: &str, message: impl Into<String>) -> Self {
        Self {
            retryable: false,
            ..Self::retryable(kind, message)
        }
    }
}

/// When an activity's failed attempt is followed by another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; 0 is no limit.
    pub max_attempts: u32,
    /// The delay before the second attempt.
    pub first_delay: DurationMs,
    /// What each delay is multiplied by for the next.
    pub backoff: f64,
    /// No delay is longer.
    pub max_delay: DurationMs,
    /// Share of each delay that is random, 0 to 1.
    pub jitter: f64,
    /// Kinds of failure that no retry follows.
    pub final_kinds: Vec<String>,
}

impl RetryPolicy {
    /// The delay until the next attempt after attempt `number` (from 1) failed so; `None` if that
    /// was the last. `salt` names the task: the random share is drawn from it and the attempt's
    /// number, so that the same attempt always gets the same delay.
    #[must_use]
    pub fn delay(&self, number: u32, failure: &Failure, salt: &str) -> Option<DurationMs> {
        let exhausted = self.max_attempts != 0 && number >= self.max_attempts;
        if exhausted || !failure.retryable || self.final_kinds.contains(&failure.kind) {
            return None;
        }
        let exponent = i32::try_from(number.saturating_sub(1)).unwrap_or(i32::MAX);
        let backoff = if self.backoff.is_finite() {
            self.backoff.max(1.0)
        } else {
            1.0
        };
        let full = (self.first_delay as f64 * backoff.powi(exponent)).min(self.max_delay as f64);
        let jitter = if self.jitter.is_finite() {
            self.jitter.clamp(0.0, 1.0)
        } else {
            0.0
        };
        Some((full * (1.0 - jitter * fraction(salt, number))) as DurationMs)
    }
}

/// A number from 0 to 1, the same for the same salt and attempt.
fn fraction(salt: &str, number: u32) -> f64 {
    let digest = Digest::of(format!("{salt}/{number}").as_bytes());
    let mut bits = [0; 4];
    bits.copy_from_slice(&digest.as_bytes()[..4]);
    f64::from(u32::from_be_bytes(bits)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 4,
            first_delay: 100,
            backoff: 2.0,
            max_delay: 300,
            jitter: 0.0,
            final_kinds: vec!["final".into()],
        }
    }

    #[test]
    fn delays_grow_to_their_maximum_and_end_with_the_attempts() {
        let failure = Failure::retryable("any", "");
        let delays: Vec<_> = (1..=4).map(|n| policy().delay(n, &failure, "t")).collect();
        assert_eq!(delays, [Some(100), Some(200), Some(300), None]);
    }

    #[test]
    fn a_final_kind_or_an_unretryable_failure_is_not_followed() {
        assert_eq!(
            policy().delay(1, &Failure::retryable("final", ""), "t"),
            None
        );
        assert_eq!(policy().delay(1, &Failure::last("any", ""), "t"), None);
    }

    #[test]
    fn jitter_shortens_a_delay_and_is_the_same_each_time() {
        let policy = RetryPolicy {
            jitter: 0.5,
            ..policy()
        };
        let failure = Failure::retryable("any", "");
        let delay = policy.delay(1, &failure, "t").unwrap();
        assert!((50..=100).contains(&delay), "{delay}");
        assert_eq!(policy.delay(1, &failure, "t"), Some(delay));
        assert_ne!(policy.delay(1, &failure, "u"), Some(delay));
    }
}
