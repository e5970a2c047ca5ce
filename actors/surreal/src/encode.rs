//! The kernel's records to rows.

use std::sync::Arc;

use surrealdb::types::{Array, Object, SurrealValue, Value};
use teammy_kernel::{
    DataPacket, Lifecycle, MeetingId, Payload,
    store::{Commit, DeadLetter, InstanceRecord, Mark, MeetingRecord},
};

use super::{
    error::Cause,
    ids,
    runs::{self, NumberRun},
    values::{moment, number, object, seqs, text, word},
};

/// A commit's packets of source `meeting`.
pub(super) fn lifecycle(commit: &Commit) -> impl Iterator<Item = &Arc<DataPacket>> {
    commit.packets.iter().filter(|packet| packet.source == Lifecycle::SOURCE)
}

/// A new meeting's row.
pub(super) fn meeting_row(meeting: &MeetingRecord) -> Result<Value, Cause> {
    let mut row = object([
        ("epoch", number(meeting.epoch.0)?),
        ("commit", number(meeting.commit)?),
        ("reserved", number(meeting.reserved.0)?),
        ("status", word(meeting.status)),
        ("metadata", serde_json::to_value(&meeting.metadata)?.into_value()),
        ("instances", Value::Array(meeting.instances.iter().map(|name| text(name.as_str())).collect())),
        ("place", Value::Array(ids::place(meeting.created, &meeting.metadata.id).into_iter().collect())),
    ]);
    if let Some(owner) = &meeting.owner {
        row.insert("owner", ids::holder(owner));
    }
    if let Some(created) = meeting.created {
        row.insert("created", moment(created));
    }
    Ok(Value::Object(row))
}

/// A commit as the variables of the query that applies it, or as one `$part` of a batch's.
pub(super) fn commit_part(commit: &Commit) -> Result<Object, Cause> {
    fn rows<T>(of: &[T], row: impl Fn(&T) -> Result<Value, Cause>) -> Result<Value, Cause> {
        Ok(Value::Array(Array::from(of.iter().map(row).collect::<Result<Vec<_>, _>>()?)))
    }
    let meeting = &commit.meeting;
    let mut set = Vec::new();
    let mut unset = Vec::new();
    for write in &commit.keys {
        let id = ids::key_id(meeting, &write.instance, &write.key);
        match &write.value {
            Some(value) => set.push(Value::Object(object([("id", id), ("value", text(value))]))),
            None => unset.push(id),
        }
    }
    let last = commit.packets.iter().map(|packet| packet.seq.0).max();
    let last = last.map_or(Ok(Value::None), number)?;
    Ok(object([
        ("meeting", ids::meeting_id(meeting)),
        ("epoch", number(commit.epoch.0)?),
        ("number", number(commit.number)?),
        ("reserved", number(commit.reserved.0)?),
        ("status", word(commit.status)),
        ("last", last),
        ("packets", rows(&commit.packets, |packet| packet_row(ids::PACKETS, meeting, packet))?),
        (
            "lifecycle",
            lifecycle(commit)
                .map(|packet| packet_row(ids::LIFECYCLE, meeting, packet))
                .collect::<Result<_, _>>()?,
        ),
        ("runs", rows(&runs::runs(commit), |run| run_row(meeting, run))?),
        ("marks", rows(&runs::marks(commit), |mark| mark_row(meeting, mark))?),
        ("instances", rows(&commit.instances, |instance| instance_row(meeting, instance))?),
        ("set", Value::Array(Array::from(set))),
        ("unset", Value::Array(Array::from(unset))),
        ("redriven", rows(&commit.redriven, |(instance, seq)| ids::dead_letter_id(meeting, instance, *seq))?),
        ("dead_letters", rows(&commit.dead_letters, |letter| dead_letter_row(meeting, letter))?),
    ]))
}

fn packet_row(table: &str, meeting: &MeetingId, packet: &DataPacket) -> Result<Value, Cause> {
    let (form, payload) = match &packet.payload {
        Payload::Bytes(bytes) => ("bytes", Value::Bytes(bytes.clone().into())),
        Payload::Text(value) => ("text", text(value)),
        Payload::Json(value) => ("json", text(value)),
        // Of a version that did not check texts, which stored them as JSON.
        Payload::Malformed(value) => ("json", text(value.text())),
    };
    let mut row = object([
        ("id", ids::packet_id(table, meeting, packet.seq)?),
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
    if let Some(trace) = &packet.trace {
        row.insert("traceparent", text(&trace.to_string()));
    }
    Ok(Value::Object(row))
}

fn run_row(meeting: &MeetingId, run: &NumberRun<'_>) -> Result<Value, Cause> {
    let id = ids::run_id(meeting, run.producer, run.last)?;
    Ok(Value::Object(object([("id", id), ("seqs", seqs(&run.seqs)?)])))
}

fn mark_row(meeting: &MeetingId, mark: &Mark) -> Result<Value, Cause> {
    Ok(Value::Object(object([
        ("id", ids::mark_id(meeting, &mark.producer)),
        ("number", number(mark.number)?),
        ("seq", number(mark.seq.0)?),
    ])))
}

fn instance_row(meeting: &MeetingId, instance: &InstanceRecord) -> Result<Value, Cause> {
    let mut row = object([
        ("id", ids::instance_id(meeting, &instance.instance)),
        ("cursor", number(instance.cursor.0)?),
        ("joined", number(instance.joined.0)?),
        ("status", word(instance.status)),
    ]);
    if let Some(state) = &instance.state {
        row.insert("state", text(state));
    }
    Ok(Value::Object(row))
}

fn dead_letter_row(meeting: &MeetingId, letter: &DeadLetter) -> Result<Value, Cause> {
    Ok(Value::Object(object([
        ("id", ids::dead_letter_id(meeting, &letter.instance, letter.seq)?),
        ("source", text(letter.source.as_str())),
        ("tries", number(u64::from(letter.tries))?),
        ("error", text(&letter.error)),
        ("at", moment(letter.at)),
    ])))
}
