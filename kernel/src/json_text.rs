//! Text that is JSON, for certain.

use std::{fmt, ops::Deref, sync::Arc};

use serde::{Serialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{EncodeError, decode, error_classes};

/// One JSON value as text. Every constructor checks the text, so whoever holds a `JsonText` can parse it.
///
/// The text stays as it was given: digits, the order of keys, escapes and white space. The check is of the
/// grammar (RFC 8259) and builds no value; a type that a hook asks for is another matter.
///
/// # Examples
/// ```
/// use teammy_kernel::JsonText;
/// let text = JsonText::new(r#"{"text": "hello"}"#)?;
/// assert_eq!(text.as_str(), r#"{"text": "hello"}"#);
///
/// let error = JsonText::new("{not json").unwrap_err();
/// assert_eq!(error.to_string(), "key must be a string at line 1 column 2");
/// # Ok::<(), teammy_kernel::MalformedJson>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JsonText(Arc<str>);

impl JsonText {
    /// Checks a text.
    ///
    /// # Errors
    /// [`MalformedJson`] says where the text stops being JSON, and keeps the text.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, MalformedJson> {
        let text = text.into();
        match serde_json::from_str::<IgnoredAny>(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => {
                let at = Place { problem: error.to_string(), line: error.line(), column: error.column() };
                Err(MalformedJson { text, at: Box::new(at) })
            }
        }
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// If the value has no JSON form, for example a map whose keys are not strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let text = decode::to_json(value)?;
        // A `Serialize` written by hand may leave out a value or write a key twice over; serde_json does not
        // notice.
        Self::new(text).map_err(|_| EncodeError::MALFORMED)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for JsonText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for JsonText {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&RawValue> for JsonText {
    fn from(value: &RawValue) -> Self {
        Self(value.get().into())
    }
}

impl From<Box<RawValue>> for JsonText {
    fn from(value: Box<RawValue>) -> Self {
        Self(Box::<str>::from(value).into())
    }
}

impl From<&serde_json::Value> for JsonText {
    fn from(value: &serde_json::Value) -> Self {
        Self(value.to_string().into())
    }
}

impl From<JsonText> for Arc<str> {
    fn from(text: JsonText) -> Self {
        text.0
    }
}

impl TryFrom<&str> for JsonText {
    type Error = MalformedJson;

    fn try_from(text: &str) -> Result<Self, MalformedJson> {
        Self::new(text)
    }
}

impl TryFrom<String> for JsonText {
    type Error = MalformedJson;

    fn try_from(text: String) -> Result<Self, MalformedJson> {
        Self::new(text)
    }
}

impl std::str::FromStr for JsonText {
    type Err = MalformedJson;

    fn from_str(text: &str) -> Result<Self, MalformedJson> {
        Self::new(text)
    }
}

/// A text that should be JSON and is not: what is wrong, and where. The message quotes nothing of the text;
/// [`text`](Self::text) returns it.
#[derive(Clone, PartialEq, Eq)]
pub struct MalformedJson {
    text: Arc<str>,
    at: Box<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    problem: String,
    line: usize,
    column: usize,
}

impl MalformedJson {
    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line at which the text stops being JSON, from 1.
    pub fn line(&self) -> usize {
        self.at.line
    }

    /// The column there, in bytes from 1; 0 stands for a line's beginning.
    pub fn column(&self) -> usize {
        self.at.column
    }
}

impl fmt::Display for MalformedJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at.problem)
    }
}

impl fmt::Debug for MalformedJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MalformedJson").field("at", &self.at).finish_non_exhaustive()
    }
}

impl std::error::Error for MalformedJson {}

error_classes!(MalformedJson { _ => "malformed-json" Invalid, });

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Serializer, ser::SerializeMap};

    use super::*;

    #[test]
    fn only_json_gets_in() {
        for text in ["null", " 7 ", "\"a\"", "[1e400,-0]", "{\"a\":1,\"a\":2}", "\n{}\r\n", "\"\\ud800\""] {
            assert_eq!(JsonText::new(text).unwrap().as_str(), text);
        }
        for (text, line, column) in [
            ("", 1, 0),
            (" ", 1, 1),
            ("{not json", 1, 2),
            ("{\n\"a\":}", 2, 5),
            ("1 2", 1, 3),
            ("\"a\u{1}\"", 1, 2),
            ("NaN", 1, 1),
            ("01", 1, 2),
            ("[1,]", 1, 4),
            ("'a'", 1, 1),
            ("\u{feff}1", 1, 1),
        ] {
            let error = JsonText::new(text).unwrap_err();
            assert_eq!(
                (error.text(), error.line(), error.column()),
                (text, line, column),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let deep = "[".repeat(1 << 20) + &"]".repeat(1 << 20);
        assert_eq!(JsonText::new(deep.as_str()).unwrap().len(), deep.len());
        assert!(JsonText::new("[".repeat(1 << 20)).is_err());
    }

    #[test]
    fn errors_quote_nothing() {
        for text in ["MARKER", "{\"MARKER\"", "\"MARKER", "[\"MARKER\" 1]"] {
            let error = JsonText::new(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("MARKER"), "{error:?}");
        }
    }

    /// Writes a key and no value.
    struct HalfAnEntry;

    impl Serialize for HalfAnEntry {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_key("a")?;
            map.end()
        }
    }

    #[test]
    fn a_faulty_serialize_is_found() {
        assert_eq!(JsonText::of(&HalfAnEntry), Err(EncodeError::MALFORMED));
        assert_eq!(JsonText::of(&[1, 2]).unwrap().as_str(), "[1,2]");
    }

    #[test]
    fn what_serde_json_holds_is_json_already() {
        let raw: Box<RawValue> = serde_json::from_str(" {\"b\":1, \"a\":1.0} ").unwrap();
        assert_eq!(JsonText::from(&*raw).as_str(), "{\"b\":1, \"a\":1.0}");
        assert_eq!(JsonText::from(raw).as_str(), "{\"b\":1, \"a\":1.0}");
        assert_eq!(JsonText::from(&serde_json::json!({"a": [null]})).as_str(), "{\"a\":[null]}");
    }

    proptest! {
        #[test]
        fn it_takes_what_a_parser_takes(text in "[\\[\\]{}:,\"0-9a-e.+\\\\ \n-]{0,12}") {
            let parsed = serde_json::from_str::<&RawValue>(&text);
            prop_assert_eq!(JsonText::new(text.as_str()).is_ok(), parsed.is_ok());
        }
    }
}
