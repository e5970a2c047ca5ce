//! Documents that several owners change.

use std::sync::Arc;

use crate::MeetingId;

/// Which account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId {
    /// The meeting that it belongs to, and is forgotten with; `None` if it belongs to none.
    pub meeting: Option<MeetingId>,
    /// Its name among those of its meeting, or of no meeting.
    pub key: String,
}

/// A document that several owners change, on several nodes, such as what is spent of a budget. Whoever changes it has read
/// its newest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRecord {
    /// Which one.
    pub id: AccountId,
    /// How often it was changed; 0 for one that is not there.
    pub version: u64,
    /// Its content; empty for one that is not there.
    pub document: Arc<str>,
}

impl AccountRecord {
    /// An account that is not there.
    pub fn absent(id: AccountId) -> Self {
        Self { id, version: 0, document: Arc::from("") }
    }
}
