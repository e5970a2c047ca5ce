//! What the load generator is told, and what it tells: one JSON line each.

use std::{net::SocketAddr, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::plugins::Plugins;

/// From one frame of a meeting to the next.
pub const FRAME: Duration = Duration::from_millis(20);
/// The bytes of sound in a frame: 20 ms at 16 kHz.
pub const FRAME_BYTES: usize = 640;
/// A meeting gets a transcription with each of so many frames: each 2 s.
pub const TRANSCRIPTION: u64 = 100;

/// How the server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// docs/http.md: one connection publishes, and with plugins another one reads.
    Teammy,
    /// Each frame comes back.
    Echo,
    /// One connection for both: frames are bytes, transcriptions and outputs are text.
    Pipecat,
}

/// What is sent and for how long.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    pub protocol: Protocol,
    pub address: SocketAddr,
    /// The process whose processor time is measured.
    pub server: u32,
    pub meetings: usize,
    /// The plugins of each meeting; without them it has audio alone.
    pub plugins: Plugins,
    /// How long acknowledgements wait for more, in milliseconds.
    pub ack_ms: Option<u32>,
    /// Before it is measured.
    pub warm_up: Duration,
    pub lasts: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    pub meetings: usize,
    /// All that was sent while it was measured, a second.
    pub frames: f64,
    /// From when a transcription was due to be sent until its output was there, in milliseconds.
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
    /// How many of those there are.
    pub outputs: u64,
    /// Outputs that did not come within 5 s of the end; they count as if they came then.
    pub missing: u64,
    /// How late the generator itself sent, in milliseconds.
    pub late_p99: f64,
    /// The processor time of the server for each frame, in microseconds.
    pub cpu_each: f64,
    /// The cores that the server, the generator, and the rest of the machine kept busy.
    pub server_cores: f64,
    pub own_cores: f64,
    pub other_cores: f64,
    /// The server's resident memory at the end, in MiB.
    pub resident: f64,
    /// Frames whose acknowledgement, or echo, did not come, and messages about problems.
    pub unanswered: u64,
    pub problems: u64,
    /// The messages of acknowledgement for each frame.
    pub acks_each: f64,
    /// Audio packets that instances lost, because the node was too slow.
    pub lost: u64,
}

/// A histogram for microseconds.
pub fn times() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}
