//! Rows to the kernel's records.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use surrealdb::{
    IndexedResults,
    types::{Object, RecordId, RecordIdKey, SurrealValue, Value},
};
use teammy_kernel::{
    DataPacket, JsonText, MeetingId, MeetingMetadata, Name, Payload, Seq,
    store::{DeadLetter, Epoch, InstanceRecord, LeaseRecord, Mark, MeetingRecord},
};

use super::{
    error::{Cause, QueryError, UnexpectedValue},
    values::{
        as_bytes, as_incarnation, as_moment, as_name, as_names, as_number, as_producer, as_seqs, as_str,
        as_text, as_trace,
    },
};

/// Decodes each row of a query's answer.
pub(super) fn rows<T>(
    mut results: IndexedResults,
    decode: impl Fn(StoredRow) -> Result<T, Cause>,
) -> Result<Vec<T>, QueryError> {
    let rows = first_rows(&mut results)?;
    Ok(rows.into_iter().map(|row| decode(StoredRow::new(row)?)).collect::<Result<Vec<T>, Cause>>()?)
}

/// The rows of the first statement that has any, because it is SurrealDB's matter whether `BEGIN` and
/// `COMMIT` count as statements.
pub(super) fn first_rows(results: &mut IndexedResults) -> Result<Vec<Value>, surrealdb::Error> {
    for statement in 0..results.num_statements() {
        if let Value::Array(rows) = results.take::<Value>(statement)? {
            return Ok(rows.into_vec());
        }
    }
    Ok(Vec::new())
}

/// A row that was read.
pub(super) struct StoredRow {
    id: RecordId,
    /// The array that is the id's key.
    key: Vec<Value>,
    /// The columns that were not taken yet.
    columns: Object,
}

/// Describes a value by its type and not by its content.
fn type_of(value: &Value) -> &'static str {
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

impl StoredRow {
    pub(super) fn new(value: Value) -> Result<Self, Cause> {
        let unexpected = |value: &Value| UnexpectedValue {
            record: type_of(value).to_owned(),
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

    fn unexpected(&self, column: &'static str, expected: &'static str) -> Cause {
        // Only the meeting is named: the rest of the key may hold a meeting's words.
        let of = self.key.first().cloned().and_then(as_text).unwrap_or_default();
        let record = format!("{} of meeting {of:?}", self.id.table);
        UnexpectedValue { record, column, expected }.into()
    }

    /// A value of the id's key.
    fn in_key<T>(
        &self,
        index: usize,
        read: impl Fn(&Value) -> Option<T>,
        expected: &'static str,
    ) -> Result<T, Cause> {
        self.key.get(index).and_then(read).ok_or_else(|| self.unexpected("key", expected))
    }

    fn optional<T>(
        &mut self,
        column: &'static str,
        read: impl Fn(Value) -> Option<T>,
        expected: &'static str,
    ) -> Result<Option<T>, Cause> {
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
    ) -> Result<T, Cause> {
        self.optional(column, read, expected)?.ok_or_else(|| self.unexpected(column, expected))
    }

    fn number(&mut self, column: &'static str) -> Result<u64, Cause> {
        self.required(column, |value| as_number(&value), "a number")
    }

    fn text(&mut self, column: &'static str) -> Result<String, Cause> {
        self.required(column, as_text, "a text")
    }

    fn moment(&mut self, column: &'static str) -> Result<Timestamp, Cause> {
        self.required(column, |value| as_moment(&value), "a time")
    }

    fn name(&mut self, column: &'static str) -> Result<Name, Cause> {
        self.required(column, |value| as_name(&value), "a name")
    }

    fn word<T: DeserializeOwned>(&mut self, column: &'static str) -> Result<T, Cause> {
        let read = |value| serde_json::from_value(serde_json::Value::String(as_text(value)?)).ok();
        self.required(column, read, "one of the words that this version knows")
    }

    pub(super) fn meeting(mut self) -> Result<MeetingRecord, Cause> {
        let read = |value| {
            serde_json::from_value::<MeetingMetadata>(serde_json::Value::from_value(value).ok()?).ok()
        };
        let metadata = self.required("metadata", read, "a meeting's metadata")?;
        // Rows of earlier program versions have no such column.
        let instances = self.optional("instances", as_names, "a list of names")?.unwrap_or_default();
        let reserved = Seq(self.number("reserved")?);
        let created = self.optional("created", |value| as_moment(&value), "a time")?;
        let last = self.optional("last", |value| as_number(&value), "a number")?;
        let mut row = MeetingRecord::first(metadata, instances, reserved, created.unwrap_or_default());
        (row.created, row.last) = (created, Seq(last.unwrap_or_default()));
        row.owner = self.optional("owner", |value| as_incarnation(&value), "a node's incarnation")?;
        (row.epoch, row.commit) = self.progress()?;
        row.status = self.word("status")?;
        Ok(row)
    }

    pub(super) fn lease(mut self) -> Result<LeaseRecord, Cause> {
        let key = Value::Array(self.key.iter().cloned().collect());
        let holder = as_incarnation(&key).ok_or_else(|| self.unexpected("key", "a node's incarnation"))?;
        let left = Duration::from_micros(self.number("left")?);
        Ok(LeaseRecord::new(holder, self.word("status")?, left, self.text("document")?.into()))
    }

    /// A meeting's epoch and the number of its last commit.
    pub(super) fn progress(&mut self) -> Result<(Epoch, u64), Cause> {
        Ok((Epoch(self.number("epoch")?), self.number("commit")?))
    }

    /// The seq of a meeting's last packet; or its reservation, which is higher, for a row that schema version
    /// 2 wrote last.
    pub(super) fn log_end(mut self) -> Result<u64, Cause> {
        match self.optional("last", |value| as_number(&value), "a number")? {
            Some(last) => Ok(last),
            None => self.number("reserved"),
        }
    }

    pub(super) fn meeting_id(&self) -> Result<MeetingId, Cause> {
        self.in_key(0, |value| as_str(value).and_then(|id| MeetingId::new(id).ok()), "a meeting's id")
    }

    pub(super) fn packet(mut self, meeting: &MeetingId) -> Result<DataPacket, Cause> {
        let form = self.text("form")?;
        let payload = match form.as_str() {
            "bytes" => Payload::Bytes(self.required("payload", as_bytes, "bytes")?),
            "text" => Payload::Text(self.text("payload")?.into()),
            "json" => JsonText::new(self.text("payload")?).into(),
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
            // Earlier versions of the program neither write nor miss this column.
            trace: self.optional("traceparent", |value| as_trace(&value), "a position in a trace")?,
        })
    }

    pub(super) fn mark(mut self) -> Result<Mark, Cause> {
        let producer = self.in_key(1, |value| as_str(value).map(Into::into), "a producer's id")?;
        Ok(Mark { producer, number: self.number("number")?, seq: Seq(self.number("seq")?) })
    }

    /// An account: its meeting, its key, its version and its document.
    pub(super) fn account(mut self) -> Result<(String, String, u64, Arc<str>), Cause> {
        let part = |index, what| self.in_key(index, |value| as_str(value).map(str::to_owned), what);
        let (meeting, key) = (part(0, "a meeting's id")?, part(1, "an account's key")?);
        Ok((meeting, key, self.number("version")?, self.text("document")?.into()))
    }

    /// A run of a producer's packets: the last number, and all seqs.
    pub(super) fn run(mut self) -> Result<(u64, Vec<Seq>), Cause> {
        Ok((self.in_key(2, as_number, "a number")?, self.required("seqs", as_seqs, "seqs")?))
    }

    pub(super) fn instance(mut self) -> Result<InstanceRecord, Cause> {
        Ok(InstanceRecord {
            instance: self.in_key(1, as_name, "an instance's name")?,
            cursor: Seq(self.number("cursor")?),
            joined: Seq(self.number("joined")?),
            status: self.word("status")?,
            state: self.optional("state", as_text, "a text")?.map(Into::into),
        })
    }

    pub(super) fn dead_letter(mut self) -> Result<DeadLetter, Cause> {
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

    pub(super) fn key_value(mut self) -> Result<(String, Arc<str>), Cause> {
        let key = self.in_key(2, |value| as_str(value).map(str::to_owned), "a key")?;
        Ok((key, self.text("value")?.into()))
    }
}
