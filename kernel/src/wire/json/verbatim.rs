//! JSON as text, out of any deserializer.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Unexpected, Visitor},
};

/// The name by which `serde_json` hands out a value's text (see `RawValue`). A deserializer that does not know it
/// hands out the value instead, which is then written as JSON.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// A value as JSON text: of `serde_json`'s deserializers the very text, of others the value written anew.
///
/// serde buffers what it reads for enums with tags inside, untagged enums and flattened structs. `RawValue`
/// cannot be read from that buffer.
pub(super) struct Verbatim(pub(super) String);

impl<'de> Deserialize<'de> for Verbatim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(RAW_VALUE, Whole).map(Self)
    }
}

struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a packet as JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        match map.next_key::<String>()? {
            Some(key) if key == RAW_VALUE => map.next_value(),
            first => object(first, map),
        }
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        Ok(Anew::deserialize(deserializer)?.0)
    }
}

/// A value, written as JSON.
struct Anew(String);

impl<'de> Deserialize<'de> for Anew {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Ok("null".to_owned())
    }

    fn visit_none<E: Error>(self) -> Result<String, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        Ok(Anew::deserialize(deserializer)?.0)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        self.visit_some(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<String, E> {
        match serde_json::Number::from_f64(value) {
            Some(number) => Ok(number.to_string()),
            None => Err(E::invalid_value(Unexpected::Other("a number that is not finite"), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(string(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<String, A::Error> {
        let mut text = "[".to_owned();
        while let Some(Anew(item)) = items.next_element()? {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&item);
        }
        Ok(text + "]")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let first = map.next_key()?;
        object(first, map)
    }
}

fn object<'de, A: MapAccess<'de>>(mut key: Option<String>, mut map: A) -> Result<String, A::Error> {
    let mut text = "{".to_owned();
    while let Some(name) = key {
        let Anew(value) = map.next_value()?;
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&string(&name));
        text.push(':');
        text.push_str(&value);
        key = map.next_key()?;
    }
    Ok(text + "}")
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
