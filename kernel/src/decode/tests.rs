use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::data::{Chat, ParticipantEvent, Transcription};

/// A text that no message may hold.
const WORDS: &str = "MARKER";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only what cannot be read is looked at")]
struct Deep {
    list: Vec<Item>,
    #[serde(default)]
    counts: BTreeMap<String, u8>,
    #[serde(default)]
    numbered: BTreeMap<u32, u8>,
    #[serde(default)]
    maybe: Option<Item>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only what cannot be read is looked at")]
enum Item {
    Nothing,
    One(u8),
    Two(u8, bool),
    More { name: String, at: char },
    Own(Own),
}

#[derive(Debug)]
struct Own;

impl<'de> Deserialize<'de> for Own {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Err(serde::de::Error::custom(format!("no such thing: {text}, expected {text}")))
    }
}

#[track_caller]
fn says<T: serde::de::DeserializeOwned + fmt::Debug>(text: &str, expected: &str) {
    let error = json::<T>(text).unwrap_err();
    assert_eq!(error.to_string(), expected, "{text}");
    assert!(!format!("{error:?}").contains(WORDS), "{error:?}");
}

#[test]
fn the_place_and_the_types_are_told_and_no_value() {
    says::<Transcription>(r#"{"text":5}"#, "text: invalid type: integer, expected a string");
    says::<Transcription>(
        r#"{"text":"a","start_ms":"MARKER"}"#,
        "start_ms: invalid type: string, expected a number of milliseconds",
    );
    says::<Transcription>(
        r#"{"text":"a","is_final":"MARKER, expected MARKER"}"#,
        "is_final: invalid type: string, expected a boolean",
    );
    says::<Transcription>(r#"{"MARKER":"MARKER"}"#, "missing field `text`");
    says::<Transcription>(r#""MARKER""#, "invalid type: string, expected struct Transcription");
    says::<Transcription>(r#"{"text":"a","text":"b"}"#, "duplicate field `text`");
    says::<Chat>(r#"{"text":["MARKER"]}"#, "text: invalid type: sequence, expected a string");
    says::<ParticipantEvent>(
        r#"{"event":"MARKER"}"#,
        "*: unknown variant, expected one of `joined`, `left`, `renamed`",
    );
    says::<ParticipantEvent>(
        r#"{"event":"renamed","to":{"MARKER":1}}"#,
        "invalid type: map, expected a string",
    );
}

#[test]
fn the_place_may_be_deep() {
    says::<Deep>(
        r#"{"list":["nothing",{"one":"MARKER"}]}"#,
        "list[1].one: invalid type: string, expected u8",
    );
    says::<Deep>(r#"{"list":[{"one":300}]}"#, "list[0].one: invalid value: integer, expected u8");
    says::<Deep>(
        r#"{"list":[{"more":{"name":"MARKER","at":"MARKER"}}]}"#,
        "list[0].more.at: invalid value: string, expected a character",
    );
    says::<Deep>(
        r#"{"list":[{"two":[1]}]}"#,
        "list[0].two: invalid length 1, expected tuple variant Item::Two with 2 elements",
    );
    says::<Deep>(
        r#"{"list":[{"two":[1,"MARKER"]}]}"#,
        "list[0].two[1]: invalid type: string, expected a boolean",
    );
    says::<Deep>(
        r#"{"list":[],"counts":{"MARKER":"MARKER"}}"#,
        "counts.*: invalid type: string, expected u8",
    );
    says::<Deep>(r#"{"list":[],"numbered":{"7":"MARKER"}}"#, "numbered.*: invalid type: string, expected u8");
    says::<Deep>(r#"{"list":[],"maybe":{"one":null}}"#, "maybe.one: invalid type: null, expected u8");
    says::<Deep>(
        r#"{"list":[],"MARKER":1}"#,
        "unknown field, expected one of `list`, `counts`, `numbered`, `maybe`",
    );
    says::<Deep>(
        r#"{"list":[{"MARKER":1}]}"#,
        "list[0]: unknown variant, expected one of `nothing`, `one`, `two`, `more`, `own`",
    );
    says::<Deep>(r#"{"list":[{"own":"MARKER"}]}"#, "list[0].own: a value that the type doesn't take");
    says::<Deep>(
        r#"{"list":[],"numbered":{"MARKER":1}}"#,
        "invalid value: expected key to be a number in quotes",
    );
}

#[test]
fn what_is_no_json_is_told() {
    assert_eq!(json::<Chat>(r#"{"text":"a"} b"#).unwrap_err().column(), 14);
    says::<Chat>(r#"{"text":"MARKER"#, "EOF while parsing a string");
    says::<Chat>(r#"{"text":"a"} MARKER"#, "trailing characters");
    says::<Chat>("MARKER", "expected value");
}

#[test]
fn what_is_expected_is_cut() {
    #[derive(Debug)]
    struct Wordy;
    impl<'de> Deserialize<'de> for Wordy {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::invalid_type(
                serde::de::Unexpected::Str("MARKER"),
                &"x".repeat(1000).as_str(),
            ))
        }
    }
    let error = json::<Wordy>("1").unwrap_err().to_string();
    assert!(error.len() < 300 && error.ends_with('…'), "{error}");
}

#[test]
fn what_can_be_read_is_read() {
    let deep: Deep =
        json(r#"{"list":["nothing",{"more":{"name":"a","at":"b"}}],"numbered":{"7":1}}"#).unwrap();
    assert_eq!((deep.list.len(), deep.numbered[&7]), (2, 1));
}

#[test]
fn what_cannot_be_written_says_nothing_of_the_value() {
    struct Loud;
    impl Serialize for Loud {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("MARKER"))
        }
    }
    assert_eq!(to_json(&Loud).unwrap_err().to_string(), "its Serialize failed");
    assert_eq!(to_json(&BTreeMap::from([((1, 2), 3)])).unwrap_err().to_string(), "key must be a string");
}
