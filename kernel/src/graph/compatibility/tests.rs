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

/// An object with these fields, all of which it must have.
fn object(fields: &[&str]) -> Value {
    let properties: serde_json::Map<_, _> =
        fields.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
    json!({"type": "object", "properties": properties, "required": fields})
}

/// A hook that takes a field, and reads another one if it is there.
fn takes(field: &str, maybe: &str) -> Value {
    json!({
        "type": "object",
        "properties": {field: {"type": "string"}, maybe: {"type": "integer"}},
        "required": [field],
    })
}

#[test]
fn definitions_that_are_combined_exclude_no_fields_of_each_other() {
    let with = |mut schema: Value| {
        schema["$defs"] = json!({
            "A": object(&["a"]),
            "B": object(&["b"]),
            "alias": {"$ref": "#/$defs/A"},
            "either": {"anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A"}]},
            "a/b": object(&["a"]),
            "named": {"$anchor": "named", "type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        });
        schema
    };
    let b = json!({"$ref": "#/$defs/B"});
    let beside = |target: &str| {
        let mut schema = object(&["b"]);
        schema["$ref"] = json!(target);
        with(schema)
    };
    for carried in [
        with(json!({"allOf": [{"$ref": "#/$defs/A"}, b]})),
        with(json!({"allOf": [{"$ref": "#/$defs/alias"}, b]})),
        with(json!({"allOf": [{"$ref": "#/$defs/either"}, b]})),
        with(json!({"allOf": [{"allOf": [{"$ref": "#/$defs/A"}]}, b]})),
        with(json!({"allOf": [{"$ref": "#/$defs/a~1b"}, b]})),
        with(json!({"allOf": [{"$ref": "#named"}, b]})),
        with(json!({"anyOf": [{"$ref": "#/$defs/A"}], "allOf": [b]})),
        beside("#/$defs/A"),
        beside("#/$defs/alias"),
        with(json!({"oneOf": [beside("#/$defs/A")]})),
        with(json!({"allOf": [object(&["a"]), object(&["b"])]})),
    ] {
        for field in ["a", "b"] {
            assert_eq!(schemas(&carried, &object(&[field])), Fit::All, "{field}: {carried}");
        }
        assert_eq!(schemas(&carried, &object(&["a", "b"])), Fit::All, "{carried}");
        let misfit = schemas(&carried, &object(&["c"]));
        // No sample follows an anchor, so nothing shows there that `c` may be absent.
        let is_right = match &misfit {
            Fit::NotAll(reason) => reason.contains("\"c\""),
            Fit::Undecided(_) => carried["allOf"][0] == json!({"$ref": "#named"}),
            Fit::All => false,
        };
        assert!(is_right, "{misfit:?}: {carried}");
        let open = schemas(&carried, &takes("a", "c"));
        assert!(matches!(open, Fit::Undecided(_)), "{open:?}: nobody says that there is no c: {carried}");
    }
}

#[test]
fn definitions_that_describe_their_values_alone_are_closed() {
    let defs = json!({"A": object(&["a"]), "B": object(&["a", "b"])});
    let a = json!({"$ref": "#/$defs/A", "description": "What it is.", "title": "A"});
    for carried in [
        json!({"$defs": defs, "$ref": "#/$defs/A"}),
        json!({"$defs": defs, "anyOf": [a, {"$ref": "#/$defs/B"}]}),
        json!({"$defs": defs, "type": "object", "oneOf": [a, {"$ref": "#/$defs/B"}]}),
        json!({"$defs": defs, "allOf": [a], "description": "As schemars wrote it before."}),
    ] {
        assert_eq!(schemas(&carried, &takes("a", "c")), Fit::All, "{carried}");
    }
    for carried in [
        json!({"$defs": defs, "type": "array", "items": {"anyOf": [a, {"type": "null"}]}}),
        json!({"$defs": defs, "type": "array", "prefixItems": [a], "items": false}),
    ] {
        let taken = json!({"type": "array", "items": {"anyOf": [takes("a", "c"), {"type": "null"}]}});
        assert_eq!(schemas(&carried, &taken), Fit::All, "{carried}");
    }
}

#[test]
fn a_definition_with_two_uses_is_as_open_as_the_more_open_one() {
    let carried = json!({
        "$defs": {"A": object(&["a"]), "B": object(&["b"])},
        "type": "object",
        "properties": {"one": {"$ref": "#/$defs/A"}, "both": {"allOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]}},
        "required": ["one", "both"],
    });
    let in_field = |field: &str, inner: Value| json!({"type": "object", "properties": {field: inner}, "required": [field]});
    assert_eq!(schemas(&carried, &in_field("both", object(&["a", "b"]))), Fit::All);
    assert_eq!(schemas(&carried, &in_field("one", object(&["a"]))), Fit::All);
    assert!(matches!(schemas(&carried, &in_field("one", takes("a", "c"))), Fit::Undecided(_)));
    assert!(reason(&schemas(&carried, &in_field("one", object(&["c"])))).contains('c'));
}

#[test]
fn fields_inside_of_combined_schemas_belong_together_too() {
    let within = |fields: &[&str]| json!({"properties": {"p": object(fields)}, "required": ["p"]});
    let pattern = json!({
        "type": "object", "properties": {"p": object(&["a"])}, "patternProperties": {"^p": object(&["b"])},
        "required": ["p"],
    });
    for carried in [json!({"type": "object", "allOf": [within(&["a"]), within(&["b"])]}), pattern] {
        assert_eq!(schemas(&carried, &within(&["a", "b"])), Fit::All, "{carried}");
        let misfit = schemas(&carried, &within(&["c"]));
        assert!(!matches!(misfit, Fit::All), "{misfit:?}: {carried}");
    }
}

#[test]
fn what_a_source_excludes_it_excludes_with_any_fields() {
    let secret = json!({"properties": {"kind": {"const": "secret"}}, "required": ["kind"]});
    let mut carried = object(&["kind", "text"]);
    let mut taken = object(&["kind", "text"]);
    taken["properties"]["kind"] = json!({"enum": ["chat", "secret"]});
    carried["properties"]["kind"] = taken["properties"]["kind"].clone();
    taken["properties"]["kind"] = json!({"const": "chat"});
    for not in [secret.clone(), json!({"$ref": "#/$defs/secret"})] {
        carried["$defs"] = json!({"secret": secret});
        carried["not"] = not;
        assert_eq!(schemas(&carried, &taken), Fit::All, "{carried}");
        carried["not"] = json!(false);
        assert!(reason(&schemas(&carried, &taken)).contains("kind"));
    }
}

#[test]
fn a_source_without_values_fits_no_hook() {
    for carried in [
        json!(false),
        json!({"type": "object", "properties": {"a": false}, "required": ["a"]}),
        json!({"allOf": [{"type": "string"}, {"type": "integer"}]}),
    ] {
        let fit = schemas(&carried, &object(&["a"]));
        assert_eq!(fit, Fit::Undecided("no value is of the source's type".to_owned()), "{carried}");
    }
}

#[test]
fn a_source_that_cannot_be_closed_stays_as_it_is() {
    // A field that it requires and does not declare.
    let carried = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "b"]});
    assert_eq!(schemas(&carried, &object(&["a"])), Fit::All);
    assert!(reason(&schemas(&carried, &object(&["c"]))).contains('c'));
    // More fields than it declares.
    let carried = json!({"type": "object", "properties": {"a": {"type": "string"}}, "minProperties": 2});
    assert!(!matches!(schemas(&carried, &object(&["c"])), Fit::All));
    assert_eq!(schemas(&carried, &json!({"type": "object"})), Fit::All);
}

/// As schemars writes an enum with a tag in its variants' own fields.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
enum Event {
    Said(Said),
    Timed(Timed),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
enum Wordy {
    Said(Words),
    Timed(Words),
}

#[test]
fn a_tag_and_the_fields_of_its_variant_belong_together() {
    assert_eq!(fit::<Event, Event>(), Fit::All);
    assert_eq!(fit::<Event, Said>(), Fit::All);
    assert!(reason(&fit::<Event, Words>()).contains("words"));
    assert!(matches!(fit::<Event, Wordy>(), Fit::NotAll(_)), "the same tags with other fields");
}
