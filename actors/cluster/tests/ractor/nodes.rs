//! Nodes for tests.

use std::{
    path::Path,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use teammy_cluster::{
    Connection, RactorSettings, RactorTransport, Security, Transport,
    certs::{Authority, NodeFiles, Validity},
};
use teammy_kernel::{Name, store::Incarnation};
use tempfile::TempDir;

static BOOTS: AtomicU64 = AtomicU64::new(1);

/// Another run of this node.
pub(crate) fn incarnation(node: &str) -> Incarnation {
    Incarnation { node: Name::new(node).unwrap(), boot: BOOTS.fetch_add(1, Ordering::Relaxed) }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) me: Incarnation,
    pub(crate) transport: Arc<RactorTransport>,
}

pub(crate) async fn start(node: &str, security: Security) -> Node {
    let me = incarnation(node);
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let settings = RactorSettings { me: me.clone(), listen, advertise: None, security };
    Node { me, transport: RactorTransport::start(settings).await.unwrap() }
}

pub(crate) async fn plain(node: &str) -> Node {
    start(node, Security::Plain).await
}

pub(crate) fn tls(files: &NodeFiles) -> Security {
    Security::Tls { cert: files.cert.clone(), key: files.key.clone(), ca: files.ca.clone() }
}

/// An authority, and nodes with its certificates.
pub(crate) struct Cluster {
    pub(crate) folder: TempDir,
    pub(crate) authority: Authority,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        Self { folder, authority }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn files(&self, node: &str) -> NodeFiles {
        self.authority.add(&Name::new(node).unwrap(), Validity::default()).unwrap()
    }

    pub(crate) async fn start(&self, node: &str) -> Node {
        start(node, tls(&self.files(node))).await
    }
}

impl Node {
    pub(crate) fn address(&self) -> String {
        self.transport.address().unwrap()
    }

    /// Both ends of a new connection, this node's first.
    pub(crate) async fn connect(&self, to: &Self) -> (Connection, Connection) {
        let address = to.address();
        let (near, far) = tokio::join!(self.transport.connect(&to.me, &address), to.transport.accept());
        let (near, far) = (near.unwrap(), far.unwrap());
        assert_eq!((&near.peer, &far.peer), (&to.me, &self.me));
        (near, far)
    }
}

/// A frame goes over the connection, each way.
pub(crate) async fn echo(near: &mut Connection, far: &mut Connection) {
    near.sender.send(Bytes::from_static(b"there")).unwrap();
    assert_eq!(&far.receiver.recv().await.unwrap()[..], b"there");
    far.sender.send(Bytes::from_static(b"and back")).unwrap();
    assert_eq!(&near.receiver.recv().await.unwrap()[..], b"and back");
}
