//! The JSON form of a dead letter.

use serde::Serialize;

use crate::{MeetingId, store};

/// A dead letter to be written as JSON: `{"type":"dead-letter","meeting","instance","seq","source","tries",
/// "error","at"}`, in which keys mean what they mean in a packet.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct DeadLetter<'a> {
    r#type: &'static str,
    meeting: &'a MeetingId,
    #[serde(flatten)]
    letter: &'a store::DeadLetter,
}

impl<'a> DeadLetter<'a> {
    /// A meeting's dead letter.
    pub fn new(meeting: &'a MeetingId, letter: &'a store::DeadLetter) -> Self {
        Self { r#type: "dead-letter", meeting, letter }
    }
}
