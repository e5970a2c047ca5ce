//! Where in a trace a server is asked.

use teammy_kernel::{
    Audio, Span, TraceContext,
    testing::{Fields, Logged},
};

use super::*;

fn position() -> TraceContext {
    "00-000000000000000000000000000000ab-0000000000000007-01".parse().unwrap()
}

fn server() -> FakeServer {
    FakeServer::start(|request: &ReceivedRequest| match &*request.path {
        "/v1/embeddings" => {
            let data = json!([{"index": 0, "embedding": [0.5]}]);
            let usage = json!({"prompt_tokens": 3, "total_tokens": 3});
            CannedAnswer::Raw(200, json!({"data": data, "usage": usage}).to_string())
        }
        "/v1/audio/transcriptions" => CannedAnswer::Raw(200, json!({"text": "Hello."}).to_string()),
        _ if request.body["messages"][1]["content"] == "fail" => CannedAnswer::Raw(500, String::new()),
        _ => CannedAnswer::text("Hi."),
    })
}

/// Asks in each way that there is: chat, chat that fails, vectors, a transcript.
async fn ask(server: &FakeServer, trace: Option<TraceContext>) {
    let models = models(&format!(
        "[llm]\ntries = 1\nembedding = \"big\"\ntranscription = \"big\"\n[[llm.model]]\nname = \"big\"\nmodel = \"big-1\"\n\
         base_url = \"{}\"",
        server.base_url()
    ));
    let mut chat = question(Model::Default);
    chat.caller.trace = trace;
    models.complete(chat.clone()).await.unwrap();
    let caller = chat.caller.clone();
    chat.messages[1] = LlmMessage::user("fail");
    models.complete(chat).await.unwrap_err();
    models.embed(EmbedRequest::new(vec!["text".to_owned()], caller.clone())).await.unwrap();
    models.transcribe(TranscribeRequest::new(Audio::samples(16_000, vec![0; 160]), caller)).await.unwrap();
}

fn asked_at(server: &FakeServer) -> Vec<Option<String>> {
    server.asked().into_iter().map(|request| request.traceparent).collect()
}

#[tokio::test]
async fn a_server_is_told_where_its_hook_is() {
    let server = server();
    ask(&server, Some(position())).await;
    assert_eq!(asked_at(&server), vec![Some(position().to_string()); 4]);
    ask(&server, None).await;
    assert_eq!(asked_at(&server)[4..], vec![None; 4]);
}

#[tokio::test]
async fn each_try_has_a_span_below_its_hook() {
    let logged = Logged::of_target(Span::TARGET);
    let _guard = logged.listen();
    let server = server();
    ask(&server, Some(position())).await;
    let spans = logged.take();
    let shown: Vec<_> =
        spans.iter().map(|span| format!("00-{}-{}-01", span["trace_id"], span["span_id"])).collect();
    assert_eq!(asked_at(&server), shown.into_iter().map(Some).collect::<Vec<_>>());
    let told = |field: &'static str| -> Vec<Option<&str>> {
        spans.iter().map(|span: &Fields| span.get(field).map(String::as_str)).collect()
    };
    assert_eq!(told("name"), [Some("model"); 4]);
    assert_eq!(told("parent_id"), [Some("0000000000000007"); 4]);
    assert_eq!(told("model"), [Some("big"); 4]);
    assert_eq!(told("operation"), ["chat", "chat", "embeddings", "transcription"].map(Some));
    assert_eq!(told("input_tokens"), [Some("11"), None, Some("3"), None]);
    assert_eq!(told("output_tokens"), [Some("7"), None, Some("0"), None]);
    let errors = told("error");
    assert!(errors[1].is_some() && [0, 2, 3].iter().all(|at| errors[*at].is_none()), "{errors:?}");
}
