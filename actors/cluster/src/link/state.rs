//! The rules of one connection, without I/O: handshake, heartbeats, windows, and what a peer may send.
//!
//! # Invariants
//! * What a peer makes this side keep is bounded: by the windows that this side told, by the number of calls, and by the streams'.
//!   A peer that goes beyond a bound is cut off.
//! * What waits for the peer is bounded, too: while as many bytes of answers and items wait as the window has, no further call of the
//!   peer begins, and no item is added. What is being answered then may still add an answer each.
//! * Frames are numbered: a hole, a repeat or a swap breaks the connection.
//! * Every call has at most one answer, and only calls that were made have one.

mod receive;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use teammy_kernel::store::Incarnation;
use tokio::time::Instant;

use crate::{
    handler::Call,
    link::{
        outbox::{Asked, Outbox, cost},
        settings::LinkSettings,
    },
    wire::{self, Ask, Credit, Head, Header, Hello, Kind, LAYOUTS, MAX_BODY, What},
};

/// How long a handshake may take.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(3);

/// How many streams may be open in one direction.
pub(crate) const MAX_STREAMS: usize = 16_384;

/// How many heartbeats of the peer may come during one of this side.
const MAX_PINGS: u32 = 64;

/// Credit is told at the latest when it is this share of the window: one in this many.
const CREDIT_SHARE: usize = 8;

/// Why a connection must end.
pub(crate) type Broken = Arc<str>;

/// What a peer wants.
#[derive(Debug)]
pub(crate) enum Event {
    /// It has introduced itself.
    Greeted(Incarnation),
    /// It asks, and gets its credit back by [`State::taken`].
    Asked { id: u64, call: Call, asked: Asked, cost: usize },
    /// It answers a call; none if its handler failed.
    Answered { call: u64, body: Option<Bytes> },
    /// It answers a call that opens a stream.
    Opened { call: u64, body: Bytes, has_items: bool },
    /// An item, which counts until [`State::read`].
    Item { stream: u64, body: Bytes },
    /// A stream's end.
    Ended { stream: u64, has_failed: bool },
    /// The reader has read items.
    HasRoom { stream: u64 },
    /// The reader wants no more.
    Cancelled { stream: u64 },
}

/// What crossed a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) sent_messages: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_messages: u64,
    pub(crate) received_bytes: u64,
}

#[derive(Debug)]
enum Phase {
    /// The peer has to introduce itself.
    Greeting {
        until: Instant,
    },
    Up,
}

/// What this side holds of the peer's messages of one window.
#[derive(Debug, Default)]
struct Held {
    /// Not given back.
    bytes: usize,
    /// Taken, and to be given back with the next frame.
    due: usize,
}

#[derive(Debug, Default)]
struct Reader {
    /// Bytes that have come and were not read, or not told.
    buffered: usize,
    /// Read and not told.
    read: usize,
    is_cancelled: bool,
}

#[derive(Debug)]
struct Partial {
    head: Head,
    body: BytesMut,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    settings: LinkSettings,
    me: Incarnation,
    phase: Phase,
    sent: u64,
    received: u64,
    heard: Instant,
    next_ping: Instant,
    ping: Option<(u64, Instant)>,
    pings: u32,
    peer_pings: u32,
    round_trip: Option<Duration>,
    control: VecDeque<Kind>,
    outbox: Outbox,
    /// The window of one message, in bytes: the smaller of both sides'.
    window: usize,
    peer_stream_window: usize,
    calls: Held,
    replies: Held,
    /// Whether somebody waits until fewer replies wait.
    wants_room: bool,
    told_blocked: bool,
    peer_is_blocked: bool,
    partial: HashMap<u64, Partial>,
    /// The peer's calls that have no answer.
    answering: HashSet<u64>,
    /// Streams that the peer sends here.
    readers: HashMap<u64, Reader>,
    /// Streams that go to the peer, with the bytes that it has not read.
    writers: HashMap<u64, usize>,
    traffic: Traffic,
}

impl State {
    /// A new connection. Nothing is sent before [`greet`](Self::greet).
    pub(crate) fn new(me: Incarnation, settings: LinkSettings, now: Instant) -> Self {
        Self {
            me,
            phase: Phase::Greeting { until: now + HANDSHAKE },
            sent: 0,
            received: 0,
            heard: now,
            next_ping: now + settings.heartbeat,
            ping: None,
            pings: 0,
            peer_pings: 0,
            round_trip: None,
            control: VecDeque::new(),
            outbox: Outbox::new(),
            window: settings.window,
            peer_stream_window: 0,
            calls: Held::default(),
            replies: Held::default(),
            wants_room: false,
            told_blocked: false,
            peer_is_blocked: false,
            partial: HashMap::new(),
            answering: HashSet::new(),
            readers: HashMap::new(),
            writers: HashMap::new(),
            traffic: Traffic::default(),
            settings,
        }
    }

    /// Introduces this node.
    pub(crate) fn greet(&mut self) {
        self.control.push_back(Kind::Hello(Hello {
            incarnation: self.me.clone(),
            layouts: LAYOUTS,
            window: self.settings.window as u64,
            stream_window: self.settings.stream_window as u64,
        }));
    }

    /// When [`tick`](Self::tick) is due.
    pub(crate) fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Greeting { until } => until,
            Phase::Up => self.next_ping.min(self.heard + self.settings.patience()),
        }
    }

    /// Does what is due: breaks a connection without a sign of life, or sends one.
    pub(crate) fn tick(&mut self, now: Instant) -> Result<(), Broken> {
        if let Phase::Greeting { until } = self.phase {
            return if now >= until { Err("it did not introduce itself in time".into()) } else { Ok(()) };
        }
        let silence = now - self.heard;
        if silence >= self.settings.patience() {
            return Err(format!("nothing came for {} ms", silence.as_millis()).into());
        }
        if now >= self.next_ping {
            self.next_ping = now + self.settings.heartbeat;
            self.peer_pings = 0;
            self.outbox.tick();
            let number = u64::from(self.pings);
            self.pings = self.pings.wrapping_add(1);
            self.ping = Some((number, now));
            self.control.push_back(Kind::Ping(number));
        }
        Ok(())
    }

    /// The largest body of a message.
    pub(crate) fn largest_body(&self) -> usize {
        MAX_BODY.min(self.window)
    }

    /// Adds a call, or one that opens a stream. Its body must not be larger than [`largest_body`](Self::largest_body).
    pub(crate) fn ask(&mut self, call: Call, asked: Asked) -> u64 {
        let (ask, body) = Ask::of(call);
        self.outbox.push(if asked == Asked::Open { What::Open(ask) } else { What::Call(ask) }, body)
    }

    /// Takes a call back of which nothing was sent; false if something was.
    pub(crate) fn withdraw(&mut self, id: u64) -> bool {
        self.outbox.withdraw(id)
    }

    /// Whether nothing of a call was sent.
    pub(crate) fn is_waiting(&self, id: u64) -> bool {
        self.outbox.is_waiting(id)
    }

    /// Whether replies may be added. If not, [`room_again`](Self::room_again) says when they may.
    pub(crate) fn has_room(&mut self) -> bool {
        self.wants_room |= self.outbox.queued_replies() >= self.window;
        !self.wants_room
    }

    /// Whether replies may be added again, once after they might not: when half a window waits, so that not each reply that leaves
    /// wakes all who wait.
    pub(crate) fn room_again(&mut self) -> bool {
        let is_free = self.outbox.queued_replies() <= self.window / 2;
        is_free && std::mem::take(&mut self.wants_room)
    }

    /// A call of the peer is in its handler's hands.
    pub(crate) fn taken(&mut self, cost: usize) {
        self.calls.due += cost;
    }

    /// Answers a call of the peer; no body if there is no answer.
    pub(crate) fn answer(&mut self, call: u64, body: Option<Bytes>) {
        if self.answering.remove(&call) {
            match body.filter(|body| body.len() <= self.largest_body()) {
                Some(body) => self.outbox.push(What::Answer { call }, body),
                None => self.outbox.push(What::Failed { call }, Bytes::new()),
            };
        }
    }

    /// Answers a call of the peer that opens a stream; false if there is no stream to send.
    pub(crate) fn opened(&mut self, call: u64, body: Bytes, has_items: bool) -> bool {
        if body.len() > self.largest_body() || has_items && self.writers.len() >= MAX_STREAMS {
            self.answer(call, None);
            return false;
        }
        if !self.answering.remove(&call) {
            return false;
        }
        if has_items {
            self.writers.insert(call, 0);
        }
        self.outbox.push(What::Opened { call, has_items }, body);
        has_items
    }

    /// Sends an item to the reader; gives it back while the reader has no room, or too much waits for the peer.
    pub(crate) fn item(&mut self, stream: u64, body: Bytes) -> Option<Bytes> {
        let unread = self.writers.get(&stream)?;
        let cost = cost(body.len());
        if *unread > 0 && *unread + cost > self.peer_stream_window || !self.has_room() {
            return Some(body);
        }
        let unread = self.writers.get_mut(&stream)?;
        *unread += cost;
        self.outbox.push(What::Item { stream }, body);
        None
    }

    /// Ends a stream to the reader.
    pub(crate) fn end(&mut self, stream: u64, has_failed: bool) {
        if self.writers.remove(&stream).is_some() {
            self.outbox.push(What::End { stream, has_failed }, Bytes::new());
        }
    }

    /// An item was read.
    pub(crate) fn read(&mut self, stream: u64, bytes: usize) {
        let Some(reader) = self.readers.get_mut(&stream) else { return };
        reader.read += cost(bytes);
        // A large item waits until all was read, so that is told at once.
        let is_all = reader.read == reader.buffered;
        if !reader.is_cancelled && (is_all || reader.read >= self.settings.stream_window / CREDIT_SHARE) {
            let bytes = std::mem::take(&mut reader.read);
            reader.buffered -= bytes;
            self.control.push_back(Kind::StreamCredit { stream, bytes: bytes as u64 });
        }
    }

    /// The reader of a stream has gone, or whoever waits for its opening.
    pub(crate) fn cancel(&mut self, stream: u64) {
        if let Some(reader) = self.readers.get_mut(&stream)
            && std::mem::replace(&mut reader.is_cancelled, true)
        {
            return;
        }
        self.control.push_back(Kind::Cancel { stream });
    }

    /// The last frame, which tells the peer why.
    pub(crate) fn last_frame(&mut self, reason: &str) -> Bytes {
        self.frame(wire::bye(reason), &Bytes::new())
    }

    /// The next frame to send.
    pub(crate) fn next_frame(&mut self) -> Option<Bytes> {
        if let Some(kind) = self.control.pop_front() {
            return Some(self.frame(kind, &Bytes::new()));
        }
        // A call may come between the peer's greeting and this side's own, which is the first frame.
        if self.sent == 0 || matches!(self.phase, Phase::Greeting { .. }) {
            return None;
        }
        if let Some((kind, body)) = self.outbox.next() {
            if let Kind::Message(_) = kind {
                self.traffic.sent_messages += 1;
            }
            return Some(self.frame(kind, &body));
        }
        if self.outbox.is_blocked() && !self.told_blocked {
            self.told_blocked = true;
            return Some(self.frame(Kind::Blocked, &Bytes::new()));
        }
        let due = self.calls.due.max(self.replies.due);
        if due > 0 && (self.peer_is_blocked || due >= self.window / CREDIT_SHARE) {
            return Some(self.frame(Kind::Credit, &Bytes::new()));
        }
        None
    }

    fn frame(&mut self, kind: Kind, body: &Bytes) -> Bytes {
        let give = |held: &mut Held| {
            let due = std::mem::take(&mut held.due);
            held.bytes -= due;
            due as u64
        };
        let credit = Credit { calls: give(&mut self.calls), replies: give(&mut self.replies) };
        if credit != Credit::default() {
            self.peer_is_blocked = false;
        }
        let frame = wire::write(&Header { seq: self.sent, credit, kind }, body);
        self.sent += 1;
        self.traffic.sent_bytes += frame.len() as u64;
        frame
    }

    /// Whether calls of one side wait for answers.
    pub(crate) fn is_idle(&self) -> bool {
        self.outbox.unanswered() == 0 && self.outbox.waiting() == 0 && self.answering.is_empty()
    }

    /// How long ago something came.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now - self.heard
    }

    /// How long the last heartbeat took there and back.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Bytes that the peer has not taken.
    pub(crate) fn under_way(&self) -> usize {
        self.outbox.under_way()
    }

    /// Messages that wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.outbox.waiting()
    }

    /// What crossed the connection.
    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic
    }
}

#[cfg(test)]
mod tests;
