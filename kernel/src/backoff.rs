//! Exponential backoff: how long to wait before the next attempt.

use std::time::Duration;

/// A delay that doubles with each attempt, up to a bound.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use teammy_kernel::backoff::Backoff;
///
/// let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
/// assert_eq!(backoff.delay(0), Duration::from_millis(200));
/// assert_eq!(backoff.delay(2), Duration::from_millis(800));
/// assert_eq!(backoff.delay(100), Duration::from_secs(10));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The delay before the first new attempt.
    pub first: Duration,
    /// The longest delay; it bounds the first one, too.
    pub max: Duration,
}

impl Backoff {
    /// A delay of `first` that doubles up to `max`.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max }
    }

    /// The delay after `delays` earlier ones: `first` after none, twice as long after each, at most `max`.
    #[must_use]
    pub fn delay(&self, delays: u32) -> Duration {
        /// A factor of type `u32` holds this many doublings; the loop does the others.
        const BITS: u32 = u32::BITS - 1;
        let mut delay = self.first.saturating_mul(1 << delays.min(BITS));
        for _ in BITS..delays {
            if delay.is_zero() || delay >= self.max {
                break;
            }
            delay = delay.saturating_mul(2);
        }
        delay.min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubling_never_overflows() {
        let max = Duration::from_secs(5);
        assert_eq!(Backoff::new(Duration::from_millis(1), max).delay(3), Duration::from_millis(8));
        assert_eq!(Backoff::new(Duration::from_secs(1), max).delay(400), max);
    }

    #[test]
    fn the_delay_at_the_edges() {
        let nanosecond = Duration::from_nanos(1);
        let cases = [
            (Duration::ZERO, Duration::MAX, u32::MAX, Duration::ZERO),
            (Duration::ZERO, Duration::ZERO, 0, Duration::ZERO),
            (nanosecond, Duration::MAX, u32::MAX, Duration::MAX),
            (nanosecond, Duration::MAX, 31, Duration::from_nanos(1 << 31)),
            (nanosecond, Duration::MAX, 32, Duration::from_nanos(1 << 32)),
            (nanosecond, Duration::MAX, 40, Duration::from_nanos(1 << 40)),
            (Duration::MAX, Duration::MAX, 1, Duration::MAX),
            // A bound below the first delay wins from the start.
            (Duration::from_secs(2), Duration::from_secs(1), 0, Duration::from_secs(1)),
        ];
        for (first, max, delays, expected) in cases {
            assert_eq!(Backoff::new(first, max).delay(delays), expected, "{first:?} {max:?} {delays}");
        }
    }

    fn durations() -> impl Strategy<Value = Duration> {
        prop_oneof![
            Just(Duration::ZERO),
            any::<u64>().prop_map(Duration::from_nanos),
            (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos)),
        ]
    }

    proptest! {
        #[test]
        fn a_delay_is_the_first_one_doubled_or_the_bound(
            first in durations(), max in durations(), delays in prop_oneof![0..130_u32, any::<u32>()],
        ) {
            let factor = 1_u128.checked_shl(delays).unwrap_or(u128::MAX);
            let exact = first.as_nanos().saturating_mul(factor);
            prop_assert_eq!(Backoff::new(first, max).delay(delays).as_nanos(), exact.min(max.as_nanos()));
        }

        #[test]
        fn delays_never_shrink(first in durations(), max in durations(), delays in 0..200_u32) {
            let backoff = Backoff::new(first, max);
            prop_assert!(backoff.delay(delays) <= backoff.delay(delays + 1));
        }
    }
}
