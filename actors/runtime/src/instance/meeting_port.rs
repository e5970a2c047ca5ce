//! What an instance needs of its meeting.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use teammy_kernel::{
    DataPacket, Timestamp,
    log::{HistoryRead, Slot},
};

use super::effects::{Incarnation, SubmittedEffects};

/// The meeting, as its instances see it.
pub(crate) trait MeetingPort: fmt::Debug + Send + Sync {
    /// Queues effects and drives the meeting. A meeting that is gone drops them.
    fn submit(&self, effects: SubmittedEffects);

    /// Asks for a packet that moves this instance's clock, once the meeting's has reached a time; none for no time.
    /// It replaces what was asked for before.
    fn wake_at(&self, slot: Slot, incarnation: Incarnation, at: Option<Timestamp>);

    /// The packets of a read that are not stored yet; `None` if the meeting is gone.
    fn unstored(&self, read: HistoryRead) -> BoxFuture<'_, Option<Vec<Arc<DataPacket>>>>;
}
