//! What a peer sends, and what it must not.

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::{Broken, Event, MAX_PINGS, Partial, Phase, Reader, State};
use crate::{
    link::outbox::{Asked, MAX_CALLS, cost},
    wire::{self, Credit, Head, Kind, LAYOUTS, MAX_BODY, What},
};

impl State {
    /// Takes a frame of the peer, and adds what it means.
    pub(crate) fn receive(
        &mut self,
        frame: &Bytes,
        now: Instant,
        events: &mut Vec<Event>,
    ) -> Result<(), Broken> {
        let (header, body) =
            wire::read(frame).map_err(|error| Broken::from(teammy_kernel::error::chain(&error)))?;
        if header.seq != self.received {
            return Err(format!("its frame {} came where {} was due", header.seq, self.received).into());
        }
        self.received += 1;
        self.heard = now;
        self.traffic.received_bytes += frame.len() as u64;
        if !self.outbox.credit(header.credit) {
            return Err("it gave back more bytes than were under way".into());
        }
        if header.credit != Credit::default() {
            self.told_blocked = false;
        }
        if !body.is_empty() && !matches!(header.kind, Kind::Message(_) | Kind::Part(_)) {
            return Err("it sent bytes that belong to nothing".into());
        }
        match (&self.phase, header.kind) {
            (_, Kind::Bye(reason)) => {
                return Err(format!(
                    "it closed the link: {}",
                    teammy_kernel::shortened(&reason, wire::MAX_REASON)
                )
                .into());
            }
            (Phase::Greeting { .. }, Kind::Hello(hello)) => {
                wire::agree(LAYOUTS, hello.layouts)?;
                let window = usize::try_from(hello.window).unwrap_or(usize::MAX);
                self.window = self.settings.window.min(window);
                self.peer_stream_window = usize::try_from(hello.stream_window).unwrap_or(usize::MAX);
                self.outbox.open(self.window);
                self.phase = Phase::Up;
                self.next_ping = now + self.settings.heartbeat;
                events.push(Event::Greeted(hello.incarnation));
            }
            (Phase::Greeting { .. }, _) => return Err("it did not introduce itself".into()),
            (Phase::Up, kind) => self.receive_kind(kind, body, now, events)?,
        }
        Ok(())
    }

    fn receive_kind(
        &mut self,
        kind: Kind,
        body: Bytes,
        now: Instant,
        events: &mut Vec<Event>,
    ) -> Result<(), Broken> {
        match kind {
            Kind::Hello(_) => return Err("it introduced itself twice".into()),
            Kind::Ping(number) => {
                self.peer_pings += 1;
                if self.peer_pings > MAX_PINGS {
                    return Err("it sent too many heartbeats".into());
                }
                self.control.push_back(Kind::Pong(number));
            }
            Kind::Pong(number) => {
                if let Some((_, at)) = self.ping.take_if(|(sent, _)| *sent == number) {
                    self.round_trip = Some(now - at);
                }
            }
            Kind::Credit | Kind::Bye(_) => {}
            Kind::Blocked => self.peer_is_blocked = true,
            Kind::StreamCredit { stream, bytes } => {
                // One that has ended may still be told of.
                if let Some(unread) = self.writers.get_mut(&stream) {
                    let left = usize::try_from(bytes).ok().and_then(|bytes| unread.checked_sub(bytes));
                    *unread = left.ok_or("it read more bytes of a stream than were sent")?;
                    events.push(Event::HasRoom { stream });
                }
            }
            Kind::Cancel { stream } => events.push(Event::Cancelled { stream }),
            Kind::Message(head) => return self.begin(head, body, events),
            Kind::Part(id) => {
                let partial = self.partial.get_mut(&id).ok_or("it sent a part of no message")?;
                let left = partial.head.bytes as usize - partial.body.len();
                if body.is_empty() || body.len() > left {
                    return Err("it sent a part that is no part of its message".into());
                }
                partial.body.extend_from_slice(&body);
                if body.len() == left {
                    let Partial { head, body } = self.partial.remove(&id).expect("invariant: it was there");
                    return self.complete(head, body.freeze(), events);
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, head: Head, body: Bytes, events: &mut Vec<Event>) -> Result<(), Broken> {
        let bytes = head.bytes as usize;
        if bytes > MAX_BODY || body.len() > bytes || (body.is_empty() && bytes > 0) {
            return Err("it sent a message of a wrong length".into());
        }
        let is_ask = matches!(head.what, What::Call(_) | What::Open(_));
        let side = if is_ask { &mut self.calls } else { &mut self.replies };
        side.bytes += cost(bytes);
        if side.bytes > self.window {
            return Err(format!("it sent more than the window of {} bytes", self.window).into());
        }
        if body.len() == bytes {
            return self.complete(head, body, events);
        }
        let mut whole = BytesMut::with_capacity(bytes);
        whole.extend_from_slice(&body);
        match self.partial.insert(head.id, Partial { head, body: whole }) {
            None => Ok(()),
            Some(_) => Err("it used a number for two messages".into()),
        }
    }

    fn complete(&mut self, head: Head, body: Bytes, events: &mut Vec<Event>) -> Result<(), Broken> {
        let Head { id, what, .. } = head;
        self.traffic.received_messages += 1;
        let cost = cost(body.len());
        let asked = if let What::Open(_) = what { Asked::Open } else { Asked::Call };
        if let What::Call(ask) | What::Open(ask) = what {
            let is_new = !self.writers.contains_key(&id) && self.answering.insert(id);
            if !is_new {
                return Err("it used a number for two calls".into());
            }
            if self.answering.len() > MAX_CALLS {
                return Err("it made too many calls at a time".into());
            }
            events.push(Event::Asked { id, call: ask.with(body), asked, cost });
            return Ok(());
        }
        // Replies are taken at once: calls and streams of this side bound them.
        self.replies.due += cost;
        let answered = |state: &mut Self, call: u64, wanted: Option<Asked>| {
            let asked = state.outbox.answered(call);
            let is_right = asked.is_some_and(|asked| wanted.is_none_or(|wanted| wanted == asked));
            if is_right { Ok(()) } else { Err(Broken::from("it answered what was not asked")) }
        };
        match what {
            What::Call(_) | What::Open(_) => {}
            What::Answer { call } => {
                answered(self, call, Some(Asked::Call))?;
                events.push(Event::Answered { call, body: Some(body) });
            }
            What::Failed { call } => {
                answered(self, call, None)?;
                events.push(Event::Answered { call, body: None });
            }
            What::Opened { call, has_items } => {
                answered(self, call, Some(Asked::Open))?;
                if has_items {
                    self.readers.insert(call, Reader::default());
                }
                events.push(Event::Opened { call, body, has_items });
            }
            What::Item { stream } => {
                let reader = self.readers.get_mut(&stream).ok_or("it sent an item of no stream")?;
                if reader.is_cancelled {
                    return Ok(());
                }
                if reader.buffered > 0 && reader.buffered + cost > self.settings.stream_window {
                    return Err("it sent more items than the stream's window".into());
                }
                reader.buffered += cost;
                events.push(Event::Item { stream, body });
            }
            What::End { stream, has_failed } => {
                self.readers.remove(&stream).ok_or("it ended no stream")?;
                events.push(Event::Ended { stream, has_failed });
            }
        }
        Ok(())
    }
}
