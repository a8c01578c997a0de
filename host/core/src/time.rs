//! Points in time, as numbers: the rules never ask a clock.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::DurationMs;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This time of the system's clock; a time before 1970 becomes 1970.
    #[must_use]
    pub fn from_system(time: SystemTime) -> Self {
        let since = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The time `duration` later, at most the end of time.
    #[must_use]
    pub fn after(self, duration: DurationMs) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// Milliseconds from `earlier` to this, 0 if `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> DurationMs {
        self.0.saturating_sub(earlier.0)
    }

    /// As `20300131T120000Z`, which an id may hold; with milliseconds, if there are any, as
    /// `20300131T120000123Z`.
    #[must_use]
    pub fn compact(self) -> String {
        let text: String = self.to_string().replace(['-', ':', '.', ' '], "");
        match text.strip_suffix("000Z") {
            Some(whole) => format!("{whole}Z"),
            None => text,
        }
    }
}

/// RFC 3339 in UTC with milliseconds; a time after the year 9999 as its milliseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// 9999-12-31T23:59:59.999Z, the last time that RFC 3339 can write.
        const WRITABLE_MAX: u64 = 253_402_300_799_999;
        if self.0 > WRITABLE_MAX {
            return write!(f, "{} ms after 1970", self.0);
        }
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(self.0);
        fmt::Display::fmt(&humantime::format_rfc3339_millis(time), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compact_timestamp_fits_into_an_id() {
        for (millis, text) in [
            (1_896_091_200_000, "20300131T120000Z"),
            (1_896_091_200_123, "20300131T120000123Z"),
        ] {
            assert_eq!(Timestamp(millis).compact(), text);
        }
    }

    #[test]
    fn a_timestamp_reads_as_rfc_3339() {
        assert_eq!(
            Timestamp(1_700_000_000_123).to_string(),
            "2023-11-14T22:13:20.123Z"
        );
        assert_eq!(
            Timestamp(u64::MAX).to_string(),
            "18446744073709551615 ms after 1970"
        );
    }
}
