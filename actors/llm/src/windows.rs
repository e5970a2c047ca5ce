//! The time for which a budget holds.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// When a budget begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    Hour,
    Day,
    /// Never: it is for a whole meeting.
    Meeting,
}

impl Window {
    fn seconds(self) -> Option<i64> {
        match self {
            Self::Hour => Some(3_600),
            Self::Day => Some(86_400),
            Self::Meeting => None,
        }
    }

    /// When the window of this time began, as it stands in keys; empty for one that never ends.
    pub(crate) fn begin(self, at: Timestamp) -> String {
        let begin = self
            .seconds()
            .and_then(|seconds| Timestamp::from_second(at.as_second().div_euclid(seconds) * seconds).ok());
        begin.map(|begin| begin.to_string()).unwrap_or_default()
    }

    /// When the window of this time ends.
    pub(crate) fn end(self, at: Timestamp) -> Option<Timestamp> {
        let seconds = self.seconds()?;
        Timestamp::from_second((at.as_second().div_euclid(seconds) + 1) * seconds).ok()
    }
}

/// A time so much later, or the last one that there is.
pub(crate) fn after(at: Timestamp, time: Duration) -> Timestamp {
    let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
    at.checked_add(time).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_hours_and_days_of_utc() {
        let at: Timestamp = "2026-03-01T23:59:59.5Z".parse().unwrap();
        let (hour, day) = ("2026-03-01T23:00:00Z", "2026-03-01T00:00:00Z");
        assert_eq!((Window::Hour.begin(at).as_str(), Window::Day.begin(at).as_str()), (hour, day));
        let midnight = "2026-03-02T00:00:00Z".parse().ok();
        assert_eq!((Window::Hour.end(at), Window::Day.end(at)), (midnight, midnight));
        assert_eq!((Window::Meeting.begin(at).as_str(), Window::Meeting.end(at)), ("", None));
        assert_eq!(after(Timestamp::MAX, Duration::MAX), Timestamp::MAX);
    }
}
