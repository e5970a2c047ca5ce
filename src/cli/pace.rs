//! The speed at which a recording is played.

use std::{str::FromStr, time::Duration};

use teammy::Timestamp;

/// The longest wait, short enough that no clock overflows.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// The speed at which a recording is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    /// As fast as possible.
    Max,
    /// This many times the original speed.
    Times(f64),
}

impl FromStr for Speed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "write max, or a factor of the original speed, such as 1x, 10x or 0.5x";
        if text == "max" {
            return Ok(Self::Max);
        }
        let factor = text.strip_suffix(['x', 'X']).ok_or(EXPECTED)?;
        match factor.parse::<f64>() {
            Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(Self::Times(factor)),
            _ => Err(EXPECTED),
        }
    }
}

/// Computes when each packet is due.
#[derive(Debug)]
pub(crate) struct Pacer {
    speed: Speed,
    first: Option<Timestamp>,
}

impl Pacer {
    pub(crate) fn new(speed: Speed) -> Self {
        Self { speed, first: None }
    }

    /// How long after the first packet a packet is due; `None` if it is due at once. A packet whose timestamp
    /// is before the first one's is due at once.
    pub(crate) fn due(&mut self, timestamp: Timestamp) -> Option<Duration> {
        let Speed::Times(factor) = self.speed else { return None };
        let first = *self.first.get_or_insert(timestamp);
        let since = timestamp.duration_since(first).as_secs_f64();
        if since <= 0.0 {
            return None;
        }
        Some(Duration::try_from_secs_f64(since / factor).unwrap_or(LONGEST).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_max_or_a_factor() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("10x".parse(), Ok(Speed::Times(10.0)));
        assert_eq!("0.5x".parse(), Ok(Speed::Times(0.5)));
        for bad in ["", "x", "10", "fast", "0x", "-1x", "infx", "nanx", "1 x", "10xx", "1e999x"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn packets_are_due_by_their_own_times() {
        let at = |ms: i64| Timestamp::from_millisecond(1_767_603_600_000 + ms).unwrap();
        let mut pacer = Pacer::new(Speed::Times(10.0));
        assert_eq!(pacer.due(at(0)), None);
        assert_eq!(pacer.due(at(5_000)), Some(Duration::from_millis(500)));
        assert_eq!(pacer.due(at(-1_000)), None);
        assert_eq!(pacer.due(at(20_000)), Some(Duration::from_secs(2)));
        assert_eq!(Pacer::new(Speed::Max).due(at(9)), None);
    }

    #[test]
    fn no_clock_overflows() {
        let mut pacer = Pacer::new(Speed::Times(1e-300));
        assert_eq!(pacer.due(Timestamp::MIN), None);
        assert_eq!(pacer.due(Timestamp::MAX), Some(LONGEST));
    }
}
