//! Several nodes' machines over a model of the store, with random delays, failures and deaths.

use std::collections::HashMap;

use fastrand::Rng;

use tokio::time::Duration;

use super::{tests::incarnation, *};
use crate::member::NodeDocument;

const NODES: [(&str, u32); 6] = [("a", 600), ("b", 300), ("c", 40), ("d", 0), ("e", 300), ("f", 300)];
const SECOND: Duration = Duration::from_secs(1);

enum Event {
    Wake(usize),
    Die(usize),
    End(usize),
    ReadList(usize, Incarnation, usize),
    List(usize, Incarnation, Option<Vec<Found>>),
    Claim(usize, MeetingId),
    Claimed(usize, MeetingId, Outcome),
    Remove(usize, Incarnation),
}

struct Node {
    incarnation: Incarnation,
    capacity: u32,
    is_alive: bool,
    has_ended: bool,
    machine: Takeover,
    running: usize,
}

struct World {
    rng: Rng,
    now: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    nodes: Vec<Node>,
    owners: BTreeMap<MeetingId, usize>,
    /// Leases' rows that are not there any more.
    removed: BTreeSet<Incarnation>,
    claims: HashMap<MeetingId, usize>,
    deaths: HashMap<MeetingId, usize>,
    wasted: usize,
    most_running: usize,
}

impl World {
    fn new(seed: u64, meetings: usize) -> Self {
        let mut rng = Rng::with_seed(seed);
        let settings = Settings { at_once: rng.usize(1..9), page: rng.usize(1..300), ..Settings::default() };
        let nodes: Vec<Node> = NODES
            .iter()
            .map(|(name, capacity)| Node {
                incarnation: incarnation(name),
                capacity: *capacity,
                is_alive: true,
                has_ended: false,
                machine: Takeover::new(incarnation(name), settings.clone()),
                running: 0,
            })
            .collect();
        let mut world = Self {
            rng,
            now: Instant::now(),
            events: BTreeMap::new(),
            sequence: 0,
            nodes,
            owners: BTreeMap::new(),
            removed: BTreeSet::new(),
            claims: HashMap::new(),
            deaths: HashMap::new(),
            wasted: 0,
            most_running: 0,
        };
        for number in 0..meetings {
            let meeting = MeetingId::new(format!("m-{number}")).unwrap();
            let owner = loop {
                let owner = world.rng.usize(0..NODES.len());
                if world.load(owner) < world.nodes[owner].capacity {
                    break owner;
                }
            };
            world.owners.insert(meeting, owner);
        }
        world
    }

    fn load(&self, node: usize) -> u32 {
        u32::try_from(self.owners.values().filter(|owner| **owner == node).count()).unwrap()
    }

    fn after(&mut self, most: Duration, event: Event) {
        let delay = most.mul_f64(self.rng.f64());
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), event);
    }

    fn view(&self) -> View {
        let member = |(at, node): (usize, &Node)| Member {
            incarnation: node.incarnation.clone(),
            document: NodeDocument {
                capacity: node.capacity,
                reserved: self.load(at),
                ..NodeDocument::default()
            },
        };
        let live = self.nodes.iter().enumerate().filter(|(_, node)| !node.has_ended);
        let ended =
            self.nodes.iter().filter(|node| node.has_ended && !self.removed.contains(&node.incarnation));
        View {
            is_member: true,
            members: live.map(member).collect(),
            ended: ended.map(|node| node.incarnation.clone()).collect(),
        }
    }

    fn place(&self, incarnation: &Incarnation) -> usize {
        self.nodes.iter().position(|node| node.incarnation == *incarnation).unwrap()
    }

    /// Does what the machine of a node says until it waits.
    fn pump(&mut self, node: usize) {
        for _ in 0..100 {
            match self.nodes[node].machine.next(self.now) {
                Step::List { of, limit } => {
                    self.after(SECOND / 2, Event::ReadList(node, of, limit));
                }
                Step::Take { meeting, .. } => {
                    self.nodes[node].running += 1;
                    self.most_running = self.most_running.max(self.nodes[node].running);
                    assert!(self.nodes[node].running <= self.nodes[node].machine.settings.at_once);
                    self.after(SECOND, Event::Claim(node, meeting));
                }
                Step::Remove(of) => self.after(SECOND / 2, Event::Remove(node, of)),
                Step::Wait(until) => {
                    assert!(until.is_none_or(|until| until > self.now), "a busy loop");
                    if let Some(until) = until {
                        self.sequence += 1;
                        self.events.insert((until, self.sequence), Event::Wake(node));
                    }
                    return;
                }
            }
        }
        panic!("the machine does not wait");
    }

    /// Whether a node has what a meeting needs. Of those that never die, one has it for all meetings.
    fn has_instances(node: usize, meeting: &MeetingId) -> bool {
        let number: usize = meeting.as_str()[2..].parse().unwrap();
        !number.is_multiple_of(5) || node.is_multiple_of(2)
    }

    fn handle(&mut self, event: Event) {
        let node = match event {
            Event::Die(node) => {
                self.nodes[node].is_alive = false;
                return self.after(6 * SECOND, Event::End(node));
            }
            Event::End(node) => {
                self.nodes[node].has_ended = true;
                for meeting in
                    self.owners.iter().filter(|(_, owner)| **owner == node).map(|(meeting, _)| meeting)
                {
                    *self.deaths.entry(meeting.clone()).or_default() += 1;
                }
                return;
            }
            Event::Wake(node)
            | Event::ReadList(node, ..)
            | Event::List(node, ..)
            | Event::Claim(node, ..)
            | Event::Claimed(node, ..)
            | Event::Remove(node, ..) => node,
        };
        if !self.nodes[node].is_alive {
            return;
        }
        match event {
            Event::ReadList(_, of, limit) => {
                let whose = self.place(&of);
                let owned = self.owners.iter().filter(|(_, owner)| **owner == whose).take(limit);
                let found =
                    owned.map(|(meeting, _)| Found { meeting: meeting.clone(), has_marks: false }).collect();
                let answer = (self.rng.u8(0..10) > 0).then_some(found);
                self.after(SECOND / 2, Event::List(node, of, answer));
            }
            Event::List(_, of, answer) => match answer {
                Some(found) => self.nodes[node].machine.listed(&of, found, self.now),
                None => self.nodes[node].machine.not_listed(&of, self.now),
            },
            Event::Claim(_, meeting) => {
                let owner = self.owners[&meeting];
                assert_ne!(owner, node, "{meeting} is claimed twice by the same node");
                let fails = self.rng.u8(0..10) == 0 || !Self::has_instances(node, &meeting);
                let outcome = if !self.nodes[owner].has_ended {
                    self.wasted += 1;
                    Outcome::Lost
                } else if fails || self.load(node) >= self.nodes[node].capacity {
                    Outcome::Failed
                } else {
                    *self.claims.entry(meeting.clone()).or_default() += 1;
                    self.owners.insert(meeting.clone(), node);
                    Outcome::Taken
                };
                self.after(SECOND / 2, Event::Claimed(node, meeting, outcome));
            }
            Event::Claimed(_, meeting, outcome) => {
                self.nodes[node].running -= 1;
                self.nodes[node].machine.finished(&meeting, outcome, self.now);
            }
            Event::Remove(_, of) => {
                let whose = self.place(&of);
                assert_eq!(self.load(whose), 0, "{of} still owns meetings");
                if self.rng.bool() {
                    self.removed.insert(of.clone());
                    self.nodes[node].machine.removed(&of);
                } else {
                    self.nodes[node].machine.not_removed(&of, self.now);
                }
            }
            Event::Wake(_) | Event::Die(_) | Event::End(_) => {}
        }
        self.pump(node);
    }

    fn is_settled(&self) -> bool {
        self.nodes.iter().all(|node| node.is_alive || self.removed.contains(&node.incarnation))
    }

    /// Runs until all is taken over. Every node sees the others once a second.
    fn run(&mut self, longest: Duration) -> Duration {
        let began = self.now;
        let mut steps = 0_u32;
        loop {
            let second = self.now + SECOND;
            let view = self.view();
            for node in 0..self.nodes.len() {
                if self.nodes[node].is_alive && self.rng.u8(0..10) > 0 {
                    self.nodes[node].machine.view(&view, self.now);
                    self.pump(node);
                }
            }
            while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 < second) {
                let ((at, _), event) = entry.remove_entry();
                self.now = at;
                steps += 1;
                self.handle(event);
            }
            self.now = second;
            assert!(self.now - began < longest, "it takes too long: {:?}", self.owners.values());
            let is_quiet = !self.events.values().any(|event| matches!(event, Event::Die(_) | Event::End(_)));
            if is_quiet && self.is_settled() {
                assert!(steps < 40_000, "{steps} steps");
                return self.now - began;
            }
        }
    }
}

#[test]
fn each_meeting_of_dead_nodes_gets_one_owner_that_has_room() {
    let mut most_running = 0;
    for seed in 0..40 {
        let mut world = World::new(seed, 550);
        let mut dying: Vec<usize> = (0..NODES.len()).collect();
        world.rng.shuffle(&mut dying);
        // Of those that run many meetings, two stay, of which one has what every meeting needs.
        dying.retain(|node| ![0, 5].contains(node));
        dying.truncate(world.rng.usize(1..4));
        for node in dying.clone() {
            world.after(20 * SECOND, Event::Die(node));
        }
        world.run(300 * SECOND);
        for (meeting, owner) in &world.owners {
            assert!(world.nodes[*owner].is_alive, "seed {seed}: {meeting}");
            let count = |of: &HashMap<MeetingId, usize>| of.get(meeting).copied().unwrap_or_default();
            assert_eq!(count(&world.claims), count(&world.deaths), "seed {seed}: {meeting}");
        }
        for node in 0..NODES.len() {
            assert!(world.load(node) <= world.nodes[node].capacity, "seed {seed}");
        }
        let claims: usize = world.claims.values().sum();
        assert!(
            world.wasted * 2 <= claims + 20,
            "seed {seed}: {} of {claims} claims were for nothing",
            world.wasted
        );
        most_running = most_running.max(world.most_running);
    }
    assert_eq!(most_running, 8, "the bound is reached");
}
