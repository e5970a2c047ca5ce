//! A server of language models that gives a test's answers: OpenAI's API over real HTTP, on loopback.

use std::{
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};
use tiny_http::{Header, Response};

/// The parts of a request that tests look at.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedRequest {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    #[allow(dead_code, reason = "the program's tests share this file")]
    pub(crate) traceparent: Option<String>,
    pub(crate) body: Value,
    /// The body as it came.
    #[allow(dead_code, reason = "the program's tests share this file, and read it")]
    pub(crate) bytes: Vec<u8>,
}

/// A response that a test prepared.
#[derive(Debug, Clone)]
pub(crate) enum CannedAnswer {
    /// A chat completion with this text.
    Text(String),
    /// This status and body; a redirection's body is its target.
    Raw(u16, String),
}

impl CannedAnswer {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn into_parts(self) -> (u16, String) {
        match self {
            Self::Text(text) => {
                let message = json!({"role": "assistant", "content": text});
                let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
                let usage = json!({"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18});
                (200, json!({"id": "x", "choices": [choice], "usage": usage}).to_string())
            }
            Self::Raw(status, body) => (status, body),
        }
    }
}

/// The server; it stops when it is dropped.
pub(crate) struct FakeServer {
    http: Arc<tiny_http::Server>,
    asked: Arc<Mutex<Vec<ReceivedRequest>>>,
}

impl FakeServer {
    /// Listens on a free port of loopback, and answers each request by `script`.
    pub(crate) fn start(script: impl Fn(&ReceivedRequest) -> CannedAnswer + Send + 'static) -> Self {
        let http = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (server, log) = (http.clone(), asked.clone());
        thread::spawn(move || {
            for mut request in server.incoming_requests() {
                let mut bytes = Vec::new();
                request.as_reader().read_to_end(&mut bytes).unwrap();
                let body = String::from_utf8_lossy(&bytes).into_owned();
                let header = |name: &'static str| {
                    let found = request.headers().iter().find(|header| header.field.equiv(name));
                    found.map(|header| header.value.to_string())
                };
                let question = ReceivedRequest {
                    path: request.url().to_owned(),
                    authorization: header("authorization"),
                    traceparent: header("traceparent"),
                    body: serde_json::from_str(&body).unwrap_or(Value::String(body)),
                    bytes,
                };
                let answer = script(&question);
                log.lock().unwrap().push(question);
                let (status, body) = answer.into_parts();
                let json = Header::from_bytes("content-type", "application/json").unwrap();
                let location =
                    Header::from_bytes("location", if status == 307 { &*body } else { "" }).unwrap();
                let response = Response::from_string(&*body)
                    .with_status_code(status)
                    .with_header(json)
                    .with_header(location);
                // The client may be gone.
                let _ = request.respond(response);
            }
        });
        Self { http, asked }
    }

    /// The `base_url` of a model of this server in the configuration.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.http.server_addr().to_ip().unwrap())
    }

    /// The requests so far, in order.
    pub(crate) fn asked(&self) -> Vec<ReceivedRequest> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.http.unblock();
    }
}
