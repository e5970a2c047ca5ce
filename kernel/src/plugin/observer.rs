//! Follows a run of hooks and learns how each ended.

use std::sync::Arc;

use super::{
    outputs::{Emitted, Outputs},
    state::StateRef,
};
use crate::{DataPacket, Error, IntoPayload};

/// Follows a run of single hooks, one for each packet.
pub trait HookObserver: Sync {
    /// A hook is about to run on this packet.
    fn begins(&self, packet: &Arc<DataPacket>);

    /// Whether [`stops_before`](Self::stops_before) is to be asked during this run.
    fn has_timers(&self) -> bool {
        false
    }

    /// Whether the run ends before this packet, which is not its first: a timer of the instance comes before it.
    fn stops_before(&self, packet: &DataPacket) -> bool {
        let _ = packet;
        false
    }

    /// The hook ended well. `state` is the new state, if the hook changed it; `outputs` is none if it put out
    /// nothing.
    ///
    /// # Errors
    /// Why the hook counts as failed all the same, such as an output above the limit.
    fn ended(
        &self,
        packet: &Arc<DataPacket>,
        state: Option<StateRef>,
        outputs: Option<Outputs>,
    ) -> Result<Pace, Error>;

    /// The run goes on after a [pause](Pace::Yield).
    fn resumes(&self);
}

/// Whether the next hook of a run follows at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The next hook follows at once.
    Continue,
    /// The run has had the thread for long: other tasks run first.
    Yield,
}

/// The packets of a run, each by itself, up to the first before which the run ends.
#[inline]
pub(super) fn one_by_one<'a>(
    packets: &'a [Arc<DataPacket>],
    observer: &dyn HookObserver,
) -> impl Iterator<Item = &'a [Arc<DataPacket>]> {
    let has_timers = observer.has_timers();
    let goes_on = move |(index, packet): &(usize, &[Arc<DataPacket>])| {
        !has_timers || *index == 0 || !observer.stops_before(&packet[0])
    };
    packets.chunks(1).enumerate().take_while(goes_on).map(|(_, packet)| packet)
}

/// Reports to the observer that a hook ended well. The state has changed if it is another allocation.
#[inline]
pub(super) fn report<S: serde::Serialize + Send + Sync + 'static, O: IntoPayload>(
    observer: &dyn HookObserver,
    packet: &Arc<DataPacket>,
    before: &Arc<S>,
    after: &Arc<S>,
    emitted: &mut Vec<Emitted<O>>,
    returned: Option<O>,
) -> Result<Pace, Error> {
    let outputs = if emitted.is_empty() && returned.is_none() {
        None
    } else {
        Some(Outputs::of(std::mem::take(emitted), returned)?)
    };
    let state = (!Arc::ptr_eq(before, after)).then(|| StateRef::of(after.clone()));
    observer.ended(packet, state, outputs)
}

/// Lets other tasks run.
pub(super) async fn pause(observer: &dyn HookObserver) {
    tokio::task::yield_now().await;
    observer.resumes();
}
