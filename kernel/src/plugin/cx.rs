//! What a hook is given beside its data.

use std::sync::Arc;

use crate::{DataPacket, InCallPlugin, MeetingEngine, MeetingMetadata, Name, engine::llm::Llm};

/// A hook's surroundings: the state, the packets, the meeting, the engine.
pub struct Cx<'a, P: InCallPlugin> {
    pub(super) packets: &'a [Arc<DataPacket>],
    pub(super) gap: u64,
    pub(super) state: Arc<P::State>,
    pub(super) meeting: &'a MeetingMetadata,
    pub(super) instance: &'a Name,
    pub(super) engine: &'a MeetingEngine,
}

impl<P: InCallPlugin> Cx<'_, P> {
    /// The instance's state in this meeting.
    pub fn state(&self) -> &P::State {
        &self.state
    }

    /// The state, to be changed. The first use in a hook copies it, so that a failing hook leaves no trace.
    pub fn state_mut(&mut self) -> &mut P::State {
        Arc::make_mut(&mut self.state)
    }

    /// The packet that the hook runs on; of a batch the newest.
    pub fn packet(&self) -> &DataPacket {
        self.packets.last().expect("invariant: a hook runs on at least one packet")
    }

    /// All packets that the hook runs on, oldest first: one, or a batch's.
    pub fn packets(&self) -> &[Arc<DataPacket>] {
        self.packets
    }

    /// How many packets of this instance's sources were lost since the last hook, because it was too slow for
    /// a volatile source.
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

    /// The way to the rest of the system.
    pub fn engine(&self) -> &MeetingEngine {
        self.engine
    }
}

/// What [`InCallPlugin::on_shutdown`] is given: there is no meeting any more, so only the language models.
#[derive(Debug, Clone)]
pub struct ShutdownCx {
    pub(super) llm: Llm,
}

impl ShutdownCx {
    /// The language models.
    pub fn llm(&self) -> &Llm {
        &self.llm
    }
}
