//! How far a reader is in a meeting, as text: `SEQ`, or `SEQ.CREATED`, which also says of which meeting with this id.

use std::fmt;

use teammy_kernel::{Seq, Timestamp};

/// When a meeting was created, in microseconds since 1970: it tells two meetings apart that had one id after another.
pub(super) type Created = i64;

pub(super) fn created(at: Timestamp) -> Created {
    at.as_microsecond()
}

/// How far a reader is in a meeting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The seq of the last packet that was read.
    pub(super) seq: Seq,
    /// Of which meeting, if the reader said it.
    pub(super) created: Option<Created>,
}

impl Place {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (seq, created) = match text.split_once('.') {
            Some((seq, created)) => (seq, Some(created.parse().ok()?)),
            None => (text, None),
        };
        Some(Self { seq: Seq(seq.parse().ok()?), created })
    }

    /// Whether it is not of the meeting that was created then and is stored up to a seq, but of an earlier one.
    pub(super) fn is_of_another(self, created: Option<Created>, stored_up_to: Option<Seq>) -> bool {
        let is_other = self.created.is_some_and(|own| created.is_some_and(|created| created != own));
        // Nobody has read what is not stored.
        is_other || stored_up_to.is_some_and(|last| self.seq > last)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.created {
            Some(created) => write!(f, "{}.{created}", self.seq),
            None => self.seq.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        for (text, seq, created) in [
            ("65541", 65541, None),
            ("7.1767603600000000", 7, Some(1_767_603_600_000_000)),
            ("0.-5", 0, Some(-5)),
        ] {
            let place = Place { seq: Seq(seq), created };
            assert_eq!((Place::parse(text), place.to_string()), (Some(place), text.to_owned()));
        }
        for wrong in ["", "x", "-1", "7.", "7.x", ".7", "7.1.2"] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_place_of_another_meeting_does_not_count() {
        let place = |seq, created| Place { seq: Seq(seq), created };
        for (place, created, last, expected) in [
            (place(5, None), Some(1), Some(5), false),
            (place(6, None), Some(1), Some(5), true),
            (place(5, Some(1)), Some(1), Some(5), false),
            (place(5, Some(2)), Some(1), Some(5), true),
            (place(0, Some(2)), Some(1), Some(5), true),
            (place(5, Some(2)), None, None, false),
        ] {
            assert_eq!(place.is_of_another(created, last.map(Seq)), expected, "{place} of {created:?}");
        }
    }
}
