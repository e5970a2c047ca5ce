//! A client of HTTP/1.1 that is as small as the tests need.

#![allow(dead_code, reason = "each program of tests uses a part")]

use std::{io, net::SocketAddr};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

#[derive(Debug, Clone)]
pub(crate) struct Client(SocketAddr, Option<String>);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A value in a URL.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |escaped, byte| escaped + &format!("%{byte:02x}"))
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self(address, None)
    }

    /// The same with a key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self(self.0, Some(format!("Bearer {key}")))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0
    }

    async fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        length: usize,
    ) -> io::Result<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(self.0).await?;
        let own = self.0.to_string();
        let host = headers.iter().all(|(name, _)| *name != "host").then_some(("host", own.as_str()));
        let key = self.1.as_deref().map(|key| ("authorization", key));
        let lines: Vec<_> = headers
            .iter()
            .copied()
            .chain(host)
            .chain(key)
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let lines = lines.concat();
        let head =
            format!("{method} {path} HTTP/1.1\r\ncontent-length: {length}\r\nconnection: close\r\n{lines}");
        stream.write_all(format!("{head}\r\n").as_bytes()).await?;
        stream.write_all(body).await?;
        Ok(BufReader::new(stream))
    }

    /// Fails if the connection breaks.
    pub(crate) async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        read(self.begin(method, path, headers, body, body.len()).await?).await
    }

    /// Says how long the body is, and sends none of it.
    pub(crate) async fn announce(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: usize,
    ) -> Answer {
        read(self.begin(method, path, headers, b"", length).await.unwrap()).await.unwrap()
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.try_send(method, path, headers, body).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(method, path, &[("content-type", "application/json")], body.to_string().as_bytes()).await
    }

    pub(crate) async fn try_events(&self, path: &str, last: Option<&str>) -> io::Result<Events> {
        let last: Vec<_> = last.map(|last| ("last-event-id", last)).into_iter().collect();
        let mut stream = self.begin("GET", path, &last, b"", 0).await?;
        let (status, _) = head(&mut stream).await?;
        assert_eq!(status, 200);
        Ok(Events { stream, text: String::new() })
    }
}

impl Client {
    pub(crate) async fn post_events(&self, path: &str, body: &Value) -> Events {
        let body = body.to_string();
        let json = [("content-type", "application/json")];
        let mut stream = self.begin("POST", path, &json, body.as_bytes(), body.len()).await.unwrap();
        assert_eq!(head(&mut stream).await.unwrap().0, 200);
        Events { stream, text: String::new() }
    }
}

/// Reads an answer.
async fn read(mut stream: BufReader<TcpStream>) -> io::Result<Answer> {
    let (status, headers) = head(&mut stream).await?;
    let mut answer = Answer { status, headers, body: Vec::new() };
    if answer.header("transfer-encoding") == Some("chunked") {
        while let Some(chunk) = chunk(&mut stream).await? {
            answer.body.extend(chunk);
        }
    } else {
        stream.read_to_end(&mut answer.body).await?;
    }
    Ok(answer)
}

async fn head(stream: &mut BufReader<TcpStream>) -> io::Result<(u16, Vec<(String, String)>)> {
    let status = line(stream).await?;
    let status = status.split(' ').nth(1).unwrap_or_else(|| panic!("no status: {status:?}")).parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let line = line(stream).await?;
        let Some((name, value)) = line.split_once(':') else { return Ok((status, headers)) };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

async fn chunk(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let length = usize::from_str_radix(&line(stream).await?, 16).ok();
    let Some(length) = length.filter(|length| *length > 0) else { return Ok(None) };
    let mut chunk = vec![0; length];
    stream.read_exact(&mut chunk).await?;
    line(stream).await?;
    Ok(Some(chunk))
}

/// Server-sent events.
pub(crate) struct Events {
    stream: BufReader<TcpStream>,
    text: String,
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    data: String,
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

impl Events {
    /// None if the stream is over, or broke.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
                };
                let (id, name, data) = (field("id"), field("event"), field("data"));
                // Without data it is a heartbeat.
                if let Some(data) = data {
                    return Some(Event { id, name, data });
                }
                continue;
            }
            let chunk = chunk(&mut self.stream).await.ok()??;
            self.text += str::from_utf8(&chunk).unwrap();
        }
    }
}
