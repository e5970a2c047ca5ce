use proptest::prelude::*;
use serde_json::json;

use super::*;

fn fold(objects: &[Value]) -> Result<LlmResponse, Problem> {
    let mut fold = Fold::default();
    for object in objects {
        fold.add(object)?;
    }
    fold.finish().map(|(response, _)| response)
}

#[test]
fn calls_of_functions_come_in_pieces_too() {
    let piece = |call: Value| json!({"choices": [{"delta": {"tool_calls": [call]}}]});
    let response = fold(&[
        piece(json!({"index": 0, "id": "a", "function": {"name": "search", "arguments": "{\"q\":"}})),
        piece(json!({"index": 1, "id": "b", "function": {"name": "stop", "arguments": {}}})),
        piece(json!({"index": 0, "function": {"arguments": "1}"}})),
        json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
    ])
    .unwrap();
    let calls: Vec<_> =
        response.tool_calls.iter().map(|call| (&*call.id, &*call.name, &*call.arguments)).collect();
    assert_eq!(calls, [("a", "search", "{\"q\":1}"), ("b", "stop", "{}")]);
    assert_eq!(response.finish, Finish::ToolCalls);
    let many = piece(json!({"index": 1_000_000, "function": {"name": "x"}}));
    assert_eq!(fold(&[many]).unwrap_err().class, Class::Malformed);
}

#[test]
fn only_what_brings_the_answer_on_is_useful() {
    let mut fold = Fold::default();
    let mut is_useful = |object: Value| fold.add(&object).unwrap().is_useful;
    for (delta, useful) in [
        (json!({"content": ""}), false),
        (json!({"role": "assistant"}), false),
        (json!({"content": null}), false),
        (json!({"reasoning_content": "hm"}), true),
        (json!({"content": "yes"}), true),
        (json!({"tool_calls": [{"index": 0, "function": {"name": "", "arguments": ""}}]}), false),
    ] {
        assert_eq!(is_useful(json!({"choices": [{"delta": delta}]})), useful, "{delta}");
    }
    assert!(!is_useful(json!({"choices": [], "usage": {"prompt_tokens": 1}})));
}

#[test]
fn thoughts_under_two_names_are_taken_once() {
    let piece = |delta: Value| json!({"choices": [{"delta": delta}]});
    let response = fold(&[
        piece(json!({"reasoning": "a", "reasoning_content": "a"})),
        piece(json!({"reasoning": "b", "reasoning_content": ""})),
        piece(json!({"reasoning": null, "thinking": "c"})),
        piece(json!({"content": "yes"})),
    ]);
    assert_eq!(response.unwrap().reasoning.as_deref(), Some("abc"));
}

#[test]
fn an_error_in_place_of_an_answer_has_its_class() {
    let class = |error: Value| fold(&[json!({"error": error})]).unwrap_err().class;
    assert_eq!(class(json!({"message": "busy", "code": 429})), Class::Busy);
    assert_eq!(class(json!({"message": "busy", "code": "503"})), Class::Busy);
    assert_eq!(class(json!({"message": "bad", "status": 400})), Class::Refused);
    assert_eq!(class(json!("oops")), Class::Unavailable);
    assert_eq!(class(json!({"message": "Unsupported parameter: 'seed'", "code": 400})), Class::Misconfigured);
    assert!(fold(&[json!({"error": null, "choices": [{"message": {"content": "yes"}}]})]).is_ok());
}

/// What one of the values in a chunk may be, and others that it should not be.
fn some_value() -> impl Strategy<Value = Value> {
    let values = [
        json!(null),
        json!(""),
        json!("a"),
        json!("\u{e9}\n\"<think>"),
        json!(0),
        json!([]),
        json!({}),
        json!([{"index": 0, "function": {"name": "f"}}]),
        json!({"prompt_tokens": 3}),
        json!({"message": "no"}),
    ];
    prop::sample::select(values.to_vec())
}

proptest! {
    /// A chunk is read the short way only if that gives the same.
    #[test]
    fn both_ways_read_the_same(
        top in prop::collection::btree_map(prop::sample::select(vec!["error", "usage", "id", "model"]), some_value(), 0..3),
        choice in prop::collection::btree_map(prop::sample::select(vec!["finish_reason", "text", "message", "logprobs"]), some_value(), 0..3),
        delta in prop::collection::btree_map(
            prop::sample::select(vec!["content", "content", "role", "reasoning_content", "reasoning", "thinking", "refusal", "tool_calls"]),
            some_value(), 0..4,
        ),
        choices in 0..3_usize,
    ) {
        let mut choice: serde_json::Map<_, _> = choice.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        choice.insert("delta".to_owned(), json!(delta));
        let mut object = json!(top);
        object["choices"] = vec![Value::Object(choice); choices].into();
        let (mut short, mut long) = (Fold::default(), Fold::default());
        let text = object.to_string();
        if let Some(added) = short.add_text(&text) {
            prop_assert_eq!(added, long.add(&object));
            prop_assert_eq!(format!("{short:?}"), format!("{long:?}"));
        } else {
            prop_assert_eq!(format!("{short:?}"), format!("{:?}", Fold::default()), "nothing is read twice");
        }
    }
}

#[test]
fn chunks_of_text_are_read_the_short_way() {
    let chunk = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","usage":null,"choices":
        [{"index":0,"delta":{"role":"assistant","content":"\u00e9 a","refusal":null},"logprobs":null,"finish_reason":null}]}"#;
    assert_eq!(Fold::default().add_text(chunk), Some(Ok(Added { text: "\u{e9} a", is_useful: true })));
    assert_eq!(Fold::default().add_text(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#), None);
}
