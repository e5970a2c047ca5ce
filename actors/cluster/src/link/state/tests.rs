use teammy_kernel::{MeetingId, Name};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn incarnation(node: &str) -> Incarnation {
    Incarnation { node: Name::new(node).unwrap(), boot: 1 }
}

fn call(bytes: usize) -> Call {
    let meeting = Some(MeetingId::new("m").unwrap());
    Call { meeting, epoch: 0, is_ordered: false, trace: None, body: vec![0; bytes].into() }
}

/// Both ends of a connection, with nothing between them.
struct Pair {
    a: State,
    b: State,
    now: Instant,
}

impl Pair {
    fn new(a: LinkSettings, b: LinkSettings) -> Self {
        let now = Instant::now();
        let mut pair =
            Self { a: State::new(incarnation("a"), a, now), b: State::new(incarnation("b"), b, now), now };
        pair.a.greet();
        pair.b.greet();
        pair.exchange();
        pair
    }

    /// Moves frames until none is left; what `b` and `a` learn.
    fn exchange(&mut self) -> (Vec<Event>, Vec<Event>) {
        let (mut at_a, mut at_b) = (vec![], vec![]);
        loop {
            let (from_a, from_b) = (self.a.next_frame(), self.b.next_frame());
            if from_a.is_none() && from_b.is_none() {
                return (at_b, at_a);
            }
            if let Some(frame) = from_a {
                self.b.receive(&frame, self.now, &mut at_b).unwrap();
            }
            if let Some(frame) = from_b {
                self.a.receive(&frame, self.now, &mut at_a).unwrap();
            }
        }
    }
}

fn settings() -> LinkSettings {
    LinkSettings { window: 4096, stream_window: 1024, ..LinkSettings::default() }
}

#[test]
fn silence_breaks_and_anything_is_a_sign_of_life() {
    let mut pair = Pair::new(settings(), settings());
    let began = pair.now;
    // The other one's frames arrive: heartbeats alone.
    for _ in 0..100 {
        pair.now = pair.a.deadline().min(pair.b.deadline());
        pair.a.tick(pair.now).unwrap();
        pair.b.tick(pair.now).unwrap();
        pair.exchange();
    }
    assert!(pair.now >= began + 50 * SECOND);
    // They do not any more.
    let last = pair.now;
    let broke = loop {
        let now = pair.a.deadline();
        if let Err(reason) = pair.a.tick(now) {
            assert_eq!(&*reason, "nothing came for 3000 ms");
            break now;
        }
        while pair.a.next_frame().is_some() {}
    };
    assert_eq!(broke - last, 3 * SECOND);
}

#[test]
fn a_handshake_takes_3_seconds_at_most() {
    let now = Instant::now();
    let mut state = State::new(incarnation("a"), settings(), now);
    assert_eq!(state.deadline(), now + 3 * SECOND);
    state.tick(now + 3 * SECOND - Duration::from_millis(1)).unwrap();
    state.tick(now + 3 * SECOND).unwrap_err();
    assert!(state.next_frame().is_none(), "nothing is sent unless it greets");
}

#[test]
fn the_smaller_window_counts() {
    let mut pair = Pair::new(LinkSettings { window: 1000, ..settings() }, settings());
    assert_eq!((pair.a.largest_body(), pair.b.largest_body()), (1000, 1000));
    for _ in 0..5 {
        pair.b.ask(call(500), Asked::Call);
    }
    let (_, at_a) = pair.exchange();
    assert_eq!((at_a.len(), pair.b.under_way()), (2, 1000));
}

#[test]
fn credit_comes_when_calls_are_taken_and_is_asked_for() {
    let mut pair = Pair::new(settings(), settings());
    let ids: Vec<_> = (0..5).map(|_| pair.a.ask(call(1024), Asked::Call)).collect();
    let (at_b, _) = pair.exchange();
    assert_eq!((at_b.len(), pair.a.under_way()), (4, 4096), "arrived is not taken");
    assert!(pair.a.is_waiting(ids[4]) && !pair.a.is_waiting(ids[3]));
    // Less than an eighth of the window, but the sender waits for it.
    pair.b.taken(256);
    pair.exchange();
    assert_eq!(pair.a.under_way(), 4096 - 256);
    pair.b.taken(768);
    let (at_b, _) = pair.exchange();
    assert!(matches!(&at_b[..], [.., Event::Asked { asked: Asked::Call, cost: 1024, .. }]));
    // Without anybody who waits it comes with the next frame.
    pair.b.taken(256);
    pair.exchange();
    assert_eq!(pair.a.under_way(), 4096);
    pair.b.answer(ids[0], Some("x".into()));
    let (_, at_a) = pair.exchange();
    assert!(
        at_a.iter().any(|event| matches!(event, Event::Answered { call, body: Some(_) } if *call == ids[0]))
    );
    assert_eq!((pair.a.under_way(), pair.b.under_way()), (4096 - 256, 256));
}

#[test]
fn a_call_is_answered_once() {
    let mut pair = Pair::new(settings(), settings());
    let id = pair.a.ask(call(1), Asked::Call);
    pair.exchange();
    assert!(!pair.a.is_idle() && !pair.b.is_idle());
    for _ in 0..2 {
        pair.b.answer(id, Some("x".into()));
    }
    let (_, at_a) = pair.exchange();
    assert_eq!(at_a.iter().filter(|event| matches!(event, Event::Answered { .. })).count(), 1);
    assert!(pair.a.is_idle() && pair.b.is_idle());
    assert_eq!((pair.a.traffic().sent_messages, pair.a.traffic().received_messages), (1, 1));
}

#[test]
fn items_wait_for_the_reader() {
    let mut pair = Pair::new(settings(), settings());
    let id = pair.a.ask(call(1), Asked::Open);
    pair.exchange();
    assert!(pair.b.opened(id, "x".into(), true));
    let item = || Bytes::from(vec![0; 256]);
    for _ in 0..4 {
        assert!(pair.b.item(id, item()).is_none());
    }
    assert!(pair.b.item(id, item()).is_some(), "the reader has no room");
    pair.exchange();
    assert_eq!(pair.b.replies.bytes, 0);
    assert!(pair.b.item(id, item()).is_some(), "arrived is not read");
    pair.a.read(id, 256);
    pair.exchange();
    assert!(pair.b.item(id, item()).is_none());
    pair.exchange();
    // One that is larger than the stream's window goes alone.
    (0..4).for_each(|_| pair.a.read(id, 256));
    let large = || Bytes::from(vec![0; 3000]);
    pair.exchange();
    assert!(pair.b.item(id, large()).is_none());
    assert!(pair.b.item(id, item()).is_some());
    pair.exchange();
    pair.a.read(id, 3000);
    pair.exchange();
    assert!(pair.b.item(id, item()).is_none());
    // Once cancelled, what comes is dropped, and the end is the end.
    pair.a.cancel(id);
    pair.a.cancel(id);
    let (at_b, at_a) = pair.exchange();
    assert_eq!(at_b.iter().filter(|event| matches!(event, Event::Cancelled { .. })).count(), 1);
    assert!(at_a.is_empty(), "{at_a:?}");
    pair.b.end(id, false);
    pair.b.end(id, false);
    let (_, at_a) = pair.exchange();
    assert!(matches!(at_a[..], [Event::Ended { .. }]));
    assert!(pair.a.readers.is_empty() && pair.b.writers.is_empty());
}

#[test]
fn round_trips_are_measured() {
    let mut pair = Pair::new(settings(), settings());
    pair.now += SECOND;
    pair.a.tick(pair.now).unwrap();
    let ping = pair.a.next_frame().unwrap();
    pair.now += Duration::from_millis(30);
    pair.b.receive(&ping, pair.now, &mut vec![]).unwrap();
    pair.exchange();
    assert_eq!(pair.a.round_trip(), Some(Duration::from_millis(30)));
}

#[test]
fn the_greeting_is_the_first_frame_though_a_call_comes_before_it() {
    let now = Instant::now();
    let (mut dialler, mut acceptor) =
        (State::new(incarnation("a"), settings(), now), State::new(incarnation("b"), settings(), now));
    dialler.greet();
    let (hello, mut events) = (dialler.next_frame().unwrap(), Vec::new());
    acceptor.receive(&hello, now, &mut events).unwrap();
    acceptor.ask(call(1), Asked::Call);
    assert!(acceptor.next_frame().is_none());
    acceptor.greet();
    while let Some(frame) = acceptor.next_frame() {
        dialler.receive(&frame, now, &mut events).unwrap();
    }
    assert!(events.iter().any(|event| matches!(event, Event::Asked { .. })));
}

#[test]
fn replies_have_room_again_when_half_a_window_waits() {
    let mut pair = Pair::new(settings(), settings());
    let opened: Vec<u64> = (0..12).map(|_| pair.a.ask(call(10), Asked::Open)).collect();
    let (asked, _) = pair.exchange();
    assert_eq!(asked.len(), opened.len());
    for id in &opened {
        assert!(pair.b.opened(*id, Bytes::new(), true));
    }
    // They stay here: a window of them is under way, and another one waits.
    let mut sent = Vec::new();
    let mut item = |pair: &mut Pair, id: u64| {
        let back = pair.b.item(id, vec![0; 1024].into());
        sent.extend(std::iter::from_fn(|| pair.b.next_frame()));
        back.is_none()
    };
    let taken = opened.iter().filter(|id| item(&mut pair, **id)).count();
    // The openings count, too.
    assert_eq!(taken, 5);
    assert!(!pair.b.has_room() && !pair.b.room_again());
    let mut events = Vec::new();
    for frame in sent {
        pair.a.receive(&frame, pair.now, &mut events).unwrap();
    }
    pair.exchange();
    assert!(pair.b.room_again() && pair.b.has_room());
    assert!(!pair.b.room_again(), "once");
    assert_eq!(pair.b.item(opened[11], vec![0; 1024].into()), None);
}
