use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::*;
use crate::{
    FromPacket, IntoPayload, Json,
    data::{Chat, ParticipantEvent, Transcription},
};

fn fit<
    C: Serialize + JsonSchema + Send + 'static,
    T: for<'de> Deserialize<'de> + JsonSchema + Send + 'static,
>() -> Fit {
    compare(&Json::<C>::writes(), &Json::<T>::reads())
}

fn schemas(carried: &Value, taken: &Value) -> Fit {
    compare_schemas(carried, taken)
}

fn reason(fit: &Fit) -> &str {
    match fit {
        Fit::All => panic!("it fits"),
        Fit::NotAll(reason) => reason,
        Fit::Undecided(reason) => panic!("undecided: {reason}"),
    }
}

macro_rules! types {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $(
            #[derive(Serialize, Deserialize, JsonSchema)]
            $(#[$meta])*
            #[allow(dead_code)]
            struct $name { $($(#[$field_meta])* $field: $type),* }
        )*
    };
}

types! {
    Said { text: String }
    Timed { text: String, start_ms: u64, end_ms: u64 }
    WithLanguage { text: String, language: String }
    WithSpeaker { text: String, #[serde(default)] speaker: Option<String> }
    Words { words: Vec<String> }
    Short { text: String, start_ms: u16 }
    #[serde(deny_unknown_fields)]
    Strict { text: String }
    Numbered { text: u32 }
    Lenient { #[serde(default)] words: Vec<String>, #[serde(default)] size: u32 }
    Node { name: String, children: Vec<Node> }
    OtherNode { name: String, #[serde(default)] size: u32, children: Vec<OtherNode> }
}

#[test]
fn a_type_of_ones_own_fits_if_all_its_fields_are_there() {
    assert_eq!(fit::<Transcription, Transcription>(), Fit::All);
    assert_eq!(fit::<Transcription, Said>(), Fit::All);
    assert_eq!(fit::<Transcription, Timed>(), Fit::All);
    assert_eq!(fit::<Transcription, WithSpeaker>(), Fit::All, "a field more that may be absent");
    assert_eq!(fit::<Transcription, serde_json::Value>(), Fit::All);
    assert_eq!(fit::<Said, Transcription>(), Fit::All, "all but the text may be absent");
    assert_eq!(fit::<ParticipantEvent, serde_json::Map<String, Value>>(), Fit::All);
    assert_eq!(fit::<Vec<Chat>, Vec<Said>>(), Fit::All);
    assert_eq!(fit::<u32, f64>(), Fit::All);
    assert_eq!(fit::<Node, serde_json::Map<String, Value>>(), Fit::All);
}

#[test]
fn what_cannot_always_be_read_does_not_fit_and_the_reason_names_the_field() {
    for (fit, names) in [
        (fit::<Transcription, Words>(), r#""words" is a required property"#),
        (fit::<Transcription, WithLanguage>(), "language"),
        (fit::<Transcription, Strict>(), "start_ms"),
        (fit::<Transcription, Numbered>(), "/text"),
        (fit::<Transcription, Vec<Transcription>>(), r#"is not of type "array""#),
        (fit::<Transcription, Short>(), r#""minimum":65536"#),
        (fit::<Vec<Chat>, Vec<Words>>(), "at /0, \"words\" is a required property"),
        (fit::<ParticipantEvent, Said>(), r#""text" is a required property"#),
        (fit::<f64, u32>(), "0.5"),
        (fit::<BTreeMap<String, u32>, BTreeMap<String, String>>(), "/key"),
        (fit::<Option<u32>, u32>(), "null"),
    ] {
        assert!(reason(&fit).contains(names), "{names}: {fit:?}");
    }
}

#[test]
fn another_well_known_type_does_not_fit_although_its_fields_would() {
    assert_eq!(fit::<Chat, Transcription>(), Fit::NotAll(String::new()));
    assert_eq!(fit::<Transcription, Chat>(), Fit::NotAll(String::new()));
    assert_eq!(fit::<Chat, ParticipantEvent>(), Fit::NotAll(String::new()));
}

#[test]
fn what_nobody_can_decide_is_undecided() {
    let both = |carried, taken| {
        schemas(&json!({"type": "string", "pattern": carried}), &json!({"type": "string", "pattern": taken}))
    };
    assert!(matches!(both("^a+$", "^(a|b)+$"), Fit::Undecided(_)));
    assert_eq!(both("^a+$", "^a+$"), Fit::All);
    assert!(matches!(fit::<Transcription, Lenient>(), Fit::Undecided(_)), "it reads nothing but defaults");
    assert!(matches!(fit::<Node, OtherNode>(), Fit::Undecided(_) | Fit::All));
}

#[test]
fn schemas_of_earlier_drafts_are_compared_too() {
    let carried = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"line": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}},
        "$ref": "#/definitions/line",
    });
    let taken = |data: DataType| data.schema().unwrap().as_value().clone();
    assert_eq!(schemas(&carried, &taken(Json::<Said>::reads())), Fit::All);
    let fit = schemas(&carried, &taken(Json::<Words>::reads()));
    assert!(reason(&fit).contains("words"), "{fit:?}");
}

#[test]
fn fields_of_combined_schemas_belong_together() {
    // As schemars writes a struct with a flattened enum.
    let carried = json!({
        "type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"],
        "oneOf": [
            {"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]},
            {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]},
        ],
    });
    let takes = |field: &str| json!({"type": "object", "properties": {field: {"type": "string"}}, "required": [field]});
    assert_eq!(schemas(&carried, &takes("title")), Fit::All);
    assert_eq!(schemas(&carried, &takes("kind")), Fit::All);
    assert!(reason(&schemas(&carried, &takes("text"))).contains("text"));
}

#[test]
fn a_malformed_schema_is_named() {
    assert!(problem(&json!({"type": "strin"})).unwrap().contains("strin"));
    assert!(problem(&json!([1])).is_some());
    assert!(problem(&json!({"$ref": "#/nowhere"})).is_some());
    assert_eq!(problem(&json!(true)), None);
    assert_eq!(problem(&json!({"type": "object"})), None);
}

#[test]
fn a_schema_that_excludes_little_is_shown_by_a_value_that_it_allows() {
    let taken = json!({"type": "object", "properties": {"number": {"type": "integer", "minimum": 0}}, "required": ["number"]});
    let reason = |carried: Value| match schemas(&carried, &taken) {
        Fit::NotAll(reason) => reason,
        other => panic!("{other:?}"),
    };
    let number =
        json!({"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]});
    assert!(reason(number).starts_with("it does not take {\"number\":-1}: at /number, "));
    for (open, value) in [
        (json!({}), "null"),
        (json!(true), "null"),
        (json!({"propertys": {}}), "null"),
        (json!({"properties": {"number": {"minimum": 0}}}), "{}"),
    ] {
        assert!(reason(open).starts_with(&format!("it does not take {value}: ")), "{value} shows it");
    }
}
