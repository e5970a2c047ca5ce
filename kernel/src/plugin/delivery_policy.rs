//! What happens to packets that an instance cannot take yet.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer};

use crate::{DataPacket, Payload, error_classes};

/// What happens to a source's packets while an instance that takes the source is busy.
///
/// Under each policy an instance gets packets in the log's order and learns how many it missed
/// ([`Cx::gap`](crate::Cx::gap)).
///
/// # Examples
/// ```
/// use teammy_kernel::{Key, DeliveryPolicy};
/// let newest_of_each = DeliveryPolicy::Latest(Key::Participant);
/// let by_segment = DeliveryPolicy::Latest("/segment/id".parse::<Key>()?);
/// # Ok::<(), teammy_kernel::KeyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeliveryPolicy {
    /// Delivers all packets. Those that memory has no room for are read from the store. The default for
    /// durable sources, and not possible for volatile ones.
    Spill,
    /// Drops the oldest packets that memory has no room for. The default for volatile sources.
    DropOldest,
    /// Delivers the newest packet of each key: a later packet replaces an undelivered one of the same key.
    /// The remaining packets keep their order. A packet without the key is never replaced.
    Latest(Key),
    /// Delivers all packets, and makes publishers wait. While more than `delivery.block_bytes` of the source
    /// wait for this instance, the meeting accepts no packet on the external sources that feed it, until the
    /// instance catches up, is suspended, or the meeting ends. Outputs of other instances never wait.
    Block,
}

/// The key by which [`DeliveryPolicy::Latest`] replaces packets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Key {
    /// The packet's participant; all packets without one share a key.
    Participant,
    /// A value in the packet's JSON, at a JSON pointer
    /// ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)), which begins with `/`.
    Pointer(Arc<str>),
}

/// A text that is not a [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither participant nor a JSON pointer, which begins with / and has ~ only as ~0 or ~1")]
pub struct KeyError(String);

error_classes!(KeyError { _ => "invalid-delivery-key" Invalid, });

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let tildes_are_escapes = || text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        match text {
            "participant" => Ok(Self::Participant),
            pointer if pointer.starts_with('/') && tildes_are_escapes() => Ok(Self::Pointer(pointer.into())),
            _ => Err(KeyError(text.to_owned())),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Participant => f.write_str("participant"),
            Self::Pointer(pointer) => f.write_str(pointer),
        }
    }
}

impl Serialize for DeliveryPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for DeliveryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spill => f.write_str("spill"),
            Self::DropOldest => f.write_str("drop-oldest"),
            Self::Latest(key) => write!(f, "latest by {key}"),
            Self::Block => f.write_str("block"),
        }
    }
}

impl Key {
    /// A packet's key, as text; `None` for a packet without it.
    pub fn of(&self, packet: &DataPacket) -> Option<Box<str>> {
        match self {
            Self::Participant => Some(packet.participant.as_deref().unwrap_or_default().into()),
            Self::Pointer(pointer) => {
                let Payload::Json(text) = &packet.payload else { return None };
                let value: serde_json::Value = serde_json::from_str(text).ok()?;
                value.pointer(pointer).map(|value| value.to_string().into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MeetingId, Publish, Seq, Timestamp};

    fn packet(json: &str, participant: Option<&str>) -> DataPacket {
        let mut publish = Publish::json_text("s", json).unwrap();
        if let Some(participant) = participant {
            publish = publish.participant(participant);
        }
        publish.into_packet(MeetingId::new("m").unwrap(), Seq(1), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn keys_are_read_as_they_are_shown() {
        for text in ["participant", "/segment/id", "/a~1b/0", "/"] {
            assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
        }
        for text in ["", "segment", "/a~2b", "/a~", "Participant"] {
            let error = text.parse::<Key>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_packet_has_the_key_that_its_json_says() {
        let key: Key = "/segment/id".parse().unwrap();
        let of = |json: &str| key.of(&packet(json, Some("Ada")));
        assert_eq!(of(r#"{"segment": {"id": 7}}"#).as_deref(), Some("7"));
        assert_eq!(of(r#"{"segment": {"id": "7"}}"#).as_deref(), Some("\"7\""), "a string is no number");
        assert_eq!(of(r#"{"segment": 7}"#), None);
        assert_eq!(of("[7]"), None);
        assert_eq!(Key::Participant.of(&packet("{}", Some("Ada"))).as_deref(), Some("Ada"));
        assert_eq!(Key::Participant.of(&packet("{}", None)).as_deref(), Some(""));
    }
}
