//! What waits to be sent on a connection, and what is under way: windows and fair order.
//!
//! Calls and replies (answers, items, ends) have a window each, so that an answer never waits for calls that the peer does not
//! take. Messages wait in queues: one for each meeting's ordered calls, one for each meeting's others, one for each answer or
//! stream. A queue keeps its order, and queues take turns, a part of a message each. A message begins only when its window has
//! room for all of it; until then no later message of its window begins, so that large ones are not passed over for ever. But if that
//! lasts for a heartbeat, perhaps because a meeting does not take its calls, others pass it for [some](PASSING) heartbeats.
//!
//! The ordered calls of one meeting may wait for each other at the peer, so they get at most a quarter of the window: a slow
//! meeting cannot take it all.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use teammy_kernel::MeetingId;

use crate::wire::{Ask, Credit, Head, Kind, PART, What};

/// The least that a message counts in windows, in bytes.
pub(crate) const MIN_COST: usize = 256;

/// How many calls of one side may be without an answer.
pub(crate) const MAX_CALLS: usize = 16_384;

/// The share of a window, and of the calls, that one meeting's ordered calls may have: one in this many.
const LANE_SHARE: usize = 4;

/// For how many heartbeats messages pass one that waited for one.
const PASSING: u32 = 8;

/// What a message counts in windows.
pub(crate) fn cost(bytes: usize) -> usize {
    bytes.max(MIN_COST)
}

/// Which messages keep an order among themselves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Queue {
    /// The ordered calls of a meeting.
    Ordered(Option<MeetingId>),
    /// The other calls for a meeting.
    Calls(Option<MeetingId>),
    /// An answer, or all of a stream, by the call's number.
    Reply(u64),
}

#[derive(Debug)]
struct Message {
    head: Head,
    body: Bytes,
    /// How much of the body was sent; none before the first part was.
    sent: Option<usize>,
    queue: Queue,
}

impl Message {
    fn cost(&self) -> usize {
        cost(self.body.len())
    }
}

/// A call that was sent and has no answer.
#[derive(Debug)]
struct Unanswered {
    queue: Queue,
    cost: usize,
    opens: bool,
}

/// How a call was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It was a call.
    Call,
    /// It opens a stream.
    Open,
}

#[derive(Debug, Default)]
struct Lane {
    /// Its calls without an answer.
    calls: usize,
    bytes: usize,
    /// Whether it waits for an answer of its own.
    is_full: bool,
}

/// The numbers of a queue's messages.
#[derive(Debug, Default)]
struct Ids {
    ids: VecDeque<u64>,
    /// How many of them were withdrawn.
    withdrawn: usize,
}

/// The messages of one window.
#[derive(Debug, Default)]
struct Ring {
    window: usize,
    under_way: usize,
    /// The bytes of messages that were not begun.
    queued: usize,
    turns: VecDeque<Queue>,
    queues: HashMap<Queue, Ids>,
    /// Messages of which a part was sent and a part was not.
    begun: usize,
    /// Whether the next message waits for credit.
    is_blocked: bool,
    /// For how many heartbeats more others may pass it.
    passing: u32,
}

impl Ring {
    /// A heartbeat has passed.
    fn tick(&mut self) {
        if self.passing > 0 {
            self.passing -= 1;
        } else if self.is_blocked {
            self.passing = PASSING;
            self.is_blocked = false;
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    messages: HashMap<u64, Message>,
    calls: Ring,
    replies: Ring,
    lanes: HashMap<Option<MeetingId>, Lane>,
    unanswered: HashMap<u64, Unanswered>,
    last_id: u64,
}

/// Whether a message may begin.
enum Room {
    Yes,
    /// The window or the number of calls is used up.
    None,
    /// Its meeting's share is used up.
    LaneFull,
}

impl Outbox {
    /// Nothing may be sent before the peer has told its window.
    pub(crate) fn new() -> Self {
        Self {
            messages: HashMap::new(),
            calls: Ring::default(),
            replies: Ring::default(),
            lanes: HashMap::new(),
            unanswered: HashMap::new(),
            last_id: 0,
        }
    }

    /// The window, once it is known.
    pub(crate) fn open(&mut self, window: usize) {
        self.calls.window = window;
        self.replies.window = window;
    }

    /// Adds a message. Its body must not be larger than the window.
    pub(crate) fn push(&mut self, what: What, body: Bytes) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        let queue = match &what {
            What::Call(Ask { is_ordered: true, meeting, .. })
            | What::Open(Ask { is_ordered: true, meeting, .. }) => Queue::Ordered(meeting.clone()),
            What::Call(ask) | What::Open(ask) => Queue::Calls(ask.meeting.clone()),
            What::Answer { call } | What::Failed { call } | What::Opened { call, .. } => Queue::Reply(*call),
            What::Item { stream } | What::End { stream, .. } => Queue::Reply(*stream),
        };
        let bytes = u32::try_from(body.len()).expect("invariant: bodies have a bound");
        let body_len = body.len();
        let message = Message { head: Head { id, bytes, what }, body, sent: None, queue: queue.clone() };
        self.messages.insert(id, message);
        let is_full = matches!(&queue, Queue::Ordered(meeting) if self.lanes.get(meeting).is_some_and(|lane| lane.is_full));
        let cost = cost(body_len);
        let ring = self.ring(&queue);
        ring.queued += cost;
        // It may pass those that wait.
        ring.is_blocked &= ring.passing == 0;
        let ids = ring.queues.entry(queue.clone()).or_insert_with(|| {
            if !is_full {
                ring.turns.push_back(queue);
            }
            Ids::default()
        });
        ids.ids.push_back(id);
        id
    }

    /// Takes a message back that was not begun; false if it was.
    pub(crate) fn withdraw(&mut self, id: u64) -> bool {
        let Some(message) = self.messages.get(&id) else { return false };
        if message.sent.is_some() {
            return false;
        }
        let (queue, cost) = (message.queue.clone(), message.cost());
        self.messages.remove(&id);
        let messages = &self.messages;
        let ring = match queue {
            Queue::Reply(_) => &mut self.replies,
            _ => &mut self.calls,
        };
        // A withdrawn number stays in its queue, but never are they more than half of it.
        if let Some(ids) = ring.queues.get_mut(&queue) {
            ids.withdrawn += 1;
            if 2 * ids.withdrawn > ids.ids.len() {
                ids.ids.retain(|id| messages.contains_key(id));
                ids.withdrawn = 0;
            }
        }
        ring.is_blocked = false;
        ring.queued -= cost;
        // What comes after it may be smaller.
        if let Queue::Ordered(meeting) = &queue
            && let Some(lane) = self.lanes.get_mut(meeting)
            && std::mem::take(&mut lane.is_full)
        {
            ring.turns.push_back(queue);
        }
        true
    }

    /// Whether a message was added and not begun.
    pub(crate) fn is_waiting(&self, id: u64) -> bool {
        self.messages.get(&id).is_some_and(|message| message.sent.is_none())
    }

    /// How many messages were added and not begun, or not finished.
    pub(crate) fn waiting(&self) -> usize {
        self.messages.len()
    }

    /// The bytes that the peer has not taken.
    pub(crate) fn under_way(&self) -> usize {
        self.calls.under_way + self.replies.under_way
    }

    /// The bytes of answers and items of which nothing was sent.
    pub(crate) fn queued_replies(&self) -> usize {
        self.replies.queued
    }

    /// Whether messages wait for credit.
    pub(crate) fn is_blocked(&self) -> bool {
        self.calls.is_blocked || self.replies.is_blocked
    }

    /// How many calls wait for their answers.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// A heartbeat has passed.
    pub(crate) fn tick(&mut self) {
        self.calls.tick();
        self.replies.tick();
    }

    /// The peer has taken bytes; false if that is more than were under way.
    pub(crate) fn credit(&mut self, credit: Credit) -> bool {
        let give = |ring: &mut Ring, bytes: u64| {
            let left = usize::try_from(bytes).ok().and_then(|bytes| ring.under_way.checked_sub(bytes));
            left.map(|left| {
                ring.under_way = left;
                ring.is_blocked = ring.is_blocked && bytes == 0;
            })
        };
        give(&mut self.calls, credit.calls).is_some() && give(&mut self.replies, credit.replies).is_some()
    }

    /// A call has its answer: what it was, none if there is no such call.
    pub(crate) fn answered(&mut self, call: u64) -> Option<Asked> {
        let Unanswered { queue, cost, opens } = self.unanswered.remove(&call)?;
        // A slot is free again.
        self.calls.is_blocked = false;
        if let Queue::Ordered(meeting) = &queue
            && let Some(lane) = self.lanes.get_mut(meeting)
        {
            lane.calls -= 1;
            lane.bytes -= cost;
            let was_full = std::mem::take(&mut lane.is_full);
            if lane.calls == 0 {
                self.lanes.remove(meeting);
            }
            if was_full && self.calls.queues.contains_key(&queue) {
                self.calls.turns.push_back(queue);
            }
        }
        Some(if opens { Asked::Open } else { Asked::Call })
    }

    /// The next part to send, if one may be.
    pub(crate) fn next(&mut self) -> Option<(Kind, Bytes)> {
        // Replies come first: they set the peer's memory free, and their number is bounded by its own calls.
        self.next_of(true).or_else(|| self.next_of(false))
    }

    fn ring(&mut self, queue: &Queue) -> &mut Ring {
        match queue {
            Queue::Reply(_) => &mut self.replies,
            Queue::Ordered(_) | Queue::Calls(_) => &mut self.calls,
        }
    }

    fn room(&self, message: &Message) -> Room {
        let cost = message.cost();
        if let Queue::Reply(_) = message.queue {
            let is_free = self.replies.under_way + cost <= self.replies.window;
            return if is_free { Room::Yes } else { Room::None };
        }
        if let Queue::Ordered(meeting) = &message.queue
            && let Some(lane) = self.lanes.get(meeting)
            && (lane.bytes + cost > self.calls.window / LANE_SHARE || lane.calls >= MAX_CALLS / LANE_SHARE)
        {
            return Room::LaneFull;
        }
        let is_free = self.calls.under_way + cost <= self.calls.window && self.unanswered.len() < MAX_CALLS;
        if is_free { Room::Yes } else { Room::None }
    }

    fn next_of(&mut self, replies: bool) -> Option<(Kind, Bytes)> {
        let mut turn = 0;
        let mut has_waited = false;
        loop {
            let ring = if replies { &mut self.replies } else { &mut self.calls };
            if ring.is_blocked && ring.begun == 0 {
                return None;
            }
            let Some(queue) = ring.turns.get(turn).cloned() else {
                ring.is_blocked |= has_waited;
                return None;
            };
            let ids = ring.queues.get_mut(&queue).expect("invariant: a queue with a turn exists");
            while ids.ids.front().is_some_and(|id| !self.messages.contains_key(id)) {
                ids.ids.pop_front();
                ids.withdrawn -= 1;
            }
            let Some(&id) = ids.ids.front() else {
                ring.queues.remove(&queue);
                ring.turns.remove(turn);
                continue;
            };
            let is_blocked = ring.is_blocked;
            let message = &self.messages[&id];
            if message.sent.is_none() {
                let room = if is_blocked { Room::None } else { self.room(message) };
                let ring = if replies { &mut self.replies } else { &mut self.calls };
                match room {
                    Room::Yes => {}
                    Room::None => {
                        has_waited = true;
                        ring.is_blocked |= ring.passing == 0;
                        turn += 1;
                        continue;
                    }
                    Room::LaneFull => {
                        ring.turns.remove(turn);
                        if let Queue::Ordered(meeting) = &queue {
                            self.lanes.entry(meeting.clone()).or_default().is_full = true;
                        }
                        continue;
                    }
                }
                self.begin(id);
            }
            let ring = if replies { &mut self.replies } else { &mut self.calls };
            ring.turns.remove(turn);
            ring.turns.push_back(queue);
            return Some(self.part(id));
        }
    }

    /// Counts a message as under way.
    fn begin(&mut self, id: u64) {
        let message = self.messages.get_mut(&id).expect("invariant: it is in its queue");
        let cost = cost(message.body.len());
        message.sent = Some(0);
        let queue = message.queue.clone();
        let opens = match message.head.what {
            What::Call(_) => Some(false),
            What::Open(_) => Some(true),
            _ => None,
        };
        if let Some(opens) = opens {
            if let Queue::Ordered(meeting) = &queue {
                let lane = self.lanes.entry(meeting.clone()).or_default();
                lane.calls += 1;
                lane.bytes += cost;
            }
            self.unanswered.insert(id, Unanswered { queue: queue.clone(), cost, opens });
        }
        let ring = self.ring(&queue);
        ring.under_way += cost;
        ring.queued -= cost;
        ring.begun += 1;
    }

    /// The next part of a message that has begun.
    fn part(&mut self, id: u64) -> (Kind, Bytes) {
        let message = self.messages.get_mut(&id).expect("invariant: it is in its queue");
        let sent = message.sent.expect("invariant: it has begun");
        let end = message.body.len().min(sent + PART);
        let bytes = message.body.slice(sent..end);
        let is_first = sent == 0;
        message.sent = Some(end);
        let kind = if is_first { Kind::Message(message.head.clone()) } else { Kind::Part(id) };
        if end == message.body.len() {
            let message = self.messages.remove(&id).expect("invariant: it was there");
            let ring = self.ring(&message.queue);
            ring.begun -= 1;
            if let Some(ids) = ring.queues.get_mut(&message.queue) {
                ids.ids.pop_front();
            }
        }
        (kind, bytes)
    }
}

#[cfg(test)]
mod tests;
