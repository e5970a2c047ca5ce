//! Records to SurrealDB's values and back.

use std::{ops::Bound, sync::Arc};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use surrealdb::types::{
    Array, Datetime, Number, Object, Range, RecordId, RecordIdKey, RecordIdKeyRange, SurrealValue, Value,
};
use teammy_kernel::{
    DataPacket, Lifecycle, MeetingId, MeetingMetadata, Name, Payload, Producer, Seq,
    store::{Commit, DeadLetter, Epoch, InstanceRecord, Mark, MeetingRecord},
};

use super::{
    error::{TooHigh, Unexpected},
    runs::{self, Run},
};

pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The table of the log.
pub(super) const PACKETS: &str = "packet";
/// The table of those of its packets that tell of the meeting's own life, once more: who takes a meeting over
/// needs all of these, and would else read all of the log for them.
pub(super) const LIFECYCLE: &str = "lifecycle";

/// A commit's packets that tell of the meeting's own life.
pub(super) fn lifecycle(commit: &Commit) -> impl Iterator<Item = &Arc<DataPacket>> {
    commit.packets.iter().filter(|packet| packet.source == Lifecycle::SOURCE)
}

// To values.

pub(super) fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

pub(super) fn number(number: u64) -> Result<Value, Failure> {
    i64::try_from(number).map(|number| Value::Number(Number::Int(number))).map_err(|_| TooHigh(number).into())
}

/// The number, or the highest that a record can hold: good for a bound, where everything stored is below.
pub(super) fn bound(number: u64) -> Value {
    Value::Number(Number::Int(i64::try_from(number).unwrap_or(i64::MAX)))
}

pub(super) fn moment(at: Timestamp) -> Value {
    const BILLION: i128 = 1_000_000_000;
    let nanos = at.as_nanosecond();
    let (seconds, nanos) = (nanos.div_euclid(BILLION), nanos.rem_euclid(BILLION));
    let seconds = i64::try_from(seconds).expect("invariant: a timestamp's seconds fit");
    let nanos = u32::try_from(nanos).expect("invariant: less than a second's nanoseconds");
    Value::Datetime(Datetime::from_timestamp(seconds, nanos).expect("invariant: years up to 9999 fit"))
}

/// An enum that serialises as one word.
fn word<T: Serialize>(value: T) -> Value {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Value::String(word),
        _ => unreachable!("invariant: a status is one word"),
    }
}

fn object<const N: usize>(columns: [(&str, Value); N]) -> Object {
    let mut object = Object::new();
    for (column, value) in columns {
        object.insert(column, value);
    }
    object
}

fn record<const N: usize>(table: &str, key: [Value; N]) -> Value {
    Value::RecordId(RecordId::new(table, Array::from(Vec::from(key))))
}

pub(super) fn meeting_id(meeting: &MeetingId) -> Value {
    record("meeting", [text(meeting.as_str())])
}

pub(super) fn key_id(meeting: &MeetingId, instance: &Name, key: &str) -> Value {
    record("kv", [text(meeting.as_str()), text(instance.as_str()), text(key)])
}

fn range<const N: usize, const M: usize>(table: &str, from: [Value; N], to: Bound<[Value; M]>) -> Value {
    let key = |values: Vec<Value>| RecordIdKey::from(Array::from(values));
    let range =
        RecordIdKeyRange { start: Bound::Included(key(from.into())), end: to.map(|to| key(to.into())) };
    Value::RecordId(RecordId::new(table, RecordIdKey::from(range)))
}

/// Above all that can stand in a key.
fn top() -> Value {
    Value::Range(Box::new(Range { start: Bound::Unbounded, end: Bound::Unbounded }))
}

/// All records of a table that belong to a meeting.
pub(super) fn all_of(table: &str, meeting: &MeetingId) -> Value {
    let meeting = text(meeting.as_str());
    range(table, [meeting.clone()], Bound::Excluded([meeting, top()]))
}

/// A part of a meeting's log, in [`PACKETS`] or [`LIFECYCLE`].
pub(super) fn packets_of(table: &str, meeting: &MeetingId, from: u64, to: u64) -> Value {
    let meeting = text(meeting.as_str());
    range(table, [meeting.clone(), bound(from)], Bound::Included([meeting, bound(to)]))
}

/// A producer's runs of numbers that end in a range of numbers, both ends included.
pub(super) fn runs_of(meeting: &MeetingId, producer: &str, from: u64, to: u64) -> Value {
    let (meeting, producer) = (text(meeting.as_str()), text(producer));
    let start = [meeting.clone(), producer.clone(), bound(from)];
    range("numbered", start, Bound::Included([meeting, producer, bound(to)]))
}

/// An instance's keys that start with a prefix.
pub(super) fn keys_of(meeting: &MeetingId, instance: &Name, prefix: &str) -> Value {
    let (meeting, instance) = (text(meeting.as_str()), text(instance.as_str()));
    let end = after_prefix(prefix).map_or_else(top, Value::String);
    range("kv", [meeting.clone(), instance.clone(), text(prefix)], Bound::Excluded([meeting, instance, end]))
}

/// The first text that sorts after all that start with a prefix, if there is any.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // A step of a range leaves out what is no character.
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

fn packet_row(table: &str, meeting: &MeetingId, packet: &DataPacket) -> Result<Value, Failure> {
    let (form, payload) = match &packet.payload {
        Payload::Bytes(bytes) => ("bytes", Value::Bytes(bytes.clone().into())),
        Payload::Text(value) => ("text", text(value)),
        Payload::Json(value) => ("json", text(value)),
    };
    let mut row = object([
        ("id", record(table, [text(meeting.as_str()), number(packet.seq.0)?])),
        ("source", text(packet.source.as_str())),
        ("timestamp", moment(packet.timestamp)),
        ("received_at", moment(packet.received_at)),
        ("form", text(form)),
        ("payload", payload),
    ]);
    if let Some(participant) = &packet.participant {
        row.insert("participant", text(participant));
    }
    if let Some(producer) = &packet.producer {
        row.insert("producer", object([("id", text(&producer.id)), ("number", number(producer.number)?)]));
    }
    if !packet.causes.is_empty() {
        row.insert("causes", seqs(&packet.causes)?);
    }
    Ok(Value::Object(row))
}

fn seqs(seqs: &[Seq]) -> Result<Value, Failure> {
    Ok(Value::Array(Array::from(seqs.iter().map(|seq| number(seq.0)).collect::<Result<Vec<_>, _>>()?)))
}

fn run_row(meeting: &MeetingId, run: &Run<'_>) -> Result<Value, Failure> {
    let key = [text(meeting.as_str()), text(run.producer), number(run.last)?];
    Ok(Value::Object(object([("id", record("numbered", key)), ("seqs", seqs(&run.seqs)?)])))
}

fn mark_row(meeting: &MeetingId, mark: &Mark) -> Result<Value, Failure> {
    Ok(Value::Object(object([
        ("id", record("mark", [text(meeting.as_str()), text(&mark.producer)])),
        ("number", number(mark.number)?),
        ("seq", number(mark.seq.0)?),
    ])))
}

fn instance_row(meeting: &MeetingId, instance: &InstanceRecord) -> Result<Value, Failure> {
    let mut row = object([
        ("id", record("state", [text(meeting.as_str()), text(instance.instance.as_str())])),
        ("cursor", number(instance.cursor.0)?),
        ("joined", number(instance.joined.0)?),
        ("status", word(instance.status)),
    ]);
    if let Some(state) = &instance.state {
        row.insert("state", text(state));
    }
    Ok(Value::Object(row))
}

pub(super) fn dead_letter_id(meeting: &MeetingId, instance: &Name, seq: Seq) -> Result<Value, Failure> {
    Ok(record("dead_letter", [text(meeting.as_str()), text(instance.as_str()), number(seq.0)?]))
}

fn dead_letter_row(meeting: &MeetingId, letter: &DeadLetter) -> Result<Value, Failure> {
    Ok(Value::Object(object([
        ("id", dead_letter_id(meeting, &letter.instance, letter.seq)?),
        ("source", text(letter.source.as_str())),
        ("tries", number(u64::from(letter.tries))?),
        ("error", text(&letter.error)),
        ("at", moment(letter.at)),
    ])))
}

/// A new meeting's columns.
pub(super) fn meeting_row(row: &MeetingRecord) -> Result<Value, Failure> {
    Ok(Value::Object(object([
        ("epoch", number(row.epoch.0)?),
        ("commit", number(row.commit)?),
        ("reserved", number(row.reserved.0)?),
        ("status", word(row.status)),
        ("metadata", serde_json::to_value(&row.metadata)?.into_value()),
        ("instances", Value::Array(row.instances.iter().map(|name| text(name.as_str())).collect())),
    ])))
}

/// A commit as the query that applies it takes it.
pub(super) fn part(commit: &Commit) -> Result<Object, Failure> {
    fn rows<T>(of: &[T], row: impl Fn(&T) -> Result<Value, Failure>) -> Result<Value, Failure> {
        Ok(Value::Array(Array::from(of.iter().map(row).collect::<Result<Vec<_>, _>>()?)))
    }
    let meeting = &commit.meeting;
    let mut set = Vec::new();
    let mut unset = Vec::new();
    for write in &commit.keys {
        let id = key_id(meeting, &write.instance, &write.key);
        match &write.value {
            Some(value) => set.push(Value::Object(object([("id", id), ("value", text(value))]))),
            None => unset.push(id),
        }
    }
    let last = commit.packets.iter().map(|packet| packet.seq.0).max();
    let last = last.map_or(Ok(Value::None), number)?;
    Ok(object([
        ("meeting", meeting_id(meeting)),
        ("epoch", number(commit.epoch.0)?),
        ("number", number(commit.number)?),
        ("reserved", number(commit.reserved.0)?),
        ("status", word(commit.status)),
        ("last", last),
        ("packets", rows(&commit.packets, |packet| packet_row(PACKETS, meeting, packet))?),
        (
            "lifecycle",
            lifecycle(commit)
                .map(|packet| packet_row(LIFECYCLE, meeting, packet))
                .collect::<Result<_, _>>()?,
        ),
        ("runs", rows(&runs::runs(commit), |run| run_row(meeting, run))?),
        ("marks", rows(&runs::marks(commit), |mark| mark_row(meeting, mark))?),
        ("instances", rows(&commit.instances, |instance| instance_row(meeting, instance))?),
        ("set", Value::Array(Array::from(set))),
        ("unset", Value::Array(Array::from(unset))),
        ("redriven", rows(&commit.redriven, |(instance, seq)| dead_letter_id(meeting, instance, *seq))?),
        ("dead_letters", rows(&commit.dead_letters, |letter| dead_letter_row(meeting, letter))?),
    ]))
}

// From values.

/// A record that was read: its key, and its columns as they are taken out one by one.
pub(super) struct Row {
    id: RecordId,
    key: Vec<Value>,
    columns: Object,
}

/// What a value is, and nothing of what it holds.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::None | Value::Null => "nothing",
        Value::Object(_) => "an object",
        Value::Array(_) => "an array",
        Value::String(_) => "a text",
        Value::Number(_) => "a number",
        Value::RecordId(_) => "a record's id",
        _ => "a value",
    }
}

impl Row {
    pub(super) fn new(value: Value) -> Result<Self, Failure> {
        let unexpected = |value: &Value| Unexpected {
            record: kind(value).to_owned(),
            column: "id",
            expected: "a record's id with an array",
        };
        let Value::Object(mut columns) = value else { return Err(unexpected(&value).into()) };
        match columns.remove("id") {
            Some(Value::RecordId(id)) => {
                let key = match &id.key {
                    RecordIdKey::Array(key) => key.iter().cloned().collect(),
                    _ => Vec::new(),
                };
                Ok(Self { id, key, columns })
            }
            _ => Err(unexpected(&Value::Object(columns)).into()),
        }
    }

    fn unexpected(&self, column: &'static str, expected: &'static str) -> Failure {
        // A key may hold what somebody said; the meeting and numbers don't.
        let of = self.key.first().cloned().and_then(as_text).unwrap_or_default();
        let record = format!("{} of meeting {of:?}", self.id.table);
        Unexpected { record, column, expected }.into()
    }

    /// A value of the record's key.
    fn in_key<T>(
        &self,
        index: usize,
        read: impl Fn(&Value) -> Option<T>,
        expected: &'static str,
    ) -> Result<T, Failure> {
        self.key.get(index).and_then(read).ok_or_else(|| self.unexpected("key", expected))
    }

    fn optional<T>(
        &mut self,
        column: &'static str,
        read: impl Fn(Value) -> Option<T>,
        expected: &'static str,
    ) -> Result<Option<T>, Failure> {
        match self.columns.remove(column) {
            None | Some(Value::None) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.unexpected(column, expected)),
        }
    }

    fn required<T>(
        &mut self,
        column: &'static str,
        read: impl Fn(Value) -> Option<T>,
        expected: &'static str,
    ) -> Result<T, Failure> {
        self.optional(column, read, expected)?.ok_or_else(|| self.unexpected(column, expected))
    }

    fn number(&mut self, column: &'static str) -> Result<u64, Failure> {
        self.required(column, |value| as_number(&value), "a number")
    }

    fn text(&mut self, column: &'static str) -> Result<String, Failure> {
        self.required(column, as_text, "a text")
    }

    fn moment(&mut self, column: &'static str) -> Result<Timestamp, Failure> {
        self.required(column, |value| as_moment(&value), "a time")
    }

    fn name(&mut self, column: &'static str) -> Result<Name, Failure> {
        self.required(column, |value| as_name(&value), "a name")
    }

    fn word<T: DeserializeOwned>(&mut self, column: &'static str) -> Result<T, Failure> {
        let read = |value| serde_json::from_value(serde_json::Value::String(as_text(value)?)).ok();
        self.required(column, read, "one of the words that this version knows")
    }

    pub(super) fn meeting(mut self) -> Result<MeetingRecord, Failure> {
        let read = |value| {
            serde_json::from_value::<MeetingMetadata>(serde_json::Value::from_value(value).ok()?).ok()
        };
        let metadata = self.required("metadata", read, "a meeting's metadata")?;
        // Meetings of earlier versions have no such column.
        let instances = self.optional("instances", as_names, "a list of names")?.unwrap_or_default();
        let mut row = MeetingRecord::first(metadata, instances, Seq(self.number("reserved")?));
        (row.epoch, row.commit) = self.stand()?;
        row.status = self.word("status")?;
        Ok(row)
    }

    /// A meeting's epoch and commit.
    pub(super) fn stand(&mut self) -> Result<(Epoch, u64), Failure> {
        Ok((Epoch(self.number("epoch")?), self.number("commit")?))
    }

    /// The seq of a meeting's last packet, or one that is higher: rows that were last written by version 2
    /// don't have it.
    pub(super) fn log_end(mut self) -> Result<u64, Failure> {
        match self.optional("last", |value| as_number(&value), "a number")? {
            Some(last) => Ok(last),
            None => self.number("reserved"),
        }
    }

    pub(super) fn meeting_id(&self) -> Result<MeetingId, Failure> {
        self.in_key(0, |value| as_str(value).and_then(|id| MeetingId::new(id).ok()), "a meeting's id")
    }

    pub(super) fn packet(mut self, meeting: &MeetingId) -> Result<DataPacket, Failure> {
        let form = self.text("form")?;
        let payload = match form.as_str() {
            "bytes" => Payload::Bytes(self.required("payload", as_bytes, "bytes")?),
            "text" => Payload::Text(self.text("payload")?.into()),
            "json" => Payload::Json(self.text("payload")?.into()),
            _ => return Err(self.unexpected("form", "bytes, text or json")),
        };
        Ok(DataPacket {
            meeting: meeting.clone(),
            seq: Seq(self.in_key(1, as_number, "a seq")?),
            source: self.name("source")?,
            timestamp: self.moment("timestamp")?,
            received_at: self.moment("received_at")?,
            participant: self.optional("participant", as_text, "a text")?.map(Into::into),
            payload,
            producer: self.optional("producer", as_producer, "a producer")?,
            causes: self.optional("causes", as_seqs, "seqs")?.unwrap_or_default(),
        })
    }

    pub(super) fn mark(mut self) -> Result<Mark, Failure> {
        let producer = self.in_key(1, |value| as_str(value).map(Into::into), "a producer's id")?;
        Ok(Mark { producer, number: self.number("number")?, seq: Seq(self.number("seq")?) })
    }

    /// A run of numbers: the last of them, and all seqs.
    pub(super) fn run(mut self) -> Result<(u64, Vec<Seq>), Failure> {
        Ok((self.in_key(2, as_number, "a number")?, self.required("seqs", as_seqs, "seqs")?))
    }

    pub(super) fn instance(mut self) -> Result<InstanceRecord, Failure> {
        Ok(InstanceRecord {
            instance: self.in_key(1, as_name, "an instance's name")?,
            cursor: Seq(self.number("cursor")?),
            joined: Seq(self.number("joined")?),
            status: self.word("status")?,
            state: self.optional("state", as_text, "a text")?.map(Into::into),
        })
    }

    pub(super) fn dead_letter(mut self) -> Result<DeadLetter, Failure> {
        Ok(DeadLetter {
            instance: self.in_key(1, as_name, "an instance's name")?,
            seq: Seq(self.in_key(2, as_number, "a seq")?),
            source: self.name("source")?,
            tries: u32::try_from(self.number("tries")?)
                .map_err(|_| self.unexpected("tries", "a small number"))?,
            error: self.text("error")?,
            at: self.moment("at")?,
        })
    }

    pub(super) fn key_value(mut self) -> Result<(String, Arc<str>), Failure> {
        let key = self.in_key(2, |value| as_str(value).map(str::to_owned), "a key")?;
        Ok((key, self.text("value")?.into()))
    }
}

fn as_str(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn as_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn as_name(value: &Value) -> Option<Name> {
    Name::new(as_str(value)?).ok()
}

fn as_names(value: Value) -> Option<Vec<Name>> {
    let Value::Array(names) = value else { return None };
    names.iter().map(as_name).collect()
}

fn as_number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(Number::Int(number)) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn as_moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Datetime(at) => {
            let second = i128::from(at.timestamp()) * 1_000_000_000;
            Timestamp::from_nanosecond(second + i128::from(at.timestamp_subsec_nanos())).ok()
        }
        _ => None,
    }
}

fn as_bytes(value: Value) -> Option<bytes::Bytes> {
    match value {
        Value::Bytes(bytes) => Some(bytes.into()),
        _ => None,
    }
}

fn as_producer(value: Value) -> Option<Producer> {
    let Value::Object(mut producer) = value else { return None };
    let id = as_text(producer.remove("id")?)?.into();
    Some(Producer { id, number: as_number(&producer.remove("number")?)? })
}

fn as_seqs(value: Value) -> Option<Vec<Seq>> {
    let Value::Array(seqs) = value else { return None };
    seqs.iter().map(|seq| as_number(seq).map(Seq)).collect()
}
