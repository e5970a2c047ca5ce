//! Reads any sources of a meeting from outside: durable ones from a seq on, volatile ones live.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt, stream::BoxStream};
use teammy_kernel::{DataPacket, Durability, MeetingId, Seq, graph::Graph};

use super::{
    committed_log::{CommittedLog, Packets},
    error::Error,
    read_budget::ReadBudget,
    source_set::SourceSet,
    taps::{Slow, Tap, TapBounds, TapItem, Taps},
};

/// Where a subscription to durable sources begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartAt {
    /// With the next packet that is stored.
    #[default]
    Now,
    /// With the meeting's first packet.
    Start,
    /// After a seq, for a reader that resumes.
    After(Seq),
}

/// What to subscribe to. [`Subscribe::to`] makes it; a [`RemoteMeeting`](super::RemoteMeeting) reads its
/// fields.
///
/// # Examples
/// ```
/// use teammy_runtime::meeting::{Slow, StartAt, Subscribe};
/// let all_said = Subscribe::to(["transcription", "minutes"]).from(StartAt::Start);
/// let live = Subscribe::to(["audio"]).buffer_bytes(256 * 1024).slow(Slow::End);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscribe {
    /// The names of the sources.
    pub sources: Vec<String>,
    /// Where to begin with durable sources.
    pub from: StartAt,
    /// How many bytes of packets of volatile sources wait for the subscriber.
    pub buffer_bytes: usize,
    /// What happens to volatile packets beyond the buffer.
    pub slow: Slow,
    /// What it may hold together with other readers.
    pub budget: Option<ReadBudget>,
}

impl Subscribe {
    /// Subscribes to these sources: well-known ones, declared ones, or instances' outputs.
    pub fn to(sources: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let sources = sources.into_iter().map(Into::into).collect();
        Self { sources, from: StartAt::default(), buffer_bytes: 1 << 20, slow: Slow::default(), budget: None }
    }

    /// Sets where to begin; the default is now. It concerns durable sources only: volatile ones are always
    /// live.
    #[must_use]
    pub fn from(mut self, from: StartAt) -> Self {
        self.from = from;
        self
    }

    /// Sets how many bytes of packets of volatile sources wait for the subscriber; the default is 1 MiB. One
    /// packet always fits.
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// Sets what happens to volatile packets beyond the buffer.
    #[must_use]
    pub fn slow(mut self, slow: Slow) -> Self {
        self.slow = slow;
        self
    }

    /// Has it share a bound with other readers of this node, beside its own buffer. A subscription to a meeting that another
    /// node runs does not count.
    #[must_use]
    pub fn within(mut self, budget: &ReadBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }
}

/// A packet for a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The packet.
    pub packet: Arc<DataPacket>,
    /// How many packets of volatile sources the subscriber lost before this one, because it was too slow.
    pub gap: u64,
}

impl Delivered {
    /// A packet, and how many packets the subscriber lost before it.
    pub fn new(packet: Arc<DataPacket>, gap: u64) -> Self {
        Self { packet, gap }
    }
}

/// Packets of a meeting, as a stream. It ends when the meeting has ended.
///
/// Packets of durable sources come when they are stored, each once and in the log's order. Packets of volatile
/// sources come at once, in their order. Between the two there is no order: a volatile packet does not wait
/// for the store.
///
/// An item is an error if the store cannot be read, if this node no longer runs the meeting, or if the
/// subscriber was too slow for [`Slow::End`]. The stream ends with an error.
pub struct Subscription(Form);

enum Form {
    Local(LocalSubscription),
    Remote(MeetingId, BoxStream<'static, Result<Delivered, Error>>),
}

/// A subscription to a meeting of this node: a cursor for the durable sources, a tap for the volatile ones.
struct LocalSubscription {
    meeting: MeetingId,
    taps: Arc<Taps>,
    stored: Option<Packets>,
    live: Option<Arc<Tap>>,
    /// Whether a live packet was the last one: then a stored one comes first, so that none waits for ever.
    was_live: bool,
}

impl Subscription {
    pub(crate) fn new(
        meeting: MeetingId,
        graph: &Graph,
        committed_log: &Arc<CommittedLog>,
        taps: Arc<Taps>,
        subscribe: Subscribe,
    ) -> Result<Self, Error> {
        Ok(Self(Form::Local(LocalSubscription::new(meeting, graph, committed_log, taps, subscribe)?)))
    }

    /// A subscription that another node serves.
    pub(crate) fn from_stream(
        meeting: MeetingId,
        stream: BoxStream<'static, Result<Delivered, Error>>,
    ) -> Self {
        Self(Form::Remote(meeting, stream))
    }

    fn meeting(&self) -> &MeetingId {
        match &self.0 {
            Form::Local(subscription) => &subscription.meeting,
            Form::Remote(meeting, _) => meeting,
        }
    }
}

impl LocalSubscription {
    fn new(
        meeting: MeetingId,
        graph: &Graph,
        committed_log: &Arc<CommittedLog>,
        taps: Arc<Taps>,
        subscribe: Subscribe,
    ) -> Result<Self, Error> {
        let (mut durable, mut volatile, mut set) = (Vec::new(), Vec::new(), SourceSet::EMPTY);
        for name in subscribe.sources {
            let Some(view) = graph.source(&name) else {
                let suggestion = graph.closest_source(&name).cloned();
                return Err(Error::UnknownSource { source_name: name, suggestion });
            };
            let name = graph.source_name(view.place).clone();
            match view.durability {
                Durability::Durable => durable.push(name),
                Durability::Volatile => {
                    set.insert(view.place);
                    volatile.push(name);
                }
            }
        }
        let budget = subscribe.budget;
        let bounds =
            TapBounds { limit: subscribe.buffer_bytes, slow: subscribe.slow, budget: budget.clone() };
        let live = (!volatile.is_empty()).then(|| taps.add(volatile, set, bounds));
        let after = match subscribe.from {
            _ if durable.is_empty() => committed_log.stored_up_to(),
            StartAt::Now => committed_log.stored_up_to(),
            StartAt::Start => Seq::ZERO,
            StartAt::After(seq) => seq,
        };
        let is_wanted = move |packet: &DataPacket| durable.contains(&packet.source);
        let stored = Packets::new(committed_log.clone(), after, is_wanted);
        let stored = Some(match &budget {
            Some(budget) => stored.within(budget),
            None => stored,
        });
        Ok(Self { meeting, taps, stored, live, was_live: false })
    }

    fn end(&mut self) {
        self.stored = None;
        if let Some(tap) = self.live.take() {
            self.taps.remove(&tap);
        }
    }
}

impl Drop for LocalSubscription {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("meeting", self.meeting()).finish_non_exhaustive()
    }
}

impl Stream for Subscription {
    type Item = Result<Delivered, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Form::Local(subscription) => subscription.poll_next_unpin(cx),
            Form::Remote(_, stream) => stream.poll_next_unpin(cx),
        }
    }
}

impl Stream for LocalSubscription {
    type Item = Result<Delivered, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.was_live)
            && let Some(stored) = &mut self.stored
            && let Poll::Ready(item) = stored.poll_next_unpin(cx)
        {
            return self.stored_item(item);
        }
        if let Some(tap) = &self.live {
            tap.waker().register(cx.waker());
            match tap.pop() {
                TapItem::Packet(packet, gap) => {
                    self.was_live = true;
                    return Poll::Ready(Some(Ok(Delivered { packet, gap })));
                }
                TapItem::Empty => {}
                TapItem::TooSlow => {
                    let error = Error::TooSlow(self.meeting.clone());
                    self.end();
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        let Some(stored) = &mut self.stored else { return Poll::Ready(None) };
        match stored.poll_next_unpin(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(item) => self.stored_item(item),
        }
    }
}

impl LocalSubscription {
    /// What comes of the log: its end and its errors end the subscription.
    fn stored_item(
        &mut self,
        item: Option<Result<Arc<DataPacket>, Error>>,
    ) -> Poll<Option<Result<Delivered, Error>>> {
        let item = item.map(|item| item.map(|packet| Delivered { packet, gap: 0 }));
        if !matches!(item, Some(Ok(_))) {
            self.end();
        }
        Poll::Ready(item)
    }
}
