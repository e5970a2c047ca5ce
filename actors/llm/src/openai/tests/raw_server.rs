//! A server that does what a script says with each connection, byte for byte.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use teammy_kernel::SharedLlm;

use super::{Endpoint, config, endpoints};

/// What the server does with a connection, in order. At the end it closes it.
#[derive(Clone)]
pub(super) enum Do {
    Send(Vec<u8>),
    /// Sends this again and again until the client is gone.
    Repeat(Vec<u8>),
    Wait(Duration),
    /// Says nothing more, until the client is gone.
    Stall,
    /// Closes the connection so that the client sees a reset.
    Reset,
}

/// A request.
pub(super) struct Received {
    pub(super) path: String,
    /// The lines of its head, in lower case.
    pub(super) head: Vec<String>,
    pub(super) body: Vec<u8>,
}

type Script = dyn Fn(usize, &Received) -> Vec<Do> + Send + Sync;

/// The server. It closes a connection at the end of its script.
pub(super) struct RawServer {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl RawServer {
    /// Does what a script says of each request, by its number from 1 and its body.
    pub(super) fn start(script: impl Fn(usize, &Value) -> Vec<Do> + Send + Sync + 'static) -> Self {
        Self::start_raw(move |number, received| {
            script(number, &serde_json::from_slice(&received.body).unwrap())
        })
    }

    /// As [`start`](Self::start), with the request as it came.
    pub(super) fn start_raw(script: impl Fn(usize, &Received) -> Vec<Do> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, script): (_, Arc<Script>) = (Arc::new(AtomicUsize::new(0)), Arc::new(script));
        let counter = requests.clone();
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (counter, script) = (counter.clone(), script.clone());
                thread::spawn(move || serve(connection, &counter, &*script));
            }
        });
        Self { port, requests }
    }

    pub(super) fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// The client of one model here, which asks once.
    pub(super) fn endpoint(&self) -> Endpoint {
        let toml = format!("[[llm.model]]\nname = \"big\"\nbase_url = \"{}\"", self.base_url());
        endpoints(&config(&toml).llm).unwrap().remove(0)
    }

    /// One model here, with these lines of configuration.
    pub(super) fn model(&self, llm: &str, model: &str) -> SharedLlm {
        let toml =
            format!("{llm}\n[[llm.model]]\nname = \"big\"\nbase_url = \"{}\"\n{model}", self.base_url());
        crate::configured(&config(&toml).llm, false).unwrap()
    }
}

fn serve(mut connection: TcpStream, counter: &AtomicUsize, script: &Script) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let (mut first, mut length, mut head) = (None, 0, Vec::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line == "\r\n" {
            break;
        }
        let lower = line.trim().to_lowercase();
        first.get_or_insert(line);
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push(lower);
    }
    let path = first.unwrap_or_default().split(' ').nth(1).unwrap().to_owned();
    let mut received = Received { path, head, body: vec![0; length] };
    reader.read_exact(&mut received.body).unwrap();
    let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
    for step in script(number, &received) {
        match step {
            Do::Send(bytes) => {
                if connection.write_all(&bytes).is_err() {
                    return;
                }
            }
            Do::Repeat(bytes) => while connection.write_all(&bytes).is_ok() {},
            Do::Wait(time) => thread::park_timeout(time),
            Do::Stall => drop(connection.read(&mut [0])),
            Do::Reset => {
                // What the client sent and nobody reads makes it a reset.
                drop(connection.shutdown(Shutdown::Both));
                return;
            }
        }
    }
}

pub(super) fn head(status: &str, headers: &str) -> Do {
    Do::Send(format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\n\r\n").into_bytes())
}

pub(super) fn whole(status: &str, headers: &str, body: &str) -> Vec<Do> {
    let length = format!("content-type: application/json\r\ncontent-length: {}\r\n{headers}", body.len());
    vec![head(status, &length), Do::Send(body.as_bytes().to_vec())]
}
