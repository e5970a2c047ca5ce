//! The committed part of a meeting's log, as readers outside the meeting see it: stored packets only, from a seq
//! on, without a hole or a duplicate.
//!
//! A reader is a cursor. The packets that were stored last are kept in memory within a bound. A reader that is
//! behind them reads the store: a slow reader costs reads, never memory. It reads a page at a time, which is bounded
//! in bytes; of the store it asks no more packets than are likely to fit.

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

use super::{
    error::{Closed, Error},
    read_budget::{ReadBudget, Turn},
};

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

    /// Whether a packet of this seq is stored.
    pub(crate) async fn has(&self, seq: Seq) -> Result<bool, store::Error> {
        let packets = self.store.packets(self.meeting.clone(), PacketQuery::range(seq, seq)).await?;
        Ok(!packets.is_empty())
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

    /// Stored packets after `cursor` up to `to`, or the first of them.
    async fn read(&self, cursor: Seq, to: Seq, page: Page) -> Result<Read, Error> {
        {
            let recent = self.recent.lock();
            if recent.after <= cursor {
                let start = recent.packets.partition_point(|packet| packet.seq <= cursor);
                let packets = recent.packets.range(start..).take_while(|packet| packet.seq <= to);
                let packets: Vec<_> = packets.take(page.packets).cloned().collect();
                return Ok(page.of(packets, to));
            }
        }
        let query = PacketQuery::range(cursor.next(), to).take(Take::First(page.packets));
        let read = self.store.packets(self.meeting.clone(), query).await;
        Ok(page.of(read.map_err(|cause| self.unreadable(cause))?, to))
    }
}

/// How much a reader reads at once.
#[derive(Debug, Clone, Copy)]
struct Page {
    bytes: usize,
    packets: usize,
}

/// What was read.
struct Read {
    packets: Vec<Arc<DataPacket>>,
    /// The seq up to which they go.
    up_to: Seq,
    /// What to read next.
    next: Page,
}

impl Page {
    /// What a reader holds at most, if it shares no budget; one packet always fits.
    const BYTES: usize = 1 << 20;
    /// How many packets are asked for while their size is not known.
    const FIRST: usize = 16;
    /// The most that are asked for: they are in memory before their sizes are known.
    const MOST: usize = 64;

    fn first(bytes: usize) -> Self {
        Self { bytes, packets: Self::FIRST }
    }

    /// Of packets that were read up to `to`, those that fit on the page, and the page for as many as are likely to fit.
    fn of(self, mut packets: Vec<Arc<DataPacket>>, to: Seq) -> Read {
        let (found, mut bytes) = (packets.len(), 0);
        let fits = |packet: &&Arc<DataPacket>| {
            bytes += packet.cost();
            bytes <= self.bytes
        };
        let fitting = packets.iter().take_while(fits).count().max(found.min(1));
        packets.truncate(fitting);
        packets.shrink_to_fit();
        let is_cut = fitting < found || found == self.packets;
        let up_to = packets.last().filter(|_| is_cut).map_or(to, |last| last.seq);
        let bytes: usize = packets.iter().map(|packet| packet.cost()).sum();
        let likely = (self.bytes / (bytes / fitting.max(1)).max(1)).min(2 * self.packets);
        let next = Self { packets: likely.clamp(1, Self::MOST), ..self };
        Read { packets, up_to, next }
    }
}

/// A stream of a meeting's stored packets, in the log's order. It ends when the meeting has ended.
///
/// An item is an error if the store cannot be read, or if this node no longer runs the meeting; the stream
/// ends there.
pub struct Packets {
    /// What `stream` is made of when it is polled first.
    unread: Option<(Reader, Wanted)>,
    stream: BoxStream<'static, Result<Arc<DataPacket>, Error>>,
}

/// Which packets are given.
type Wanted = Box<dyn Fn(&DataPacket) -> bool + Send>;

struct Reader {
    committed_log: Arc<CommittedLog>,
    progress: watch::Receiver<Progress>,
    cursor: Seq,
    page: Page,
    queue: VecDeque<Arc<DataPacket>>,
    budget: Option<ReadBudget>,
    /// It has one while its queue holds packets, if it shares a budget.
    turn: Option<Turn>,
    is_over: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Arc<DataPacket>, Error>> {
        loop {
            if let Some(packet) = self.queue.pop_front() {
                if self.queue.is_empty() {
                    self.turn = None;
                }
                return Some(Ok(packet));
            }
            if self.is_over {
                return None;
            }
            let Progress { stored, closed } = self.progress.borrow_and_update().clone();
            if stored > self.cursor {
                if let Some(budget) = &self.budget {
                    self.turn = Some(budget.turn().await);
                }
                match self.committed_log.read(self.cursor, stored, self.page).await {
                    Ok(Read { packets, up_to, next }) => {
                        (self.cursor, self.page) = (up_to, next);
                        if packets.is_empty() {
                            self.turn = None;
                        }
                        self.queue = packets.into();
                    }
                    Err(error) => {
                        self.is_over = true;
                        self.turn = None;
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
        let reader = Reader {
            committed_log,
            progress,
            cursor,
            page: Page::first(Page::BYTES),
            queue: VecDeque::new(),
            budget: None,
            turn: None,
            is_over: false,
        };
        Self { unread: Some((reader, Box::new(wanted))), stream: futures::stream::empty().boxed() }
    }

    /// Has it share a bound with other readers of this node, before it is read. The packets of a meeting that another node runs
    /// do not count.
    #[must_use]
    pub fn within(mut self, budget: &ReadBudget) -> Self {
        if let Some((reader, _)) = &mut self.unread {
            reader.page = Page::first(budget.page_bytes());
            reader.budget = Some(budget.clone());
        }
        self
    }

    /// The stored outputs after `cursor` of instances in `graph`.
    pub(crate) fn outputs(committed_log: Arc<CommittedLog>, graph: Arc<Graph>, cursor: Seq) -> Self {
        Self::new(committed_log, cursor, move |packet| graph.instance(packet.source.as_str()).is_some())
    }

    /// The packets of a stream that another node sends.
    pub(crate) fn from_stream(stream: BoxStream<'static, Result<Arc<DataPacket>, Error>>) -> Self {
        Self { unread: None, stream }
    }
}

/// What a reader reads of what is wanted.
fn read(reader: Reader, wanted: Wanted) -> BoxStream<'static, Result<Arc<DataPacket>, Error>> {
    let stream = futures::stream::unfold((reader, wanted), |(mut reader, wanted)| async move {
        loop {
            match reader.next().await? {
                Ok(packet) if !wanted(&packet) => {}
                item => return Some((item, (reader, wanted))),
            }
        }
    });
    stream.boxed()
}

impl Stream for Packets {
    type Item = Result<Arc<DataPacket>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some((reader, wanted)) = self.unread.take() {
            self.stream = read(reader, wanted);
        }
        self.stream.poll_next_unpin(cx)
    }
}

impl std::fmt::Debug for Packets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use teammy_kernel::{
        MeetingMetadata, Payload, Publish, Timestamp,
        store::{Commit, Epoch, MemoryStore},
    };

    use super::*;

    /// An ended meeting with packets of these sizes.
    async fn log(id: &str, sizes: &[usize]) -> (Arc<CommittedLog>, Vec<Arc<DataPacket>>) {
        let store = MemoryStore::default();
        let id = MeetingId::new(id).unwrap();
        let created =
            store.create(MeetingMetadata::new(id.clone()), vec![], Seq(1 << 20), Timestamp::UNIX_EPOCH);
        created.await.unwrap();
        let packet = |(seq, size): (u64, &usize)| {
            let publish = Publish::new("audio", Payload::Bytes(vec![0; *size].into())).unwrap();
            Arc::new(publish.into_packet(id.clone(), Seq(seq), Timestamp::UNIX_EPOCH))
        };
        let packets: Vec<_> = (1..).zip(sizes).map(packet).collect();
        let mut commit = Commit::new(id.clone(), Epoch(1), 1, Seq(1 << 20));
        commit.packets.clone_from(&packets);
        store.commit(&[commit]).await.unwrap();
        let log = CommittedLog::new(id.clone(), Arc::new(store), Seq(sizes.len() as u64), 0);
        log.close(Closed::Ended(id));
        (Arc::new(log), packets)
    }

    /// The bytes of packets that somebody holds beside the store and the test.
    fn held(packets: &[Arc<DataPacket>]) -> usize {
        packets.iter().filter(|packet| Arc::strong_count(packet) > 2).map(|packet| packet.cost()).sum()
    }

    #[tokio::test]
    async fn a_reader_holds_a_page_whatever_the_packets_sizes() {
        let sizes: Vec<usize> = (0..600).map(|index| if index % 200 < 150 { 10 } else { 200_000 }).collect();
        let (log, packets) = log("m", &sizes).await;
        let mut reader = Packets::new(log, Seq::ZERO, |_| true);
        let (mut seqs, mut most) = (Vec::new(), 0);
        while let Some(packet) = reader.next().await {
            seqs.push(packet.unwrap().seq.0);
            most = most.max(held(&packets));
        }
        assert_eq!(seqs, (1..=600).collect::<Vec<u64>>());
        assert!(most <= Page::BYTES && most > Page::BYTES / 2, "{most}");
    }

    #[test]
    fn as_many_packets_are_asked_for_as_are_likely_to_fit() {
        let publish = |size| Publish::new("audio", Payload::Bytes(vec![0; size].into())).unwrap();
        let packets = |count: u64, size| -> Vec<_> {
            let id = MeetingId::new("m").unwrap();
            let packet = |seq| publish(size).into_packet(id.clone(), Seq(seq), Timestamp::UNIX_EPOCH);
            (1..=count).map(|seq| Arc::new(packet(seq))).collect()
        };
        let page = Page { bytes: 10_000, packets: 16 };
        // The count and the size of what is found, how many fit, up to which seq they go, how many are asked for next.
        for (count, size, fitting, up_to, next) in [
            (0, 0, 0, 99, 32),
            (5, 10, 5, 99, 32),
            (16, 10, 16, 16, 32),
            (16, 2_000, 4, 4, 4),
            (16, 20_000, 1, 1, 1),
            (1, 20_000, 1, 99, 1),
        ] {
            let read = page.of(packets(count, size), Seq(99));
            let is = (read.packets.len(), read.up_to.0, read.next.packets);
            assert_eq!(is, (fitting, up_to, next), "{count} packets of {size}");
        }
        assert_eq!(Page { packets: 64, ..page }.of(Vec::new(), Seq(9)).next.packets, Page::MOST);
    }

    #[tokio::test]
    async fn readers_of_many_meetings_hold_what_one_may_and_get_on_in_turn() {
        let budget = ReadBudget::new(ReadBudget::TURNS * 5_000);
        let (mut readers, mut packets) = (Vec::new(), Vec::new());
        for index in 0..50 {
            let (log, of_meeting) = log(&format!("m{index}"), &[1_000; 20]).await;
            readers.push(Packets::new(log, Seq::ZERO, |_| true).within(&budget));
            packets.extend(of_meeting);
        }
        // Each reader is asked by turns, as a stream of all of them asks, and takes what is there.
        let (mut read, mut most) = (vec![0; readers.len()], 0);
        while read.iter().sum::<usize>() < packets.len() {
            // Tokio lets a task do only so much without a pause.
            tokio::task::yield_now().await;
            let before = read.iter().sum::<usize>();
            for (reader, read) in readers.iter_mut().zip(&mut read) {
                if *read < 20
                    && let Some(Some(packet)) = reader.next().now_or_never()
                {
                    packet.unwrap();
                    *read += 1;
                }
                most = most.max(held(&packets));
            }
            assert!(read.iter().sum::<usize>() > before, "nobody waits for ever: {read:?}");
            let (least, furthest) = (read.iter().min().unwrap(), read.iter().max().unwrap());
            assert!(furthest - least <= 8, "a page or two apart: {read:?}");
        }
        assert!(most <= budget.page_bytes() * ReadBudget::TURNS, "{most}");
        for reader in &mut readers {
            assert!(reader.next().await.is_none());
        }
    }
}
