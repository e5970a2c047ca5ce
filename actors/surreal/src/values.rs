//! Single values to SurrealDB's and back. A function `as_…` returns `None` for a value of another type.

use jiff::Timestamp;
use serde::Serialize;
use surrealdb::types::{Array, Datetime, Number, Object, Value, Variables};
use teammy_kernel::{Name, Producer, Seq, TraceContext, store::Incarnation};

use super::error::{Cause, NumberTooHigh};

pub(super) fn variables<const N: usize>(values: [(&str, Value); N]) -> Variables {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The variables of a query whose only one is `$id`: a record's id, or a range of ids.
pub(super) fn by_id(id: Value) -> Variables {
    variables([("id", id)])
}

pub(super) fn object<const N: usize>(columns: [(&str, Value); N]) -> Object {
    let mut object = Object::new();
    for (column, value) in columns {
        object.insert(column, value);
    }
    object
}

pub(super) fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

pub(super) fn number(number: u64) -> Result<Value, Cause> {
    let number = i64::try_from(number).map_err(|_| NumberTooHigh(number))?;
    Ok(Value::Number(Number::Int(number)))
}

/// The number, or the highest that the database can hold. Only for a bound of a range: all that is stored is
/// below.
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

/// The word as which a status serialises.
pub(super) fn word<T: Serialize>(status: T) -> Value {
    match serde_json::to_value(status) {
        Ok(serde_json::Value::String(word)) => Value::String(word),
        _ => unreachable!("invariant: a status is one word"),
    }
}

pub(super) fn seqs(seqs: &[Seq]) -> Result<Value, Cause> {
    Ok(Value::Array(Array::from(seqs.iter().map(|seq| number(seq.0)).collect::<Result<Vec<_>, _>>()?)))
}

pub(super) fn as_str(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

pub(super) fn as_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

pub(super) fn as_name(value: &Value) -> Option<Name> {
    Name::new(as_str(value)?).ok()
}

pub(super) fn as_names(value: Value) -> Option<Vec<Name>> {
    let Value::Array(names) = value else { return None };
    names.iter().map(as_name).collect()
}

pub(super) fn as_number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(Number::Int(number)) => u64::try_from(*number).ok(),
        _ => None,
    }
}

pub(super) fn as_moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Datetime(at) => {
            let second = i128::from(at.timestamp()) * 1_000_000_000;
            Timestamp::from_nanosecond(second + i128::from(at.timestamp_subsec_nanos())).ok()
        }
        _ => None,
    }
}

pub(super) fn as_bytes(value: Value) -> Option<bytes::Bytes> {
    match value {
        Value::Bytes(bytes) => Some(bytes.into()),
        _ => None,
    }
}

pub(super) fn as_producer(value: Value) -> Option<Producer> {
    let Value::Object(mut producer) = value else { return None };
    let id = as_text(producer.remove("id")?)?.into();
    Some(Producer { id, number: as_number(&producer.remove("number")?)? })
}

pub(super) fn as_incarnation(value: &Value) -> Option<Incarnation> {
    let Value::Array(key) = value else { return None };
    let mut key = key.iter();
    let (node, boot, None) = (as_name(key.next()?)?, as_str(key.next()?)?, key.next()) else { return None };
    Some(Incarnation { node, boot: u64::from_str_radix(boot, 16).ok()? })
}

pub(super) fn as_trace(value: &Value) -> Option<TraceContext> {
    as_str(value)?.parse().ok()
}

pub(super) fn as_seqs(value: Value) -> Option<Vec<Seq>> {
    let Value::Array(seqs) = value else { return None };
    seqs.iter().map(|seq| as_number(seq).map(Seq)).collect()
}
