//! A meeting's clock.

use std::time::Duration;

use teammy_kernel::{DataPacket, Timestamp};
use tokio::time::Instant;

/// The time in a meeting: the latest timestamp of its packets, plus the time since it was received. So a recording
/// that is replayed fast keeps its own time.
#[derive(Debug, Default)]
pub(super) struct MeetingClock {
    latest: Option<Latest>,
    /// Whether an instance has timers. Then the time since a packet is measured by tokio's clock, which nobody sets.
    is_exact: bool,
    /// The time that it does not pass by itself; only a packet carries it further.
    held_at: Option<Timestamp>,
}

/// The latest timestamp. Packets may come out of order, for example when speakers talk at the same time.
#[derive(Debug, Clone, Copy)]
struct Latest {
    timestamp: Timestamp,
    /// When its packet was received, by the wall clock.
    received_at: Timestamp,
    /// The same by tokio's clock, if the clock is exact.
    since: Option<Instant>,
}

impl MeetingClock {
    /// A packet has come in.
    pub(super) fn observe(&mut self, packet: &DataPacket) {
        if self.latest.is_none_or(|latest| packet.timestamp >= latest.timestamp) {
            self.set(packet.timestamp, packet.received_at);
        }
    }

    /// Sets the time, unless a packet has set it.
    pub(super) fn start(&mut self, timestamp: Timestamp, now: Timestamp) {
        if self.latest.is_none() {
            self.set(timestamp, now);
        }
    }

    fn set(&mut self, timestamp: Timestamp, received_at: Timestamp) {
        let since = self.is_exact.then(Instant::now);
        self.latest = Some(Latest { timestamp, received_at, since });
    }

    /// From here on the time since a packet is exact.
    pub(super) fn keep_exact_time(&mut self, now: Timestamp) {
        if !self.is_exact {
            let at = self.at(now);
            self.is_exact = true;
            self.set(at, now);
        }
    }

    /// Keeps the clock from passing a time by itself.
    pub(super) fn hold(&mut self, at: Timestamp) {
        self.held_at = Some(at);
    }

    /// The meeting's time at wall-clock time `now`; that itself, if nothing has set the clock.
    pub(super) fn at(&self, now: Timestamp) -> Timestamp {
        let Some(Latest { timestamp, received_at, since }) = self.latest else { return now };
        let passed = match since {
            Some(since) => timestamp.checked_add(since.elapsed()),
            None => timestamp.checked_add(now.duration_since(received_at)),
        };
        let passed = passed.unwrap_or(timestamp);
        self.held_at.map_or(passed, |held_at| passed.min(held_at).max(timestamp))
    }

    /// How long until it reaches a time by itself; none if it is held before that.
    pub(super) fn time_until(&self, at: Timestamp, now: Timestamp) -> Option<Duration> {
        let wait = Duration::try_from(at.duration_since(self.at(now))).unwrap_or_default();
        let is_held = wait > Duration::ZERO && self.held_at.is_some_and(|held_at| held_at < at);
        (!is_held).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_from_the_latest_timestamp_and_no_further_than_it_is_held() {
        let (mut clock, wall) = (MeetingClock::default(), at(1_000_000));
        assert_eq!(clock.at(wall), wall);
        clock.start(at(0), wall);
        assert_eq!(clock.at(wall + Duration::from_millis(5)), at(5), "by the wall clock");
        clock.keep_exact_time(wall);
        tokio::time::advance(Duration::from_millis(10)).await;
        assert_eq!(
            (clock.at(wall), clock.time_until(at(30), wall)),
            (at(10), Some(Duration::from_millis(20)))
        );
        clock.hold(at(20));
        assert_eq!(
            (clock.time_until(at(30), wall), clock.time_until(at(20), wall)),
            (None, Some(Duration::from_millis(10)))
        );
        tokio::time::advance(Duration::from_millis(90)).await;
        assert_eq!((clock.at(wall), clock.time_until(at(20), wall)), (at(20), Some(Duration::ZERO)));
        // A packet carries it past where it is held, and an earlier one does not turn it back.
        clock.set(at(50), wall);
        assert_eq!(clock.at(wall), at(50));
        assert_eq!(clock.time_until(at(40), wall), Some(Duration::ZERO));
    }
}
