//! The server of all sides, in a process of its own: it speaks as much of HTTP/1.1 and of OpenAI's chat completions as they
//! need, gives each request the same answer, and takes as long for it as the request's path says, in milliseconds:
//! `/20/v1/chat/completions`.
//!
//! A thread for each connection, because tokio's timers go by whole milliseconds: the client's own cost would vanish in
//! the server's wait for the next one.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::child;

/// The tokens of an answer.
pub const TOKENS: usize = 50;

/// The tokens that the server writes at a time, if it takes time.
const TOKENS_AT_ONCE: usize = 10;

/// One answer, as the bytes of both forms.
pub struct Answers {
    /// The answer's text.
    pub text: String,
    /// The bytes of the answer in one piece.
    pub whole: Vec<u8>,
    /// The writes of the streamed answer.
    writes: Vec<Vec<u8>>,
    /// The streamed answer in one write.
    pub streamed: Vec<u8>,
}

impl Answers {
    pub fn new() -> Self {
        let tokens: Vec<String> = (0..TOKENS).map(|at| format!("word{at:02} ")).collect();
        let text = tokens.concat().trim().to_owned();
        let usage = json!({"prompt_tokens": 400, "completion_tokens": TOKENS, "total_tokens": 400 + TOKENS});
        let object = |kind: &str, choices: Value| {
            json!({"id": "chatcmpl-0123456789", "object": kind, "created": 1_750_000_000, "model": "bench",
                "service_tier": "default", "system_fingerprint": "fp_0123456789", "choices": choices})
        };

        let message = json!({"role": "assistant", "content": text, "refusal": null});
        let choice = json!([{"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"}]);
        let mut body = object("chat.completion", choice);
        body["usage"] = usage.clone();
        let body = body.to_string();
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        let whole = [head, body].concat().into_bytes();

        let event = |data: &str| format!("{:x}\r\ndata: {data}\n\n\r\n", data.len() + "data: \n\n".len());
        let chunk = |delta: Value, finish: Value, usage: &Value| {
            let choice = json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
            let mut chunk = object("chat.completion.chunk", choice);
            chunk["usage"] = usage.clone();
            event(&chunk.to_string())
        };
        let mut last = object("chat.completion.chunk", json!([]));
        last["usage"] = usage;
        let mut writes: Vec<String> = tokens
            .chunks(TOKENS_AT_ONCE)
            .map(|some| {
                some.iter().map(|token| chunk(json!({"content": token}), Value::Null, &Value::Null)).collect()
            })
            .collect();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let first = chunk(json!({"role": "assistant", "content": ""}), Value::Null, &Value::Null);
        writes[0].insert_str(0, &format!("{head}{first}"));
        let end = writes.last_mut().expect("there are tokens");
        end.push_str(&chunk(json!({}), json!("stop"), &Value::Null));
        end.push_str(&event(&last.to_string()));
        end.push_str(&event("[DONE]"));
        end.push_str("0\r\n\r\n");
        let streamed = writes.concat().into_bytes();
        Self { text, whole, writes: writes.into_iter().map(String::into_bytes).collect(), streamed }
    }

    fn write(&self, stream: &mut TcpStream, asked: &Asked) -> io::Result<()> {
        let began = Instant::now();
        if !asked.streams {
            wait_until(began + asked.service);
            return stream.write_all(&self.whole);
        }
        if asked.service.is_zero() {
            return stream.write_all(&self.streamed);
        }
        // Half of the time goes by before the first token, and the rest between the tokens.
        let pauses = u32::try_from(self.writes.len() - 1).expect("a few writes");
        let mut at = began + asked.service / 2;
        for piece in &self.writes {
            wait_until(at);
            stream.write_all(piece)?;
            at += asked.service / 2 / pauses;
        }
        Ok(())
    }
}

fn wait_until(at: Instant) {
    loop {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}

/// Listens on a free port of loopback, prints the port, and serves until the process' input ends.
pub fn serve() -> ! {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    println!("{}", listener.local_addr().expect("the listener has an address").port());
    thread::spawn(move || {
        let answers = Arc::new(Answers::new());
        for stream in listener.incoming().flatten() {
            let answers = answers.clone();
            // The client may go at any time.
            thread::spawn(move || connection(stream, &answers));
        }
    });
    child::wait_for_the_end();
    std::process::exit(0)
}

fn connection(mut stream: TcpStream, answers: &Answers) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    while let Some(asked) = read_request(&mut stream, &mut received)? {
        answers.write(&mut stream, &asked)?;
    }
    Ok(())
}

/// What a request asks.
struct Asked {
    streams: bool,
    /// How long the answer takes.
    service: Duration,
}

/// Reads a request; none if the client is gone. The bytes that follow the request stay in `received`.
fn read_request(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Option<Asked>> {
    let mut piece = [0; 16 << 10];
    let mut more = |received: &mut Vec<u8>| {
        let length = stream.read(&mut piece)?;
        received.extend_from_slice(&piece[..length]);
        io::Result::Ok(length > 0)
    };
    let body_at = loop {
        if let Some(at) = find(received, b"\r\n\r\n") {
            break at + 4;
        }
        if !more(received)? {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&received[..body_at]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let end = body_at + length.unwrap_or(0);
    let milliseconds = head.split('/').nth(1).and_then(|part| part.parse().ok());
    while received.len() < end {
        if !more(received)? {
            return Ok(None);
        }
    }
    let body = &received[body_at..end];
    let streams = [&b"\"stream\":true"[..], b"\"stream\": true"].iter().any(|key| find(body, key).is_some());
    received.drain(..end);
    Ok(Some(Asked { streams, service: Duration::from_millis(milliseconds.unwrap_or(0)) }))
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
