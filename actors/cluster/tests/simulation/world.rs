//! One cluster, what is done with it, and what came of it.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use teammy_cluster::testing::{
    TestCluster, TestNode,
    history::{Record, check},
};
use teammy_kernel::{MeetingId, Store, store::PacketQuery};
use tokio::time::{sleep, timeout};

use crate::{clients, counter, faults};

/// How long publishers, subscribers and ends may take once all is well again.
const PATIENCE: Duration = Duration::from_mins(4);

pub(crate) struct World {
    pub(crate) cluster: TestCluster,
    /// The nodes, and their room.
    pub(crate) names: Vec<(String, u32)>,
    pub(crate) meetings: Vec<String>,
    /// Meetings that nobody uses once they are open.
    quiet: Vec<String>,
    /// Meetings only move: nothing goes wrong, so nothing may be lost that was accepted.
    pub(crate) is_calm: bool,
    random: Mutex<fastrand::Rng>,
    /// What was wrong when it happened.
    pub(crate) wrong: Mutex<Vec<String>>,
    notes: Mutex<Vec<String>>,
}

impl World {
    pub(crate) fn random<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.random.lock())
    }

    /// So many milliseconds, by chance.
    pub(crate) fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.random(|random| random.u64(range)))
    }

    pub(crate) fn happens(&self, probability: f64) -> bool {
        self.random(|random| random.f64() < probability)
    }

    pub(crate) fn note(&self, note: impl std::fmt::Display) {
        let line = format!("{:>7} ms: {note}", self.cluster.recorder().now());
        tracing::info!("{line}");
        self.notes.lock().push(line);
    }

    pub(crate) fn record(&self, record: Record) {
        self.cluster.recorder().record(record);
    }

    /// One of these, by chance.
    pub(crate) fn one_of<'a, T>(&self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.random(|random| random.usize(..all.len()))) }
    }

    /// A node that takes calls, by chance; waits until there is one.
    pub(crate) async fn node(&self) -> TestNode {
        loop {
            let nodes: Vec<_> = self.cluster.nodes().into_iter().filter(|node| !node.is_lost()).collect();
            if let Some(node) = self.one_of(&nodes) {
                return node.clone();
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn run(seed: u64) -> Result<(), String> {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = random.usize(3..=5);
        let has_gateway = random.bool();
        let capacity = |place| if place == 0 && has_gateway { 0 } else { 100 };
        let names = (0..count).map(|place| (format!("n{place}"), capacity(place))).collect();
        let meetings = (0..random.usize(5..=10)).map(|number| format!("m{number}")).collect();
        let cluster = TestCluster::new(seed, counter::config(), counter::factories());
        cluster.network().delay(Duration::ZERO..Duration::from_millis(5));
        let (quiet, is_calm) = (vec!["q0".to_owned(), "q1".to_owned()], seed % 8 == 7);
        let (random, notes, wrong) = (Mutex::new(random), Mutex::default(), Mutex::default());
        let world = Arc::new(Self { cluster, names, meetings, quiet, is_calm, random, wrong, notes });
        for (name, capacity) in &world.names {
            world.cluster.start(name, *capacity).await.map_err(|error| teammy_kernel::chain(&error))?;
        }
        let mut background = tokio::task::JoinSet::new();
        background.spawn(faults::restart(world.clone()));
        background.spawn(world.clone().watch());
        let healed = tokio::sync::watch::Sender::new(false);
        let mut clients: FuturesUnordered<_> =
            world.meetings.iter().map(|meeting| clients::all(&world, meeting, healed.subscribe())).collect();
        let scenario = async {
            for meeting in &world.quiet {
                clients::open(&world, meeting).await;
            }
            faults::inject(&world).await;
            world.cluster.heal();
            world.note("all is well");
            healed.send_replace(true);
            sleep(PATIENCE).await;
        };
        let is_done = tokio::select! {
            () = scenario => false,
            () = async { while clients.next().await.is_some() {} } => true,
        };
        let mut wrong = std::mem::take(&mut *world.wrong.lock());
        if is_done {
            world.cluster.heal();
            wrong.extend(world.all_run().await.err());
        } else {
            wrong.push(world.stuck().await);
        }
        background.abort_all();
        while background.join_next().await.is_some() {}
        wrong.extend(world.violations().await);
        if wrong.is_empty() {
            return Ok(());
        }
        let notes = world.notes.lock().join("\n");
        Err(format!("{notes}\n{}", wrong.join("\n")))
    }

    async fn violations(&self) -> Vec<String> {
        for meeting in &self.meetings {
            let id = MeetingId::new(meeting).unwrap();
            let packets = self.cluster.store().packets(id, PacketQuery::default()).await.unwrap();
            for packet in &packets {
                self.record(Record::stored(packet));
            }
        }
        check(&self.cluster.recorder().records()).iter().map(ToString::to_string).collect()
    }

    /// Waits until nodes run the meetings that nobody uses.
    async fn all_run(&self) -> Result<(), String> {
        for _ in 0..1200 {
            let nodes = self.cluster.nodes();
            let runs = |meeting: &String| {
                let id = MeetingId::new(meeting).unwrap();
                nodes.iter().any(|node| node.running(&id).is_some())
            };
            let rows = self
                .quiet
                .iter()
                .map(|meeting| self.cluster.store().meeting(MeetingId::new(meeting).unwrap()));
            let rows = futures::future::try_join_all(rows).await.unwrap();
            // One that could not be opened before all was over is not there.
            if self.quiet.iter().zip(rows).all(|(meeting, row)| row.is_none() || runs(meeting)) {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(format!("a meeting that nobody uses runs nowhere; {}", self.stuck().await))
    }

    /// What is known of meetings that have not ended.
    async fn stuck(&self) -> String {
        let mut rows = Vec::new();
        for meeting in self.meetings.iter().chain(&self.quiet) {
            let row = self.cluster.store().meeting(MeetingId::new(meeting).unwrap()).await.unwrap();
            rows.push(row.map_or(format!("{meeting} is not there"), |row| {
                format!("{meeting} is {:?}, of {:?} in epoch {}", row.status, row.owner, row.epoch.0)
            }));
        }
        let nodes: Vec<_> = self.cluster.nodes().iter().map(|node| node.incarnation().to_string()).collect();
        format!("not in time; the nodes are {nodes:?}; {}", rows.join("; "))
    }

    /// Notes who runs what.
    async fn watch(self: Arc<Self>) {
        let mut open: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
        let step = Duration::from_millis(50);
        loop {
            let now = self.cluster.recorder().now();
            for node in self.cluster.nodes() {
                for meeting in node.meetings().iter().filter(|meeting| node.running(meeting.id()).is_some()) {
                    let runs = (meeting.id().to_string(), node.incarnation().to_string());
                    open.entry(runs).or_insert((now, now)).1 = now;
                }
            }
            open.retain(|(meeting, node), (from, until)| {
                if *until < now {
                    let (meeting, node) = (meeting.clone(), node.clone());
                    self.record(Record::Ran { meeting, node, from: *from, until: *until });
                }
                *until == now
            });
            sleep(step).await;
        }
    }
}

/// What a node answers; none if it stopped first.
pub(crate) async fn on<T>(node: &TestNode, call: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = node.stopped() => None,
        answer = call => Some(answer),
    }
}

/// As [`on`], for so long at most.
pub(crate) async fn on_within<T>(
    node: &TestNode,
    limit: Duration,
    call: impl Future<Output = T>,
) -> Option<T> {
    timeout(limit, on(node, call)).await.ok().flatten()
}
