use schemars::generate::SchemaSettings;
use serde_json::json;
use teammy_kernel::{AnswerError, parse_answer};

use super::*;
use crate::config::Action;

fn actions() -> Actions {
    Actions::new(&[
        Action::new("web-search", "look it up").with("query", "what to look up"),
        Action::new(" Create Task", "take it on").with("title", "what").with("owner", "who"),
        Action::new("stop", "stop the recording"),
    ])
    .unwrap()
}

fn read(answer: &str) -> Answer {
    Answer::new(parse_answer(answer).unwrap(), &actions())
}

fn search(query: &str) -> ActionCall {
    ActionCall {
        action: "web-search".into(),
        parameters: BTreeMap::from([("query".into(), query.to_owned())]),
    }
}

#[test]
fn a_list_is_read_whatever_it_is_wrapped_in() {
    let list = r#"[{"action": "web-search", "parameters": {"query": "tides"}}]"#;
    let one = r#"{"action": "web-search", "parameters": {"query": "tides"}}"#;
    for answer in [
        list.to_owned(),
        format!("```json\n{list}\n```"),
        format!("As asked in [1] and {{2}}, here it is:\n\n{list}\n\nDone."),
        format!("<think>Perhaps [].</think>{list}"),
        format!(r#"{{"actions": {list}}}"#),
        one.to_owned(),
        format!("Only this: {one}"),
        r#"[{"name": "web-search", "arguments": {"query": "tides"}}]"#.to_owned(),
        r#"[{"action": " Web-Search", "parameters": {"Query ": " tides\n", "more": 1}, "why": "asked"}]"#
            .to_owned(),
    ] {
        assert_eq!(read(&answer), Answer { calls: vec![search("tides")], dropped: 0 }, "{answer}");
    }
    for none in [r#"{"actions": []}"#, "[]"] {
        assert_eq!(read(none), Answer::default());
    }
    assert_eq!(read("Nothing: `[]`."), Answer::default());
}

#[test]
fn an_answer_without_actions_is_an_error() {
    for answer in
        ["", "none", "I can't.", "null", "[1]", "[\"web-search\"]", "{}", r#"{"query": "tides"}"#, "[{}]"]
    {
        assert!(parse_answer::<RawAnswer>(answer).is_err(), "{answer}");
    }
    let AnswerError::OtherShape { problem } = parse_answer::<RawAnswer>("{}").unwrap_err() else { panic!() };
    assert_eq!(problem, "missing field `actions`, a list of objects with `action` and `parameters`");
}

#[test]
fn an_object_is_asked_for() {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<AskedAnswer>();
    let asked = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Actions",
        "type": "object",
        "properties": {
            "actions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "action": {"type": "string"},
                        "parameters": {"type": "object", "additionalProperties": true},
                    },
                    "required": ["action", "parameters"],
                },
            },
        },
        "required": ["actions"],
    });
    assert_eq!(*schema.as_value(), asked);
}

#[test]
fn names_are_put_out_as_configured_and_parameters_as_text() {
    let answer = json!([
        {"action": "create  task", "parameters": {"TITLE": 42, "owner": true}},
        {"action": "STOP"},
        {"action": "stop", "parameters": null},
        {"action": "web-search", "parameters": {"query": -1.5}},
    ]);
    let calls = read(&answer.to_string()).calls;
    let parameters = BTreeMap::from([("owner".into(), "true".to_owned()), ("title".into(), "42".to_owned())]);
    let stop = || ActionCall { action: "stop".into(), parameters: BTreeMap::new() };
    assert_eq!(
        calls,
        [ActionCall { action: "Create Task".into(), parameters }, stop(), stop(), search("-1.5")]
    );
}

#[test]
fn an_action_that_nobody_could_carry_out_is_left_out_and_the_others_are_not() {
    let long = "é".repeat(MAX_ACTION_CHARS);
    for bad in [
        json!({"action": "reboot", "parameters": {"query": "x"}}),
        json!({"action": 7, "parameters": {"query": "x"}}),
        json!({"action": null}),
        json!({"action": "web-search"}),
        json!({"action": "web-search", "parameters": {}}),
        json!({"action": "web-search", "parameters": "tides"}),
        json!({"action": "web-search", "parameters": {"query": null}}),
        json!({"action": "web-search", "parameters": {"query": ["tides"]}}),
        json!({"action": "web-search", "parameters": {"query": {"text": "tides"}}}),
        json!({"action": "web-search", "parameters": {"query": " \n"}}),
        json!({"action": "web-search", "parameters": {"query": "…"}}),
        json!({"action": "web-search", "parameters": {"query": "..."}}),
        json!({"action": "create task", "parameters": {"title": "x"}}),
        json!({"action": "web-search", "parameters": {"query": format!("{long}x")}}),
        json!({"action": "create task", "parameters": {"title": long, "owner": "x"}}),
    ] {
        let answer = json!([bad, {"action": "web-search", "parameters": {"query": long}}]).to_string();
        assert_eq!(read(&answer), Answer { calls: vec![search(&long)], dropped: 1 }, "{answer:.80}");
    }
}
