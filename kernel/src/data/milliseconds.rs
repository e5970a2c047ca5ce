//! Milliseconds as programs write them in JSON: many know one kind of number only, and write `1200.0`.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

/// Reads milliseconds from the meeting's start: rounded, not below 0, and 0 where it is null.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    // What has no types of its own, as the wire format, has only the one that was written.
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(Number)
    } else {
        u64::deserialize(deserializer)
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
        // Above this a double cannot tell one millisecond from the next.
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

#[cfg(test)]
mod tests {
    use crate::data::Transcription;

    #[test]
    fn any_number_is_read() {
        for (written, ms) in [
            ("1200", 1200),
            ("0.0", 0),
            ("1200.0", 1200),
            ("1200.5", 1201),
            ("1200.4", 1200),
            ("1e3", 1000),
            ("-20", 0),
            ("-0.6", 0),
            ("null", 0),
            ("18446744073709551615", u64::MAX),
        ] {
            let json = format!(r#"{{"text":"a","start_ms":{written}}}"#);
            let said: Transcription = serde_json::from_str(&json).unwrap();
            assert_eq!(said.start_ms, ms, "{written}");
        }
        for other in ["\"5\"", "true", "[1]", "1e30", "-1e400"] {
            let json = format!(r#"{{"text":"a","end_ms":{other}}}"#);
            assert!(serde_json::from_str::<Transcription>(&json).is_err(), "{other}");
        }
    }
}
