//! The context of a dynamic plugin's hook.

use std::{error::Error as StdError, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    DataPacket, DatastoreError, Error, MeetingEngine, MeetingMetadata, Name, Payload, Timestamp,
    plugin::{
        input::{Tries, wake_at},
        outputs::Emitted,
    },
};

/// A dynamic plugin's state in one meeting.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::plugin) struct JsonState(pub(in crate::plugin) Box<RawValue>);

impl Default for JsonState {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

/// The context of a dynamic plugin's hook: the state, the packets, the meeting, the engine.
pub struct DynamicCx<'a> {
    pub(in crate::plugin) packets: &'a [Arc<DataPacket>],
    pub(in crate::plugin) gap: u64,
    pub(in crate::plugin) tries: Tries,
    pub(in crate::plugin) takes_wakes: bool,
    pub(in crate::plugin) state: Arc<JsonState>,
    pub(in crate::plugin) emitted: Vec<Emitted<Payload>>,
    pub(in crate::plugin) rejected: Vec<(usize, Error)>,
    pub(in crate::plugin) meeting: &'a MeetingMetadata,
    pub(in crate::plugin) instance: &'a Name,
    pub(in crate::plugin) engine: &'a MeetingEngine,
}

impl DynamicCx<'_> {
    /// The instance's state in this meeting, as JSON text; `null` until it is first set. After a restart this
    /// may be a text that an earlier version of the plugin wrote.
    pub fn state(&self) -> &str {
        self.state.0.get()
    }

    /// Sets the state. The text is stored as it is; an equal text changes nothing.
    ///
    /// A state above 1 MiB is not stored, and suspends the instance.
    pub fn set_state(&mut self, state: Box<RawValue>) {
        if state.get() != self.state() {
            self.state = Arc::new(JsonState(state));
        }
    }

    /// Makes one packet of a batch a dead letter: the packet at this index of [`packets`](Self::packets). The
    /// others are handled if the hook ends well, and the output's causes leave this one out. A hook that
    /// rejects all of its packets fails as if it had returned the first of these errors.
    pub fn reject(&mut self, index: usize, cause: impl Into<Box<dyn StdError + Send + Sync>>) {
        if index < self.packets.len() && !self.rejected.iter().any(|(other, _)| *other == index) {
            self.rejected.push((index, Error::reject(cause)));
        }
    }

    /// The packet that the hook runs on; of a batch the newest.
    pub fn packet(&self) -> &DataPacket {
        self.packets.last().expect("invariant: a hook runs on at least one packet")
    }

    /// All packets that the hook runs on, oldest first: one, or a batch's.
    pub fn packets(&self) -> &[Arc<DataPacket>] {
        self.packets
    }

    /// Puts out a packet beside the one that the hook returns: before it, in the order of these calls, and from
    /// the same packets. All are stored with the hook's other effects or, if it fails, none.
    ///
    /// One hook may put out 1,000 packets, of 4 MiB in all.
    pub fn emit(&mut self, output: Payload) {
        self.emit_by(None, output);
    }

    /// Puts out a packet that names a participant; see [`Cx::emit_by`](crate::Cx::emit_by).
    pub fn emit_by(&mut self, participant: Option<Arc<str>>, output: Payload) {
        self.emitted.push(Emitted { output, participant });
    }

    /// Asks for a wake at a time of the meeting's clock; see [`Cx::wake_at`](crate::Cx::wake_at). The plugin must name
    /// [`on_wake`](super::DynamicSpec::on_wake) in its spec.
    ///
    /// # Errors
    /// As [`Cx::wake_at`](crate::Cx::wake_at).
    pub fn wake_at(&mut self, at: Timestamp, key: &str) -> Result<(), DatastoreError> {
        wake_at(self.takes_wakes, self.engine, self.packet(), at, key)
    }

    /// Cancels a wake. That of an unknown key is no error.
    ///
    /// # Errors
    /// As [`Cx::cancel`](crate::Cx::cancel).
    pub fn cancel(&mut self, key: &str) -> Result<(), DatastoreError> {
        self.engine.datastore().cancel(key)
    }

    /// Which try of these packets this is; see [`Cx::attempt`](crate::Cx::attempt).
    pub fn attempt(&self) -> u32 {
        self.tries.attempt
    }

    /// Whether the packets are given up if the hook fails now; see
    /// [`Cx::is_last_attempt`](crate::Cx::is_last_attempt).
    pub fn is_last_attempt(&self) -> bool {
        self.tries.is_last()
    }

    /// How many packets of this instance's sources were lost since the last hook, because the instance was
    /// too slow for a volatile source.
    pub fn gap(&self) -> u64 {
        self.gap
    }

    /// The meeting.
    pub fn meeting(&self) -> &MeetingMetadata {
        self.meeting
    }

    /// The name of this instance, which is the source of its outputs.
    pub fn instance(&self) -> &Name {
        self.instance
    }

    /// The language models, the instance's keys and values, and the meeting's history.
    pub fn engine(&self) -> &MeetingEngine {
        self.engine
    }
}
