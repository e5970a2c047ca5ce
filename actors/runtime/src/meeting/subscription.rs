//! Reading a meeting from outside, whatever its sources are: what is stored from a place on, what is never
//! stored as it comes.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt};
use teammy_kernel::{DataPacket, Durability, MeetingId, Seq};

use super::{
    Error, MeetingShared, Packets,
    ingress::SourceSet,
    taps::{Slow, Tap, TapItem},
};

/// Where a subscription begins, of sources that are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartAt {
    /// With what is stored from now on.
    #[default]
    Now,
    /// With the meeting's first packet.
    Start,
    /// Behind a place in the log: for a reader that knows how far it came.
    After(Seq),
}

/// What to subscribe to.
///
/// # Examples
/// ```
/// use teammy_runtime::meeting::{Slow, StartAt, Subscribe};
/// let all_said = Subscribe::to(["transcription", "minutes"]).from(StartAt::Start);
/// let live = Subscribe::to(["audio"]).buffer_bytes(256 * 1024).slow(Slow::End);
/// ```
#[derive(Debug, Clone)]
pub struct Subscribe {
    sources: Vec<String>,
    from: StartAt,
    buffer: usize,
    slow: Slow,
}

impl Subscribe {
    /// To these sources: well-known ones, one's own, or instances' outputs.
    pub fn to(sources: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let sources = sources.into_iter().map(Into::into).collect();
        Self { sources, from: StartAt::default(), buffer: 1 << 20, slow: Slow::default() }
    }

    /// Where to begin; without it, now. It concerns sources that are stored: of the others there is nothing
    /// but what comes.
    #[must_use]
    pub fn from(mut self, from: StartAt) -> Self {
        self.from = from;
        self
    }

    /// How many bytes of packets of sources that are never stored wait for a subscriber; 1 MiB without it,
    /// and one packet always.
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer = bytes;
        self
    }

    /// What becomes of more than that.
    #[must_use]
    pub fn slow(mut self, slow: Slow) -> Self {
        self.slow = slow;
        self
    }
}

/// A packet for a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The packet.
    pub packet: Arc<DataPacket>,
    /// How many packets of sources that are never stored were lost before it, because the subscriber was too
    /// slow.
    pub gap: u64,
}

/// Packets of a meeting, as a stream. It ends when the meeting has.
///
/// Packets of sources that are stored come when they are, each once and in the log's order; those of others
/// as they come, in their order. Between the two there is no order: what is never stored need not wait for
/// the store. Dropping it lets go of everything.
///
/// An item is an error if the store cannot be read, if this node no longer runs the meeting, or if the
/// subscriber was too slow and that [ends](Slow::End) it; the stream ends there.
pub struct Subscription {
    shared: Arc<MeetingShared>,
    stored: Option<Packets>,
    live: Option<Arc<Tap>>,
}

impl Subscription {
    pub(crate) fn new(shared: Arc<MeetingShared>, subscribe: Subscribe) -> Result<Self, Error> {
        let (mut durable, mut volatile, mut places) = (Vec::new(), Vec::new(), SourceSet::NONE);
        for name in subscribe.sources {
            let Some(view) = shared.graph.source(&name) else {
                let suggestion = shared.graph.closest_source(&name).cloned();
                return Err(Error::UnknownSource { source_name: name, suggestion });
            };
            let name = shared.graph.source_name(view.place).clone();
            match view.durability {
                Durability::Durable => durable.push(name),
                Durability::Volatile => {
                    places.add(view.place);
                    volatile.push(name);
                }
            }
        }
        let live = (!volatile.is_empty())
            .then(|| shared.taps.add(volatile, places, subscribe.buffer, subscribe.slow));
        let after = match subscribe.from {
            _ if durable.is_empty() => shared.committed_log.stored_up_to(),
            StartAt::Now => shared.committed_log.stored_up_to(),
            StartAt::Start => Seq::ZERO,
            StartAt::After(seq) => seq,
        };
        let is_wanted = move |packet: &DataPacket| durable.contains(&packet.source);
        let stored = Some(Packets::new(shared.committed_log.clone(), after, is_wanted));
        Ok(Self { shared, stored, live })
    }

    fn id(&self) -> MeetingId {
        self.shared.metadata.id.clone()
    }

    fn end(&mut self) {
        self.stored = None;
        if let Some(tap) = self.live.take() {
            self.shared.taps.remove(&tap);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("meeting", &self.id()).finish_non_exhaustive()
    }
}

impl Stream for Subscription {
    type Item = Result<Delivered, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(tap) = &self.live {
            tap.waker().register(cx.waker());
            match tap.pop() {
                TapItem::Packet(packet, gap) => return Poll::Ready(Some(Ok(Delivered { packet, gap }))),
                TapItem::Empty => {}
                TapItem::TooSlow => {
                    let error = Error::TooSlow(self.id());
                    self.end();
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        let Some(stored) = &mut self.stored else { return Poll::Ready(None) };
        match stored.poll_next_unpin(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(packet))) => Poll::Ready(Some(Ok(Delivered { packet, gap: 0 }))),
            Poll::Ready(Some(Err(error))) => {
                self.end();
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
        }
    }
}
