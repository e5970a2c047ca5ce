//! The text frames of a WebSocket.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;
use teammy_kernel::{DataPacket, Name};

use crate::problem::Problem;

/// What a client says.
#[derive(Debug)]
pub(super) enum FromClient<'a> {
    /// Publish a packet. The client's packets are numbered from 1, in whatever frames they come.
    /// It is counted also if it cannot be read, so that both sides count alike.
    Publish { packet: Result<&'a RawValue, serde_json::Error> },
    /// Send packets after a seq, instead of what was sent before.
    Subscribe(Subscribe),
    /// Send no more packets.
    Unsubscribe,
    /// Send so many packets more.
    Credit { packets: u64 },
}

/// Which packets a client wants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subscribe {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    #[serde(default)]
    pub(super) after: Option<String>,
    #[serde(default)]
    pub(super) sources: Option<Vec<Name>>,
    #[serde(default)]
    pub(super) outputs: bool,
    /// Send so many packets, and more when the client says `credit`; without it as many as the connection takes.
    #[serde(default)]
    pub(super) credit: Option<u64>,
    /// Send packets of bytes as binary frames.
    #[serde(default)]
    pub(super) binary: bool,
}

impl<'a> FromClient<'a> {
    /// Reads a message. By hand: a tagged enum of serde would read a packet's payload before it is known to be one.
    pub(super) fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Tag<'a> {
            #[serde(borrow)]
            r#type: Cow<'a, str>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Publish<'a> {
            #[serde(rename = "type")]
            _type: IgnoredAny,
            #[serde(borrow)]
            packet: &'a RawValue,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Credit {
            #[serde(rename = "type")]
            _type: IgnoredAny,
            packets: u64,
        }
        match serde_json::from_str::<Tag<'_>>(text)?.r#type.as_ref() {
            "publish" => {
                let read = serde_json::from_str::<Publish<'_>>(text);
                Ok(Self::Publish { packet: read.map(|publish| publish.packet) })
            }
            "subscribe" => Ok(Self::Subscribe(serde_json::from_str(text)?)),
            "unsubscribe" => Ok(Self::Unsubscribe),
            "credit" => Ok(Self::Credit { packets: serde_json::from_str::<Credit>(text)?.packets }),
            other => {
                let known = &["publish", "subscribe", "unsubscribe", "credit"];
                Err(serde::de::Error::unknown_variant(other, known))
            }
        }
    }
}

/// The first message.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Hello {
    /// The meeting.
    pub(super) meeting: String,
    /// The largest frame that is read.
    pub(super) frame_bytes: usize,
}

/// What a client is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum ToClient<'a> {
    Hello(&'a Hello),
    /// All packets up to this number are published, but for those with a problem.
    Ack {
        number: u64,
        /// The place of the last one.
        seq: String,
        /// How many of them the meeting had before.
        #[serde(skip_serializing_if = "is_none")]
        duplicates: u64,
    },
    /// A packet is not published, or something else went wrong.
    Problem {
        #[serde(skip_serializing_if = "Option::is_none")]
        number: Option<u64>,
        problem: Problem,
    },
    Packet {
        packet: &'a Arc<DataPacket>,
    },
    /// So many packets of sources that are not stored were dropped.
    Gap {
        packets: u64,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_none(count: &u64) -> bool {
    *count == 0
}
