//! A server on loopback that does what a test says with each request, down to the byte at which a connection ends.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use teammy_client::{Client, MeetingId};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The JSON values of the body, one a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// What the server does with a request that it has read.
#[derive(Debug)]
pub(crate) struct Reply {
    bytes: Vec<u8>,
    keeps_open: bool,
}

impl Reply {
    /// The connection ends without a word.
    pub(crate) fn nothing() -> Self {
        Self { bytes: Vec::new(), keeps_open: false }
    }

    pub(crate) fn new(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
        Self { bytes: (head + body).into(), keeps_open: false }
    }

    pub(crate) fn json(value: &Value) -> Self {
        Self::new(200, "content-type: application/json\r\n", &value.to_string())
    }

    pub(crate) fn problem(status: u16, code: &str, can_retry: bool, next: Option<u64>) -> Self {
        let headers = "content-type: application/problem+json\r\nretry-after: 0\r\n";
        let next = next.map(|next| next.to_string());
        let problem =
            json!({"status": status, "title": "no", "code": code, "can_retry": can_retry, "next": next});
        Self::new(status, headers, &problem.to_string())
    }

    /// A body that comes in pieces and is whole.
    pub(crate) fn pieces<'a>(kind: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let head = format!(
            "HTTP/1.1 200 x\r\nconnection: close\r\ntransfer-encoding: chunked\r\ncontent-type: {kind}\r\n\r\n"
        );
        let mut bytes = head.into_bytes();
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            bytes.extend(format!("{:x}\r\n", piece.len()).bytes());
            bytes.extend(piece);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        Self { bytes, keeps_open: false }
    }

    /// The body never ends, and nothing more comes.
    pub(crate) fn open(mut self) -> Self {
        self.bytes.truncate(self.bytes.len() - b"0\r\n\r\n".len());
        self.keeps_open = true;
        self
    }

    /// The connection ends after so many bytes.
    pub(crate) fn cut(mut self, at: usize) -> Self {
        self.bytes.truncate(at);
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

type Seen = Arc<Mutex<Vec<Request>>>;

#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    seen: Seen,
}

impl Server {
    pub(crate) async fn start(mut handle: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Seen::default();
        let record = seen.clone();
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                let Some(request) = read(&mut stream).await else { continue };
                let reply = handle(&request);
                record.lock().unwrap().push(request);
                // The client may have gone.
                let _ = stream.write_all(&reply.bytes).await;
                if reply.keeps_open {
                    open.push(stream);
                }
            }
        });
        Self { url, seen }
    }

    /// A server that gives these replies, one after the other.
    pub(crate) async fn script(replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut replies: Vec<_> = replies.into_iter().collect();
        replies.reverse();
        Self::start(move |request| replies.pop().unwrap_or_else(|| panic!("one too many: {request:?}"))).await
    }

    #[allow(dead_code, reason = "a client of one server need not know it")]
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A client that hardly waits.
    pub(crate) fn client(&self) -> Client {
        let ms = std::time::Duration::from_millis;
        Client::new(&self.url).unwrap().waits(ms(1), ms(4))
    }

    pub(crate) fn meeting(&self) -> teammy_client::Meeting {
        self.client().meeting(MeetingId::new("standup").unwrap())
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

/// Reads a request; none if the client went away.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { target, headers, body: String::from_utf8(body).unwrap() })
}
