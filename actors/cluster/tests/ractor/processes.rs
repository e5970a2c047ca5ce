//! A peer in another process that is killed, or stopped.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use teammy_cluster::{
    Call, CallError, Connection, Handler, LinkSettings, Links, Member, NodeDocument, Opening, RactorSettings,
    RactorTransport, Security, Transport, View,
};
use teammy_kernel::store::Incarnation;
use tokio::{sync::watch, task::JoinSet, time::Duration};

use super::nodes::{Node, plain};

/// Tells the test that runs as another process who it is.
const ME: &str = "TEAMMY_TEST_NODE";

/// The other process: it sends back what it gets. It does nothing where the test below has not started it.
#[tokio::test]
async fn the_peer_of_the_next_test() {
    let Ok(me) = std::env::var(ME) else { return };
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let settings =
        RactorSettings { me: me.parse().unwrap(), listen, advertise: None, security: Security::Plain };
    let transport = RactorTransport::start(settings).await.unwrap();
    println!("\nlistens on {}", transport.address().unwrap());
    let Connection { sender, mut receiver, .. } = transport.accept().await.unwrap();
    while let Some(frame) = receiver.recv().await {
        sender.send(frame).unwrap();
    }
}

/// The other process, the address at which it listens, and what else it prints: that must stay open as long as it runs.
fn start(test: &str, peer: &Incarnation) -> (Child, String, impl Iterator) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(ME, peer.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| Some(line.unwrap().strip_prefix("listens on ")?.to_owned())).unwrap();
    (child, address, lines)
}

#[tokio::test]
async fn a_peer_that_is_killed_is_noticed() {
    let peer: Incarnation = "south.00000000000000ff".parse().unwrap();
    let (mut child, address, _lines) = start("processes::the_peer_of_the_next_test", &peer);
    let north = plain("north").await;
    let mut connection = north.transport.connect(&peer, &address).await.unwrap();
    connection.sender.send("hello".into()).unwrap();
    assert_eq!(connection.receiver.recv().await.unwrap(), "hello");
    child.kill().unwrap();
    assert_eq!(connection.receiver.recv().await, None);
    child.wait().unwrap();
}

/// Answers with what was asked.
#[derive(Debug)]
struct Echo;

impl Handler for Echo {
    fn call(self: Arc<Self>, _: Incarnation, call: Call) -> BoxFuture<'static, Bytes> {
        async move { call.body }.boxed()
    }

    fn open(self: Arc<Self>, _: Incarnation, call: Call) -> BoxFuture<'static, Opening> {
        async move { Opening { body: call.body, items: None } }.boxed()
    }
}

/// A node without TLS.
async fn node(me: &str) -> Node {
    let (me, listen): (Incarnation, _) = (me.parse().unwrap(), Some("127.0.0.1:0".parse().unwrap()));
    let settings = RactorSettings { me: me.clone(), listen, advertise: None, security: Security::Plain };
    Node { me, transport: RactorTransport::start(settings).await.unwrap() }
}

/// A node's links. It dials the other one if it knows its address.
fn links(node: Node, other: &Incarnation, address: Option<String>) -> (Links, watch::Sender<View>) {
    let member = |incarnation: &Incarnation, link: Option<String>| Member {
        incarnation: incarnation.clone(),
        document: NodeDocument { link, ..NodeDocument::default() },
    };
    let members = vec![member(&node.me, node.transport.address()), member(other, address)];
    let view = watch::Sender::new(View { is_member: true, members, ended: vec![] });
    // Short enough for a test, and long enough for calls to come through at all on a busy machine: they are repeated.
    let settings =
        LinkSettings { heartbeat: Duration::from_millis(200), window: 1 << 20, ..LinkSettings::default() };
    (Links::start(node.me, node.transport, Arc::new(Echo), view.subscribe(), settings), view)
}

fn call(bytes: usize) -> Call {
    Call { meeting: None, epoch: 0, is_ordered: false, trace: None, body: vec![7; bytes].into() }
}

/// Calls until a call is answered.
async fn answered(links: &Links, peer: &Incarnation) {
    while links.call(peer, call(1)).await.is_err() {}
}

const NORTH: &str = "north.0000000000000001";

/// The other process of the next test: a node whose links answer.
#[tokio::test]
async fn the_node_of_the_next_test() {
    let Ok(me) = std::env::var(ME) else { return };
    let node = node(&me).await;
    println!("\nlistens on {}", node.address());
    let _links = links(node, &NORTH.parse().unwrap(), None);
    // Until the test ends, however it does.
    let ends = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(ends).await.unwrap().unwrap();
}

/// Its sockets stay open, and nobody reads them.
#[tokio::test]
async fn a_peer_that_is_stopped_is_noticed_and_comes_back() {
    let peer: Incarnation = "south.00000000000000ff".parse().unwrap();
    let (mut child, address, _lines) = start("processes::the_node_of_the_next_test", &peer);
    let signal = |signal: &str| {
        let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(status.success());
    };
    let (links, _view) = links(node(NORTH).await, &peer, Some(address));
    let links = Arc::new(links);
    answered(&links, &peer).await;
    signal("-STOP");
    // Four windows of calls: what the sockets' buffers take, what is under way, and what waits.
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let (links, peer) = (links.clone(), peer.clone());
        calls.spawn(async move { links.call(&peer, call(64 << 10)).await });
    }
    let (mut unknown, mut not_sent) = (0, 0);
    for ended in calls.join_all().await {
        match ended {
            Err(CallError::Unknown { .. }) => unknown += 1,
            Err(CallError::NotSent { .. }) => not_sent += 1,
            // The system may stop it a moment later.
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(unknown <= 16, "{unknown} of 64 KiB are more than the window");
    assert!(not_sent >= 32, "{not_sent}");
    let status = &links.status()[0];
    assert_eq!((status.under_way, status.waiting), (0, 0), "{status:?}");
    signal("-CONT");
    answered(&links, &peer).await;
    drop(child.stdin.take());
    child.wait().unwrap();
}
