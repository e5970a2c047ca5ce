//! Who is on a network, and who reaches whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use parking_lot::Mutex;
use teammy_kernel::store::Incarnation;
use tokio::sync::{mpsc, watch};

use crate::transport::Connection;

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

/// What all nodes of a network share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) net: Mutex<Net>,
    /// Counts changes of who reaches whom.
    changes: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn new(seed: u64) -> Arc<Self> {
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
        Arc::new(Self { net: Mutex::new(net), changes: watch::Sender::new(0) })
    }

    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Net) -> R) {
        change(&mut self.net.lock());
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Waits until something can get from one node to the other.
    pub(super) async fn open(&self, from: &Incarnation, to: &Incarnation) {
        // It ends only with the network.
        let _ = self.changes.subscribe().wait_for(|_| self.net.lock().is_open(from, to)).await;
    }
}

#[derive(Debug)]
pub(super) struct Net {
    pub(super) random: fastrand::Rng,
    pub(super) delay: Range<Duration>,
    pub(super) faults: Faults,
    pub(super) nodes: BTreeMap<Incarnation, mpsc::UnboundedSender<Connection>>,
    /// From whom nothing gets to whom.
    pub(super) cuts: BTreeSet<(Incarnation, Incarnation)>,
    pub(super) frozen: BTreeSet<Incarnation>,
    pub(super) refusing: BTreeSet<Incarnation>,
    pub(super) ends: Vec<Arc<End>>,
    /// Bytes that were sent and have not arrived.
    pub(super) in_flight: BTreeMap<(Incarnation, Incarnation), usize>,
}

impl Net {
    pub(super) fn is_open(&self, from: &Incarnation, to: &Incarnation) -> bool {
        let is_cut = self.cuts.contains(&(from.clone(), to.clone()));
        !is_cut && !self.frozen.contains(from) && !self.frozen.contains(to)
    }

    pub(super) fn delay(&mut self) -> Duration {
        self.delay.start + (self.delay.end.saturating_sub(self.delay.start)).mul_f64(self.random.f64())
    }

    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.random.f64() < probability
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// Closed by its owner: what was sent before arrives.
    Closed,
    /// Broken: what was sent before is lost.
    Broken,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) owner: Incarnation,
    pub(super) peer: Incarnation,
    pub(super) life: watch::Sender<Life>,
    /// Whether its owner has learned that the other end was closed.
    pub(super) is_over: AtomicBool,
}

impl End {
    pub(super) fn new(owner: &Incarnation, peer: &Incarnation) -> Arc<Self> {
        let (owner, peer) = (owner.clone(), peer.clone());
        Arc::new(Self { owner, peer, life: watch::Sender::new(Life::Open), is_over: AtomicBool::new(false) })
    }

    pub(super) fn turn(&self, life: Life) {
        self.life
            .send_if_modified(|present| *present == Life::Open && std::mem::replace(present, life) != life);
    }

    pub(super) async fn until(&self, wanted: impl FnMut(&Life) -> bool) {
        // The sender is part of this.
        let _ = self.life.subscribe().wait_for(wanted).await;
    }
}
