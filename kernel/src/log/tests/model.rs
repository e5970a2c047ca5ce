//! The promise, against a model: meetings in one store, each with several owners at once, and all that can go
//! wrong between them.
//!
//! A [`World`] is the store in memory, the owners on their nodes, and the batches on their way to the store.
//! Its [`Step`]s come in any order. A commit is taken, arrives (once, twice or late) and is answered in steps
//! of its own; a claim makes a new owner while the old one goes on until it learns that it is fenced. An
//! [`Owner`] does what a meeting's actors do. A [`Meeting`] is the model of a meeting under all its owners;
//! after each write to the store it checks that the stored meeting keeps the promise.

mod meeting;
mod owner;

use std::sync::LazyLock;

use futures::FutureExt;

use super::*;
use crate::store::{MemoryStore, Outcome, Store, StoreFuture};
use meeting::Meeting;
use owner::Owner;

/// An instance, the sources that it takes, and whether its outputs are stored.
type Consumer = (&'static str, &'static [&'static str], Durability);

/// `early` feeds `relay`, `late` takes both ends of that chain, `hum` has volatile outputs, and `guest` joins
/// later.
const INSTANCES: [Consumer; 5] = [
    ("early", &["x", "v"], Durability::Durable),
    ("relay", &["early"], Durability::Durable),
    ("hum", &["x"], Durability::Volatile),
    ("late", &["x", "relay", "hum"], Durability::Durable),
    ("guest", &["x", "late"], Durability::Durable),
];
const GUEST: &str = "guest";
/// The sources that are not stored.
const VOLATILE: [&str; 3] = ["v", "hum", Tick::SOURCE];

const PRODUCERS: [&str; 2] = ["p", "q"];
const MEETINGS: usize = 2;
const NODES: usize = 3;

/// How many seqs a claim reserves: so few that publishers soon wait for a commit to reserve more.
const RESERVE: u64 = 8;

/// Small limits: a few packets fill a batch, leave the tail or are lost.
const LIMITS: Limits = Limits {
    batch_packets: 4,
    batch_bytes: 4_000,
    tail_bytes: 500,
    backlog_bytes: 5 << 20,
    block_bytes: 500,
};
/// The longest payload of [`Content::Small`] and of outputs that are not copies.
const SMALL: usize = 8;
/// A payload that fills a commit.
static LARGE: LazyLock<crate::Bytes> = LazyLock::new(|| vec![7; 4 << 20].into());

/// The effects of one hook call.
struct Made {
    state: Option<u64>,
    output: Option<Payload>,
    key: Option<KeyValue>,
}

impl Made {
    fn is_nothing(&self) -> bool {
        self.state.is_none() && self.output.is_none() && self.key.is_none()
    }
}

/// The hook of every instance: a function of packet and state that may change the state, make an output or
/// write a key. Whether it does depends on the packet alone. An output depends on all packets that changed the
/// state; every other large packet is copied.
fn hook(state: u64, packet: &DataPacket) -> Made {
    let (length, value) = gist(&packet.payload);
    let bit = |index: u32| value >> index & 1 == 1;
    let (has_output, changes_state, writes) = (bit(0), bit(1), bit(2));
    let changed = mix(state, mix(packet.seq.0, value));
    let output = if length > SMALL && packet.seq.0.is_multiple_of(2) {
        packet.payload.clone()
    } else {
        Payload::Bytes(mix(changed, packet.seq.0).to_be_bytes().to_vec().into())
    };
    let written = (!bit(4)).then(|| changed.to_string().into());
    Made {
        state: changes_state.then_some(changed),
        output: has_output.then_some(output),
        key: writes.then(|| (format!("key-{}", u8::from(bit(3))), written)),
    }
}

/// A payload's length and first bytes, which differ for different payloads here.
fn gist(payload: &Payload) -> (usize, u64) {
    let value = match payload {
        Payload::Bytes(bytes) => bytes.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte)),
        _ => 7,
    };
    (payload.len(), value)
}

fn mix(one: u64, other: u64) -> u64 {
    (one ^ other).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

fn is_volatile(source: &str) -> bool {
    VOLATILE.contains(&source)
}

/// The answer of the store in memory, which never waits and never fails.
fn ready<T>(answer: StoreFuture<'_, T>) -> T {
    answer
        .now_or_never()
        .expect("the store in memory doesn't wait")
        .expect("the store in memory doesn't fail")
}

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The meeting's owner on this node acts, or the newest owner if this node has none.
    Do { node: usize, meeting: usize, act: Act },
    /// The commits that a node's owners have taken reach the store as one batch. The number counts nodes with
    /// commits.
    Arrive { node: usize, fate: Fate },
    /// A batch that was sent long ago reaches the store.
    ArriveLate(usize),
    /// A node that doesn't own the meeting claims it.
    Claim { node: usize, meeting: usize },
    /// A node crashes. Batches that its owners have sent may still arrive.
    Crash { node: usize },
}

/// An owner's action.
#[derive(Debug, Clone, Copy)]
enum Act {
    Publish(Publisher, Content),
    /// Gives an instance its next batch, from memory or from the store.
    Deliver(usize),
    /// Runs an instance's hooks on the next so many packets of its batch and applies the effects. An instance
    /// without a batch gets one first.
    Work {
        instance: usize,
        packets: usize,
        ends: Ends,
        done: Done,
    },
    Tick(usize),
    Suspend(usize),
    Leave(usize),
    Join(usize, JoinAt),
    /// Begins the meeting's end.
    End,
    /// Finishes an instance at the end's deadline.
    Expire(usize),
    /// An instance's checkpoint is due.
    Checkpoint(usize),
    /// Takes the next commit, or the answer to the last one.
    Commit,
}

#[derive(Debug, Clone, Copy)]
enum Publisher {
    /// Numbers its packets and goes back so many numbers: it sends those packets again.
    Numbered {
        producer: usize,
        back: usize,
    },
    Plain,
    Volatile,
}

#[derive(Debug, Clone, Copy)]
enum Content {
    Small(u8),
    /// So large that the next commit has room for one more item.
    Filling,
}

/// How an instance's hook ends on the last packet of those that it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Well,
    /// It fails and is to be retried.
    Failing,
    /// It fails at its last try.
    GivenUp,
    /// It ends the actor, and the packet is to be tried again.
    Dying,
    /// It ends the actor at the packet's last try.
    Fatal,
}

/// Whether the last effects of a batch say that the batch is done, or empty effects after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    WithIt,
    Apart,
}

/// What becomes of a sent batch.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Answered,
    /// It is stored and its answer is lost: the owners send it again.
    AnswerLost,
    /// It is answered, and a copy arrives later.
    Doubled,
}

struct World {
    store: MemoryStore,
    meetings: [Meeting; MEETINGS],
    /// The owners by node and meeting.
    owners: BTreeMap<(usize, usize), Owner>,
    /// Copies, and batches of nodes that crashed.
    on_the_way: Vec<Vec<Commit>>,
}

impl World {
    fn new() -> Self {
        let store = MemoryStore::default();
        let meetings = [Meeting::new(&store, "one"), Meeting::new(&store, "two")];
        let mut world = Self { store, meetings, owners: BTreeMap::new(), on_the_way: Vec::new() };
        for (index, meeting) in world.meetings.iter_mut().enumerate() {
            let record = ready(world.store.meeting(meeting.id.clone())).unwrap();
            world.owners.insert((0, index), Owner::new(&world.store, meeting, &record));
        }
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Do { node, meeting, act } => self.act(node, meeting, act),
            Step::Arrive { node, fate } => self.arrive(node, fate),
            Step::ArriveLate(_) if self.on_the_way.is_empty() => {}
            Step::ArriveLate(index) => {
                let batch = self.on_the_way.remove(index % self.on_the_way.len());
                self.send(&batch);
            }
            Step::Claim { node, meeting } if self.owners.contains_key(&(node, meeting)) => {}
            Step::Claim { node, meeting } => self.claim(node, meeting),
            Step::Crash { node } => self.crash(node),
        }
    }

    /// The owner of the newest epoch, unless it has crashed or ended.
    fn newest(&self, meeting: usize) -> Option<(usize, usize)> {
        let epoch = self.meetings[meeting].epoch;
        let newest =
            |((_, of), owner): &(&(usize, usize), &Owner)| *of == meeting && owner.log.epoch() == epoch;
        self.owners.iter().find(newest).map(|(key, _)| *key)
    }

    fn act(&mut self, node: usize, meeting: usize, act: Act) {
        let here = Some((node, meeting)).filter(|key| self.owners.contains_key(key));
        let Some(key) = here.or_else(|| self.newest(meeting)) else { return };
        let owner = self.owners.get_mut(&key).expect("it was looked up");
        if owner.act(&self.store, &mut self.meetings[meeting], act).is_break() {
            self.owners.remove(&key);
        } else if owner.log.epoch() == self.meetings[meeting].epoch {
            owner.check_snapshot(&self.store, &self.meetings[meeting]);
        }
    }

    fn arrive(&mut self, node: usize, fate: Fate) {
        let sent = |(key, owner): (&(usize, usize), &Owner)| Some((*key, owner.sent()?.clone()));
        let sent: Vec<_> = self.owners.iter().filter_map(sent).collect();
        let nodes: BTreeSet<usize> = sent.iter().map(|((node, _), _)| *node).collect();
        let Some(node) = nodes.iter().nth(node % nodes.len().max(1)) else { return };
        let of_node = sent.into_iter().filter(|((of, _), _)| of == node);
        let (keys, batch): (Vec<_>, Vec<Commit>) = of_node.unzip();
        let outcomes = self.send(&batch);
        if !matches!(fate, Fate::AnswerLost) {
            for (key, outcome) in keys.iter().zip(outcomes) {
                self.owners.get_mut(key).expect("it sent one of them").answer = Some(outcome);
            }
        }
        if matches!(fate, Fate::Doubled) {
            self.on_the_way.push(batch);
        }
    }

    /// A batch reaches the store. The meetings that it writes to are checked.
    fn send(&mut self, batch: &[Commit]) -> Vec<Outcome> {
        let outcomes = ready(self.store.commit(batch));
        for (commit, outcome) in batch.iter().zip(&outcomes) {
            let meeting = self.meetings.iter_mut().find(|meeting| meeting.id == commit.meeting).unwrap();
            let is_fenced = commit.epoch != meeting.epoch;
            assert_eq!(*outcome == Outcome::Fenced, is_fenced, "only replaced owners are fenced");
            meeting.check(&self.store);
        }
        outcomes
    }

    fn claim(&mut self, node: usize, meeting: usize) {
        let index = meeting;
        let meeting = &mut self.meetings[index];
        let record = ready(self.store.claim(meeting.id.clone(), RESERVE));
        meeting.is_claimed(&self.store, &record);
        self.owners.insert((node, index), Owner::new(&self.store, meeting, &record));
    }

    fn crash(&mut self, node: usize) {
        let gone: Vec<_> = self.owners.extract_if((node, 0)..(node, MEETINGS), |_, _| true).collect();
        let batch: Vec<Commit> = gone.iter().filter_map(|(_, owner)| owner.sent().cloned()).collect();
        if !batch.is_empty() {
            self.on_the_way.push(batch);
        }
    }

    /// The last owner brings each meeting to its end, while earlier owners still act.
    fn finish(&mut self) {
        const ROUNDS: usize = 200;
        for meeting in 0..MEETINGS {
            if self.newest(meeting).is_none() {
                self.claim(NODES, meeting);
            }
        }
        for _ in 0..ROUNDS {
            let keys: Vec<_> = self.owners.keys().copied().collect();
            for (node, meeting) in keys.iter().copied() {
                self.act(node, meeting, Act::End);
                for instance in (0..INSTANCES.len()).cycle().take(INSTANCES.len() * 4) {
                    let (ends, done) = (Ends::Well, Done::WithIt);
                    self.act(node, meeting, Act::Work { instance, packets: 4, ends, done });
                }
                self.act(node, meeting, Act::Commit);
            }
            (0..=NODES).for_each(|node| self.arrive(node, Fate::Answered));
            if self.meetings.iter().all(Meeting::has_ended) {
                return;
            }
        }
        panic!("a meeting doesn't end");
    }

    /// Checks what must hold when all meetings have ended.
    fn check(&mut self) {
        while !self.on_the_way.is_empty() {
            self.step(Step::ArriveLate(0));
        }
        for index in 0..MEETINGS {
            self.meetings[index].check_end();
            self.owners.clear();
            self.claim(0, index);
            let owner = self.owners.get_mut(&(0, index)).expect("it has just claimed");
            owner.has_nothing_to_do(&self.store, &self.meetings[index]);
        }
    }
}

/// A step from random numbers, the likelier kinds first. Plain numbers are drawn and shrunk several times
/// faster than a strategy for each kind of step, and time bounds how many cases run.
fn step((which, node, meeting, instance, many, how): (u32, usize, usize, usize, u8, usize)) -> Step {
    // Most steps are of one meeting, so that it gets long.
    let meeting = meeting / 3;
    let packets = usize::from(many) % LIMITS.batch_packets + 1;
    let act = match which {
        0..60 => {
            let content = if many < 32 { Content::Small(many) } else { Content::Filling };
            let numbered = |back| Publisher::Numbered { producer: instance % PRODUCERS.len(), back };
            let publisher = match how {
                0..5 => numbered(0),
                5..8 => numbered(how - 4),
                8 => Publisher::Plain,
                _ => Publisher::Volatile,
            };
            Act::Publish(publisher, content)
        }
        60..170 => {
            let ends = match how {
                0..8 => Ends::Well,
                8 => Ends::Failing,
                9 => Ends::GivenUp,
                10 => Ends::Dying,
                _ => Ends::Fatal,
            };
            let done = if many < 28 { Done::WithIt } else { Done::Apart };
            Act::Work { instance, packets, ends, done }
        }
        170..180 => Act::Deliver(instance),
        180..240 => Act::Commit,
        240..280 => {
            let fate = match how {
                0..8 => Fate::Answered,
                8..10 => Fate::AnswerLost,
                _ => Fate::Doubled,
            };
            return Step::Arrive { node, fate };
        }
        280..286 => return Step::ArriveLate(how),
        286..291 => return Step::Claim { node, meeting },
        291..294 => return Step::Crash { node },
        294..300 => Act::Tick(instance),
        300..306 => Act::Leave(instance),
        306..312 => Act::Join(instance, if how < 6 { JoinAt::Now } else { JoinAt::Start }),
        312..317 => Act::Join(INSTANCES.len() - 1, if how < 6 { JoinAt::Now } else { JoinAt::Start }),
        317..319 => Act::Expire(instance),
        319..335 => Act::Checkpoint(instance),
        _ => Act::Suspend(instance),
    };
    Step::Do { node, meeting, act }
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let dice = (0..336_u32, 0..NODES, 0..4_usize, 0..INSTANCES.len(), 0..40_u8, 0..12_usize);
    prop::collection::vec(dice.prop_map(step), 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn the_promise_holds_whoever_owns_what_and_whatever_arrives(
        steps in steps(400),
        is_full in any::<bool>(),
        ending in steps(100),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        for meeting in 0..MEETINGS {
            if is_full {
                // The `ending` packet is then the last item that fits; the status comes with the next commit.
                world.act(0, meeting, Act::Publish(Publisher::Plain, Content::Filling));
            }
            world.act(0, meeting, Act::End);
        }
        for step in ending {
            world.step(step);
        }
        world.finish();
        world.check();
    }
}
