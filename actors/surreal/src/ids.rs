//! The tables, and the ids of their records. An id is an array that begins with the meeting, so that a
//! meeting's records are a range of ids.

use std::ops::Bound;

use surrealdb::types::{Array, Range, RecordId, RecordIdKey, RecordIdKeyRange, Value};
use teammy_kernel::{
    MeetingId, Name, Seq, Timestamp,
    store::{AccountId, Incarnation, MeetingQuery},
};

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
/// Documents that several owners change.
pub(super) const ACCOUNTS: &str = "account";
/// The meetings' places in the order of listings.
pub(super) const LISTED: &str = "listed";
/// Nodes that are there, or were.
pub(super) const LEASES: &str = "lease";
/// Which node owns which meetings.
pub(super) const OWNED: &str = "owned";
/// The places of those that have not ended, and of some that have.
pub(super) const OPEN: &str = "open";

pub(super) fn meeting_id(meeting: &MeetingId) -> Value {
    record(MEETINGS, [text(meeting.as_str())])
}

/// A node's incarnation: the key of its lease, and what a meeting's row has as its owner.
pub(super) fn holder(holder: &Incarnation) -> Value {
    Value::Array(Array::from(Vec::from(holder_key(holder))))
}

fn holder_key(holder: &Incarnation) -> [Value; 2] {
    [text(holder.node.as_str()), text(&format!("{:016x}", holder.boot))]
}

pub(super) fn lease_id(holder: &Incarnation) -> Value {
    record(LEASES, holder_key(holder))
}

pub(super) fn owned_id(owner: &Incarnation, meeting: &MeetingId) -> Value {
    let [node, boot] = holder_key(owner);
    record(OWNED, [node, boot, text(meeting.as_str())])
}

/// All meetings of an owner, by id.
pub(super) fn owned_by(owner: &Incarnation) -> Value {
    let [node, boot] = holder_key(owner);
    range(OWNED, [node.clone(), boot.clone()], Bound::Excluded([node, boot, top()]))
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

/// An account of a meeting, or of none: no meeting's id is empty.
pub(super) fn account_id(account: &AccountId) -> Value {
    let meeting = account.meeting.as_ref().map_or("", MeetingId::as_str);
    record(ACCOUNTS, [text(meeting), text(&account.key)])
}

/// A meeting's place in the order of listings, as the key of its records in [`LISTED`] and [`OPEN`].
pub(super) fn place(created: Option<Timestamp>, meeting: &MeetingId) -> [Value; 3] {
    let [seconds, nanos] = counted_down(created);
    [seconds, nanos, text(meeting.as_str())]
}

pub(super) fn place_id(table: &str, place: [Value; 3]) -> Value {
    record(table, place)
}

/// A time as two numbers that are lower the later it is. They are highest for an unknown time.
fn counted_down(at: Option<Timestamp>) -> [Value; 2] {
    const BILLION: i128 = 1_000_000_000;
    let (seconds, nanos) = match at.map(Timestamp::as_nanosecond) {
        Some(at) => (-at.div_euclid(BILLION), BILLION - 1 - at.rem_euclid(BILLION)),
        None => (i64::MAX.into(), 0),
    };
    [seconds, nanos].map(|part| {
        let part = i64::try_from(part).expect("invariant: the seconds of a timestamp fit");
        Value::Number(part.into())
    })
}

/// A part of the order in which meetings are listed: keys of [`LISTED`] or [`OPEN`].
#[derive(Clone)]
pub(super) struct Places {
    from: Bound<Vec<Value>>,
    to: Bound<Vec<Value>>,
}

impl Places {
    /// The places that a query asks for; none if there can be none.
    pub(super) fn of(query: &MeetingQuery) -> Option<Self> {
        let is_dated = query.from.is_some() || query.to.is_some();
        let after = query.after.as_ref();
        let is_empty = match (query.from, query.to, after.map(|after| after.created)) {
            (_, _, Some(None)) => is_dated,
            (Some(from), Some(to), _) if from >= to => true,
            (Some(from), _, Some(Some(after))) => after < from,
            _ => false,
        };
        if is_empty {
            return None;
        }
        let from = match (query.to, after) {
            // The first time before `to` is one nanosecond earlier. (There is none before the first of all.)
            (Some(to), after) if after.is_none_or(|after| after.created.is_some_and(|at| at >= to)) => {
                let before = to.checked_sub(jiff::SignedDuration::from_nanos(1)).ok()?;
                Bound::Included(counted_down(Some(before)).into())
            }
            (_, Some(after)) => Bound::Excluded(place(after.created, &after.id).into()),
            _ => Bound::Unbounded,
        };
        let end = |at| {
            let [seconds, nanos] = counted_down(at);
            vec![seconds, nanos, top()]
        };
        let to = match query.from {
            Some(from) => Bound::Excluded(end(Some(from))),
            // What has no time is left out.
            None if is_dated => Bound::Excluded(counted_down(None).into()),
            None => Bound::Excluded(end(None)),
        };
        Some(Self { from, to })
    }

    /// Takes the places that are newer than `at` off the front.
    pub(super) fn split_off_newer(&mut self, at: Timestamp) -> Self {
        let older: Vec<_> = counted_down(Some(at)).into();
        let from = std::mem::replace(&mut self.from, Bound::Included(older.clone()));
        Self { from, to: Bound::Excluded(older) }
    }

    pub(super) fn range(&self, table: &str) -> Value {
        let key = |values: &Vec<Value>| RecordIdKey::from(Array::from(values.clone()));
        let range = RecordIdKeyRange { start: self.from.as_ref().map(key), end: self.to.as_ref().map(key) };
        Value::RecordId(RecordId::new(table, RecordIdKey::from(range)))
    }
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
