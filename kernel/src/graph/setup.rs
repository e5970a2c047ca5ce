//! An instance's configuration as a [`Setup`], which is stored with a meeting and compared later.

use serde_json::Value;

use super::instance::Instance;
use crate::{Durability, Setup};

impl Instance {
    /// The instance's kind, version and a digest of its configuration.
    pub fn setup(&self) -> Setup {
        let mut digest = Digest::default();
        digest.value(&self.table());
        for (actual, own) in &self.subscriptions {
            digest.text(actual.as_str());
            digest.text(own.as_str());
        }
        for (source, policy) in &self.policies {
            digest.text(source.as_str());
            digest.text(&policy.to_string());
        }
        // Stored digests hold these words: they must stay, whatever the variants are called.
        digest.text(match self.output {
            Durability::Durable => "Durable",
            Durability::Volatile => "Volatile",
        });
        Setup {
            kind: self.factory.kind().to_owned(),
            version: self.factory.version().to_owned(),
            digest: format!("{:016x}", digest.0),
        }
    }

    /// The table with the defaults of its schema filled in, so that a spelled-out default makes no
    /// difference.
    fn table(&self) -> Value {
        let mut table = self.config.as_object().cloned().unwrap_or_default();
        let schema = self.metadata.config.as_value();
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(default) = property.get("default").filter(|default| !default.is_null()) {
                table.entry(key).or_insert_with(|| default.clone());
            }
        }
        Value::Object(table)
    }
}

/// FNV-1a. Each part ends with a byte that UTF-8 never uses, so that parts cannot run together.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn text(&mut self, text: &str) {
        self.bytes(text.bytes().chain([0xff]));
    }

    fn bytes(&mut self, bytes: impl IntoIterator<Item = u8>) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Adds a value; the order of its keys makes no difference.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(entries) => {
                let mut keys: Vec<&String> = entries.keys().collect();
                keys.sort_unstable();
                self.text("{");
                for key in keys {
                    self.text(key);
                    self.value(&entries[key]);
                }
                self.text("}");
            }
            Value::Array(items) => {
                self.text("[");
                for item in items {
                    self.value(item);
                }
                self.text("]");
            }
            other => self.text(&other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(value: &Value) -> u64 {
        let mut digest = Digest::default();
        digest.value(value);
        digest.0
    }

    #[test]
    fn the_order_of_keys_makes_no_difference_and_all_else_does() {
        let one = json!({"a": 1, "b": [true, "x"]});
        assert_eq!(digest(&one), digest(&serde_json::from_str(r#"{"b":[true,"x"],"a":1}"#).unwrap()));
        for other in [
            json!({"a": 1, "b": ["x", true]}),
            json!({"a": "1", "b": [true, "x"]}),
            json!({"a": 1, "b": [true, "x"], "c": null}),
            json!({"a": 1}),
            json!({}),
            json!(null),
        ] {
            assert_ne!(digest(&one), digest(&other), "{other}");
        }
        // A test vector of the algorithm's authors.
        let mut digest = Digest::default();
        digest.bytes(*b"foobar");
        assert_eq!(digest.0, 0x8594_4171_f739_67e8);
    }
}
