//! The committed part of a meeting's log, as readers outside the meeting see it: stored packets only, from a seq
//! on, without a hole or a duplicate.
//!
//! A reader is a cursor. The packets that were stored last are kept in memory within a bound. A reader that is
//! behind them reads the store: a slow reader costs reads, never memory.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::{Stream, StreamExt, stream::BoxStream};
use parking_lot::Mutex;
use teammy_kernel::{
    DataPacket, MeetingId, Seq, Store,
    graph::Graph,
    store::{self, DeadLetter, Mark, PacketQuery, Take},
};
use tokio::sync::watch;

use super::error::{Closed, Error};

/// How far a reader can read.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// The last stored seq.
    pub(crate) stored: Seq,
    /// Why no more packets are stored, once none are. The log of a meeting that has ended is complete.
    pub(crate) closed: Option<Closed>,
}

/// The packets that were stored last.
#[derive(Debug, Default)]
struct Recent {
    packets: VecDeque<Arc<DataPacket>>,
    bytes: usize,
    /// `packets` holds every stored packet after this seq.
    after: Seq,
}

/// Shared by a meeting and its readers.
#[derive(Debug)]
pub(crate) struct CommittedLog {
    meeting: MeetingId,
    store: Arc<dyn Store>,
    recent: Mutex<Recent>,
    /// The bytes of `recent`, to be read without its lock.
    bytes: AtomicUsize,
    limit: usize,
    progress: watch::Sender<Progress>,
}

impl CommittedLog {
    pub(crate) fn new(meeting: MeetingId, store: Arc<dyn Store>, last: Seq, limit: usize) -> Self {
        Self {
            meeting,
            store,
            recent: Mutex::new(Recent { after: last, ..Recent::default() }),
            bytes: AtomicUsize::new(0),
            limit,
            progress: watch::Sender::new(Progress { stored: last, closed: None }),
        }
    }

    /// The seq of the stored packet to which a producer gave this number.
    pub(crate) async fn numbered(
        &self,
        producer: Arc<str>,
        number: u64,
    ) -> Result<Option<Seq>, store::Error> {
        self.store.numbered(self.meeting.clone(), producer, number).await
    }

    /// The meeting's stored marks.
    pub(crate) async fn marks(&self) -> Result<Vec<Mark>, Error> {
        self.store.marks(self.meeting.clone()).await.map_err(|cause| self.unreadable(cause))
    }

    /// The meeting's stored dead letters, by seq, then instance.
    pub(crate) async fn dead_letters(&self) -> Result<Vec<DeadLetter>, Error> {
        self.store.dead_letters(self.meeting.clone()).await.map_err(|cause| self.unreadable(cause))
    }

    fn unreadable(&self, cause: store::Error) -> Error {
        Error::Read { meeting: self.meeting.clone(), cause: Arc::new(cause) }
    }

    /// Packets were stored.
    pub(crate) fn stored(&self, packets: &[Arc<DataPacket>]) {
        let Some(last) = packets.last() else { return };
        {
            let mut recent = self.recent.lock();
            for packet in packets {
                recent.bytes += packet.cost();
                recent.packets.push_back(packet.clone());
            }
            self.shed(&mut recent, self.limit);
        }
        self.progress.send_modify(|progress| progress.stored = last.seq);
    }

    fn shed(&self, recent: &mut Recent, limit: usize) {
        while recent.bytes > limit {
            let Some(packet) = recent.packets.pop_front() else { break };
            recent.bytes -= packet.cost();
            recent.after = packet.seq;
        }
        self.bytes.store(recent.bytes, Ordering::Relaxed);
    }

    /// Bytes of packets that are kept in memory for readers.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Drops half of the packets in memory; readers find them in the store.
    pub(crate) fn squeeze(&self) {
        let mut recent = self.recent.lock();
        let limit = recent.bytes / 2;
        self.shed(&mut recent, limit);
    }

    /// The last stored seq.
    pub(crate) fn stored_up_to(&self) -> Seq {
        self.progress.borrow().stored
    }

    /// No more packets are stored. The first reason stays.
    pub(crate) fn close(&self, reason: Closed) {
        self.progress.send_if_modified(|progress| {
            let first = progress.closed.is_none();
            progress.closed.get_or_insert(reason);
            first
        });
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Stored packets after `cursor` up to `to`, or the first of them, and the seq up to which they go.
    async fn read(&self, cursor: Seq, to: Seq) -> Result<(Vec<Arc<DataPacket>>, Seq), Error> {
        const CHUNK: usize = 256;
        {
            let recent = self.recent.lock();
            if recent.after <= cursor {
                let start = recent.packets.partition_point(|packet| packet.seq <= cursor);
                let chunk = recent.packets.range(start..).take(CHUNK);
                let packets: Vec<_> = chunk.take_while(|packet| packet.seq <= to).cloned().collect();
                let up_to = if packets.len() == CHUNK { packets[CHUNK - 1].seq } else { to };
                return Ok((packets, up_to));
            }
        }
        let query = PacketQuery::range(cursor.next(), to).take(Take::First(CHUNK));
        let read = self.store.packets(self.meeting.clone(), query).await;
        let packets = read.map_err(|cause| self.unreadable(cause))?;
        let up_to = if packets.len() == CHUNK { packets[CHUNK - 1].seq } else { to };
        Ok((packets, up_to))
    }
}

/// A stream of a meeting's stored packets, in the log's order. It ends when the meeting has ended.
///
/// An item is an error if the store cannot be read, or if this node no longer runs the meeting; the stream
/// ends there.
pub struct Packets {
    stream: BoxStream<'static, Result<Arc<DataPacket>, Error>>,
}

struct Reader {
    committed_log: Arc<CommittedLog>,
    progress: watch::Receiver<Progress>,
    cursor: Seq,
    queue: VecDeque<Arc<DataPacket>>,
    is_over: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Arc<DataPacket>, Error>> {
        loop {
            if let Some(packet) = self.queue.pop_front() {
                return Some(Ok(packet));
            }
            if self.is_over {
                return None;
            }
            let Progress { stored, closed } = self.progress.borrow_and_update().clone();
            if stored > self.cursor {
                match self.committed_log.read(self.cursor, stored).await {
                    Ok((packets, up_to)) => {
                        self.cursor = up_to;
                        self.queue = packets.into();
                    }
                    Err(error) => {
                        self.is_over = true;
                        return Some(Err(error));
                    }
                }
                continue;
            }
            match closed {
                None if self.progress.changed().await.is_ok() => {}
                None | Some(Closed::Ended(_)) => self.is_over = true,
                Some(gone @ Closed::Gone { .. }) => {
                    self.is_over = true;
                    return Some(Err(gone.into()));
                }
            }
        }
    }
}

impl Packets {
    /// The stored packets after `cursor` that `wanted` accepts.
    pub(crate) fn new(
        committed_log: Arc<CommittedLog>,
        cursor: Seq,
        wanted: impl Fn(&DataPacket) -> bool + Send + 'static,
    ) -> Self {
        let progress = committed_log.progress();
        let reader = Reader { committed_log, progress, cursor, queue: VecDeque::new(), is_over: false };
        let stream = futures::stream::unfold((reader, wanted), |(mut reader, wanted)| async move {
            loop {
                match reader.next().await? {
                    Ok(packet) if !wanted(&packet) => {}
                    item => return Some((item, (reader, wanted))),
                }
            }
        });
        Self { stream: stream.boxed() }
    }

    /// The stored outputs after `cursor` of instances in `graph`.
    pub(crate) fn outputs(committed_log: Arc<CommittedLog>, graph: Arc<Graph>, cursor: Seq) -> Self {
        Self::new(committed_log, cursor, move |packet| graph.instance(packet.source.as_str()).is_some())
    }

    /// The packets of a stream that another node sends.
    pub(crate) fn from_stream(stream: BoxStream<'static, Result<Arc<DataPacket>, Error>>) -> Self {
        Self { stream }
    }
}

impl Stream for Packets {
    type Item = Result<Arc<DataPacket>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(cx)
    }
}

impl std::fmt::Debug for Packets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets").finish_non_exhaustive()
    }
}
