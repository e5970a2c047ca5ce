//! Nodes of a cluster in this process, over one store in memory, with links over loopback.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use teammy_cluster::{
    ClusterNode, ClusterSettings, Membership, NodeDocument, RactorSettings, RactorTransport, Security,
    Timing, Transport,
    certs::{Authority, Validity},
};
use teammy_config::Config;
use teammy_kernel::{
    MeetingId, MeetingMetadata, Name, Publish, Store,
    store::{Incarnation, MemoryStore},
};
use teammy_runtime::{MeetingRef, Node};

/// A packet's payload, in bytes.
pub const PAYLOAD: usize = 256;

struct Member {
    node: Arc<Node>,
    cluster: ClusterNode,
}

/// Several nodes.
pub struct Nodes {
    store: Arc<MemoryStore>,
    members: Vec<Member>,
}

/// A meeting, as the node has it that runs it, and as another one has it.
#[derive(Clone)]
pub struct Meeting {
    pub owner: MeetingRef,
    pub other: MeetingRef,
}

/// A packet of a volatile source.
pub async fn publish(meeting: &MeetingRef) {
    let publish = Publish::bytes("sound", Bytes::from(vec![7; PAYLOAD])).expect("a well-formed name");
    meeting.publish(publish).await.expect("the packet is taken");
}

impl Nodes {
    /// So many nodes, each with a link to each other one.
    pub async fn start(count: usize, tls: Option<&Authority>) -> Result<Self, Box<dyn Error>> {
        let mut nodes = Self { store: Arc::default(), members: Vec::new() };
        for number in 0..count {
            let name = Name::new(format!("node{number}"))?;
            let security = match tls {
                None => Security::Plain,
                Some(authority) => {
                    let files = authority.add(&name, Validity::days(1))?;
                    Security::Tls { cert: files.cert, key: files.key, ca: files.ca }
                }
            };
            let me = Incarnation { node: name, boot: 1 };
            nodes.members.push(Member::start(nodes.store.clone(), me, security).await?);
        }
        for member in &nodes.members {
            let mut view = member.cluster.view();
            view.wait_for(|view| view.members.len() == count).await?;
            while member.cluster.links().iter().filter(|link| link.is_up).count() < count - 1 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(nodes)
    }

    /// Starts so many meetings without plugins, wherever they belong.
    pub async fn meetings(&self, count: usize) -> Result<Vec<Meeting>, Box<dyn Error>> {
        let mut meetings = Vec::new();
        for number in 0..count {
            let id = MeetingId::new(format!("meeting{number}"))?;
            let [first, ..] = &self.members[..] else { return Err("there are no nodes".into()) };
            first.node.open(MeetingMetadata::new(id.clone()), Vec::<String>::new()).await?;
            let owner = self.store.meeting(id.clone()).await?.and_then(|row| row.owner);
            let owner = owner.ok_or("nobody owns the meeting")?;
            let at = self.members.iter().position(|member| *member.cluster.incarnation() == owner);
            let at = at.ok_or("another node owns the meeting")?;
            let other = &self.members[(at + 1) % self.members.len()];
            meetings.push(Meeting {
                owner: self.members[at].node.find_meeting(&id).await?,
                other: other.node.find_meeting(&id).await?,
            });
        }
        Ok(meetings)
    }

    /// How many calls went from node to node.
    pub fn forwards(&self) -> u64 {
        self.members.iter().map(|member| member.cluster.counts().0).sum()
    }

    pub async fn stop(self) {
        for Member { node, cluster } in self.members {
            drop(cluster);
            let _ = node.shutdown(Duration::from_secs(5)).await;
        }
    }
}

impl Member {
    async fn start(
        store: Arc<MemoryStore>,
        me: Incarnation,
        security: Security,
    ) -> Result<Self, Box<dyn Error>> {
        let store: Arc<dyn Store> = store;
        let node = Node::builder(Config::from_toml("[[source]]\nname = \"sound\"\ndurable = false\n")?)
            .store(store.clone())
            .owner(me.clone())
            .start()
            .await?;
        let listen = Some(([127, 0, 0, 1], 0).into());
        let settings = RactorSettings { me: me.clone(), listen, advertise: None, security };
        let transport = RactorTransport::start(settings).await?;
        let document = NodeDocument { link: transport.address(), capacity: 1000, ..NodeDocument::default() };
        let timing = Timing::of(Duration::from_secs(10));
        let membership = Membership::join(store, me, document.clone(), timing).await?;
        let node = Arc::new(node);
        let settings = ClusterSettings::default();
        let cluster = ClusterNode::start(node.clone(), membership, document, transport, &settings);
        Ok(Self { node, cluster })
    }
}
