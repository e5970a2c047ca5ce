//! Vectors of texts, from servers as they really are.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use teammy_kernel::Embeddings;

use super::{
    raw_server::{Do, RawServer, Received, head, whole},
    *,
};

fn texts(count: usize) -> EmbedRequest {
    let caller = Caller::new(MeetingId::new("m").unwrap(), Name::new("i").unwrap());
    EmbedRequest::new((0..count).map(|number| number.to_string()).collect(), caller)
}

/// A model for vectors at a server, with these lines of configuration.
fn model(server: &RawServer, llm: &str, model: &str) -> SharedLlm {
    server.model(&format!("llm.embedding = \"big\"\n{llm}"), model)
}

/// Answers with a vector for each text, the last text first: the number that the text is, and a half.
fn vectors(body: &Value) -> Vec<Do> {
    let texts = body["input"].as_array().unwrap();
    let vector = |(index, text): (usize, &Value)| json!({"object": "embedding", "index": index, "embedding": [text.as_str().unwrap().parse::<f32>().unwrap(), 0.5]});
    let data: Vec<Value> = texts.iter().enumerate().map(vector).rev().collect();
    let usage = json!({"prompt_tokens": texts.len(), "total_tokens": texts.len()});
    whole("200 OK", "", &json!({"object": "list", "data": data, "usage": usage}).to_string())
}

fn shown(answered: Result<Embeddings, LlmError>) -> String {
    match answered {
        Ok(embeddings) => format!("{} vectors", embeddings.vectors.len()),
        Err(LlmError::Failed(said)) => format!("failed: {said}"),
        Err(LlmError::Refused(said)) => format!("refused: {said}"),
        Err(LlmError::Misconfigured(said)) => format!("misconfigured: {said}"),
        Err(other) => format!("other: {other}"),
    }
}

#[tokio::test]
async fn texts_become_vectors_in_their_order() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = RawServer::start_raw({
        let seen = seen.clone();
        move |_, received: &Received| {
            let body = serde_json::from_slice(&received.body).unwrap();
            let answer = vectors(&body);
            seen.lock().unwrap().push((received.path.clone(), received.head.clone(), body));
            answer
        }
    });
    let more = "model = \"big-1\"\napi_key_env = \"MODEL_KEY\"\nextra_body = { max_tokens = 9 }";
    let model = model(&server, "", more);
    let embeddings = model.embed(texts(2)).await.unwrap();
    assert_eq!(embeddings.vectors, [[0.0, 0.5], [1.0, 0.5]]);
    assert_eq!(embeddings.usage, Some(Usage { prompt: 2, ..Usage::default() }));
    assert_eq!(embeddings.model.as_deref(), Some("big"));
    let (path, head, body) = seen.lock().unwrap().pop().unwrap();
    assert_eq!(path, "/v1/embeddings");
    assert_eq!(body, json!({"model": "big-1", "input": ["0", "1"], "encoding_format": "float"}));
    for line in ["authorization: bearer sk-very-secret", "content-type: application/json"] {
        assert!(head.iter().any(|header| header == line), "{head:?}");
    }

    // Many texts need many requests, and none needs none.
    let embeddings = model.embed(texts(600)).await.unwrap();
    let first: Vec<f32> = embeddings.vectors.iter().map(|vector| vector[0]).collect();
    assert_eq!(first, (0..600_u16).map(f32::from).collect::<Vec<_>>());
    assert_eq!(embeddings.usage.unwrap().prompt, 600);
    assert_eq!(server.requests(), 4);
    assert_eq!(model.embed(texts(0)).await.unwrap().vectors, Vec::<Vec<f32>>::new());
    assert_eq!(server.requests(), 4);
}

#[tokio::test]
async fn what_a_server_answers_else_is_told_apart() {
    let data = |data: Value| whole("200 OK", "", &json!({"data": data}).to_string());
    let huge = vec![head("200 OK", "content-type: application/json\r\n"), Do::Repeat(vec![b' '; 64 << 10])];
    for (script, says, class) in [
        (data(json!([])), "it gave 0 vectors for 1 texts", Class::Malformed),
        (data(json!([{"embedding": []}])), "it gave a vector without numbers", Class::Malformed),
        (
            data(json!([{"embedding": ["SECRET"]}])),
            "its answer does not follow the API: data error at line 1, column 31",
            Class::Malformed,
        ),
        (
            whole("200 OK", "", "{"),
            "its answer does not follow the API: eof error at line 1",
            Class::Malformed,
        ),
        (
            whole("200 OK", "", r#"{"error": {"message": "SECRET", "code": 429}}"#),
            "it answered with an error, 429",
            Class::Busy,
        ),
        (whole("500 Oops", "", "SECRET"), "HTTP 500 Internal Server Error", Class::Unavailable),
        (vec![Do::Reset], "", Class::Unavailable),
        (whole("401 No", "", "{}"), "HTTP 401 Unauthorized: check its key", Class::Misconfigured),
        (whole("400 Bad", "", "SECRET"), "HTTP 400 Bad Request", Class::Refused),
        (huge, "its vectors are larger than 67108864 bytes", Class::Refused),
    ] {
        let server = RawServer::start(move |_, _| script.clone());
        let problem = server.endpoint().embed(&texts(1)).await.unwrap_err();
        assert_eq!(problem.class, class, "{problem:?}");
        assert!(problem.text.starts_with(says) && !problem.text.contains("SECRET"), "{problem:?}");
        assert_eq!(server.requests(), 1, "{problem:?}");
    }
    // It comes back when it is told to.
    let server = RawServer::start(|number, body| match number {
        1 => whole("429 Too Many Requests", "retry-after: 0\r\n", "{}"),
        _ => vectors(body),
    });
    assert_eq!(shown(model(&server, "llm.tries = 1", "").embed(texts(1)).await), "1 vectors");
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_failure_counts_what_was_paid_before_it() {
    let server = RawServer::start(|number, body| match number {
        1 => vectors(body),
        _ => whole("400 Bad Request", "", "{}"),
    });
    let problem = server.endpoint().embed(&texts(300)).await.unwrap_err();
    assert_eq!((problem.class, problem.usage.prompt), (Class::Refused, 256));
}

#[tokio::test]
async fn a_server_that_stalls_is_late() {
    let server = RawServer::start(|_, _| vec![Do::Stall]);
    let said = shown(model(&server, "llm.total = \"100ms\"\nllm.tries = 1", "").embed(texts(1)).await);
    assert_eq!(said, "failed: big: no answer came in time (llm.total)");
    let mut request = texts(1);
    request.caller.deadline = Some(Instant::now() + std::time::Duration::from_millis(100));
    let said = shown(model(&server, "", "").embed(request).await);
    assert!(said.starts_with("failed: big: "), "{said}");
    // The body of an error is not waited for longer than it is worth, if nothing else limits its time.
    let status = head("500 Oops", "content-length: 10\r\n");
    let server = RawServer::start(move |_, _| vec![status.clone(), Do::Stall]);
    let said = shown(model(&server, "llm.total = \"200ms\"\nllm.tries = 1", "").embed(texts(1)).await);
    assert_eq!(said, "failed: big: HTTP 500 Internal Server Error");
}
