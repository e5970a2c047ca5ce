//! What one hook puts out.

use std::sync::Arc;

use crate::{DataPacket, Error, IntoPayload, Payload, participant};

/// An output that a hook emits beside the one that it returns.
#[derive(Debug)]
pub(super) struct Emitted<O> {
    pub(super) output: O,
    pub(super) participant: Option<Arc<str>>,
}

/// One output of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HookOutput {
    /// The data.
    pub payload: Payload,
    /// The participant whom its packet names.
    pub participant: Option<Arc<str>>,
}

/// The outputs of one hook, in order: those that it emitted, then the one that it returned. Most hooks have one
/// output or none, which takes no allocation.
#[derive(Debug, Default)]
pub struct Outputs {
    emitted: Vec<HookOutput>,
    returned: Option<Payload>,
}

/// Why a hook's outputs are rejected.
#[derive(Debug, thiserror::Error)]
enum TooMuch {
    #[error("the hook put out {0} packets; the limit is {max}", max = Outputs::MAX)]
    Outputs(usize),
    #[error("the hook's outputs are {0} bytes in all; the limit is {max}", max = Outputs::MAX_BYTES)]
    Bytes(usize),
    #[error(
        "an output names a participant in {0} bytes; the limit is {max}",
        max = DataPacket::MAX_PARTICIPANT_BYTES
    )]
    Participant(usize),
}

impl Outputs {
    /// The most outputs of one hook.
    pub const MAX: usize = 1_000;
    /// The most bytes of all outputs of one hook, if there are several. They are stored in one piece.
    pub const MAX_BYTES: usize = 4 << 20;

    /// Makes payloads of what a hook put out.
    ///
    /// # Errors
    /// [`Error::reject`] if an output has no payload, if one should be JSON and is not, if one names a participant
    /// whose name is too long, or if they are too many or too large: another try makes the same.
    pub(super) fn of<O: IntoPayload>(emitted: Vec<Emitted<O>>, returned: Option<O>) -> Result<Self, Error> {
        let payload = |output: O| output.into_payload().and_then(well_formed);
        let returned = returned.map(payload).transpose()?;
        if emitted.is_empty() {
            return Ok(Self { emitted: Vec::new(), returned });
        }
        let count = emitted.len() + usize::from(returned.is_some());
        if count > Self::MAX {
            return Err(Error::reject(TooMuch::Outputs(count)));
        }
        let named = |Emitted { output, participant }: Emitted<O>| {
            let participant = participant.and_then(participant::normalized);
            match participant.as_ref().map_or(0, |name| name.len()) {
                bytes if bytes > DataPacket::MAX_PARTICIPANT_BYTES => {
                    Err(Error::reject(TooMuch::Participant(bytes)))
                }
                _ => Ok(HookOutput { payload: payload(output)?, participant }),
            }
        };
        let outputs = Self { emitted: emitted.into_iter().map(named).collect::<Result<_, _>>()?, returned };
        match outputs.bytes() {
            bytes if count > 1 && bytes > Self::MAX_BYTES => Err(Error::reject(TooMuch::Bytes(bytes))),
            _ => Ok(outputs),
        }
    }

    /// The outputs' payloads, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Payload> {
        self.emitted.iter().map(|output| &output.payload).chain(&self.returned)
    }

    /// Whether there is no output.
    pub fn is_empty(&self) -> bool {
        self.emitted.is_empty() && self.returned.is_none()
    }

    /// The bytes of all payloads.
    fn bytes(&self) -> usize {
        self.iter().map(Payload::len).sum()
    }
}

impl IntoIterator for Outputs {
    type Item = HookOutput;
    type IntoIter = std::iter::Chain<std::vec::IntoIter<HookOutput>, std::option::IntoIter<HookOutput>>;

    fn into_iter(self) -> Self::IntoIter {
        let returned = self.returned.map(|payload| HookOutput { payload, participant: None });
        self.emitted.into_iter().chain(returned)
    }
}

/// An output, unless it is a text that should be JSON and is not.
fn well_formed(output: Payload) -> Result<Payload, Error> {
    match output {
        Payload::Malformed(malformed) => Err(Error::reject(malformed)),
        output => Ok(output),
    }
}
