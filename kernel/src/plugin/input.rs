//! What a hook takes beside a single packet's data.

use std::{ops::Deref, time::Duration};

use crate::{DataPacket, DatastoreError, MeetingEngine, Timestamp};

/// The packets that have queued up since the last call, oldest first: one call, one commit, one output with
/// many causes.
///
/// Item `i` was read from `cx.packets()[i]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<T>(pub Vec<T>);

impl<T> Deref for Batch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> IntoIterator for Batch<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A tick: a period has passed that a plugin asked for with [`Hooks::every`](crate::Hooks::every).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tick {
    /// When it was due, by the meeting's clock.
    pub at: Timestamp,
}

impl Tick {
    /// The source of a tick's packet; reserved, so no plugin can take or claim it by name.
    pub const SOURCE: &'static str = "tick";
}

/// A wake: the time has come that a hook asked for with [`Cx::wake_at`](crate::Cx::wake_at).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wake {
    /// When it was due, by the meeting's clock.
    pub at: Timestamp,
    /// The key that the hook gave it.
    pub key: String,
}

impl Wake {
    /// The source of a wake's packet; reserved, so no plugin can take or claim it by name.
    pub const SOURCE: &'static str = "wake";
}

/// What a hook takes that a timer calls.
pub(super) trait Timer: Send + 'static {
    /// Reads the packet with which the runtime calls the hook.
    fn of(packet: &DataPacket) -> Self;
}

impl Timer for Tick {
    fn of(packet: &DataPacket) -> Self {
        Self { at: packet.timestamp }
    }
}

impl Timer for Wake {
    fn of(packet: &DataPacket) -> Self {
        Self { at: packet.timestamp, key: packet.payload.as_text().unwrap_or_default().to_owned() }
    }
}

/// Which try of its packets a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// The number of this try, from 1.
    pub attempt: u32,
    /// How many tries the packets have.
    pub most: u32,
}

impl Tries {
    /// The first try.
    #[must_use]
    pub fn first(self) -> Self {
        Self { attempt: 1, ..self }
    }

    /// Whether no other follows.
    pub fn is_last(self) -> bool {
        self.attempt >= self.most
    }
}

/// Asks for a wake, for a hook that runs on this packet. A wake's own hook cannot ask for the time that it is, or it
/// would run for ever.
pub(super) fn wake_at(
    takes_wakes: bool,
    engine: &MeetingEngine,
    packet: &DataPacket,
    at: Timestamp,
    key: &str,
) -> Result<(), DatastoreError> {
    if !takes_wakes {
        return Err(DatastoreError::NoWakeHook);
    }
    let earliest = if packet.source == *Wake::SOURCE {
        packet.timestamp.checked_add(Duration::from_millis(1)).unwrap_or(Timestamp::MAX)
    } else {
        at
    };
    engine.datastore().wake_at(key, at.max(earliest), packet.seq)
}
