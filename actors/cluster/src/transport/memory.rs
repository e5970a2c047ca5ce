//! A network in memory, for tests: many nodes in one process, on tokio's clock, with faults from a seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use teammy_kernel::store::Incarnation;
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use crate::transport::{Closed, ConnectError, Connection, FrameSender, Transport};

/// How long a node tries to connect with one that does not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What happens to frames and connections by chance: each is a probability from 0 to 1. The default is a network without faults.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Faults {
    /// A frame breaks its connection, which both ends see.
    pub break_connection: f64,
    /// A new connection is refused.
    pub refuse: f64,
    /// A frame is lost. No TCP does this, nor the next two; links must notice.
    pub lose: f64,
    /// A frame arrives twice.
    pub repeat: f64,
    /// A frame arrives after its follower.
    pub swap: f64,
}

/// A network. Clones are the same one.
///
/// # Examples
/// ```
/// # use teammy_cluster::{Transport, testing::Network};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let network = Network::new(7);
/// let (a, b) = ("a.0000000000000001".parse()?, "b.0000000000000001".parse()?);
/// let (from, to) = (network.transport(&a), network.transport(&b));
/// let here = from.connect(&b, &to.address().unwrap()).await?;
/// let mut there = to.accept().await.unwrap();
/// here.sender.send("hello".into())?;
/// assert_eq!(there.receiver.recv().await.unwrap(), "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Network {
    net: Arc<Mutex<Net>>,
    /// Counts changes of who reaches whom.
    changes: Arc<watch::Sender<u64>>,
}

#[derive(Debug)]
struct Net {
    random: fastrand::Rng,
    delay: Range<Duration>,
    faults: Faults,
    nodes: BTreeMap<Incarnation, mpsc::UnboundedSender<Connection>>,
    /// From whom nothing gets to whom.
    cuts: BTreeSet<(Incarnation, Incarnation)>,
    frozen: BTreeSet<Incarnation>,
    refusing: BTreeSet<Incarnation>,
    ends: Vec<Arc<End>>,
    /// Bytes that were sent and have not arrived.
    in_flight: BTreeMap<(Incarnation, Incarnation), usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// Closed by its owner: what was sent before arrives.
    Closed,
    /// Broken: what was sent before is lost.
    Broken,
}

/// One end of a connection.
#[derive(Debug)]
struct End {
    owner: Incarnation,
    peer: Incarnation,
    life: watch::Sender<Life>,
    /// Whether its owner has learned that the other end was closed.
    is_over: AtomicBool,
}

impl End {
    fn new(owner: &Incarnation, peer: &Incarnation) -> Arc<Self> {
        let (owner, peer) = (owner.clone(), peer.clone());
        Arc::new(Self { owner, peer, life: watch::Sender::new(Life::Open), is_over: AtomicBool::new(false) })
    }

    fn become_(&self, life: Life) {
        self.life
            .send_if_modified(|present| *present == Life::Open && std::mem::replace(present, life) != life);
    }

    async fn until(&self, wanted: impl FnMut(&Life) -> bool) {
        // The sender is part of this.
        let _ = self.life.subscribe().wait_for(wanted).await;
    }
}

impl Network {
    /// A network without delay and faults. The seed decides what happens by chance.
    pub fn new(seed: u64) -> Self {
        let net = Net {
            random: fastrand::Rng::with_seed(seed),
            delay: Duration::ZERO..Duration::ZERO,
            faults: Faults::default(),
            nodes: BTreeMap::new(),
            cuts: BTreeSet::new(),
            frozen: BTreeSet::new(),
            refusing: BTreeSet::new(),
            ends: Vec::new(),
            in_flight: BTreeMap::new(),
        };
        Self { net: Arc::new(Mutex::new(net)), changes: Arc::new(watch::Sender::new(0)) }
    }

    /// A node's transport. Its address is that of the node, whichever incarnation is there.
    pub fn transport(&self, node: &Incarnation) -> Arc<dyn Transport> {
        let (inbox, accepted) = mpsc::unbounded_channel();
        self.net.lock().nodes.insert(node.clone(), inbox);
        Arc::new(MemoryTransport {
            network: self.clone(),
            me: node.clone(),
            accepted: AsyncMutex::new(accepted),
        })
    }

    /// How long frames and connections take: a random time of this range. Frames of a connection keep their order.
    pub fn delay(&self, range: Range<Duration>) {
        self.net.lock().delay = range;
    }

    /// What happens by chance from now on.
    pub fn faults(&self, faults: Faults) {
        self.net.lock().faults = faults;
    }

    /// Nothing gets from one node to the other or back. Nobody is told: what is sent waits until the network [heals](Self::heal).
    pub fn cut(&self, a: &Incarnation, b: &Incarnation) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Nothing gets from one node to the other, as with [`cut`](Self::cut); the way back is open.
    pub fn cut_one_way(&self, from: &Incarnation, to: &Incarnation) {
        self.change(|net| net.cuts.insert((from.clone(), to.clone())));
    }

    /// Ends all cuts.
    pub fn heal(&self) {
        self.change(|net| net.cuts.clear());
    }

    /// A node takes nothing and sends nothing until it is [thawed](Self::thaw). Its own clock goes on.
    pub fn freeze(&self, node: &Incarnation) {
        self.change(|net| net.frozen.insert(node.clone()));
    }

    /// A node goes on where it was frozen.
    pub fn thaw(&self, node: &Incarnation) {
        self.change(|net| net.frozen.remove(node));
    }

    /// A node refuses new connections until it [admits](Self::admit) them again.
    pub fn refuse(&self, node: &Incarnation) {
        self.change(|net| net.refusing.insert(node.clone()));
    }

    /// A node takes new connections again.
    pub fn admit(&self, node: &Incarnation) {
        self.change(|net| net.refusing.remove(node));
    }

    /// Ends all connections of two nodes, which both see at once. What is under way is lost.
    pub fn break_connections(&self, a: &Incarnation, b: &Incarnation) {
        let net = self.net.lock();
        for end in &net.ends {
            if (&end.owner, &end.peer) == (a, b) || (&end.owner, &end.peer) == (b, a) {
                end.become_(Life::Broken);
            }
        }
    }

    /// A node dies: its connections end, which the others see unless they are cut off, and nobody reaches it again.
    pub fn kill(&self, node: &Incarnation) {
        self.change(|net| {
            net.nodes.remove(node);
            net.frozen.remove(node);
            net.ends.iter().filter(|end| end.owner == *node).for_each(|end| end.become_(Life::Broken));
        });
    }

    /// How many bytes one node sent to the other that have not arrived.
    pub fn in_flight(&self, from: &Incarnation, to: &Incarnation) -> usize {
        self.net.lock().in_flight.get(&(from.clone(), to.clone())).copied().unwrap_or(0)
    }

    fn change<R>(&self, change: impl FnOnce(&mut Net) -> R) {
        change(&mut self.net.lock());
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Waits until something can get from one node to the other.
    async fn open(&self, from: &Incarnation, to: &Incarnation) {
        // It ends only with the network.
        let _ = self.changes.subscribe().wait_for(|_| self.net.lock().is_open(from, to)).await;
    }

    /// The two ends of a new connection, and what carries frames from one to the other.
    fn connect(&self, a: &Incarnation, b: &Incarnation) -> (Connection, Connection) {
        let ends = [End::new(a, b), End::new(b, a)];
        let mut net = self.net.lock();
        net.ends.retain(|end| *end.life.borrow() == Life::Open);
        net.ends.extend(ends.iter().cloned());
        drop(net);
        let (there, from_a) = self.pipe(&ends[0], &ends[1]);
        let (here, from_b) = self.pipe(&ends[1], &ends[0]);
        let connection = |peer: &Incarnation, sender, receiver| Connection {
            peer: peer.clone(),
            sender: Box::new(sender),
            receiver,
        };
        (connection(b, there, from_b), connection(a, here, from_a))
    }

    fn pipe(&self, from: &Arc<End>, to: &Arc<End>) -> (MemorySender, mpsc::UnboundedReceiver<Bytes>) {
        let (queue, frames) = mpsc::unbounded_channel();
        let (deliver, receiver) = mpsc::unbounded_channel();
        let pipe = Pipe {
            network: self.clone(),
            from: Arc::clone(from),
            to: Arc::clone(to),
            frames,
            deliver,
            swapped: None,
        };
        tokio::spawn(pipe.run());
        (MemorySender { network: self.clone(), end: Arc::clone(from), queue }, receiver)
    }
}

impl Net {
    fn is_open(&self, from: &Incarnation, to: &Incarnation) -> bool {
        let is_cut = self.cuts.contains(&(from.clone(), to.clone()));
        !is_cut && !self.frozen.contains(from) && !self.frozen.contains(to)
    }

    fn delay(&mut self) -> Duration {
        self.delay.start + (self.delay.end.saturating_sub(self.delay.start)).mul_f64(self.random.f64())
    }

    fn happens(&mut self, probability: f64) -> bool {
        self.random.f64() < probability
    }
}

struct MemorySender {
    network: Network,
    end: Arc<End>,
    queue: mpsc::UnboundedSender<(Instant, Bytes)>,
}

impl fmt::Debug for MemorySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySender").field("peer", &self.end.peer).finish_non_exhaustive()
    }
}

impl FrameSender for MemorySender {
    fn send(&self, frame: Bytes) -> Result<(), Closed> {
        if self.end.is_over.load(Ordering::Relaxed) || *self.end.life.borrow() != Life::Open {
            return Err(Closed);
        }
        let mut net = self.network.net.lock();
        let at = Instant::now() + net.delay();
        let ways = (self.end.owner.clone(), self.end.peer.clone());
        *net.in_flight.entry(ways).or_default() += frame.len();
        self.queue.send((at, frame)).map_err(|_| Closed)
    }
}

impl Drop for MemorySender {
    fn drop(&mut self) {
        self.end.become_(Life::Closed);
    }
}

/// One direction of a connection.
struct Pipe {
    network: Network,
    from: Arc<End>,
    to: Arc<End>,
    frames: mpsc::UnboundedReceiver<(Instant, Bytes)>,
    deliver: mpsc::UnboundedSender<Bytes>,
    /// A frame that arrives after its follower.
    swapped: Option<Bytes>,
}

impl Pipe {
    async fn run(mut self) {
        let (from, to) = (Arc::clone(&self.from), Arc::clone(&self.to));
        tokio::select! {
            biased;
            // Nobody is there to take anything.
            () = to.until(|life| *life != Life::Open) => {}
            () = from.until(|life| *life == Life::Broken) => self.end().await,
            () = self.carry() => self.end().await,
        }
        self.frames.close();
        while let Ok((_, frame)) = self.frames.try_recv() {
            self.arrived(&frame);
        }
    }

    /// The receiver learns that the sender is gone, if word of it gets there.
    async fn end(&self) {
        let delay = self.network.net.lock().delay();
        sleep(delay).await;
        self.network.open(&self.from.owner, &self.to.owner).await;
        self.to.is_over.store(true, Ordering::Relaxed);
    }

    fn arrived(&self, frame: &Bytes) {
        let mut net = self.network.net.lock();
        if let Some(bytes) = net.in_flight.get_mut(&(self.from.owner.clone(), self.to.owner.clone())) {
            *bytes -= frame.len();
        }
    }

    /// Carries frames until the sender is dropped, or a frame breaks the connection.
    async fn carry(&mut self) {
        while let Some((at, frame)) = self.frames.recv().await {
            sleep_until(at).await;
            self.network.open(&self.from.owner, &self.to.owner).await;
            self.arrived(&frame);
            let mut net = self.network.net.lock();
            let faults = net.faults;
            if net.happens(faults.break_connection) {
                drop(net);
                self.from.become_(Life::Broken);
                self.to.become_(Life::Broken);
                return;
            }
            let (is_lost, is_repeated) = (net.happens(faults.lose), net.happens(faults.repeat));
            let is_swapped = self.swapped.is_none() && net.happens(faults.swap);
            drop(net);
            if is_lost {
                continue;
            }
            if is_swapped {
                self.swapped = Some(frame);
                continue;
            }
            if is_repeated {
                let _ = self.deliver.send(frame.clone());
            }
            let _ = self.deliver.send(frame);
            if let Some(late) = self.swapped.take() {
                let _ = self.deliver.send(late);
            }
        }
    }
}

#[derive(Debug)]
struct MemoryTransport {
    network: Network,
    me: Incarnation,
    accepted: AsyncMutex<mpsc::UnboundedReceiver<Connection>>,
}

fn address(node: &Incarnation) -> String {
    format!("memory:{}", node.node)
}

impl Transport for MemoryTransport {
    fn connect<'a>(
        &'a self,
        peer: &'a Incarnation,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        let unreachable =
            |kind: io::ErrorKind| ConnectError::Unreachable { address: address.into(), cause: kind.into() };
        async move {
            let name =
                address.strip_prefix("memory:").ok_or_else(|| ConnectError::Address(address.into()))?;
            let delay = self.network.net.lock().delay();
            sleep(delay).await;
            let (inbox, there, is_silent) = {
                let mut net = self.network.net.lock();
                let found = net.nodes.iter().rev().find(|(node, _)| node.node.as_str() == name);
                let found = found.map(|(node, inbox)| (inbox.clone(), node.clone()));
                let refuse = net.faults.refuse;
                let (inbox, there) = found
                    .filter(|(_, node)| !net.refusing.contains(node))
                    .ok_or_else(|| unreachable(io::ErrorKind::ConnectionRefused))?;
                if net.happens(refuse) || !net.nodes.contains_key(&self.me) {
                    return Err(unreachable(io::ErrorKind::ConnectionRefused));
                }
                let is_silent = !net.is_open(&self.me, &there) || !net.is_open(&there, &self.me);
                (inbox, there, is_silent)
            };
            if is_silent {
                sleep(CONNECT_TIMEOUT).await;
                return Err(unreachable(io::ErrorKind::TimedOut));
            }
            if there != *peer {
                let reason = format!("it is {there}");
                return Err(ConnectError::NotThePeer { address: address.into(), peer: peer.clone(), reason });
            }
            let (here, accepted) = self.network.connect(&self.me, &there);
            inbox.send(accepted).map_err(|_| unreachable(io::ErrorKind::ConnectionRefused))?;
            Ok(here)
        }
        .boxed()
    }

    fn accept(&self) -> BoxFuture<'_, Option<Connection>> {
        async move { self.accepted.lock().await.recv().await }.boxed()
    }

    fn address(&self) -> Option<String> {
        Some(address(&self.me))
    }
}

#[cfg(test)]
mod tests;
