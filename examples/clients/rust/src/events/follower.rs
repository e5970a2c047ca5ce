//! What an event means, and where to go on: rules without I/O.

use std::time::Duration;

use teammy_kernel::{DataPacket, Seq};
use tokio::time::Instant;

use crate::{
    error::Error,
    retry::{Policy, Tries},
};

/// A stream that has lasted so long was good, whatever ended it: a heartbeat has come.
const GOOD: Duration = Duration::from_secs(20);

/// What follows from an event.
#[derive(Debug)]
pub(super) enum Move {
    /// A packet that was not given before.
    Give(Box<DataPacket>),
    /// Nothing.
    Skip,
    /// The meeting is over, and everything was given.
    End,
    /// Come back after the last packet.
    Back(Error),
    /// Coming back would bring the same.
    Fail(Error),
}

/// Where a reader is.
#[derive(Debug)]
pub(super) struct Follower {
    /// The seq of the last packet that was given, or the place to begin at.
    after: Option<Seq>,
    tries: Tries,
    opened: Option<Instant>,
}

impl Follower {
    pub(super) fn new(after: Option<Seq>, policy: Policy, now: Instant) -> Self {
        Self { after, tries: Tries::new(policy, now), opened: None }
    }

    /// What to send as `Last-Event-ID`.
    pub(super) fn after(&self) -> Option<Seq> {
        self.after
    }

    /// A stream was opened.
    pub(super) fn opened(&mut self, now: Instant) {
        self.opened = Some(now);
    }

    /// Takes an event. A name that a later version knows is nothing here.
    pub(super) fn take(&mut self, name: Option<&str>, data: Option<&str>, now: Instant) -> Move {
        let Some(data) = data else { return Move::Skip };
        match name {
            None | Some("" | "message") => self.packet(data, now),
            Some("end") => Move::End,
            Some("again") => Move::Back(Error::Stream("the node stops".to_owned())),
            Some("error") => Move::Back(Error::Stream(title(data))),
            Some(_) => Move::Skip,
        }
    }

    fn packet(&mut self, data: &str, now: Instant) -> Move {
        let packet: DataPacket = match serde_json::from_str(data) {
            Ok(packet) => packet,
            Err(error) => return Move::Fail(Error::malformed("a packet of the events", error)),
        };
        self.tries.progress(now);
        if self.after.is_some_and(|after| packet.seq <= after) {
            return Move::Skip;
        }
        self.after = Some(packet.seq);
        Move::Give(Box::new(packet))
    }

    /// The stream ended with no last event, or could not be opened. Returns how long to wait before coming back.
    ///
    /// # Errors
    /// The error, if coming back would bring the same, or there was no progress for too long.
    pub(super) fn back(&mut self, error: Error, now: Instant, chance: f64) -> Result<Duration, Error> {
        if !error.can_retry() {
            return Err(error);
        }
        if self.opened.take().is_some_and(|opened| now.duration_since(opened) >= GOOD) {
            self.tries.progress(now);
        }
        self.tries.after(&error, now, chance).ok_or(error)
    }
}

/// What an event `error` says.
fn title(data: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        title: String,
    }
    serde_json::from_str(data).map_or_else(|_| data.to_owned(), |Said { title }| title)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(seq: u64) -> String {
        format!(
            r#"{{"type":"packet","meeting":"m","seq":{seq},"source":"chat","timestamp":"2026-01-05T09:00:00Z",
            "received_at":"2026-01-05T09:00:00Z","participant":null,"payload":{{"text":"Grüße"}},"causes":[]}}"#
        )
    }

    fn follower(give_up_after: Option<Duration>) -> (Follower, Instant) {
        let now = Instant::now();
        (Follower::new(Some(Seq(4)), Policy { give_up_after, ..Policy::default() }, now), now)
    }

    #[test]
    fn a_packet_is_given_once_and_in_order() {
        let (mut follower, now) = follower(None);
        let mut given = Vec::new();
        for seq in [3, 4, 5, 5, 7, 6, 7, 8] {
            match follower.take(None, Some(&packet(seq)), now) {
                Move::Give(packet) => given.push(packet.seq.0),
                other => assert!(matches!(other, Move::Skip), "{other:?}"),
            }
        }
        assert_eq!((given, follower.after()), (vec![5, 7, 8], Some(Seq(8))));
    }

    #[test]
    fn the_last_event_says_what_to_do() {
        let (mut follower, now) = follower(None);
        let mut take = |name, data| follower.take(name, data, now);
        assert!(matches!(take(Some("end"), Some("{}")), Move::End));
        assert!(matches!(take(Some("again"), Some("{}")), Move::Back(_)));
        for (data, said) in [(r#"{"title":"the store is away"}"#, "the store is away"), ("oh", "oh")] {
            let back = take(Some("error"), Some(data));
            assert!(matches!(&back, Move::Back(Error::Stream(title)) if title == said), "{back:?}");
        }
        assert!(matches!(take(Some("of a later version"), Some("{}")), Move::Skip));
        assert!(matches!(take(Some("end"), None), Move::Skip));
        assert!(matches!(take(None, Some("{}")), Move::Fail(Error::Malformed { .. })));
    }

    #[test]
    fn streams_that_bring_nothing_are_opened_ever_more_slowly() {
        let (mut follower, now) = follower(Some(Duration::from_mins(1)));
        let lost = || Error::Unknown("cut".into());
        let first = follower.back(lost(), now, 0.0).unwrap();
        follower.opened(now);
        let second = follower.back(lost(), now, 0.0).unwrap();
        assert_eq!(second, 2 * first);
        // One that lasts is progress, and so is a packet.
        follower.opened(now);
        let later = now + Duration::from_mins(10);
        assert_eq!(follower.back(lost(), later, 0.0).unwrap(), first);
        follower.take(None, Some(&packet(9)), later + Duration::from_mins(2));
        assert_eq!(follower.back(lost(), later + Duration::from_mins(2), 0.0).unwrap(), first);
        let error = follower.back(lost(), later + Duration::from_mins(4), 0.0);
        assert!(matches!(error, Err(Error::Unknown(_))), "{error:?}");
    }
}
