//! Nodes on a network in memory, and a handler that does as it is told.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use parking_lot::Mutex;
use teammy_kernel::{MeetingId, Name};
use tokio::{sync::Semaphore, time::sleep};

use crate::{
    CallError, Handler, LinkSettings, LinkStatus, Links, Member, NodeDocument, Opening, Transport, View,
    handler::Call, testing::Network,
};

use super::super::*;

pub(super) fn incarnation(node: &str) -> Incarnation {
    Incarnation { node: Name::new(node).unwrap(), boot: 1 }
}

pub(super) fn meeting(id: &str) -> MeetingId {
    MeetingId::new(id).unwrap()
}

/// A call that is not ordered.
pub(super) fn call(body: impl Into<Bytes>) -> Call {
    Call { meeting: Some(meeting("m")), epoch: 1, is_ordered: false, trace: None, body: body.into() }
}

pub(super) fn ordered(id: &str, body: impl Into<Bytes>) -> Call {
    Call { meeting: Some(meeting(id)), is_ordered: true, ..call(body) }
}

/// Answers by the body's first word: `echo`, `wait` (for a permit), `slow` (10 ms), `panic`, `count N` (a stream of N items of the
/// rest's length), `forever` (a stream of one item and then none).
#[derive(Debug)]
pub(super) struct Told {
    /// What was handled, in order of beginning.
    pub(super) begun: Mutex<Vec<(Incarnation, Call)>>,
    pub(super) permits: Semaphore,
    pub(super) items: AtomicUsize,
    pub(super) streams: Arc<AtomicUsize>,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            begun: Mutex::default(),
            permits: Semaphore::new(0),
            items: AtomicUsize::new(0),
            streams: Arc::default(),
        }
    }
}

impl Told {
    pub(super) fn bodies(&self) -> Vec<Bytes> {
        self.begun.lock().iter().map(|(_, call)| call.body.clone()).collect()
    }
}

/// Counts a stream as open.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler for Told {
    fn call(self: Arc<Self>, from: Incarnation, call: Call) -> BoxFuture<'static, Bytes> {
        async move {
            self.begun.lock().push((from, call.clone()));
            match &call.body[..call.body.len().min(4)] {
                b"wait" => self.permits.acquire().await.unwrap().forget(),
                b"slow" => sleep(Duration::from_millis(10)).await,
                b"pani" => panic!("as told"),
                b"huge" => return vec![0; (8 << 20) + 1].into(),
                _ => {}
            }
            call.body
        }
        .boxed()
    }

    fn open(self: Arc<Self>, from: Incarnation, call: Call) -> BoxFuture<'static, Opening> {
        async move {
            self.begun.lock().push((from, call.clone()));
            let text = String::from_utf8(call.body.to_vec()).unwrap();
            let words: Vec<_> = text.split(' ').collect();
            self.streams.fetch_add(1, Ordering::SeqCst);
            let open = Open(Arc::clone(&self.streams));
            let items = match words[..] {
                ["count", items, bytes] => {
                    let (items, bytes): (usize, usize) = (items.parse().unwrap(), bytes.parse().unwrap());
                    let told = Arc::clone(&self);
                    let of = move |number: usize| {
                        let _ = &open;
                        told.items.fetch_add(1, Ordering::SeqCst);
                        let mut item = vec![0; bytes];
                        item[..8].copy_from_slice(&(number as u64).to_le_bytes());
                        Bytes::from(item)
                    };
                    stream::iter(0..items).map(of).boxed()
                }
                ["forever"] => {
                    let pending = stream::pending().map(move |item| {
                        let _ = &open;
                        item
                    });
                    stream::iter([Bytes::from_static(b"first")]).chain(pending).boxed()
                }
                ["panic"] => stream::iter([0]).map(|_| panic!("as told")).boxed(),
                ["wait"] => {
                    self.permits.acquire().await.unwrap().forget();
                    return Opening { body: Bytes::new(), items: None };
                }
                _ => return Opening { body: call.body, items: None },
            };
            Opening { body: "opened".into(), items: Some(items) }
        }
        .boxed()
    }
}

/// A node.
pub(super) struct Node {
    pub(super) handler: Arc<Told>,
    pub(super) links: Arc<Links>,
}

/// Nodes that see each other.
pub(super) struct World {
    pub(super) network: Network,
    pub(super) view: watch::Sender<View>,
    pub(super) nodes: BTreeMap<String, Node>,
}

pub(super) fn member(me: &Incarnation, transport: &dyn Transport) -> Member {
    let document = NodeDocument { link: transport.address(), ..NodeDocument::default() };
    Member { incarnation: me.clone(), document }
}

impl World {
    pub(super) fn new(seed: u64, names: &[&str], settings: &LinkSettings) -> Self {
        let network = Network::new(seed);
        let view = watch::Sender::new(View { is_member: true, members: vec![], ended: vec![] });
        let mut nodes = BTreeMap::new();
        for name in names {
            let me = incarnation(name);
            let transport = network.transport(&me);
            view.send_modify(|view| view.members.push(member(&me, &*transport)));
            let handler = Arc::new(Told::default());
            let links =
                Links::start(me, transport, Arc::clone(&handler) as _, view.subscribe(), settings.clone());
            nodes.insert((*name).to_owned(), Node { handler, links: Arc::new(links) });
        }
        Self { network, view, nodes }
    }

    /// Two nodes with a link that is up.
    pub(super) async fn pair() -> Self {
        let world = Self::new(1, &["a", "b"], &LinkSettings::default());
        world.up("a", "b").await;
        world
    }

    pub(super) fn node(&self, name: &str) -> &Node {
        &self.nodes[name]
    }

    pub(super) fn handler(&self, name: &str) -> &Told {
        &self.nodes[name].handler
    }

    pub(super) async fn call(&self, from: &str, to: &str, call: Call) -> Result<Bytes, CallError> {
        self.node(from).links.call(&incarnation(to), call).await
    }

    /// Makes a call in a task of its own.
    pub(super) fn begin(
        &self,
        from: &str,
        to: &str,
        call: Call,
    ) -> tokio::task::JoinHandle<Result<Bytes, CallError>> {
        let (links, to) = (Arc::clone(&self.node(from).links), incarnation(to));
        tokio::spawn(async move { links.call(&to, call).await })
    }

    pub(super) fn status(&self, of: &str, peer: &str) -> LinkStatus {
        let mut all = self.node(of).links.status().into_iter();
        all.find(|status| status.peer == incarnation(peer)).expect("it has a link")
    }

    pub(super) fn is_up(&self, of: &str, peer: &str) -> bool {
        self.node(of).links.status().iter().any(|status| status.peer == incarnation(peer) && status.is_up)
    }

    /// Waits until two nodes have a link, by both.
    pub(super) async fn up(&self, a: &str, b: &str) {
        until(|| self.is_up(a, b) && self.is_up(b, a)).await;
    }
}

/// Waits for a fact on the paused clock, up to 5 minutes.
pub(super) async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..300_000 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("it never comes");
}

/// Lets everything happen that needs no time.
pub(super) async fn settle() {
    sleep(Duration::from_millis(1)).await;
}
