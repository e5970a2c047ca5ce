//! Which number a packet gets, and what an answer means for it: rules without I/O.
//!
//! A meeting takes each number of a producer once, in order, from 1. So a packet that is sent again under its number is published
//! once, and a packet under a number that another one has is *not published at all*, although the answer looks alike. The rules
//! here keep these apart:
//!
//! * A number that may have been sent before, with the packet that has it now, is the packet's own when it turns out to be taken.
//! * The next number is asked for ([`Attempt::Ask`]) whenever it isn't certain: at first, and after a packet whose fate is unknown.
//! * While a packet that was given up may still be on its way to the meeting, packets go one by one. One that finds its number
//!   taken by that packet takes the next number. One that may have been on its way too has an unknown fate.
//! * Packets after one that is refused cannot be accepted, as a number is missing before them. They move up.

use std::{collections::VecDeque, sync::Arc};

use teammy_kernel::Publish;

use crate::{error::Error, published::Published};

/// The most bytes of payloads that are sent at once. Beyond, an answer would come late.
const MAX_BYTES: usize = 256 << 10;

/// The most packets that are sent at once: so many wait at the node to be stored.
pub(super) const MAX_PACKETS: usize = 256;

#[derive(Debug)]
struct Item {
    packet: Publish,
    /// Whether it may have been sent under the number that it has now, so that the meeting may have it.
    may_be_there: bool,
}

/// What to send now.
#[derive(Debug, PartialEq)]
pub(super) enum Attempt {
    /// The question which number is next. Send its answer to [`Window::asked`].
    Ask,
    /// These packets. Send their results to [`Window::line`], and then call [`Window::over`].
    Send(Vec<Publish>),
}

/// What became of the packet that is first.
#[derive(Debug)]
pub(super) enum Outcome {
    Published(Published),
    /// It is not published, and those after it are not concerned.
    Refused(Error),
    /// The producer cannot go on by itself.
    Stopped(Error),
}

/// What follows from an attempt.
#[derive(Debug)]
pub(super) enum Turn {
    /// Go on.
    On,
    /// The packet that is first has an outcome.
    Came(Outcome),
    /// Try again after a while.
    Wait(Error),
}

/// The packets that are being published, and their numbers.
#[derive(Debug)]
pub(super) struct Window {
    producer: Arc<str>,
    /// The number of the first item; `None` if the meeting must be asked.
    next: Option<u64>,
    items: VecDeque<Item>,
    /// The highest number that was answered.
    answered: u64,
    /// Up to this number, packets that were given up may be on their way.
    adrift: u64,
    /// Why the first item was refused, if it may be there nevertheless: the meeting is asked.
    doubt: Option<Error>,
    /// How many of the first items are in this attempt, and how many of those are answered and stay.
    sent: usize,
    held: usize,
    /// Why the first of those stays.
    held_by: Option<Error>,
    /// Whether an item of this attempt was refused, so that none after it can be there.
    has_hole: bool,
}

impl Window {
    pub(super) fn new(producer: impl Into<Arc<str>>) -> Self {
        Self {
            producer: producer.into(),
            next: None,
            items: VecDeque::new(),
            answered: 0,
            adrift: 0,
            doubt: None,
            sent: 0,
            held: 0,
            held_by: None,
            has_hole: false,
        }
    }

    pub(super) fn producer(&self) -> &str {
        &self.producer
    }

    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether another packet may join those that are sent at once.
    pub(super) fn has_room(&self) -> bool {
        let bytes: usize = self.items.iter().map(|item| item.packet.payload.len()).sum();
        self.items.len() < MAX_PACKETS && bytes < MAX_BYTES
    }

    /// Adds a packet behind the others.
    pub(super) fn push(&mut self, packet: Publish) {
        self.items.push_back(Item { packet, may_be_there: false });
    }

    /// Puts in one packet under its own number, which may be there since an earlier life of the producer.
    pub(super) fn push_as(&mut self, number: u64, packet: Publish) {
        self.next = Some(number);
        // The numbers are the caller's: what was on its way under this one is the same packet.
        self.adrift = 0;
        self.items.push_back(Item { packet, may_be_there: true });
    }

    /// Lets go of all packets, wherever they are: their publisher stopped waiting, or was told an error.
    pub(super) fn abandon(&mut self) {
        let doubtful = self.items.iter().rposition(|item| item.may_be_there).map_or(0, |last| last + 1);
        let out = self.sent.max(doubtful) as u64;
        if let Some(next) = self.next
            && out > 0
        {
            self.adrift = self.adrift.max(next.saturating_add(out - 1));
            self.next = None;
        }
        self.items.clear();
        self.doubt = None;
        self.sent = 0;
    }

    /// Asks for the next number before the next packet, and takes what the meeting says.
    pub(super) fn forget(&mut self) {
        (self.next, self.answered) = (None, 0);
    }

    /// Begins an attempt. There must be a packet, unless the next number is all that is asked for.
    pub(super) fn attempt(&mut self) -> Attempt {
        (self.sent, self.held, self.held_by, self.has_hole) = (0, 0, None, false);
        let Some(next) = self.next.filter(|_| self.doubt.is_none()) else { return Attempt::Ask };
        let most = if self.adrift > 0 { 1 } else { MAX_PACKETS };
        let numbered = (next..).zip(self.items.iter().take(most));
        let packets: Vec<_> = numbered
            .map(|(number, item)| item.packet.clone().numbered(self.producer.clone(), number))
            .collect();
        self.sent = packets.len();
        Attempt::Send(packets)
    }

    /// The answer to [`Attempt::Ask`].
    pub(super) fn asked(&mut self, answer: Result<u64, Error>) -> Turn {
        let error = match answer {
            Ok(next) => return self.told(next),
            Err(error) if error.can_retry() => return Turn::Wait(error),
            Err(error) => error,
        };
        // Whether the packet is there can't be learned any more, if that was in doubt.
        let error = if self.doubt.is_some() { Error::Unknown(error.into()) } else { error };
        Turn::Came(self.stopped(error))
    }

    fn told(&mut self, expected: u64) -> Turn {
        if let Some(doubt) = self.doubt.take() {
            if self.next.is_some_and(|number| expected > number) {
                // The meeting has it and refuses to say so, or another packet has its number.
                return Turn::Came(self.stopped(Error::Unknown(doubt.into())));
            }
            // None of them was accepted. Whether numbers before are missing, the next packet finds out.
            self.items.iter_mut().for_each(|item| item.may_be_there = false);
            self.items.pop_front();
            return Turn::Came(Outcome::Refused(doubt));
        }
        if expected > self.adrift {
            self.adrift = 0;
        }
        self.next = Some(expected);
        if expected <= self.answered {
            let error = self.lost(expected, self.answered + 1);
            return Turn::Came(self.stopped(error));
        }
        Turn::On
    }

    /// The meeting lacks numbers that it has answered.
    fn lost(&mut self, next: u64, number: u64) -> Error {
        self.answered = next.saturating_sub(1);
        Error::Gap { producer: self.producer.to_string(), next, number }
    }

    /// The next result of an attempt. Results come in the order of the packets.
    pub(super) fn line(&mut self, answer: Result<Published, Error>) -> Option<Outcome> {
        let next = self.next.filter(|_| self.sent > self.held)?;
        if self.held > 0 {
            // One before it is not settled. Its own turn comes when it is sent again.
            let accepted = answer.as_ref().map_or_else(Error::may_be_done, |_| true);
            self.items[self.held].may_be_there |= accepted;
            self.held += 1;
            return None;
        }
        match answer {
            Ok(published) => self.accepted(next, published),
            Err(Error::Problem { next: Some(expected), .. }) => self.gap(next, expected),
            Err(error @ Error::Malformed { .. }) => Some(self.stopped(error)),
            Err(error) if error.can_retry() => {
                self.items[0].may_be_there |= error.may_be_done();
                self.hold(error);
                None
            }
            Err(error) if self.items[0].may_be_there || error.may_be_done() => {
                self.items[0].may_be_there = true;
                self.doubt = Some(error);
                self.held = 1;
                None
            }
            Err(error) => {
                self.items.iter_mut().for_each(|item| item.may_be_there = false);
                self.pop();
                self.has_hole = true;
                Some(Outcome::Refused(error))
            }
        }
    }

    fn accepted(&mut self, number: u64, published: Published) -> Option<Outcome> {
        if self.has_hole {
            let text = "the meeting took a packet after one that it refused";
            return Some(self.stopped(Error::malformed("a result", text)));
        }
        if published.duplicate && !self.items[0].may_be_there {
            if number <= self.adrift {
                // A packet that was given up got there first. This one was sent alone, and takes the next number.
                self.next = Some(number + 1);
                self.held = 1;
                return None;
            }
            self.items.pop_front();
            self.sent -= 1;
            let producer = self.producer.to_string();
            let stopped = self.stopped(Error::Taken { producer, number, seq: published.seq });
            self.next = None;
            return Some(stopped);
        }
        if published.duplicate && number <= self.adrift {
            // Two may have been on their way under this number: this one, and one that was given up.
            return Some(
                self.stopped(Error::Unknown(
                    "it, or the packet before that was given up, is published".into(),
                )),
            );
        }
        if number >= self.adrift {
            self.adrift = 0;
        }
        self.pop();
        (self.next, self.answered) = (Some(number + 1), number);
        Some(Outcome::Published(published))
    }

    /// A number is missing before the first one.
    fn gap(&mut self, number: u64, expected: u64) -> Option<Outcome> {
        if self.has_hole {
            // It is the number of the one that was refused.
            self.held = 1;
            return None;
        }
        let error = if expected < number {
            self.items.iter_mut().for_each(|item| item.may_be_there = false);
            self.sent = 0;
            self.next = Some(expected);
            self.lost(expected, number)
        } else {
            Error::malformed("a result", "a number after a gap is not beyond the next one")
        };
        Some(self.stopped(error))
    }

    fn hold(&mut self, error: Error) {
        self.held = 1;
        self.held_by = Some(error);
    }

    fn pop(&mut self) {
        self.items.pop_front();
        self.sent -= 1;
    }

    /// The attempt is over: all results came, or `cut` says why not.
    pub(super) fn over(&mut self, cut: Option<Error>) -> Turn {
        let unanswered = self.held..self.sent;
        self.sent = 0;
        if self.doubt.is_some() {
            return Turn::On;
        }
        if unanswered.is_empty() {
            return self.held_by.take().map_or(Turn::On, Turn::Wait);
        }
        let ended = || Error::Unknown("the answer ended before the last result".into());
        let error = self.held_by.take().or(cut).unwrap_or_else(ended);
        let was_first = unanswered.start == 0;
        if error.may_be_done() && !self.has_hole {
            self.items.range_mut(unanswered).for_each(|item| item.may_be_there = true);
        }
        if error.can_retry() {
            return Turn::Wait(error);
        }
        // All were refused together, before any was looked at.
        let is_unknown = was_first && self.items.iter().any(|item| item.may_be_there);
        let error = if is_unknown { Error::Unknown(error.into()) } else { error };
        Turn::Came(self.stopped(error))
    }

    /// No more tries.
    pub(super) fn give_up(&mut self, last: Error) -> Outcome {
        let may_be_there = self.items.iter().any(|item| item.may_be_there);
        let error = match last {
            // What was sent last may have been a question.
            Error::Unknown(cause) if !may_be_there => Error::Unreachable(cause),
            error @ Error::Unknown(_) => error,
            error if may_be_there => Error::Unknown(error.into()),
            error => error,
        };
        self.stopped(error)
    }

    fn stopped(&mut self, error: Error) -> Outcome {
        self.abandon();
        Outcome::Stopped(error)
    }
}

#[cfg(test)]
#[path = "window/tests.rs"]
mod tests;
