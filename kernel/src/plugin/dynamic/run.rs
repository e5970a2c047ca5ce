//! A run of one hook over several packets, each by itself.

use std::sync::Arc;

use super::context::{DynamicCx, JsonState};
use crate::{
    DataPacket, Error, Payload,
    plugin::observer::{HookObserver, Pace, pause, report},
};

/// A run of one hook over packets that have queued up, for [`receive_each`](super::DynamicInstance::receive_each).
///
/// For each packet, [`begin`](Self::begin) and then [`end`](Self::end): what is set in between, the state and keys
/// of the context, belongs to that packet, and is there once `end` has returned.
pub struct DynamicRun<'a> {
    cx: DynamicCx<'a>,
    packets: &'a [Arc<DataPacket>],
    /// How many packets have ended.
    ended: usize,
    /// The state before the packet that runs.
    before: Arc<JsonState>,
    observer: &'a dyn HookObserver,
}

impl<'a> DynamicRun<'a> {
    pub(in crate::plugin) fn new(cx: DynamicCx<'a>, observer: &'a dyn HookObserver) -> Self {
        Self { packets: cx.packets, ended: 0, before: cx.state.clone(), cx, observer }
    }

    /// The packets that have not ended, oldest first.
    pub fn left(&self) -> &'a [Arc<DataPacket>] {
        &self.packets[self.ended..]
    }

    /// The context of the packet that began last; before the first one, what the run starts with.
    pub fn cx(&mut self) -> &mut DynamicCx<'a> {
        &mut self.cx
    }

    /// Begins the hook on the next packet, whose context this is. `None` if no packet is left, or if a timer of
    /// the instance comes before it: the run is over.
    pub fn begin(&mut self) -> Option<&mut DynamicCx<'a>> {
        let packet = self.packets.get(self.ended)?;
        if self.ended > 0 && self.observer.has_timers() && self.observer.stops_before(packet) {
            return None;
        }
        self.observer.begins(packet);
        self.cx.packets = std::slice::from_ref(packet);
        Some(&mut self.cx)
    }

    /// The hook on the packet that began has ended well, with this output.
    ///
    /// # Errors
    /// Why it counts as failed all the same, such as an output above the limit. The run must end with this error.
    pub async fn end(&mut self, output: Option<Payload>) -> Result<(), Error> {
        if let Some((_, error)) = self.cx.rejected.pop() {
            return Err(error);
        }
        let Self { cx, packets, ended, before, observer } = self;
        (cx.gap, cx.tries) = (0, cx.tries.first());
        let pace = report(*observer, &packets[*ended], before, &cx.state, &mut cx.emitted, output)?;
        *before = cx.state.clone();
        *ended += 1;
        if pace == Pace::Yield {
            pause(*observer).await;
        }
        Ok(())
    }
}
