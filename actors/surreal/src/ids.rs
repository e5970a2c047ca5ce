//! The tables, and the ids of their records. An id is an array that begins with the meeting, so that a
//! meeting's records are a range of ids.

use std::ops::Bound;

use surrealdb::types::{Array, Range, RecordId, RecordIdKey, RecordIdKeyRange, Value};
use teammy_kernel::{MeetingId, Name, Seq};

use super::{
    error::Cause,
    values::{bound, number, text},
};

pub(super) const MEETINGS: &str = "meeting";
/// The log.
pub(super) const PACKETS: &str = "packet";
/// Copies of the log's packets of source `meeting`. A new owner needs all of them, and would otherwise read
/// the whole log for them.
pub(super) const LIFECYCLE: &str = "lifecycle";
pub(super) const NUMBERED: &str = "numbered";
pub(super) const MARKS: &str = "mark";
pub(super) const INSTANCES: &str = "state";
pub(super) const KEYS: &str = "kv";
pub(super) const DEAD_LETTERS: &str = "dead_letter";

pub(super) fn meeting_id(meeting: &MeetingId) -> Value {
    record(MEETINGS, [text(meeting.as_str())])
}

/// The id of a packet in [`PACKETS`] or [`LIFECYCLE`].
pub(super) fn packet_id(table: &str, meeting: &MeetingId, seq: Seq) -> Result<Value, Cause> {
    Ok(record(table, [text(meeting.as_str()), number(seq.0)?]))
}

/// The id of a producer's run of numbers that ends with `last`.
pub(super) fn run_id(meeting: &MeetingId, producer: &str, last: u64) -> Result<Value, Cause> {
    Ok(record(NUMBERED, [text(meeting.as_str()), text(producer), number(last)?]))
}

pub(super) fn mark_id(meeting: &MeetingId, producer: &str) -> Value {
    record(MARKS, [text(meeting.as_str()), text(producer)])
}

pub(super) fn instance_id(meeting: &MeetingId, instance: &Name) -> Value {
    record(INSTANCES, [text(meeting.as_str()), text(instance.as_str())])
}

pub(super) fn key_id(meeting: &MeetingId, instance: &Name, key: &str) -> Value {
    record(KEYS, [text(meeting.as_str()), text(instance.as_str()), text(key)])
}

pub(super) fn dead_letter_id(meeting: &MeetingId, instance: &Name, seq: Seq) -> Result<Value, Cause> {
    Ok(record(DEAD_LETTERS, [text(meeting.as_str()), text(instance.as_str()), number(seq.0)?]))
}

fn record<const N: usize>(table: &str, key: [Value; N]) -> Value {
    Value::RecordId(RecordId::new(table, Array::from(Vec::from(key))))
}

/// All records of a table that belong to a meeting.
pub(super) fn all_of(table: &str, meeting: &MeetingId) -> Value {
    let meeting = text(meeting.as_str());
    range(table, [meeting.clone()], Bound::Excluded([meeting, top()]))
}

/// A part of a meeting's log, in [`PACKETS`] or [`LIFECYCLE`]; both ends are included.
pub(super) fn packets_of(table: &str, meeting: &MeetingId, from: u64, to: u64) -> Value {
    let meeting = text(meeting.as_str());
    range(table, [meeting.clone(), bound(from)], Bound::Included([meeting, bound(to)]))
}

/// A producer's runs of numbers whose last number is in a range; both ends are included.
pub(super) fn runs_of(meeting: &MeetingId, producer: &str, from: u64, to: u64) -> Value {
    let (meeting, producer) = (text(meeting.as_str()), text(producer));
    let start = [meeting.clone(), producer.clone(), bound(from)];
    range(NUMBERED, start, Bound::Included([meeting, producer, bound(to)]))
}

/// An instance's keys that start with a prefix.
pub(super) fn keys_of(meeting: &MeetingId, instance: &Name, prefix: &str) -> Value {
    let (meeting, instance) = (text(meeting.as_str()), text(instance.as_str()));
    let end = after_prefix(prefix).map_or_else(top, Value::String);
    range(KEYS, [meeting.clone(), instance.clone(), text(prefix)], Bound::Excluded([meeting, instance, end]))
}

fn range<const N: usize, const M: usize>(table: &str, from: [Value; N], to: Bound<[Value; M]>) -> Value {
    let key = |values: Vec<Value>| RecordIdKey::from(Array::from(values));
    let range =
        RecordIdKeyRange { start: Bound::Included(key(from.into())), end: to.map(|to| key(to.into())) };
    Value::RecordId(RecordId::new(table, RecordIdKey::from(range)))
}

/// A value that sorts above all that an id can hold.
fn top() -> Value {
    Value::Range(Box::new(Range { start: Bound::Unbounded, end: Bound::Unbounded }))
}

/// The first text that sorts after all texts with a prefix, if there is one.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // A range of characters skips the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}
