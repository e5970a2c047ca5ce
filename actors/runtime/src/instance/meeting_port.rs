//! What an instance needs of its meeting.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use teammy_kernel::DataPacket;

use super::effects::SubmittedEffects;

/// The meeting, as its instances see it.
pub(crate) trait MeetingPort: fmt::Debug + Send + Sync {
    /// Queues effects and drives the meeting. A meeting that is gone drops them.
    fn submit(&self, effects: SubmittedEffects);

    /// Durable packets that the store may not have yet; none if the meeting is gone.
    fn unstored(&self) -> BoxFuture<'_, Option<Vec<Arc<DataPacket>>>>;
}
