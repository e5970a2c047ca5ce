//! A cluster in memory, and what its plugin gave out.

use serde_json::Value;
use teammy_cluster::testing::{TestCluster, TestNode};
use teammy_kernel::{DataPacket, MeetingId, MeetingMetadata, Payload, Publish, Store, store::PacketQuery};
use teammy_runtime::{MeetingRef, Node};

use crate::counter;

pub(crate) fn cluster() -> TestCluster {
    TestCluster::new(1, counter::config(), counter::factories())
}

/// A node that has room for so many meetings.
pub(crate) async fn start(cluster: &TestCluster, name: &str, capacity: u32) -> TestNode {
    cluster.start(name, capacity).await.unwrap()
}

/// The texts and counts that the plugin gave out, as they are stored.
pub(crate) async fn stored_outputs(cluster: &TestCluster, meeting: &str) -> Vec<(u64, String)> {
    let packets = cluster.store().packets(id(meeting), PacketQuery::default()).await.unwrap();
    packets.iter().filter(|packet| packet.source == "counter").map(|packet| output(packet)).collect()
}

pub(crate) fn output(packet: &DataPacket) -> (u64, String) {
    let Payload::Json(json) = &packet.payload else { panic!("an output is JSON") };
    let value: Value = serde_json::from_str(json).unwrap();
    (value["count"].as_u64().unwrap(), value["text"].as_str().unwrap().to_owned())
}

pub(crate) fn id(id: &str) -> MeetingId {
    MeetingId::new(id).unwrap()
}

/// A packet. The hook for `wait 5` takes five seconds.
pub(crate) fn chat(text: &str) -> Publish {
    let seconds: u64 = text.strip_prefix("wait ").map_or(0, |seconds| seconds.parse().unwrap());
    counter::chat(text, seconds * 1000)
}

pub(crate) async fn open(node: &Node, meeting: &str) -> MeetingRef {
    node.open(MeetingMetadata::new(id(meeting)), ["counter"]).await.unwrap().into_meeting()
}
