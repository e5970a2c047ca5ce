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
