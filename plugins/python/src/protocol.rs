//! The messages between a node and a host. See `docs/python-host.md`, which describes each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use teammy_kernel::{DataPacket, Payload};

/// The version that both ends must speak.
pub(crate) const VERSION: u32 = 1;

/// The number of a call.
pub(crate) type CallId = u64;

/// What a node says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum ToHost<'a> {
    Load {
        protocol: u32,
        instance: &'a str,
        path: &'a str,
        json: Json,
    },
    Install,
    Startup {
        config: &'a Value,
    },
    Shutdown {
        call: CallId,
    },
    Run {
        call: CallId,
        meeting: Meeting<'a>,
        hook: &'a str,
        attempt: u32,
        state: bool,
        packets: Vec<Packet<'a>>,
    },
    Meeting {
        call: CallId,
        meeting: Meeting<'a>,
        event: MeetingEvent,
    },
    Cancel {
        call: CallId,
    },
    Answer(Answer<'a>),
    Ping {
        at: u64,
    },
}

/// In which form a hook of version 0.2 gets a packet's JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Json {
    #[default]
    Text,
    Value,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Meeting<'a> {
    pub(crate) id: &'a str,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MeetingEvent {
    Start,
    End,
}

/// The answer to what a hook asks; what is none is left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Answer<'a> {
    pub(crate) ask: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) found: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) packets: Option<Vec<Packet<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<AnswerError>,
}

#[derive(Debug, Serialize)]
pub(crate) struct AnswerError {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// A packet without its payload: seq, microseconds since 1970, participant, kind of the payload.
#[derive(Debug, Serialize)]
pub(crate) struct Packet<'a>(u64, i64, Option<&'a str>, Kind);

/// The kind of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Json,
    Text,
    Bytes,
}

/// A packet as a head has it, and its payload. Text that should be JSON and is not goes as text.
pub(crate) fn packet(packet: &DataPacket) -> (Packet<'_>, &[u8]) {
    let (kind, payload): (_, &[u8]) = match &packet.payload {
        Payload::Bytes(bytes) => (Kind::Bytes, bytes),
        Payload::Text(text) => (Kind::Text, text.as_bytes()),
        Payload::Json(text) => (Kind::Json, text.as_bytes()),
        Payload::Malformed(malformed) => (Kind::Text, malformed.text().as_bytes()),
    };
    let at = packet.timestamp.as_microsecond();
    (Packet(packet.seq.0, at, packet.participant.as_deref(), kind), payload)
}

/// What a host says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum FromHost {
    Loaded {
        protocol: u32,
        python: String,
        plugin: Described,
    },
    Refused(Refused),
    Installed {},
    Started {
        hooks: BTreeMap<String, Api>,
    },
    Stopped {},
    Ended {
        call: CallId,
        hooks: Vec<EndedHook>,
    },
    Failed {
        call: CallId,
        error: HookError,
    },
    Cancelled {
        call: CallId,
    },
    Ask {
        call: CallId,
        ask: u64,
        #[serde(flatten)]
        what: Asked,
    },
    Log {
        level: Level,
        meeting: Option<String>,
        logger: String,
    },
    Pong {},
}

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) sources: Vec<String>,
    /// Its own configuration, as JSON, as far as that has a JSON form.
    #[serde(default)]
    pub(crate) config: Value,
    /// The class, as `module.Class`.
    pub(crate) class: String,
}

/// Why the host does not do what it was asked to.
#[derive(Debug, Clone, Deserialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refused {
    pub(crate) code: String,
    pub(crate) message: String,
    /// The key of the configuration that is at fault.
    #[serde(default)]
    pub(crate) path: Option<String>,
}

/// Which version of the API a hook follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Api {
    /// Two arguments.
    #[serde(rename = "0.2")]
    Two,
    /// Three arguments: with a state.
    #[serde(rename = "0.3")]
    Three,
}

/// How one hook ended. Its values are in the frame's blobs.
#[derive(Debug, Deserialize)]
pub(crate) struct EndedHook {
    #[serde(default)]
    pub(crate) keys: Vec<String>,
    #[serde(default)]
    pub(crate) output: Option<Kind>,
    #[serde(default)]
    pub(crate) state: bool,
}

/// A hook's error: its type and its place, and nothing that may quote a packet.
#[derive(Debug, Deserialize, thiserror::Error)]
#[error("{name}{}{at}", if .at.is_empty() { "" } else { " at " })]
pub(crate) struct HookError {
    #[serde(rename = "type")]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) at: String,
    #[serde(default)]
    pub(crate) reject: bool,
}

/// What a hook asks for.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Asked {
    Get { key: String },
    History { last: usize, within: Option<u64> },
    Prompt { temperature: f32 },
    FastPrompt { temperature: f32 },
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Debug,
    Info,
    Warning,
    Error,
}
