//! SurrealDB through its SDK without our store, with the rows that our store writes.

use std::{ops::Bound, path::Path};

use surrealdb::{
    Surreal,
    engine::any::{Any, connect},
    types::{Array, Bytes, Datetime, Number, Object, RecordId, RecordIdKey, RecordIdKeyRange, Value},
};

/// The URL of a database in a directory.
pub fn url(directory: &Path) -> String {
    format!("surrealkv://{}", directory.display())
}

/// Opens a database, and makes the tables that are used here.
pub async fn open(url: &str) -> Surreal<Any> {
    let db = connect(url).await.expect("the database opens");
    db.use_ns("raw").use_db("raw").await.expect("it takes a namespace");
    let tables =
        "DEFINE TABLE meeting SCHEMALESS; DEFINE TABLE packet SCHEMALESS; DEFINE TABLE state SCHEMALESS";
    db.query(tables).await.and_then(surrealdb::IndexedResults::check).expect("the tables are made");
    db
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn number(number: u64) -> Value {
    Value::Number(Number::Int(number as i64))
}

fn object<const N: usize>(columns: [(&str, Value); N]) -> Value {
    let mut object = Object::new();
    for (column, value) in columns {
        object.insert(column, value);
    }
    Value::Object(object)
}

fn record<const N: usize>(table: &str, key: [Value; N]) -> Value {
    Value::RecordId(RecordId::new(table, Array::from(Vec::from(key))))
}

/// A packet's row, with the columns and the bytes that our store gives it.
pub fn packet(meeting: &str, seq: u64, payload: &[u8]) -> Value {
    let now = Value::Datetime(Datetime::from_timestamp(1_700_000_000, 0).expect("a time of this century"));
    object([
        ("id", record("packet", [text(meeting), number(seq)])),
        ("source", text("transcription")),
        ("timestamp", now.clone()),
        ("received_at", now),
        ("form", text("bytes")),
        ("payload", Value::Bytes(Bytes::from(payload.to_vec()))),
    ])
}

/// Writes packets and raises the commit number of each of their meetings, in one transaction.
pub async fn insert(db: &Surreal<Any>, meetings: Vec<String>, rows: Vec<Value>) {
    let meetings: Vec<Value> = meetings.iter().map(|meeting| record("meeting", [text(meeting)])).collect();
    let written = db
        .query(
            "BEGIN; FOR $meeting IN $meetings { UPSERT $meeting SET commit += 1 RETURN NONE };
            INSERT INTO packet $rows RETURN NONE; COMMIT",
        )
        .bind(("meetings", Value::Array(Array::from(meetings))))
        .bind(("rows", Value::Array(Array::from(rows))))
        .await;
    written.and_then(surrealdb::IndexedResults::check).expect("the rows are written");
}

/// Reads a meeting's packets up to `last`, and returns how many there are.
pub async fn read(db: &Surreal<Any>, meeting: &str, last: u64) -> usize {
    let key = |seq| RecordIdKey::from(Array::from(vec![text(meeting), number(seq)]));
    let range = RecordIdKeyRange { start: Bound::Included(key(1)), end: Bound::Included(key(last)) };
    let range = Value::RecordId(RecordId::new("packet", RecordIdKey::from(range)));
    let found = db.query("SELECT * FROM $range ORDER BY id").bind(("range", range)).await;
    match found.and_then(|mut found| found.take::<Value>(0)).expect("the rows are read") {
        Value::Array(rows) => rows.len(),
        _ => 0,
    }
}
