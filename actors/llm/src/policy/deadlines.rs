//! How long a server may take: to the first useful token, between two, and in all.
//!
//! Only what brings the answer on is useful: text, thoughts, a function's call. Comments that keep a connection alive,
//! and empty pieces, do not move a deadline.

use std::time::Duration;

use tokio::time::Instant;

/// The limits of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadlines {
    pub(crate) first_token: Duration,
    pub(crate) between_tokens: Duration,
    pub(crate) total: Option<Duration>,
}

/// Which limit was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    FirstToken,
    NextToken,
    /// The time of this try.
    Try,
    /// The asker's time.
    Whole,
}

/// Watches one request.
#[derive(Debug)]
pub(crate) struct Watch {
    limits: Deadlines,
    began: Instant,
    last_useful: Option<Instant>,
    until: Option<(Instant, Late)>,
    streams: bool,
}

impl Watch {
    /// A request that begins now. `until` is when an answer comes too late for its asker. Without `streams` the whole answer
    /// comes at once, and only the last limit applies.
    pub(crate) fn new(limits: Deadlines, now: Instant, until: Option<Instant>, streams: bool) -> Self {
        let own = limits.total.and_then(|total| now.checked_add(total)).map(|at| (at, Late::Try));
        let until = own.into_iter().chain(until.map(|until| (until, Late::Whole))).min_by_key(|(at, _)| *at);
        Self { limits, began: now, last_useful: None, until, streams }
    }

    /// Something useful came.
    pub(crate) fn useful(&mut self, now: Instant) {
        self.last_useful = Some(now);
    }

    /// The server gives its answer in one piece after all.
    pub(crate) fn comes_whole(&mut self) {
        self.streams = false;
    }

    /// When the next limit is passed, and which.
    pub(crate) fn next(&self) -> Option<(Instant, Late)> {
        let token = match self.last_useful {
            None => (self.began + self.limits.first_token, Late::FirstToken),
            Some(last) => (last + self.limits.between_tokens, Late::NextToken),
        };
        let token = Some(token).filter(|_| self.streams);
        token.into_iter().chain(self.until).min_by_key(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_soonest_limit_counts() {
        let seconds = Duration::from_secs;
        let limits =
            Deadlines { first_token: seconds(30), between_tokens: seconds(10), total: Some(seconds(60)) };
        let now = Instant::now();
        let mut watch = Watch::new(limits, now, None, true);
        assert_eq!(watch.next(), Some((now + seconds(30), Late::FirstToken)));
        watch.useful(now + seconds(25));
        assert_eq!(watch.next(), Some((now + seconds(35), Late::NextToken)));
        watch.useful(now + seconds(55));
        assert_eq!(watch.next(), Some((now + seconds(60), Late::Try)));
        let watch = Watch::new(limits, now, Some(now + seconds(5)), true);
        assert_eq!(watch.next(), Some((now + seconds(5), Late::Whole)), "the asker's time");
        let watch = Watch::new(Deadlines { total: None, ..limits }, now, None, false);
        assert_eq!(watch.next(), None);
    }
}
