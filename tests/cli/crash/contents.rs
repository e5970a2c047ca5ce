//! What is stored of a meeting, independent of its seqs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use serde_json::Value;
use teammy::{
    DataPacket, Lifecycle, MeetingId, Payload, Seq, Store,
    store::{InstanceStatus, MeetingStatus, PacketQuery},
};

/// All that is stored of a meeting, with packets named by their identity.
#[derive(Debug, PartialEq)]
pub(crate) struct Contents {
    status: MeetingStatus,
    /// By source, in the log's order.
    packets: BTreeMap<String, Vec<Packet>>,
    /// By instance.
    states: BTreeMap<String, (InstanceStatus, Option<Value>)>,
    /// By instance and key.
    keys: BTreeMap<(String, String), Value>,
    dead_letters: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Packet {
    /// Of a published packet its producer and number. Of an output its instance and the identities of its
    /// causes.
    identity: String,
    payload: String,
    /// The timestamp, unless a clock set it at run time.
    time: Option<String>,
}

impl Contents {
    /// Fails if a packet is missing, repeated, different or in another position.
    #[track_caller]
    pub(crate) fn assert_is(&self, wanted: &Self) {
        for (source, wanted) in &wanted.packets {
            let found = self.packets.get(source).map_or(&[][..], Vec::as_slice);
            for (position, (found, wanted)) in found.iter().zip(wanted).enumerate() {
                assert_eq!(found, wanted, "packet {position} of {source}");
            }
            assert_eq!(found.len(), wanted.len(), "packets of {source}");
        }
        assert_eq!(self, wanted);
    }

    /// Removes the state and the keys of an instance.
    pub(crate) fn take_memory(&mut self, instance: &str) -> (Value, BTreeMap<String, Value>) {
        let (_, state) = self.states.remove(instance).expect("the instance takes part");
        let keys = self.keys.extract_if(.., |(of, _), _| of == instance);
        let keys = keys.map(|((_, key), value)| (key, value)).collect();
        (state.unwrap_or_default(), keys)
    }

    /// How many packets there are of a source.
    pub(crate) fn count(&self, source: &str) -> usize {
        self.packets.get(source).map_or(0, Vec::len)
    }
}

/// A packet's identity.
fn identity(packet: &DataPacket, identities: &BTreeMap<Seq, String>) -> String {
    if let Some(producer) = &packet.producer {
        return format!("{}:{}", producer.id, producer.number);
    }
    if packet.source == Lifecycle::SOURCE {
        let Payload::Json(event) = &packet.payload else { panic!("{packet:?}") };
        return event.to_string();
    }
    assert!(!packet.causes.is_empty(), "it has neither a number nor a cause: {packet:?}");
    let cause = |seq| {
        identities.get(seq).unwrap_or_else(|| panic!("{packet:?} has the cause {seq}, which is missing"))
    };
    let causes: Vec<&str> = packet.causes.iter().map(|seq| cause(seq).as_str()).collect();
    format!("{}({})", packet.source, causes.join(","))
}

async fn read(store: &dyn Store, id: &str) -> Contents {
    let id = MeetingId::new(id).unwrap();
    let row = store.meeting(id.clone()).await.unwrap().unwrap_or_else(|| panic!("there is no meeting {id}"));
    let log: Vec<Arc<DataPacket>> = store.packets(id.clone(), PacketQuery::default()).await.unwrap();
    let mut identities = BTreeMap::new();
    let mut known = BTreeSet::new();
    let mut packets: BTreeMap<String, Vec<Packet>> = BTreeMap::new();
    for packet in &log {
        let identity = identity(packet, &identities);
        assert!(
            known.insert(identity.clone()),
            "{identity} is there twice, the second time at {}",
            packet.seq
        );
        identities.insert(packet.seq, identity.clone());
        // Outputs that runtime packets caused have their timestamps, which a clock set.
        let is_of_a_clock = packet.source == Lifecycle::SOURCE || identity.contains('{');
        packets.entry(packet.source.to_string()).or_default().push(Packet {
            identity,
            payload: format!("{:?}", packet.payload),
            time: (!is_of_a_clock).then(|| packet.timestamp.to_string()),
        });
    }
    let mut states = BTreeMap::new();
    let mut keys = BTreeMap::new();
    for row in store.instances(id.clone()).await.unwrap() {
        for (key, value) in store.list(id.clone(), row.instance.clone(), String::new()).await.unwrap() {
            // What models cost is counted by the hour, with the time that they took.
            if !key.starts_with("\0usage/") {
                keys.insert((row.instance.to_string(), key), serde_json::from_str(&value).unwrap());
            }
        }
        let state = row.state.map(|state| serde_json::from_str(&state).unwrap());
        states.insert(row.instance.to_string(), (row.status, state));
    }
    let dead_letters = store.dead_letters(id).await.unwrap().len();
    Contents { status: row.status, packets, states, keys, dead_letters }
}

/// What a database, which no process has open, holds of some meetings.
pub(crate) fn contents(directory: &Path, meetings: &[impl AsRef<str>]) -> Vec<Contents> {
    contents_at(&format!("database.url = {:?}", format!("surrealkv://{}", directory.display())), meetings)
}

/// What the configured database holds of some meetings.
pub(crate) fn contents_at(config: &str, meetings: &[impl AsRef<str>]) -> Vec<Contents> {
    let config = teammy::config::Config::from_toml(config).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = teammy::open_store(&config.database).await.unwrap();
        let mut contents = Vec::new();
        for meeting in meetings {
            contents.push(read(&*store, meeting.as_ref()).await);
        }
        store.close().await.unwrap();
        contents
    })
}
