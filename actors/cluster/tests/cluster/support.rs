//! Nodes, and a plugin that shows what it got.

use std::{ops::Deref, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use teammy_cluster::{ClusterNode, ClusterSettings, Membership, NodeDocument, Timing, testing::Network};
use teammy_config::Config;
use teammy_kernel::{
    Cx, DataPacket, Error, Factory, Hooks, InCallPlugin, Json, MeetingId, MeetingMetadata, Name, Payload,
    Publish, Receive, StartupCx, Store,
    store::{Incarnation, MemoryStore, PacketQuery},
};
use teammy_runtime::{MeetingRef, Node};

/// Counts what it gets, in its state, and gives each count out once.
pub(crate) struct Counter;

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Counted {
    count: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Message {
    text: String,
}

impl InCallPlugin for Counter {
    type Config = ();
    type State = Counted;
    type Scratch = ();
    type Output = Json<Value>;
    const KIND: &'static str = "counter";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Message>>("chat")
    }
}

impl Receive<Json<Message>> for Counter {
    async fn receive(
        &self,
        chat: Json<Message>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Value>>, Error> {
        if let Some(seconds) = chat.0.text.strip_prefix("wait ") {
            tokio::time::sleep(Duration::from_secs(seconds.parse()?)).await;
        }
        cx.state_mut().count += 1;
        let count = cx.state().count;
        Ok(Some(Json(json!({"count": count, "text": chat.0.text}))))
    }
}

/// Several nodes over one store.
pub(crate) struct Cluster {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) network: Network,
}

/// A node and its part in the cluster.
pub(crate) struct Member {
    pub(crate) node: Arc<Node>,
    pub(crate) cluster: ClusterNode,
}

impl Deref for Member {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

pub(crate) fn incarnation(node: &str, boot: u64) -> Incarnation {
    Incarnation { node: Name::new(node).unwrap(), boot }
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self { store: Arc::default(), network: Network::new(1) }
    }

    /// A node that has room for so many meetings.
    pub(crate) async fn node(&self, name: &str, boot: u64, capacity: u32) -> Member {
        let me = incarnation(name, boot);
        let store: Arc<dyn Store> = self.store.clone();
        let config = "[[plugin]]\nname = \"counter\"\n[[source]]\nname = \"sound\"\ndurable = false\n";
        let node = Node::builder(Config::from_toml(config).unwrap())
            .plugins([Factory::of::<Counter>("counter")])
            .store(store.clone())
            .owner(me.clone())
            .plugin_runtime(tokio::runtime::Handle::current())
            .start()
            .await
            .unwrap();
        let transport = self.network.transport(&me);
        let document = NodeDocument { link: transport.address(), capacity, ..NodeDocument::default() };
        let timing = Timing::of(Duration::from_secs(6));
        let membership = Membership::join(store, me, document.clone(), timing).await.unwrap();
        let node = Arc::new(node);
        let cluster =
            ClusterNode::start(node.clone(), membership, document, transport, &ClusterSettings::default());
        Member { node, cluster }
    }

    /// The texts and counts that the plugin gave out, as they are stored.
    pub(crate) async fn outputs(&self, meeting: &str) -> Vec<(u64, String)> {
        let packets = self.store.packets(id(meeting), PacketQuery::default()).await.unwrap();
        packets.iter().filter(|packet| packet.source == "counter").map(|packet| output(packet)).collect()
    }

    /// The node that owns a meeting.
    pub(crate) async fn owner(&self, meeting: &str) -> Option<Incarnation> {
        self.store.meeting(id(meeting)).await.unwrap().unwrap().owner
    }
}

impl Member {
    /// Dies as a process does: nothing more goes out, and nothing is given back.
    pub(crate) fn kill(self, cluster: &Cluster) {
        cluster.network.kill(self.cluster.incarnation());
        drop(self.cluster);
        drop(self.node);
    }

    /// Waits until so many members are there.
    pub(crate) async fn sees(&self, members: usize) {
        let mut view = self.cluster.view();
        view.wait_for(|view| view.members.len() == members).await.unwrap();
    }
}

pub(crate) fn output(packet: &DataPacket) -> (u64, String) {
    let Payload::Json(json) = &packet.payload else { panic!("an output is JSON") };
    let value: Value = serde_json::from_str(json).unwrap();
    (value["count"].as_u64().unwrap(), value["text"].as_str().unwrap().to_owned())
}

pub(crate) fn id(id: &str) -> MeetingId {
    MeetingId::new(id).unwrap()
}

pub(crate) fn chat(text: &str) -> Publish {
    Publish::json("chat", &json!({"text": text})).unwrap()
}

pub(crate) async fn open(node: &Node, meeting: &str) -> MeetingRef {
    node.open(MeetingMetadata::new(id(meeting)), ["counter"]).await.unwrap().into_meeting()
}
