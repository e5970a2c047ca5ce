//! Peers that do not keep to the rules.

use std::sync::Arc;

use bytes::Bytes;
use teammy_kernel::store::Incarnation;
use tokio::time::{Duration, Instant, timeout};

use super::world::*;
use crate::{
    Connection, LinkSettings, Transport, Versions,
    wire::{self, Ask, Credit, Head, Header, Hello, Kind, LAYOUTS, What},
};

/// A connection that a test writes to by hand.
struct Raw {
    connection: Connection,
    seq: u64,
    _transport: Arc<dyn Transport>,
}

impl Raw {
    /// Connects with node `a`.
    async fn connect(world: &World, name: &str) -> Self {
        let transport = world.network.transport(&incarnation(name));
        let connection = transport.connect(&incarnation("a"), "memory:a").await.unwrap();
        Self { connection, seq: 0, _transport: transport }
    }

    /// Connects, and introduces itself properly.
    async fn greet(world: &World, name: &str) -> Self {
        let mut raw = Self::connect(world, name).await;
        raw.send(hello(&incarnation(name), LAYOUTS), &[]);
        assert!(matches!(raw.next().await, Some(Kind::Hello(_))));
        raw
    }

    fn send(&mut self, kind: Kind, body: &[u8]) {
        self.send_credit(Credit::default(), kind, body);
    }

    fn send_credit(&mut self, credit: Credit, kind: Kind, body: &[u8]) {
        let frame = wire::write(&Header { seq: self.seq, credit, kind }, body);
        self.seq += 1;
        self.connection.sender.send(frame).unwrap();
    }

    /// The next frame that is no heartbeat.
    async fn next(&mut self) -> Option<Kind> {
        loop {
            let frame = timeout(Duration::from_secs(30), self.connection.receiver.recv()).await;
            let kind = wire::read(&frame.expect("nothing comes")?).unwrap().0.kind;
            if !matches!(kind, Kind::Ping(_) | Kind::Pong(_) | Kind::Credit) {
                return Some(kind);
            }
        }
    }

    /// Waits for the last frame, and its reason.
    async fn refused(&mut self) -> String {
        loop {
            match self.next().await {
                Some(Kind::Bye(reason)) => {
                    assert_eq!(self.connection.receiver.recv().await, None, "nothing comes then");
                    return reason;
                }
                Some(_) => {}
                None => panic!("it closed the connection without a word"),
            }
        }
    }
}

fn hello(incarnation: &Incarnation, layouts: Versions) -> Kind {
    let (window, stream_window) = (8 << 20, 256 << 10);
    Kind::Hello(Hello { incarnation: incarnation.clone(), layouts, window, stream_window })
}

fn message(id: u64, bytes: usize, what: What) -> Kind {
    Kind::Message(Head { id, bytes: u32::try_from(bytes).unwrap(), what })
}

fn ask() -> Ask {
    Ask { meeting: Some(meeting("m")), epoch: 0, is_ordered: true, trace: None }
}

fn alone() -> World {
    World::new(1, &["a"], &LinkSettings::default())
}

#[tokio::test(start_paused = true)]
async fn a_peer_of_other_layouts_is_refused_with_both_ranges() {
    let world = alone();
    let mut raw = Raw::connect(&world, "z").await;
    raw.send(hello(&incarnation("z"), Versions { from: 2, to: 3 }), &[]);
    assert_eq!(raw.refused().await, "it reads and writes layouts 2 to 3 on links, this node 1 to 1");
    // A newer layout of the frame itself.
    let raw = Raw::connect(&world, "z").await;
    let mut frame = wire::write(
        &Header { seq: 0, credit: Credit::default(), kind: hello(&incarnation("z"), LAYOUTS) },
        &[],
    )
    .to_vec();
    frame[2] = 2;
    raw.connection.sender.send(frame.into()).unwrap();
    let mut raw = raw;
    let reason = raw.refused().await;
    assert!(reason.contains("layout 2") && reason.contains("layout 1"), "{reason}");
    assert!(world.node("a").links.status().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_peer_introduces_itself_in_time_and_as_who_it_is() {
    let world = alone();
    let began = Instant::now();
    let mut raw = Raw::connect(&world, "z").await;
    assert_eq!(raw.refused().await, "it did not introduce itself in time");
    assert!((3..4).contains(&began.elapsed().as_secs()));
    let cases = [
        (hello(&incarnation("y"), LAYOUTS), "z.0000000000000001 says that it is y.0000000000000001"),
        (Kind::Ping(1), "it did not introduce itself"),
    ];
    for (kind, wanted) in cases {
        let mut raw = Raw::connect(&world, "z").await;
        raw.send(kind, &[]);
        assert_eq!(raw.refused().await, wanted);
    }
    let mut raw = Raw::greet(&world, "z").await;
    raw.send(hello(&incarnation("z"), LAYOUTS), &[]);
    assert_eq!(raw.refused().await, "it introduced itself twice");
}

#[tokio::test(start_paused = true)]
async fn garbage_breaks_the_link_and_nothing_else() {
    let world = World::pair().await;
    let mut random = fastrand::Rng::with_seed(3);
    for bytes in [0, 1, 2, 3, 40, 300, 5000, (1 << 20) + 1] {
        let mut raw = Raw::greet(&world, "z").await;
        let garbage: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(bytes).collect();
        raw.connection.sender.send(garbage.into()).unwrap();
        let reason = raw.refused().await;
        assert!(reason.starts_with("it sent a frame"), "{bytes}: {reason}");
    }
    assert_eq!(world.call("b", "a", call("echo")).await.unwrap(), "echo");
    assert_eq!(world.status("a", "b").breaks, 0);
}

/// The reason for which a link breaks, and the frames that break it with the lengths of their bodies.
type Case = (&'static str, Vec<(Credit, Kind, usize)>);

#[tokio::test(start_paused = true)]
async fn frames_that_break_a_rule_break_the_link() {
    let world = alone();
    let whole = |id: u64, what: What| message(id, 0, what);
    let item = What::Item { stream: 1 };
    let end = What::End { stream: 1, has_failed: false };
    let too_much = Credit { calls: 1, replies: 0 };
    let cases: Vec<Case> = vec![
        (
            "it sent a message of a wrong length",
            vec![(Credit::default(), message(1, 3, What::Call(ask())), 4)],
        ),
        (
            "it sent a message of a wrong length",
            vec![(Credit::default(), message(1, 3, What::Call(ask())), 0)],
        ),
        (
            "it sent a message of a wrong length",
            vec![(Credit::default(), message(1, (8 << 20) + 1, What::Call(ask())), 1)],
        ),
        ("it sent a part of no message", vec![(Credit::default(), Kind::Part(1), 1)]),
        (
            "it sent a part that is no part of its message",
            vec![
                (Credit::default(), message(1, 3, What::Call(ask())), 1),
                (Credit::default(), Kind::Part(1), 0),
            ],
        ),
        (
            "it sent a part that is no part of its message",
            vec![
                (Credit::default(), message(1, 3, What::Call(ask())), 1),
                (Credit::default(), Kind::Part(1), 3),
            ],
        ),
        (
            "it used a number for two messages",
            vec![
                (Credit::default(), message(1, 3, What::Call(ask())), 1),
                (Credit::default(), message(1, 3, What::Call(ask())), 1),
            ],
        ),
        ("it answered what was not asked", vec![(Credit::default(), whole(1, What::Answer { call: 1 }), 0)]),
        ("it answered what was not asked", vec![(Credit::default(), whole(1, What::Failed { call: 1 }), 0)]),
        (
            "it answered what was not asked",
            vec![(Credit::default(), whole(1, What::Opened { call: 1, has_items: true }), 0)],
        ),
        ("it sent an item of no stream", vec![(Credit::default(), whole(1, item), 0)]),
        ("it ended no stream", vec![(Credit::default(), whole(1, end), 0)]),
        ("it sent bytes that belong to nothing", vec![(Credit::default(), Kind::Ping(1), 1)]),
        ("it gave back more bytes than were under way", vec![(too_much, Kind::Credit, 0)]),
        ("it sent too many heartbeats", vec![(Credit::default(), Kind::Ping(1), 0); 65]),
    ];
    for (wanted, frames) in cases {
        let mut raw = Raw::greet(&world, "z").await;
        for (credit, kind, bytes) in frames {
            raw.send_credit(credit, kind, &vec![0; bytes]);
        }
        assert_eq!(raw.refused().await, wanted);
    }
    // Two calls of one number.
    let mut raw = Raw::greet(&world, "z").await;
    for _ in 0..2 {
        raw.send(message(1, 4, What::Call(ask())), b"wait");
    }
    assert_eq!(raw.refused().await, "it used a number for two calls");
    // A frame that is missing, or comes twice.
    for seq in [0, 2] {
        let mut raw = Raw::greet(&world, "z").await;
        raw.seq = seq;
        raw.send(Kind::Ping(1), &[]);
        assert_eq!(raw.refused().await, format!("its frame {seq} came where 1 was due"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_goes_beyond_the_window_is_cut_off() {
    let world = alone();
    let mut raw = Raw::greet(&world, "z").await;
    // The first one runs, and gives its bytes back; the others wait in its lane.
    raw.send(message(1, 4, What::Call(ask())), b"wait");
    settle().await;
    let window = LinkSettings::default().window;
    let part = Bytes::from(vec![0; 256 << 10]);
    let count = u64::try_from(window / part.len()).unwrap();
    for id in 2..=count {
        raw.send(message(id, part.len(), What::Call(ask())), &part);
    }
    settle().await;
    assert!(world.is_up("a", "z"), "it is within the window");
    raw.send(message(count + 1, part.len(), What::Call(ask())), &part);
    assert_eq!(raw.refused().await, format!("it sent more than the window of {window} bytes"));
    assert_eq!(world.handler("a").begun.lock().len(), 1);
    // What it brought is not handled any more.
    world.handler("a").permits.add_permits(1);
    settle().await;
    assert_eq!(world.handler("a").begun.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_more_items_than_asked_for_is_cut_off() {
    let world = alone();
    let mut raw = Raw::greet(&world, "z").await;
    let links = Arc::clone(&world.node("a").links);
    let opened = tokio::spawn(async move { links.open(&incarnation("z"), call("open")).await });
    let Some(Kind::Message(Head { id: stream, what: What::Open(_), .. })) = raw.next().await else {
        panic!("it opens a stream");
    };
    raw.send(message(1, 0, What::Opened { call: stream, has_items: true }), &[]);
    let (_, items) = opened.await.unwrap().unwrap();
    for id in 2..6 {
        raw.send(message(id, 64 << 10, What::Item { stream }), &vec![0; 64 << 10]);
    }
    settle().await;
    assert!(world.is_up("a", "z"));
    raw.send(message(9, 1, What::Item { stream }), &[0]);
    assert_eq!(raw.refused().await, "it sent more items than the stream's window");
    drop(items);
}

#[tokio::test(start_paused = true)]
async fn a_newer_connection_takes_the_place_of_an_older_one() {
    let world = alone();
    let mut older = Raw::greet(&world, "z").await;
    let mut newer = Raw::greet(&world, "z").await;
    assert_eq!(older.refused().await, "a newer connection took its place");
    newer.send(message(1, 4, What::Call(ask())), b"echo");
    assert!(matches!(newer.next().await, Some(Kind::Message(Head { what: What::Answer { call: 1 }, .. }))));
    assert_eq!(world.status("a", "z").breaks, 1);
}

#[tokio::test(start_paused = true)]
async fn strangers_are_few_and_not_kept() {
    let world = alone();
    let began = Instant::now();
    let mut strangers = vec![];
    for number in 0..64 {
        strangers.push(Raw::greet(&world, &format!("s{number:02}")).await);
    }
    let mut late = Raw::connect(&world, "t").await;
    late.send(hello(&incarnation("t"), LAYOUTS), &[]);
    assert_eq!(late.refused().await, "there are too many nodes that are no members");
    assert_eq!(world.node("a").links.status().len(), 64);
    // One of them gets into the view.
    let member = member(&incarnation("s00"), &*world.network.transport(&incarnation("s00")));
    world.view.send_modify(|view| view.members.push(member));
    loop {
        for stranger in &mut strangers {
            stranger.send(Kind::Ping(1), &[]);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        if world.node("a").links.status().len() == 1 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(12));
    }
    assert!(began.elapsed() > Duration::from_secs(10));
    assert!(world.is_up("a", "s00"));
    assert_eq!(strangers[1].refused().await, "it is no member");
}

#[tokio::test(start_paused = true)]
async fn an_incarnation_whose_lease_has_ended_gets_no_link() {
    let world = alone();
    world.view.send_modify(|view| view.ended.push(incarnation("z")));
    settle().await;
    let mut raw = Raw::connect(&world, "z").await;
    raw.send(hello(&incarnation("z"), LAYOUTS), &[]);
    assert_eq!(raw.refused().await, "its lease has ended");
}

/// Answers and items wait for a peer that does not read, but not more than a window of them.
#[tokio::test(start_paused = true)]
async fn what_waits_for_a_peer_that_does_not_read_has_a_bound() {
    // A window is under way, another one waits, and each stream holds one item.
    const AHEAD: usize = 64 + 64 + 100;
    let settings = LinkSettings { window: 64 << 10, stream_window: 16 << 10, ..LinkSettings::default() };
    let world = World::new(1, &["a"], &settings);
    let mut raw = Raw::greet(&world, "z").await;
    let ask = || Ask { is_ordered: false, ..ask() };
    for id in 1..=100 {
        raw.send(message(id, 15, What::Open(ask())), b"count 1000 1024");
    }
    settle().await;
    let made = || world.handler("a").items.load(std::sync::atomic::Ordering::SeqCst);
    assert!((64..=AHEAD).contains(&made()), "{}", made());
    raw.send(message(101, 4, What::Call(ask())), b"echo");
    settle().await;
    let is_begun = || world.handler("a").bodies().contains(&Bytes::from("echo"));
    assert!(!is_begun(), "its answer would wait, too");

    // Once it reads, everything comes.
    let (mut items, mut is_answered) = (0, false);
    while items < 1600 || !is_answered {
        let Some(Kind::Message(head)) = raw.next().await else { continue };
        items += usize::from(matches!(head.what, What::Item { .. }));
        is_answered |= matches!(head.what, What::Answer { call: 101 });
        let replies = u64::from(head.bytes.max(256));
        raw.send_credit(Credit { calls: 0, replies }, Kind::Credit, &[]);
    }
    settle().await;
    assert!(is_begun() && (items..=items + AHEAD).contains(&made()), "{} of {items}", made());
    assert_eq!(world.status("a", "z").breaks, 0);
}

/// What waits when the link breaks does not begin then.
#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_peer_that_does_not_read_end_with_its_link() {
    let settings = LinkSettings { window: 4096, stream_window: 4096, ..LinkSettings::default() };
    let world = World::new(1, &["a"], &settings);
    let mut raw = Raw::greet(&world, "z").await;
    let ask = || Ask { is_ordered: false, ..ask() };
    for id in 1..=8 {
        raw.send(message(id, 14, What::Open(ask())), b"count 100 1024");
    }
    settle().await;
    raw.send(message(9, 4, What::Call(ask())), b"echo");
    // It does not even send heartbeats.
    let began = Instant::now();
    until(|| !world.is_up("a", "z")).await;
    assert!(began.elapsed() <= Duration::from_millis(3100), "{:?}", began.elapsed());
    settle().await;
    let streams = world.handler("a").streams.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!((streams, world.handler("a").bodies().contains(&Bytes::from("echo"))), (0, false));
}
