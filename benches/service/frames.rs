//! What a client's side of a WebSocket needs, with as little work as can be: frames that are built once, and a reader that
//! finds the frames of a server in what came.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

/// The opcodes of the frames that the bench sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    Text = 1,
    Binary = 2,
}

/// A client's frame. It is masked with zeroes, which leaves the payload as it is; a server unmasks it all the same.
pub fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode as u8];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 0x7e);
            frame.extend(u16::try_from(length).expect("the bench's frames are short").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A client's text frame.
pub fn text(payload: &str) -> Vec<u8> {
    frame(Opcode::Text, payload.as_bytes())
}

/// One packet of bytes, as a node reads it: no time, no number, no participant's producer.
pub fn audio(participant: &str, sound: &[u8]) -> Vec<u8> {
    let mut payload = vec![1];
    payload.extend(i64::MIN.to_be_bytes());
    payload.extend(0_u64.to_be_bytes());
    payload.push(5);
    payload.extend(b"audio");
    payload.extend(u16::try_from(participant.len()).expect("a short name").to_be_bytes());
    payload.extend(participant.bytes());
    payload.push(0);
    payload.extend(sound);
    frame(Opcode::Binary, &payload)
}

/// Finds frames in what a server sent.
#[derive(Debug, Default)]
pub struct Received(Vec<u8>);

impl Received {
    /// Takes what came, and calls with the payload of each frame that is complete.
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        self.0.extend_from_slice(bytes);
        let mut rest = &self.0[..];
        while let Some((payload, after)) = first(rest) {
            each(payload);
            rest = after;
        }
        let left = rest.len();
        self.0.drain(..self.0.len() - left);
    }
}

/// The payload of the first frame, and what follows it; nothing if the frame is not complete.
fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, at) = match bytes.get(1)? & 0x7f {
        126 => (u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into(), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
        length => (length.into(), 2),
    };
    Some((bytes.get(at..at + length)?, &bytes[at + length..]))
}

/// The number behind a key in a message, which is JSON without spaces.
pub fn number_of(message: &[u8], key: &[u8]) -> Option<u64> {
    let at = message.windows(key.len()).position(|part| part == key)? + key.len();
    let digits = message[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// A connection, and what came behind the head of the server's answer.
pub type Opened = (TcpStream, Received);

/// Opens a WebSocket.
pub fn connect(address: SocketAddr, path: &str) -> io::Result<Opened> {
    let headers = "upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGVhbW15LWJlbmNoLWtleQ==\r\n";
    request(address, path, headers, "HTTP/1.1 101")
}

/// Opens a stream of server-sent events.
pub fn events(address: SocketAddr, path: &str) -> io::Result<Opened> {
    request(address, path, "accept: text/event-stream\r\n", "HTTP/1.1 200")
}

fn request(address: SocketAddr, path: &str, headers: &str, expected: &str) -> io::Result<Opened> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n")?;
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        let count = stream.read(&mut piece)?;
        answer.extend_from_slice(&piece[..count]);
        if let Some(at) = answer.windows(4).position(|end| end == b"\r\n\r\n") {
            if !answer.starts_with(expected.as_bytes()) {
                return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
            }
            return Ok((stream, Received(answer.split_off(at + 4))));
        }
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
