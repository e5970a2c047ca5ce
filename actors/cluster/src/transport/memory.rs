//! A network in memory, for tests: many nodes in one process, on tokio's clock, with faults from a seed.

mod net;
mod pipe;

use std::{io, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use teammy_kernel::store::Incarnation;
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc},
    time::sleep,
};

pub use self::net::Faults;
use self::{
    net::{End, Life, Shared},
    pipe::{MemorySender, Pipe},
};
use crate::transport::{ConnectError, Connection, Transport};

/// How long a node tries to connect with one that does not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

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
    shared: Arc<Shared>,
}

impl Network {
    /// A network without delay and faults. The seed decides what happens by chance.
    pub fn new(seed: u64) -> Self {
        Self { shared: Shared::new(seed) }
    }

    /// A node's transport. Its address is that of the node, whichever incarnation is there.
    pub fn transport(&self, node: &Incarnation) -> Arc<dyn Transport> {
        let (inbox, accepted) = mpsc::unbounded_channel();
        self.shared.net.lock().nodes.insert(node.clone(), inbox);
        Arc::new(MemoryTransport {
            network: self.clone(),
            me: node.clone(),
            accepted: AsyncMutex::new(accepted),
        })
    }

    /// How long frames and connections take: a random time of this range. Frames of a connection keep their order.
    pub fn delay(&self, range: Range<Duration>) {
        self.shared.net.lock().delay = range;
    }

    /// What happens by chance from now on.
    pub fn faults(&self, faults: Faults) {
        self.shared.net.lock().faults = faults;
    }

    /// Nothing gets from one node to the other or back. Nobody is told: what is sent waits until the network [heals](Self::heal).
    pub fn cut(&self, a: &Incarnation, b: &Incarnation) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Nothing gets from one node to the other, as with [`cut`](Self::cut); the way back is open.
    pub fn cut_one_way(&self, from: &Incarnation, to: &Incarnation) {
        self.shared.change(|net| net.cuts.insert((from.clone(), to.clone())));
    }

    /// Ends all cuts.
    pub fn heal(&self) {
        self.shared.change(|net| net.cuts.clear());
    }

    /// A node takes nothing and sends nothing until it is [thawed](Self::thaw). Its own clock goes on.
    pub fn freeze(&self, node: &Incarnation) {
        self.shared.change(|net| net.frozen.insert(node.clone()));
    }

    /// A node goes on where it was frozen.
    pub fn thaw(&self, node: &Incarnation) {
        self.shared.change(|net| net.frozen.remove(node));
    }

    /// A node refuses new connections until it [admits](Self::admit) them again.
    pub fn refuse(&self, node: &Incarnation) {
        self.shared.change(|net| net.refusing.insert(node.clone()));
    }

    /// A node takes new connections again.
    pub fn admit(&self, node: &Incarnation) {
        self.shared.change(|net| net.refusing.remove(node));
    }

    /// Ends all connections of two nodes, which both see at once. What is under way is lost.
    pub fn break_connections(&self, a: &Incarnation, b: &Incarnation) {
        let net = self.shared.net.lock();
        for end in &net.ends {
            if (&end.owner, &end.peer) == (a, b) || (&end.owner, &end.peer) == (b, a) {
                end.turn(Life::Broken);
            }
        }
    }

    /// A node dies: its connections end, which the others see unless they are cut off, and nobody reaches it again.
    pub fn kill(&self, node: &Incarnation) {
        self.shared.change(|net| {
            net.nodes.remove(node);
            net.frozen.remove(node);
            net.ends.iter().filter(|end| end.owner == *node).for_each(|end| end.turn(Life::Broken));
        });
    }

    /// How many bytes one node sent to the other that have not arrived.
    pub fn in_flight(&self, from: &Incarnation, to: &Incarnation) -> usize {
        self.shared.net.lock().in_flight.get(&(from.clone(), to.clone())).copied().unwrap_or(0)
    }

    /// The two ends of a new connection, and what carries frames from one to the other.
    fn connect(&self, a: &Incarnation, b: &Incarnation) -> (Connection, Connection) {
        let ends = [End::new(a, b), End::new(b, a)];
        let mut net = self.shared.net.lock();
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
            network: Arc::clone(&self.shared),
            from: Arc::clone(from),
            to: Arc::clone(to),
            frames,
            deliver,
            swapped: None,
        };
        tokio::spawn(pipe.run());
        (MemorySender { network: Arc::clone(&self.shared), end: Arc::clone(from), queue }, receiver)
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
            let delay = self.network.shared.net.lock().delay();
            sleep(delay).await;
            let (inbox, there, is_silent) = {
                let mut net = self.network.shared.net.lock();
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
