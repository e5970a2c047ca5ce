//! What a hook takes beside a single packet's data.

use std::ops::Deref;

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
pub struct Tick;

impl Tick {
    /// The source of a tick's packet; reserved, so no plugin can take or claim it by name.
    pub const SOURCE: &'static str = "tick";
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
