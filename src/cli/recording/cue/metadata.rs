//! Cues that hold JSON: what Microsoft Graph returns as a Teams transcript's `metadataContent`.
//!
//! Each cue is an object with `speakerName`, `spokenText` and more, and nothing else. JSON is never speech: a
//! cue is broken if it is an object without spoken text, or was meant as such an object and cannot be read.

use serde_json::{Deserializer, Map, Value};

use super::super::problem::Problem;

/// What one object says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SpokenText {
    /// The speaker; `None` where the name is missing or empty.
    pub(super) name: Option<String>,
    pub(super) text: String,
}

const NAME: &str = "speakerName";
const TEXT: &str = "spokenText";

/// How the keys of such objects begin: an object that is cut off may have no more than that.
const KEYS: [&str; 4] = ["\"startDateTime", "\"endDateTime", "\"speakerName", "\"spokenText"];

/// Reads a cue's text as metadata; `None` if it is speech.
pub(super) fn read(text: &str) -> Option<Result<Vec<SpokenText>, Problem>> {
    let inside = text.trim_start().strip_prefix('{')?;
    if !inside.trim_start().starts_with('"') {
        return None;
    }
    let objects: Result<Vec<Map<String, Value>>, _> = Deserializer::from_str(text).into_iter().collect();
    match objects {
        Ok(objects) => Some(objects.iter().filter_map(|object| spoken(object).transpose()).collect()),
        Err(_) if KEYS.iter().any(|key| text.contains(key)) => Some(Err(Problem::BrokenMetadata)),
        Err(_) => None,
    }
}

/// What one object says; `None` where its text is empty.
fn spoken(object: &Map<String, Value>) -> Result<Option<SpokenText>, Problem> {
    let text = match object.get(TEXT) {
        Some(Value::String(text)) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Some(Value::Null) | None if object.contains_key(NAME) => String::new(),
        _ => return Err(Problem::NoSpokenText),
    };
    let name = match object.get(NAME) {
        Some(Value::String(name)) => Some(name.trim().to_owned()).filter(|name| !name.is_empty()),
        Some(Value::Null) | None => None,
        Some(_) => return Err(Problem::NoSpokenText),
    };
    Ok((!text.is_empty()).then_some(SpokenText { name, text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str) -> Vec<(Option<String>, String)> {
        read(text).unwrap().unwrap().into_iter().map(|said| (said.name, said.text)).collect()
    }

    #[test]
    fn objects_are_what_somebody_says() {
        let one = |name: Option<&str>, text: &str| vec![(name.map(str::to_owned), text.to_owned())];
        assert_eq!(
            says(r#"{"speakerName":"Ada","spokenText":"We go.","spokenLanguage":"en"}"#),
            one(Some("Ada"), "We go.")
        );
        assert_eq!(
            says("{\n \"spokenText\": \"a\\n b\",\n \"speakerName\": \" Ada \"\n}\n"),
            one(Some("Ada"), "a b")
        );
        for nobody in [
            r#"{"speakerName":"","spokenText":"a"}"#,
            r#"{"spokenText":"a"}"#,
            r#"{"spokenText":"a","speakerName":null}"#,
        ] {
            assert_eq!(says(nobody), one(None, "a"), "{nobody}");
        }
        assert_eq!(says("{\"spokenText\":\"a\"}\n{\"spokenText\":\"b\",\"speakerName\":\"Bo\"}").len(), 2);
        for nothing in [r#"{"speakerName":"Ada","spokenText":" "}"#, r#"{"speakerName":"Ada"}"#] {
            assert_eq!(says(nothing), [], "{nothing}");
        }
    }

    #[test]
    fn json_is_never_speech() {
        for broken in [
            r#"{"speakerName":"Ada","spokenText":"We"#,
            r#"{"spokenText":"a"} and more"#,
            r#"{"startDateTime":"2026-0"#,
            r#"{"startDateTime":"#,
        ] {
            assert!(matches!(read(broken), Some(Err(Problem::BrokenMetadata))), "{broken}");
        }
        for other in
            [r#"{"title":"Kickoff"}"#, r#"{"spokenText":5}"#, r#"{"speakerName":{},"spokenText":"a"}"#]
        {
            assert!(matches!(read(other), Some(Err(Problem::NoSpokenText))), "{other}");
        }
    }

    #[test]
    fn speech_may_hold_braces() {
        for text in ["{\\an8}up", "{ so }", "{}", "{\"quoted\" words}", "a {\"spokenText\":\"a\"}", ""] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
