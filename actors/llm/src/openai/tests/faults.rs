//! What a plugin gets of servers as they really are: each fault over a real socket, with the requests that the server saw.

use std::{sync::Barrier, time::Duration};

use serde_json::{Value, json};
use teammy_kernel::{Deltas, Finish};

use super::{
    raw_server::{Do, RawServer, head, whole},
    *,
};

fn answer(content: &Value, more: &Value) -> Vec<Do> {
    let mut body = json!({
        "choices": [{"message": {"content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    whole("200 OK", "", &body.to_string())
}

fn events() -> Do {
    head("200 OK", "content-type: text/event-stream\r\n")
}

fn event(data: &str) -> Do {
    Do::Send(format!("data: {data}\n\n").into_bytes())
}

fn piece(text: &str) -> Do {
    event(&json!({"choices": [{"delta": {"content": text}}]}).to_string())
}

fn done() -> Vec<Do> {
    vec![
        event(&json!({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 10, "completion_tokens": 2}}).to_string()),
        event("[DONE]"),
    ]
}

fn stream(pieces: &[&str]) -> Vec<Do> {
    std::iter::once(events()).chain(pieces.iter().map(|text| piece(text))).chain(done()).collect()
}

/// An answer's text, or the kind of its error and what it says.
fn shown(answered: Result<LlmResponse, LlmError>) -> String {
    match answered {
        Ok(response) if response.finish == Finish::Length => format!("cut: {}", response.text),
        Ok(response) => response.text,
        Err(LlmError::Failed(said)) => format!("failed: {said}"),
        Err(LlmError::Refused(said)) => format!("refused: {said}"),
        Err(LlmError::Misconfigured(said)) => format!("misconfigured: {said}"),
        Err(other) => format!("other: {other}"),
    }
}

/// Limits of which none is passed by chance: what is late never comes.
const SHORT: &str = "[llm]\nfirst_token = \"200ms\"\nbetween_tokens = \"200ms\"\n";

async fn ask(server: &RawServer, llm: &str, model: &str) -> String {
    shown(server.model(llm, model).complete(question(Model::Default)).await)
}

#[tokio::test]
async fn whole_answers_are_read_as_servers_give_them() {
    let none = || json!({});
    let text = |text: &str| json!(text);
    let cut = json!({"choices": [{"message": {"content": "It is"}, "finish_reason": "length"}]});
    let empty = json!({"choices": [{"message": {"content": ""}, "finish_reason": "length"}]});
    let thought = json!({"choices": [{"message": {"content": "yes", "reasoning_content": "[0]"}}]});
    let tools = json!({"choices": [{"message": {"content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "search", "arguments": "{}"}}]}, "finish_reason": "tool_calls"}]});
    for (name, content, more, gives) in [
        ("plain", text("yes"), none(), "yes"),
        ("parts", json!([{"type": "text", "text": "y"}, {"type": "text", "text": "es"}]), none(), "yes"),
        (
            "negative usage",
            text("yes"),
            json!({"usage": {"prompt_tokens": 1151, "completion_tokens": -35}}),
            "yes",
        ),
        ("null usage", text("yes"), json!({"usage": {"prompt_tokens": 5, "completion_tokens": null}}), "yes"),
        (
            "float usage",
            text("yes"),
            json!({"usage": {"prompt_tokens": 5.0, "completion_tokens": 1e99}}),
            "yes",
        ),
        ("usage of another type", text("yes"), json!({"usage": "much"}), "yes"),
        ("no usage", text("yes"), json!({"usage": null}), "yes"),
        ("odd ids", text("yes"), json!({"id": 7, "created": "now", "object": [], "model": null}), "yes"),
        ("think tag", text("<thinking>perhaps [0]</thinking>[1]"), none(), "[1]"),
        (
            "harmony",
            text("<|channel|>analysis<|message|>[0]<|end|><|start|>assistant<|channel|>final<|message|>[1]"),
            none(),
            "[1]",
        ),
        ("thoughts in a field", none(), thought, "yes"),
        ("cut", none(), cut, "cut: It is"),
        (
            "empty and cut",
            none(),
            empty,
            "other: the language model's answer was cut off after 0 characters; allow more tokens",
        ),
        ("empty", text("  "), none(), "failed: big: it answered without text"),
        ("calls a function", none(), tools, ""),
        (
            "error in a 200",
            none(),
            json!({"choices": null, "error": {"message": "SECRET", "code": 429}}),
            "failed: big: it answered with an error, 429",
        ),
        (
            "declined",
            none(),
            json!({"choices": [{"message": {"refusal": "no"}}]}),
            "refused: big: it declined to answer",
        ),
    ] {
        let server = RawServer::start(move |_, _| answer(&content, &more));
        assert_eq!(ask(&server, "llm.tries = 1", "").await, gives, "{name}");
        assert_eq!(server.requests(), 1, "{name}");
    }
}

#[tokio::test]
async fn streams_are_read_as_servers_give_them() {
    let split: Vec<Do> = {
        let text = json!({"choices": [{"delta": {"content": "žluťoučký 🙂"}}]}).to_string();
        let bytes = format!("data: {text}\n\n").into_bytes();
        std::iter::once(events())
            .chain(bytes.into_iter().map(|byte| Do::Send(vec![byte])))
            .chain(done())
            .collect()
    };
    let tiny: Vec<&str> = vec!["x"; 10_000];
    let thoughts = ["<th", "ink>a [0]</", "think>", "[1]"];
    let comments = vec![events(), Do::Send(b": keep-alive\n\n".to_vec()), event("{}"), piece("yes")];
    let crlf = vec![
        events(),
        Do::Send(
            b"data: {\"choices\":[{\"delta\":{\"content\":\"yes\"},\"finish_reason\":\"stop\"}]}\r\n\r\n"
                .to_vec(),
        ),
    ];
    let whole_in_stream = vec![
        events(),
        event(&json!({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}).to_string()),
    ];
    for (name, script, gives) in [
        ("pieces", stream(&["y", "", "es"]), "yes".to_owned()),
        ("UTF-8 split over chunks", split, "žluťoučký 🙂".to_owned()),
        ("10,000 pieces", stream(&tiny), "x".repeat(10_000)),
        ("thoughts over pieces", stream(&thoughts), "[1]".to_owned()),
        ("comments and empty objects", comments.into_iter().chain(done()).collect(), "yes".to_owned()),
        ("CRLF, and no [DONE]", crlf, "yes".to_owned()),
        ("a whole answer in a stream", whole_in_stream, "yes".to_owned()),
        (
            "ends before its end",
            vec![events(), piece("ye")],
            "failed: big: its stream ended before the answer".to_owned(),
        ),
        (
            "an error in a stream",
            vec![
                events(),
                piece("ye"),
                event(&json!({"error": {"message": "SECRET", "type": "overloaded_error"}}).to_string()),
            ],
            "failed: big: it answered with an error (overloaded_error)".to_owned(),
        ),
        (
            "no JSON in a stream",
            vec![events(), event("{not json")],
            "failed: big: its answer does not follow the API: syntax error at line 1, column 2".to_owned(),
        ),
    ] {
        let server = RawServer::start(move |_, _| script.clone());
        assert_eq!(ask(&server, "llm.tries = 1", "").await, gives, "{name}");
    }
}

#[tokio::test]
async fn a_complete_answer_is_kept_however_its_stream_ends() {
    // In one event, so that only what follows it can be late.
    let all = json!({"choices": [{"delta": {"content": "yes"}, "finish_reason": "stop"}]}).to_string();
    let half = json!({"choices": [{"delta": {"content": "ye"}}]}).to_string();
    let chunk = |text: String| Do::Send(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes());
    let chunked = || head("200 OK", "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n");
    let longer = head("200 OK", "content-type: text/event-stream\r\ncontent-length: 4096\r\n");
    let then = |last: Do| vec![events(), event(&all), last];
    for (name, script, gives) in [
        ("chunks without their end", vec![chunked(), chunk(format!("data: {all}\n\n"))], "yes"),
        (
            "chunks without their end, too early",
            vec![chunked(), chunk(format!("data: {half}\n\n"))],
            "failed: big: its stream broke off",
        ),
        ("fewer bytes than promised", vec![longer, event(&all)], "yes"),
        ("a stall", then(Do::Stall), "yes"),
        ("no JSON", then(event("{not json")), "yes"),
        ("an error", then(event(&json!({"error": {"code": 500}}).to_string())), "yes"),
        ("a line without an end", then(Do::Repeat(vec![b'x'; 64 << 10])), "yes"),
    ] {
        let server = RawServer::start(move |_, _| script.clone());
        let said = ask(&server, "[llm]\nbetween_tokens = \"200ms\"\ntries = 1", "").await;
        assert!(said.starts_with(gives), "{name}: {said}");
    }
}

#[tokio::test]
async fn what_is_late_fails_and_comments_do_not_count() {
    let first = "big: no token came in time (llm.first_token)";
    let next = "big: the next token did not come in time (llm.between_tokens)";
    let forever = |bytes: &[u8]| vec![events(), Do::Repeat(bytes.to_vec())];
    for (name, script, says) in [
        ("never answers", vec![Do::Stall], first),
        ("headers alone", vec![events(), Do::Stall], first),
        (
            "comments for ever",
            vec![
                events(),
                Do::Send(b": keep-alive\n\n".to_vec()),
                Do::Wait(Duration::from_millis(50)),
                Do::Send(b": keep-alive\n\n".to_vec()),
                Do::Stall,
            ],
            first,
        ),
        (
            "empty pieces for ever",
            forever(b"data: {\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n"),
            "larger than",
        ),
        ("stalls between tokens", vec![events(), piece("ye"), Do::Stall], next),
    ] {
        let server = RawServer::start(move |_, _| script.clone());
        let said = ask(&server, &format!("{SHORT}tries = 1"), "").await;
        assert!(said.contains(says) || said.contains(first), "{name}: {said}");
    }
    // One that does not stream has all the time of the request.
    let server = RawServer::start(|_, _| {
        let mut script = vec![Do::Wait(Duration::from_millis(600))];
        script.extend(answer(&json!("yes"), &json!({})));
        script
    });
    assert_eq!(ask(&server, &format!("{SHORT}tries = 1"), "stream = false").await, "yes");
    let server = RawServer::start(|_, _| vec![Do::Stall]);
    let said = ask(&server, "[llm]\ntotal = \"200ms\"\ntries = 3", "stream = false").await;
    assert_eq!(said, "failed: big: no answer came in time (llm.total)");
    assert_eq!(server.requests(), 2, "it is the time of a try, and another one may be quicker");
}

#[tokio::test]
async fn failures_are_tried_again_by_their_class() {
    let yes = || answer(&json!("yes"), &json!({}));
    let told = |status: &'static str| {
        move |number: usize, _: &Value| {
            if number <= 2 {
                whole(status, "retry-after: 0\r\n", "{}")
            } else {
                answer(&json!("yes"), &json!({}))
            }
        }
    };
    for status in ["429 Too Many Requests", "503 Service Unavailable", "529 Overloaded"] {
        let server = RawServer::start(told(status));
        assert_eq!((ask(&server, "", "").await.as_str(), server.requests()), ("yes", 3), "{status}");
    }
    let server = RawServer::start(move |number, _| if number == 1 { vec![Do::Reset] } else { yes() });
    assert_eq!(
        (ask(&server, "", "").await.as_str(), server.requests()),
        ("yes", 2),
        "a reset before the answer"
    );
    let server = RawServer::start(|number, _| match number {
        1 => vec![events(), piece("half an"), Do::Reset],
        _ => stream(&["whole"]),
    });
    assert_eq!(
        (ask(&server, "", "").await.as_str(), server.requests()),
        ("whole", 2),
        "a broken stream begins anew"
    );
    let server = RawServer::start(|number, _| match number {
        1 => vec![Do::Stall],
        _ => stream(&["yes"]),
    });
    assert_eq!((ask(&server, SHORT, "").await.as_str(), server.requests()), ("yes", 2), "a stall");

    for (status, kind) in [
        ("400 Bad Request", "refused"),
        ("401 Unauthorized", "misconfigured"),
        ("403 Forbidden", "misconfigured"),
        ("404 Not Found", "misconfigured"),
        ("302 Found", "misconfigured"),
    ] {
        let server = RawServer::start(move |_, _| whole(status, "location: http://127.0.0.1:1/\r\n", "{}"));
        let said = ask(&server, "", "").await;
        assert!(said.starts_with(&format!("{kind}: big: HTTP {}", &status[..3])), "{said}");
        assert_eq!(server.requests(), 1, "{status} is not tried again");
    }
    let server = RawServer::start(|_, _| whole("500 Internal Server Error", "", "SECRET"));
    assert_eq!(ask(&server, "llm.tries = 2", "").await, "failed: big: HTTP 500 Internal Server Error");
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn nothing_is_given_twice() {
    let server = RawServer::start(|number, _| match number {
        1 => vec![events(), piece("half an"), Do::Reset],
        _ => stream(&["whole"]),
    });
    let (deltas, mut pieces) = Deltas::channel();
    let said = shown(server.model("", "").stream(question(Model::Default), deltas).await);
    assert!(said.starts_with("failed: big: its stream "), "{said}");
    assert_eq!((pieces.try_recv().unwrap().as_str(), server.requests()), ("half an", 1));
    assert!(pieces.try_recv().is_err());
    // What failed before the first piece is tried again.
    let server = RawServer::start(|number, _| match number {
        1 => whole("500 Internal Server Error", "", "{}"),
        _ => stream(&["<think>hm</think>who", "le"]),
    });
    let (deltas, mut pieces) = Deltas::channel();
    let response = server.model("", "").stream(question(Model::Default), deltas).await.unwrap();
    let given: String = std::iter::from_fn(|| pieces.try_recv().ok()).collect();
    assert_eq!((given.as_str(), response.text.as_str()), ("whole", "whole"));
    assert_eq!((response.reasoning.as_deref(), response.usage.unwrap().prompt), (Some("hm"), 10));
}

/// A server's answer to a request with a parameter that it does not know.
fn takes_no(parameter: &str) -> Vec<Do> {
    let message = format!("Unsupported parameter: '{parameter}'");
    let error = json!({"error": {"message": message, "param": parameter, "code": "unsupported_parameter"}});
    whole("400 Bad Request", "", &error.to_string())
}

fn question_for_json() -> LlmRequest {
    let mut request = question(Model::Default);
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}}).try_into().unwrap();
    request.format = LlmFormat::Json { name: "A".to_owned(), schema };
    request
}

/// None of them fails because another one learned first what the server does not take.
#[tokio::test]
async fn requests_at_the_same_time_learn_the_same() {
    const AT_ONCE: usize = 4;
    for parameter in ["stream_options", "response_format"] {
        // The server rejects none before all of them are there.
        let together = Barrier::new(AT_ONCE);
        let server = RawServer::start(move |_, body| match body.get(parameter) {
            Some(_) => {
                together.wait();
                takes_no(parameter)
            }
            None => answer(&json!("{\"a\": 1}"), &json!({})),
        });
        let model = server.model("llm.tries = 1", "");
        let asked = (0..AT_ONCE).map(|number| {
            let mut request = question_for_json();
            // Requests that differ share no answer.
            request.seed = Some(number as u64);
            model.complete(request)
        });
        for answered in futures::future::join_all(asked).await {
            assert_eq!(shown(answered), "{\"a\": 1}", "{parameter}");
        }
        assert_eq!(server.requests(), 2 * AT_ONCE, "{parameter}");
    }
}

#[tokio::test]
async fn a_parameter_that_a_server_rejects_is_configuration() {
    let takes_no = |parameter: &'static str| {
        move |_: usize, body: &Value| match body.get(parameter) {
            Some(_) => takes_no(parameter),
            None => answer(&json!("{\"a\": 1}"), &json!({})),
        }
    };
    let server = RawServer::start(takes_no("temperature"));
    let said = ask(&server, "", "").await;
    assert!(said.starts_with("misconfigured: big: HTTP 400 Bad Request (unsupported_parameter): it does not take `temperature`; set `temperature = \"omit\"`"), "{said}");
    assert_eq!(ask(&server, "", "temperature = \"omit\"").await, "{\"a\": 1}");

    // What only we ask for is left out from then on.
    let server = RawServer::start(takes_no("stream_options"));
    let model = server.model("", "");
    for requests in [2, 3] {
        assert_eq!(shown(model.complete(question(Model::Default)).await), "{\"a\": 1}");
        assert_eq!(server.requests(), requests);
    }
    let server = RawServer::start(takes_no("response_format"));
    let model = server.model("", "");
    for requests in [2, 3] {
        assert_eq!(shown(model.complete(question_for_json()).await), "{\"a\": 1}");
        assert_eq!(server.requests(), requests);
    }

    // A role that a model has not.
    let server = RawServer::start(|_, body: &Value| {
        let first = &body["messages"][0];
        if first["role"] == "system" {
            whole(
                "400 Bad Request",
                "",
                &json!({"error": {"message": "System role not supported"}}).to_string(),
            )
        } else {
            answer(&first["content"], &json!({}))
        }
    });
    let said = ask(&server, "", "").await;
    assert!(said.contains("set `system_role = \"user\"`"), "{said}");
    assert_eq!(ask(&server, "", "system_role = \"user\"").await, "Be brief.\n\nHello?");
}

#[tokio::test]
async fn what_is_too_large_is_not_read() {
    let long_line: &[u8] = b"data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    let without_end = vec![events(), Do::Send(long_line.to_vec()), Do::Repeat(vec![b'x'; 64 << 10])];
    let lines = vec![events(), Do::Repeat(b"data: 1\n".repeat(8 << 10))];
    let many = {
        let text = "word ".repeat(10_000);
        vec![
            events(),
            Do::Repeat(
                format!("data: {}\n\n", json!({"choices": [{"delta": {"content": text}}]})).into_bytes(),
            ),
        ]
    };
    let whole = vec![head("200 OK", "content-type: application/json\r\n"), Do::Repeat(vec![b' '; 64 << 10])];
    let gzip = vec![
        head("200 OK", "content-type: application/json\r\ncontent-encoding: gzip\r\n"),
        Do::Send(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0]),
    ];
    for (name, script, says) in [
        ("a line without an end", without_end, "refused: big: its answer is larger than"),
        ("an event without an end", lines, "refused: big: its answer is larger than 1048576 bytes"),
        ("an answer without an end", many, "refused: big: its answer is larger than 8 MiB"),
        ("a body without an end", whole, "refused: big: its answer is larger than"),
        ("compressed, which was not asked for", gzip, "failed: big: its answer does not follow the API"),
    ] {
        let server = RawServer::start(move |_, _| script.clone());
        let said = ask(&server, "llm.tries = 1", "").await;
        assert!(said.starts_with(says), "{name}: {said}");
    }
    let megabyte = "x".repeat(1 << 20);
    let server = RawServer::start({
        let content = json!(megabyte);
        move |_, _| answer(&content, &json!({}))
    });
    assert_eq!(ask(&server, "", "").await, megabyte);
}

#[tokio::test]
async fn the_next_model_answers_in_place_of_one_that_fails() {
    let broken = RawServer::start(|_, _| whole("401 Unauthorized", "", "{}"));
    let good = RawServer::start(|_, _| answer(&json!("yes"), &json!({})));
    let toml = format!(
        "[[llm.model]]\nname = \"big\"\nbase_url = \"{}\"\nfallback = [\"small\"]\n[[llm.model]]\nname = \"small\"\nbase_url = \"{}\"\n",
        broken.base_url(),
        good.base_url()
    );
    let models = crate::configured(&config(&toml).llm, false).unwrap();
    let response = models.complete(question(Model::Default)).await.unwrap();
    assert_eq!((response.text.as_str(), response.model.as_deref()), ("yes", Some("small")));
    assert_eq!((broken.requests(), good.requests()), (1, 1));
}

/// A server that had begun to answer worked for it, whatever became of the answer.
#[tokio::test]
async fn an_answer_that_breaks_off_is_paid() {
    const PROMPT: u64 = 111;
    const MOST: u64 = PROMPT + 4_096;
    let broken_off = |last: &str| {
        let end = json!({"choices": [{"delta": {"content": last}, "finish_reason": "error"}]});
        event(&end.to_string())
    };
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}).to_string();
    let cut = "content-type: application/json\r\ncontent-length: 999\r\n";
    let error = json!({"error": {"code": 503}}).to_string();
    let filtered =
        json!({"choices": [{"message": {"content": "ten bytes."}, "finish_reason": "content_filter"}]})
            .to_string();
    let counted = json!({
        "choices": [{"message": {"content": "ten bytes."}, "finish_reason": "content_filter"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    })
    .to_string();
    let long_line = vec![events(), Do::Repeat(b"data: 1\n".repeat(8 << 10))];
    for (name, script, cost) in [
        ("nothing came", vec![Do::Reset], 0),
        ("nothing useful came", vec![events(), event("{\"choices\": []}"), Do::Reset], 0),
        ("an error came", whole("200 OK", "", &error), 0),
        ("it was not let in", whole("429 Too Many Requests", "", "{}"), 0),
        ("a stream breaks off", vec![events(), piece("ten bytes."), piece("more"), Do::Reset], PROMPT + 14),
        ("a stream ends early", vec![events(), piece("ten bytes.")], PROMPT + 10),
        ("a stream ends in an error", vec![events(), piece("ten bytes."), event(&error)], PROMPT + 10),
        ("a server breaks it off", vec![events(), piece("ten bytes."), broken_off("more")], PROMPT + 14),
        ("usage came before", vec![events(), piece("ten bytes."), event(&usage), Do::Reset], PROMPT + 10),
        ("a body is cut", vec![head("200 OK", cut), Do::Send(b"{\"choices\"".to_vec())], MOST),
        ("an event is too large", long_line, MOST),
        ("an answer is withheld", whole("200 OK", "", &filtered), PROMPT + 10),
        ("an answer is withheld and counted", whole("200 OK", "", &counted), 10),
    ] {
        let server = RawServer::start(move |_, _| script.clone());
        let models = server.model("llm.tries = 1\n[[llm.budget]]\nname = \"b\"\ntokens = 10000", "");
        let asked = question(Model::Default);
        let caller = asked.caller.clone();
        models.complete(asked).await.unwrap_err();
        models.close().await;
        let spent = models.budgets(caller).await.unwrap().0[0].spent.tokens;
        assert_eq!(spent, cost, "{name}");
    }
}
