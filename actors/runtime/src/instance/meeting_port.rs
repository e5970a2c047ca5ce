//! What an instance needs of its meeting.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use teammy_kernel::{DataPacket, log::HistoryRead};

use super::effects::SubmittedEffects;

/// The meeting, as its instances see it.
pub(crate) trait MeetingPort: fmt::Debug + Send + Sync {
    /// Queues effects and drives the meeting. A meeting that is gone drops them.
    fn submit(&self, effects: SubmittedEffects);

    /// The packets of a read that are not stored yet; `None` if the meeting is gone.
    fn unstored(&self, read: HistoryRead) -> BoxFuture<'_, Option<Vec<Arc<DataPacket>>>>;
}
