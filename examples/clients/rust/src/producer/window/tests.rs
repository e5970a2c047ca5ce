use proptest::prelude::*;
use teammy_kernel::{Payload, Seq};

use super::*;

fn packet(name: &str) -> Publish {
    Publish::text("notes", name).unwrap()
}

fn was_published(seq: u64, duplicate: bool) -> Published {
    Published::new(Seq(seq), duplicate)
}

fn problem(status: u16, code: &str, next: Option<u64>) -> Error {
    let can_retry = matches!(status, 429 | 503);
    Error::Problem { status, code: code.to_owned(), title: String::new(), can_retry, next, retry_after: None }
}

fn gap(next: u64) -> Result<Published, Error> {
    Err(problem(409, "number-gap", Some(next)))
}

fn refused() -> Result<Published, Error> {
    Err(problem(422, "unknown-source", None))
}

fn cut() -> Error {
    Error::Unknown("cut".into())
}

/// What [`sent`] returns of a question.
const ASKED: [u64; 0] = [];

/// The numbers that are sent now.
fn sent(window: &mut Window) -> Vec<u64> {
    match window.attempt() {
        Attempt::Send(packets) => {
            packets.iter().map(|packet| packet.producer.as_ref().unwrap().number).collect()
        }
        Attempt::Ask => Vec::new(),
    }
}

/// A window whose meeting has said which number is next.
fn at(next: u64, packets: &[&str]) -> Window {
    let mut window = Window::new("p");
    for name in packets {
        window.push(packet(name));
    }
    assert_eq!(sent(&mut window), ASKED);
    assert!(matches!(window.asked(Ok(next)), Turn::On));
    window
}

#[test]
fn a_producer_learns_where_it_is_and_counts_on() {
    let mut window = at(7, &["a", "b"]);
    assert_eq!(sent(&mut window), [7, 8]);
    for seq in [30, 31] {
        let outcome = window.line(Ok(was_published(seq, false)));
        assert!(matches!(outcome, Some(Outcome::Published(it)) if it.seq == Seq(seq)));
    }
    assert!(matches!(window.over(None), Turn::On));
    assert_eq!((window.len(), window.next()), (0, Some(9)));
}

#[test]
fn a_packet_is_sent_again_under_its_number() {
    let mut window = at(1, &["a", "b", "c"]);
    assert_eq!(sent(&mut window), [1, 2, 3]);
    window.line(Ok(was_published(1, false))).unwrap();
    assert!(matches!(window.over(Some(cut())), Turn::Wait(Error::Unknown(_))));
    assert_eq!(sent(&mut window), [2, 3]);
    // The second one had arrived, the third one had not.
    assert!(matches!(
        window.line(Ok(was_published(2, true))),
        Some(Outcome::Published(Published { duplicate: true, .. }))
    ));
    assert!(matches!(window.line(Ok(was_published(3, false))), Some(Outcome::Published(_))));
}

#[test]
fn packets_behind_a_refused_one_move_up() {
    let mut window = at(1, &["bad", "b", "bad", "d"]);
    assert_eq!(sent(&mut window), [1, 2, 3, 4]);
    assert!(matches!(window.line(refused()), Some(Outcome::Refused(_))));
    assert!(window.line(gap(1)).is_none());
    assert!(window.line(refused()).is_none());
    assert!(window.line(gap(1)).is_none());
    assert!(matches!(window.over(None), Turn::On));
    assert_eq!(sent(&mut window), [1, 2, 3]);
    assert!(matches!(window.line(Ok(was_published(1, false))), Some(Outcome::Published(_))));
}

#[test]
fn a_busy_meeting_and_a_failed_store_are_waited_for() {
    let mut window = at(1, &["a", "b"]);
    sent(&mut window);
    assert!(window.line(Err(problem(503, "store-away", None))).is_none());
    assert!(window.line(gap(1)).is_none());
    assert!(matches!(window.over(None), Turn::Wait(Error::Problem { status: 503, .. })));
    assert_eq!(sent(&mut window), [1, 2]);
    // It had been accepted.
    assert!(matches!(window.line(Ok(was_published(1, true))), Some(Outcome::Published(_))));
    assert!(window.line(Err(problem(429, "busy", None))).is_none());
    assert!(matches!(window.over(None), Turn::Wait(Error::Problem { status: 429, .. })));
    // A busy meeting has not taken it, so another one has the number.
    assert_eq!(sent(&mut window), [2]);
    assert!(matches!(
        window.line(Ok(was_published(9, true))),
        Some(Outcome::Stopped(Error::Taken { number: 2, .. }))
    ));
    window.push(packet("c"));
    assert_eq!(sent(&mut window), ASKED, "it asks");
}

#[test]
fn numbers_that_a_crash_lost_are_told() {
    let mut window = at(1, &["a", "b"]);
    sent(&mut window);
    window.line(Ok(was_published(1, false))).unwrap();
    window.line(Ok(was_published(2, false))).unwrap();
    window.over(None);
    window.push(packet("c"));
    assert_eq!(sent(&mut window), [3]);
    let lost = window.line(gap(2));
    assert!(matches!(lost, Some(Outcome::Stopped(Error::Gap { next: 2, number: 3, .. }))), "{lost:?}");
    window.push(packet("b"));
    assert_eq!(sent(&mut window), [2]);
    window.line(Ok(was_published(8, false))).unwrap();
    window.over(None);
    // Also if the loss shows when it asks.
    window.push(packet("c"));
    sent(&mut window);
    window.over(Some(cut()));
    window.give_up(Error::Unknown("late".into()));
    window.push(packet("d"));
    assert_eq!(sent(&mut window), ASKED);
    let lost = window.asked(Ok(1));
    assert!(matches!(lost, Turn::Came(Outcome::Stopped(Error::Gap { next: 1, number: 3, .. }))), "{lost:?}");
    window.push(packet("a"));
    assert_eq!(sent(&mut window), [1]);
}

#[test]
fn a_refusal_after_a_lost_answer_is_looked_into() {
    let again = |answer: u64| {
        let mut window = at(5, &["a", "b"]);
        assert_eq!(sent(&mut window), [5, 6]);
        window.over(Some(cut()));
        assert_eq!(sent(&mut window), [5, 6]);
        assert!(window.line(refused()).is_none());
        assert!(window.line(gap(5)).is_none());
        assert!(matches!(window.over(None), Turn::On));
        assert_eq!(sent(&mut window), ASKED, "it asks");
        (window.asked(Ok(answer)), window)
    };
    let (turn, mut window) = again(5);
    assert!(matches!(turn, Turn::Came(Outcome::Refused(Error::Problem { status: 422, .. }))), "{turn:?}");
    assert_eq!(sent(&mut window), [5], "the second one moves up");
    let (turn, window) = again(6);
    assert!(matches!(turn, Turn::Came(Outcome::Stopped(Error::Unknown(_)))), "{turn:?}");
    assert_eq!(window.next(), None);
}

#[test]
fn giving_up_says_whether_the_packet_may_be_there() {
    let unreachable = || Error::Unreachable("refused".into());
    let mut window = at(1, &["a"]);
    sent(&mut window);
    window.over(Some(unreachable()));
    assert!(matches!(window.give_up(unreachable()), Outcome::Stopped(Error::Unreachable(_))));
    let mut window = at(1, &["a"]);
    sent(&mut window);
    window.over(Some(cut()));
    sent(&mut window);
    window.over(Some(unreachable()));
    assert!(matches!(window.give_up(unreachable()), Outcome::Stopped(Error::Unknown(_))));
    let mut window = Window::new("p");
    window.push(packet("a"));
    sent(&mut window);
    let question_lost = window.give_up(Error::Unknown("late".into()));
    assert!(matches!(question_lost, Outcome::Stopped(Error::Unreachable(_))), "the packet was not sent");
}

#[test]
fn a_number_of_the_callers_own_may_be_there_already() {
    let mut window = Window::new("p");
    window.push_as(4, packet("a"));
    assert_eq!(sent(&mut window), [4], "it does not ask");
    assert!(matches!(window.line(Ok(was_published(9, true))), Some(Outcome::Published(_))));
    window.over(None);
    window.push_as(7, packet("b"));
    assert_eq!(sent(&mut window), [7]);
    assert!(matches!(window.line(gap(5)), Some(Outcome::Stopped(Error::Gap { next: 5, number: 7, .. }))));
}

/// A meeting, as far as numbers go.
#[derive(Debug, Default)]
struct Meeting {
    log: Vec<String>,
    /// What has left the client and not arrived.
    on_its_way: Vec<Vec<Publish>>,
}

impl Meeting {
    fn take(&mut self, packet: &Publish) -> Result<Published, Error> {
        let Payload::Text(name) = &packet.payload else { panic!("{packet:?}") };
        if name.starts_with("bad") {
            return refused();
        }
        let (number, next) = (packet.producer.as_ref().unwrap().number, self.log.len() as u64 + 1);
        match number.cmp(&next) {
            std::cmp::Ordering::Greater => gap(next),
            std::cmp::Ordering::Less => Ok(was_published(number, true)),
            std::cmp::Ordering::Equal => {
                self.log.push(name.to_string());
                Ok(was_published(number, false))
            }
        }
    }
}

/// What happens to a request.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Answered,
    /// So many packets arrive, and so many of their results.
    Cut(usize, usize),
    /// It does not arrive, or after what is sent next.
    Delayed,
    NotSent,
    /// The publisher stops waiting.
    Dropped,
    /// The node dies first, and what is not stored is lost: so many packets.
    Crash(usize),
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        4 => Just(Fate::Answered),
        3 => (0..4_usize, 0..4_usize).prop_map(|(arrive, answered)| Fate::Cut(arrive, answered)),
        2 => Just(Fate::Delayed),
        1 => Just(Fate::NotSent),
        1 => Just(Fate::Dropped),
        1 => (1..4_usize).prop_map(Fate::Crash),
    ];
    proptest::collection::vec(fate, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever happens: what was said to be published is there once, under the seq that was said, in order; what was said to be
    /// refused is not; and a loss by a crash is told.
    #[test]
    fn what_is_said_of_a_packet_is_so(
        batches in proptest::collection::vec(1..4_usize, 1..8), bad in proptest::collection::vec(0..4_u8, 30), fates in fates(),
    ) {
        let mut fates = fates.into_iter();
        let mut meeting = Meeting::default();
        let mut window = Window::new("p");
        let mut said = Vec::new();
        let mut has_crashed = false;
        let mut names = (0..).map(|n: usize| format!("{}{n}", if bad[n % 30] == 0 { "bad" } else { "good" }));
        for size in batches {
            window.abandon();
            let mut batch: VecDeque<_> = names.by_ref().take(size).collect();
            for name in &batch {
                window.push(packet(name));
            }
            let mut tries = 0;
            while !batch.is_empty() {
                tries += 1;
                prop_assert!(tries < 200, "no progress: {window:?} {meeting:?}");
                let fate = fates.next().unwrap_or(Fate::Answered);
                if let Fate::Crash(lost) = fate {
                    let stored = meeting.log.len().saturating_sub(lost);
                    has_crashed |= stored < meeting.log.len();
                    meeting.log.truncate(stored);
                    meeting.on_its_way.clear();
                }
                let (packets, asks) = match window.attempt() {
                    Attempt::Ask => (Vec::new(), true),
                    Attempt::Send(packets) => (packets, false),
                };
                let (arrive, answered) = match fate {
                    Fate::Answered | Fate::Crash(_) => (usize::MAX, usize::MAX),
                    Fate::Cut(arrive, answered) => (arrive, answered.min(arrive)),
                    Fate::Delayed | Fate::Dropped => {
                        meeting.on_its_way.push(packets.clone());
                        (0, 0)
                    }
                    Fate::NotSent => (0, 0),
                };
                let mut answers: Vec<_> = packets.iter().take(arrive).map(|packet| meeting.take(packet)).collect();
                answers.truncate(answered);
                let error = match fate {
                    _ if !asks && answers.len() == packets.len() => None,
                    Fate::Answered | Fate::Crash(_) => None,
                    Fate::NotSent => Some(Error::Unreachable("refused".into())),
                    _ => Some(cut()),
                };
                if matches!(fate, Fate::Dropped) {
                    break;
                }
                let mut outcomes = Vec::new();
                let turn = if asks {
                    let next = meeting.log.len() as u64 + 1;
                    window.asked(if answered > 0 { Ok(next) } else { Err(error.unwrap_or_else(cut)) })
                } else {
                    for answer in answers {
                        outcomes.extend(window.line(answer));
                    }
                    let is_stopped = matches!(outcomes.last(), Some(Outcome::Stopped(_)));
                    if is_stopped { Turn::On } else { window.over(error) }
                };
                if let Turn::Came(outcome) = turn {
                    outcomes.push(outcome);
                }
                for outcome in outcomes {
                    let name = batch.pop_front().unwrap();
                    match outcome {
                        Outcome::Published(published) => said.push((name, published.seq.0)),
                        Outcome::Refused(_) => prop_assert!(name.starts_with("bad"), "{name}"),
                        Outcome::Stopped(Error::Gap { next, .. }) => {
                            prop_assert!(has_crashed);
                            // Its publisher knows that these are lost.
                            said.retain(|(_, seq)| *seq < next);
                            batch.clear();
                        }
                        Outcome::Stopped(error) => {
                            prop_assert!(matches!(error, Error::Unknown(_)) || has_crashed, "{error:?}");
                            batch.clear();
                        }
                    }
                }
                // What was late arrives before what is sent next.
                if tries % 2 == 0 {
                    for packets in std::mem::take(&mut meeting.on_its_way) {
                        for packet in &packets {
                            drop(meeting.take(packet));
                        }
                    }
                }
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        for name in &meeting.log {
            prop_assert!(seen.insert(name), "{name} is there twice: {:?}", meeting.log);
        }
        // A crash that nothing was sent after is not known yet.
        for (name, seq) in &said {
            let there = meeting.log.get(usize::try_from(*seq).unwrap() - 1);
            prop_assert!(there == Some(name) || has_crashed && there.is_none(), "{name} at {seq}: {:?}", meeting.log);
        }
        prop_assert!(said.is_sorted_by_key(|(_, seq)| seq));
    }
}
