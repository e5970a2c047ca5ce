//! What a meeting's lifecycle packets say, one after the other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{DataPacket, Name, Seq, meeting::Lifecycle};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LifecycleHistory {
    /// The seq of the meeting's `start` packet.
    pub(super) start: Option<Seq>,
    /// The instances in the order in which they first joined, each with its last `join` (or the `start`) and
    /// the `leave` after it.
    pub(super) members: Vec<(Name, Seq, Option<Seq>)>,
    /// The meeting's `ending` packet.
    #[serde(skip)]
    pub(super) ending: Option<Arc<DataPacket>>,
    #[serde(skip)]
    pub(super) has_ended: bool,
    /// The meeting had ended and was reopened for redrives; `on_meeting_end` does not run again.
    #[serde(skip)]
    pub(super) is_reopened: bool,
    /// Each redrive's instance, its own seq, and the packet that it delivers again.
    pub(super) redrives: Vec<(Name, Seq, Seq)>,
}

impl LifecycleHistory {
    pub(super) fn read(packets: &[Arc<DataPacket>]) -> Self {
        let mut history = Self::default();
        for packet in packets {
            history.take(packet);
        }
        history
    }

    /// Takes the next packet.
    pub(super) fn take(&mut self, packet: &Arc<DataPacket>) {
        match Lifecycle::from_payload(&packet.payload) {
            Some(Lifecycle::Start { instances, .. }) => {
                self.start.get_or_insert(packet.seq);
                for instance in instances {
                    self.joined(instance, packet.seq);
                }
            }
            Some(Lifecycle::Join { instance, .. }) => self.joined(instance, packet.seq),
            Some(Lifecycle::Leave { instance }) => {
                let member = self.members.iter_mut().find(|(name, ..)| *name == instance);
                if let Some((_, _, leaving)) = member {
                    *leaving = Some(packet.seq);
                }
            }
            Some(Lifecycle::Ending) => self.ending = Some(packet.clone()),
            Some(Lifecycle::Ended) => self.has_ended = true,
            Some(Lifecycle::Redrive { instance, seq }) => {
                self.is_reopened |= std::mem::take(&mut self.has_ended);
                self.redrives.push((instance, packet.seq, seq));
            }
            None => {}
        }
    }

    fn joined(&mut self, instance: Name, seq: Seq) {
        match self.members.iter_mut().find(|(name, ..)| *name == instance) {
            Some((_, joined, leaving)) => (*joined, *leaving) = (seq, None),
            None => self.members.push((instance, seq, None)),
        }
    }
}
