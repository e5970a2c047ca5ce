//! What a meeting's log tells of its instances: rules without I/O.

use std::collections::{BTreeMap, BTreeSet};

use teammy::{
    DataPacket, Payload,
    data::{InstanceStatus, PluginStatus},
    graph::PLUGIN_STATUS,
};

/// What was read of a log.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How many outputs there are, by instance.
    outputs: BTreeMap<String, u64>,
    suspended: BTreeSet<String>,
}

impl Seen {
    /// Takes the next packet. Returns whether it is an output of one of these instances.
    pub(super) fn take(&mut self, packet: &DataPacket, is_instance: impl Fn(&str) -> bool) -> bool {
        let source = packet.source.as_str();
        if source == PLUGIN_STATUS {
            self.take_status(&packet.payload);
        }
        let is_output = is_instance(source);
        if is_output {
            *self.outputs.entry(source.to_owned()).or_default() += 1;
        }
        is_output
    }

    fn take_status(&mut self, payload: &Payload) {
        let Payload::Json(text) = payload else { return };
        // A status of a later version tells nothing.
        let Ok(PluginStatus { instance, status, .. }) = serde_json::from_str(text) else { return };
        match status {
            InstanceStatus::Suspended => self.suspended.insert(instance.to_string()),
            _ => self.suspended.remove(instance.as_str()),
        };
    }

    /// How many outputs an instance made.
    pub(super) fn outputs(&self, instance: &str) -> u64 {
        self.outputs.get(instance).copied().unwrap_or(0)
    }

    /// The instances that are suspended.
    pub(super) fn suspended(&self) -> &BTreeSet<String> {
        &self.suspended
    }
}

#[cfg(test)]
mod tests {
    use teammy::{MeetingId, Publish, Seq, Timestamp};

    use super::*;

    fn packet(source: &str, payload: &str) -> DataPacket {
        let publish = Publish::json_text(source, payload).unwrap();
        publish.into_packet(MeetingId::new("m").unwrap(), Seq(1), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn outputs_are_counted_and_the_last_status_holds() {
        let mut seen = Seen::default();
        let status = |instance: &str, status: &str| {
            packet(PLUGIN_STATUS, &format!(r#"{{"instance":"{instance}","status":"{status}"}}"#))
        };
        let log = [
            packet("a", "1"),
            packet("chat", "1"),
            status("a", "suspended"),
            status("b", "suspended"),
            status("b", "of a later version"),
            packet("a", "2"),
            status("b", "resumed"),
        ];
        let shown: Vec<bool> =
            log.iter().map(|it| seen.take(it, |source| ["a", "b"].contains(&source))).collect();
        assert_eq!(shown, [true, false, false, false, false, true, false]);
        assert_eq!((seen.outputs("a"), seen.outputs("b")), (2, 0));
        assert_eq!(seen.suspended().iter().collect::<Vec<_>>(), ["a"]);
    }
}
