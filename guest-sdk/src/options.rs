//! How the host should carry out a call.

use core::time::Duration;
use std::borrow::Cow;

use crate::bindings::workflow::wfhost::durable::types;
use crate::time::millis_rounded_up;

/// When and how often the host tries a call again that failed. The waits between are durable timers.
///
/// Without a policy there is one attempt.
///
/// ```
/// use std::time::Duration;
/// use wfhost_sdk::RetryPolicy;
///
/// // At once, then after 1 s, 2 s, 4 s, 8 s: five attempts.
/// RetryPolicy::attempts(5).first_delay(Duration::from_secs(1)).never_on("card-declined");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    attempts_max: u32,
    first_delay: Duration,
    backoff: f64,
    delay_max: Duration,
    jitter: f64,
    final_kinds: Vec<Cow<'static, str>>,
}

impl RetryPolicy {
    /// At most so many attempts, the first included: the second after 1 s, then twice as long
    /// each time up to 5 minutes, without jitter.
    pub const fn attempts(attempts_max: u32) -> Self {
        Self {
            attempts_max,
            first_delay: Duration::from_secs(1),
            backoff: 2.0,
            delay_max: Duration::from_secs(300),
            jitter: 0.0,
            final_kinds: Vec::new(),
        }
    }

    /// Attempts until one succeeds, a timeout ends them, or a failure says that no retry may help.
    pub const fn forever() -> Self {
        Self::attempts(0)
    }

    /// The wait before the second attempt.
    #[must_use]
    pub const fn first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// The factor from each wait to the next; 1 keeps them equal.
    #[must_use]
    pub const fn backoff(mut self, factor: f64) -> Self {
        self.backoff = factor;
        self
    }

    /// No wait is longer.
    #[must_use]
    pub const fn delay_max(mut self, delay: Duration) -> Self {
        self.delay_max = delay;
        self
    }

    /// The share of each wait that is random, 0 to 1.
    #[must_use]
    pub const fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// No retry follows a failure of this kind.
    #[must_use]
    pub fn never_on(mut self, kind: impl Into<Cow<'static, str>>) -> Self {
        self.final_kinds.push(kind.into());
        self
    }
}

impl From<RetryPolicy> for types::RetryPolicy {
    fn from(policy: RetryPolicy) -> Self {
        Self {
            max_attempts: policy.attempts_max,
            first_delay: millis_rounded_up(policy.first_delay),
            backoff: policy.backoff,
            max_delay: millis_rounded_up(policy.delay_max),
            jitter: policy.jitter,
            final_kinds: policy
                .final_kinds
                .into_iter()
                .map(Cow::into_owned)
                .collect(),
        }
    }
}
