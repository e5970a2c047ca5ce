//! Milliseconds as programs write them in JSON. Many programs have one kind of number only, and write
//! `1200.0`.

use std::fmt;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

/// Reads milliseconds from the meeting's start: rounded, not below 0; null is 0.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    // A format that isn't self-describing, such as the wire format, holds exactly the type that was written.
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(Number)
    } else {
        u64::deserialize(deserializer)
    }
}

/// Whole milliseconds are written, and any number or null is read.
pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    if generator.contract().is_serialize() {
        json_schema!({"type": "integer", "format": "uint64", "minimum": 0})
    } else {
        json_schema!({"type": ["number", "null"], "default": 0})
    }
}

struct Number;

impl Visitor<'_> for Number {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of milliseconds")
    }

    fn visit_u64<E: Error>(self, ms: u64) -> Result<u64, E> {
        Ok(ms)
    }

    fn visit_i64<E: Error>(self, ms: i64) -> Result<u64, E> {
        Ok(u64::try_from(ms).unwrap_or(0))
    }

    fn visit_f64<E: Error>(self, ms: f64) -> Result<u64, E> {
        // Above 2^53 a double cannot represent each millisecond.
        const MOST: f64 = 9_007_199_254_740_992.0;
        if !ms.is_finite() || ms > MOST {
            return Err(E::invalid_value(Unexpected::Float(ms), &self));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(ms.round().max(0.0) as u64)
    }

    fn visit_unit<E: Error>(self) -> Result<u64, E> {
        Ok(0)
    }
}
