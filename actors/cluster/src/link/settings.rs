//! How links behave.

use std::time::Duration;

/// How links behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSettings {
    /// From one heartbeat to the next.
    pub heartbeat: Duration,
    /// After how many heartbeats without anything from the peer a link counts as broken.
    pub misses: u32,
    /// How many bytes of calls may be under way to a peer that it has not taken, in each direction; and as many of answers and
    /// items, which have a window of their own so that they never wait for calls. Each message counts as 256 bytes at least. It
    /// bounds the size of one message. Of two nodes with different windows the smaller one counts.
    pub window: usize,
    /// How many bytes of a stream may wait at the reader's. A larger item travels alone.
    pub stream_window: usize,
    /// The longest time between two tries to reach a node.
    pub longest_backoff: Duration,
}

impl Default for LinkSettings {
    /// A heartbeat each second of which three may be missing, windows of 8 MiB and of 256 KiB for streams, and a try each 5
    /// seconds at least.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            misses: 3,
            window: 8 << 20,
            stream_window: 256 << 10,
            longest_backoff: Duration::from_secs(5),
        }
    }
}

impl LinkSettings {
    /// The silence after which a link counts as broken.
    pub(crate) fn patience(&self) -> Duration {
        self.heartbeat.saturating_mul(self.misses)
    }
}
