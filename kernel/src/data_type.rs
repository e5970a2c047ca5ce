//! What the packets of a source carry, and what a hook reads.

use std::{any::type_name, borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde::Serialize;

/// What the packets of a source carry, or what a hook takes. The graph of instances compares the two before a
/// meeting can start.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "form", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DataType {
    /// Of a source: anything, as far as is known. Of a hook: whatever comes.
    Any,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// JSON.
    Json {
        /// The type's name, for people.
        #[serde(rename = "type")]
        name: Cow<'static, str>,
        /// Its JSON Schema.
        schema: Schema,
    },
}

impl DataType {
    /// The JSON that a type's `Serialize` writes.
    pub fn written_by<T: JsonSchema>() -> Self {
        Self::json::<T>(SchemaSettings::draft2020_12().for_serialize())
    }

    /// The JSON that a type's `Deserialize` reads, which may be more than its `Serialize` writes.
    pub fn read_by<T: JsonSchema>() -> Self {
        Self::json::<T>(SchemaSettings::draft2020_12().for_deserialize())
    }

    /// JSON of a schema. Its name is the schema's title.
    pub fn of_schema(schema: Schema) -> Self {
        let title = schema.get("title").and_then(|title| title.as_str());
        let name = title.map_or(Cow::Borrowed("JSON of its schema"), |title| Cow::Owned(title.to_owned()));
        Self::Json { name, schema }
    }

    fn json<T: JsonSchema>(settings: SchemaSettings) -> Self {
        let schema = settings.into_generator().into_root_schema_for::<T>();
        Self::Json { name: format!("Json<{}>", short_name::<T>()).into(), schema }
    }

    /// The JSON Schema; `None` of anything that is not JSON.
    pub fn schema(&self) -> Option<&Schema> {
        match self {
            Self::Json { schema, .. } => Some(schema),
            _ => None,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "anything",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Json { name, .. } => name,
        })
    }
}

/// A type's name without the paths of modules, as its author writes it: `Json<Chat>`.
pub(crate) fn short_name<T>() -> String {
    let mut short = String::new();
    for part in type_name::<T>().split_inclusive(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        short.push_str(part.rsplit("::").next().unwrap_or(part));
    }
    short
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Json, data::Chat};

    #[test]
    fn names_have_no_paths() {
        assert_eq!(short_name::<Json<Chat>>(), "Json<Chat>");
        assert_eq!(short_name::<BTreeMap<String, Vec<(u8, Chat)>>>(), "BTreeMap<String, Vec<(u8, Chat)>>");
        assert_eq!(short_name::<[u8; 4]>(), "[u8; 4]");
        assert_eq!(DataType::read_by::<Chat>().to_string(), "Json<Chat>");
    }

    #[test]
    fn what_is_written_has_the_fields_that_may_be_absent_when_it_is_read() {
        let required = |data: DataType| data.schema().unwrap().get("required").cloned();
        let read = required(DataType::read_by::<crate::data::Transcription>());
        let written = required(DataType::written_by::<crate::data::Transcription>());
        assert_eq!(read, Some(serde_json::json!(["text"])));
        assert_eq!(written, Some(serde_json::json!(["text", "start_ms", "end_ms", "is_final"])));
    }
}
