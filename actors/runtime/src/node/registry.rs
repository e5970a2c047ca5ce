//! The meetings that a node runs.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;
use teammy_kernel::MeetingId;

use super::error::Error;
use crate::meeting::LocalMeeting;

/// The meetings that a node runs, by id.
pub(super) type Meetings = Arc<Mutex<HashMap<MeetingId, LocalMeeting>>>;

/// The meetings that a node is taking over, or forgetting.
pub(super) type Reserved = Mutex<HashSet<MeetingId>>;

/// Keeps a node from claiming a meeting twice: the second claim would only fence the first.
pub(super) struct ReservedGuard<'a> {
    reserved: &'a Reserved,
    id: &'a MeetingId,
}

impl<'a> ReservedGuard<'a> {
    /// Reserves a meeting that the node does not run.
    ///
    /// # Errors
    /// [`Error::Running`] if it runs the meeting, or has reserved it.
    pub(super) fn new(reserved: &'a Reserved, meetings: &Meetings, id: &'a MeetingId) -> Result<Self, Error> {
        let is_first = reserved.lock().insert(id.clone());
        if !is_first {
            return Err(Error::Running(id.clone()));
        }
        let guard = Self { reserved, id };
        if meetings.lock().contains_key(id) { Err(Error::Running(id.clone())) } else { Ok(guard) }
    }
}

impl Drop for ReservedGuard<'_> {
    fn drop(&mut self) {
        self.reserved.lock().remove(self.id);
    }
}
