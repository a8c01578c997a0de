//! How long things took, of all that was measured.

use std::time::Duration;

use serde_json::{Value, json};

/// Samples in order. At least one.
pub(super) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Of samples in any order.
    ///
    /// # Panics
    /// If there are none.
    pub(super) fn of(mut samples: Vec<Duration>) -> Self {
        assert!(!samples.is_empty(), "something was measured");
        samples.sort_unstable();
        Self(samples)
    }

    /// The shortest time that so many of a hundred did not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0[rank.max(1) - 1]
    }

    pub(super) fn max(&self) -> Duration {
        self.percentile(100)
    }

    /// `p50`, `p90`, `p99` and `max`, in milliseconds.
    pub(super) fn json(&self) -> Value {
        json!({
            "p50": millis(self.percentile(50)),
            "p90": millis(self.percentile(90)),
            "p99": millis(self.percentile(99)),
            "max": millis(self.max()),
        })
    }

    /// The same, for people.
    pub(super) fn text(&self) -> String {
        let shown = |duration| millis_text(duration);
        format!(
            "p50 {}, p90 {}, p99 {}, max {}",
            shown(self.percentile(50)),
            shown(self.percentile(90)),
            shown(self.percentile(99)),
            shown(self.max())
        )
    }
}

/// Milliseconds, to the microsecond.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

/// Milliseconds, for people.
pub(super) fn millis_text(duration: Duration) -> String {
    let millis = millis(duration);
    let digits = if millis < 10.0 {
        2
    } else {
        usize::from(millis < 1_000.0)
    };
    format!("{millis:.digits$} ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_sample_that_so_many_did_not_exceed() {
        let samples = |count: u64| (1..=count).rev().map(Duration::from_millis).collect();
        for (count, percent, millis) in [
            (1, 50, 1),
            (1, 99, 1),
            (2, 50, 1),
            (3, 50, 2),
            (100, 50, 50),
            (100, 99, 99),
            (101, 99, 100),
            (1_000, 90, 900),
        ] {
            let latencies = Latencies::of(samples(count));
            let found = latencies.percentile(percent);
            assert_eq!(
                found,
                Duration::from_millis(millis),
                "p{percent} of {count}"
            );
            assert_eq!(latencies.max(), Duration::from_millis(count));
        }
    }
}
