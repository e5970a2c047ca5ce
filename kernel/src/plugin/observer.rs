//! Who follows a run of hooks, and is told how each ended.

use std::sync::Arc;

use super::state::StateRef;
use crate::{DataPacket, Error, IntoPayload, Payload};

/// Who follows a run of single hooks, one for each packet.
pub trait HookObserver: Sync {
    /// A hook is about to run on this packet.
    fn begins(&self, packet: &Arc<DataPacket>);

    /// It ended well: with this state, if it changed it, and this output.
    ///
    /// # Errors
    /// Why it counts as failed after all.
    fn ended(
        &self,
        packet: &Arc<DataPacket>,
        state: Option<StateRef>,
        output: Option<Payload>,
    ) -> Result<Pace, Error>;

    /// The run goes on after a [pause](Pace::Yield).
    fn resumes(&self);
}

/// Whether the next hook of a run follows at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// It does.
    Continue,
    /// Others have their turn first: the run has had the thread for long.
    Yield,
}

/// Tells an observer how a hook ended; the state has changed if it is another one in memory.
#[inline]
pub(super) fn ended<S: serde::Serialize + Send + Sync + 'static>(
    observer: &dyn HookObserver,
    packet: &Arc<DataPacket>,
    before: &Arc<S>,
    after: &Arc<S>,
    output: Option<impl IntoPayload>,
) -> Result<Pace, Error> {
    let state = (!Arc::ptr_eq(before, after)).then(|| StateRef::of(after.clone()));
    let output = output.map(IntoPayload::into_payload).transpose()?;
    observer.ended(packet, state, output)
}
