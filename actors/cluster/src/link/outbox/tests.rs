use super::*;

const WINDOW: usize = 4096;

fn outbox() -> Outbox {
    let mut outbox = Outbox::new();
    outbox.open(WINDOW);
    outbox
}

fn ask(meeting: &str, is_ordered: bool) -> What {
    let meeting = Some(MeetingId::new(meeting).unwrap());
    What::Call(Ask { meeting, epoch: 0, is_ordered, trace: None })
}

fn push(outbox: &mut Outbox, what: What, bytes: usize) -> u64 {
    outbox.push(what, vec![0; bytes].into())
}

/// The numbers of the messages that parts are sent of, until nothing may be sent.
fn drain(outbox: &mut Outbox) -> Vec<u64> {
    std::iter::from_fn(|| outbox.next())
        .map(|(kind, _)| match kind {
            Kind::Message(head) => head.id,
            Kind::Part(id) => id,
            kind => panic!("{kind:?}"),
        })
        .collect()
}

fn taken(outbox: &mut Outbox, bytes: u64) {
    assert!(outbox.credit(Credit { calls: bytes, replies: 0 }));
}

#[test]
fn nothing_is_sent_before_the_window_is_known() {
    let mut outbox = Outbox::new();
    push(&mut outbox, ask("m", false), 10);
    assert!(drain(&mut outbox).is_empty());
    let mut outbox = self::outbox();
    let id = push(&mut outbox, ask("m", false), 10);
    assert_eq!(drain(&mut outbox), [id]);
}

#[test]
fn queues_take_turns_and_keep_their_order() {
    let mut outbox = outbox();
    let a = [1, 2, 3].map(|_| push(&mut outbox, ask("a", false), 256));
    let b = [1, 2].map(|_| push(&mut outbox, ask("b", false), 256));
    let reply = push(&mut outbox, What::Answer { call: 9 }, 256);
    assert_eq!(drain(&mut outbox), [reply, a[0], b[0], a[1], b[1], a[2]]);
    assert_eq!((outbox.waiting(), outbox.under_way()), (0, 6 * 256));
}

#[test]
fn parts_of_large_messages_take_turns_with_others() {
    let mut outbox = Outbox::new();
    outbox.open(8 * PART);
    let large = push(&mut outbox, ask("a", false), 3 * PART);
    let small = [1, 2].map(|_| push(&mut outbox, ask("b", false), 10));
    assert_eq!(drain(&mut outbox), [large, small[0], large, small[1], large]);
    // But those of one queue do not overtake each other.
    let large = push(&mut outbox, ask("a", true), 2 * PART);
    let small = push(&mut outbox, ask("a", true), 10);
    outbox.credit(Credit { calls: outbox.under_way() as u64 - 2 * PART as u64, replies: 0 });
    assert_eq!(drain(&mut outbox), [large, large]);
    assert_eq!(outbox.answered(large), Some(Asked::Call));
    assert_eq!(drain(&mut outbox), [small]);
}

#[test]
fn the_window_holds_to_the_byte() {
    let mut outbox = outbox();
    push(&mut outbox, ask("a", false), WINDOW - 256);
    // A message counts as 256 bytes at least.
    let fits = push(&mut outbox, ask("a", false), 1);
    let waits = push(&mut outbox, ask("a", false), 0);
    assert_eq!(drain(&mut outbox).last(), Some(&fits));
    assert_eq!((outbox.under_way(), outbox.is_blocked()), (WINDOW, true));
    taken(&mut outbox, 255);
    assert!(drain(&mut outbox).is_empty());
    taken(&mut outbox, 1);
    assert_eq!(drain(&mut outbox), [waits]);
    assert!(!outbox.credit(Credit { calls: WINDOW as u64 + 1, replies: 0 }), "more than was under way");
}

#[test]
fn replies_do_not_wait_for_calls() {
    let mut outbox = outbox();
    push(&mut outbox, ask("a", false), WINDOW);
    assert_eq!(drain(&mut outbox).len(), 1);
    push(&mut outbox, ask("a", false), WINDOW);
    let reply = push(&mut outbox, What::Answer { call: 1 }, WINDOW);
    assert_eq!(drain(&mut outbox), [reply]);
}

#[test]
fn a_message_that_waits_is_passed_only_after_a_heartbeat() {
    let mut outbox = outbox();
    let first = push(&mut outbox, ask("a", false), 256);
    assert_eq!(drain(&mut outbox), [first]);
    let large = push(&mut outbox, ask("b", false), WINDOW);
    let small = push(&mut outbox, ask("c", false), 256);
    assert!(drain(&mut outbox).is_empty());
    outbox.tick();
    assert_eq!(drain(&mut outbox), [small]);
    let small = push(&mut outbox, ask("c", false), 256);
    assert_eq!(drain(&mut outbox), [small]);
    // After some heartbeats it has its turn again.
    (0..PASSING).for_each(|_| outbox.tick());
    push(&mut outbox, ask("c", false), 256);
    assert!(drain(&mut outbox).is_empty());
    taken(&mut outbox, 3 * 256);
    assert_eq!(drain(&mut outbox), [large]);
}

#[test]
fn one_meetings_ordered_calls_get_a_quarter() {
    let mut outbox = outbox();
    let lane: Vec<_> = (0..10).map(|_| push(&mut outbox, ask("a", true), 256)).collect();
    let others: Vec<_> = (0..12).map(|_| push(&mut outbox, ask("b", false), 256)).collect();
    let sent = drain(&mut outbox);
    assert_eq!(sent.iter().filter(|id| lane.contains(id)).count(), 4);
    assert_eq!(sent.iter().filter(|id| others.contains(id)).count(), 12);
    // Taken is not answered: its lane waits for answers.
    taken(&mut outbox, WINDOW as u64);
    assert!(drain(&mut outbox).is_empty());
    assert_eq!(outbox.answered(lane[0]), Some(Asked::Call));
    assert_eq!(drain(&mut outbox), [lane[4]]);
    assert_eq!(
        (outbox.answered(lane[0]), outbox.answered(lane[9])),
        (None, None),
        "one answer, and only to what was sent"
    );
    // One that is larger than a quarter goes alone.
    let large = push(&mut outbox, ask("c", true), WINDOW / 2);
    let next = push(&mut outbox, ask("c", true), 0);
    assert_eq!(drain(&mut outbox), [large]);
    outbox.answered(large);
    assert_eq!(drain(&mut outbox), [next]);
}

#[test]
fn what_is_withdrawn_leaves_nothing() {
    let mut outbox = outbox();
    let sent = push(&mut outbox, ask("a", true), 256);
    assert_eq!(drain(&mut outbox), [sent]);
    assert!(!outbox.withdraw(sent));
    let body = Bytes::from(vec![0; WINDOW]);
    let mut last = 0;
    for _ in 0..1000 {
        last = outbox.push(ask("a", true), body.clone());
        assert!(drain(&mut outbox).is_empty());
        assert!(outbox.is_waiting(last) && outbox.withdraw(last) && !outbox.is_waiting(last));
    }
    assert!(body.is_unique() && !outbox.withdraw(last));
    assert_eq!(outbox.waiting(), 0);
    let queue = outbox.calls.queues.values().map(|ids| ids.ids.len()).sum::<usize>();
    assert!(queue <= 1, "{queue} numbers are kept");
    let next = push(&mut outbox, ask("a", true), 256);
    assert_eq!(drain(&mut outbox), [next]);
}

#[test]
fn calls_without_an_answer_have_a_bound() {
    let mut outbox = Outbox::new();
    outbox.open(usize::MAX);
    let ids: Vec<_> = (0..=MAX_CALLS).map(|_| push(&mut outbox, ask("a", false), 0)).collect();
    assert_eq!(drain(&mut outbox).len(), MAX_CALLS);
    outbox.answered(ids[7]);
    assert_eq!(drain(&mut outbox), [ids[MAX_CALLS]]);
}

#[test]
fn random_use_never_exceeds_a_window_and_sends_everything_once() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut outbox = outbox();
        let (mut waiting, mut unanswered, mut held, mut sent) = (vec![], vec![], vec![], 0);
        let mut made = 0;
        for step in 0..2000 {
            match random.u8(..8) {
                0..3 if step < 1500 => {
                    let meeting = *random.choice(&["a", "b", "c"]).unwrap();
                    let bytes = random.usize(..=WINDOW);
                    waiting.push(push(&mut outbox, ask(meeting, random.bool()), bytes));
                    made += 1;
                }
                3 if !waiting.is_empty() => {
                    let id = waiting.swap_remove(random.usize(..waiting.len()));
                    made -= usize::from(outbox.withdraw(id));
                }
                4 | 5 if !unanswered.is_empty() => {
                    let id = unanswered.swap_remove(random.usize(..unanswered.len()));
                    assert!(outbox.answered(id).is_some());
                }
                6 if !held.is_empty() => {
                    let bytes: usize = held.swap_remove(random.usize(..held.len()));
                    taken(&mut outbox, bytes as u64);
                }
                _ => outbox.tick(),
            }
            while let Some((kind, body)) = outbox.next() {
                if let Kind::Message(head) = kind {
                    unanswered.push(head.id);
                    held.push(cost(body.len()));
                    sent += 1;
                }
            }
            assert!(outbox.under_way() <= WINDOW);
            assert_eq!(outbox.under_way(), held.iter().sum::<usize>());
        }
        for _ in 0..5000 {
            held.drain(..).for_each(|bytes| taken(&mut outbox, bytes as u64));
            unanswered.drain(..).for_each(|id| assert!(outbox.answered(id).is_some()));
            while let Some((kind, body)) = outbox.next() {
                if let Kind::Message(head) = kind {
                    unanswered.push(head.id);
                    held.push(cost(body.len()));
                    sent += 1;
                }
            }
        }
        assert_eq!((sent, outbox.waiting()), (made, 0), "seed {seed}");
    }
}

#[test]
fn replies_of_which_nothing_was_sent_are_counted() {
    let mut outbox = outbox();
    push(&mut outbox, ask("a", false), WINDOW);
    let replies = [1, 2, 3].map(|call| push(&mut outbox, What::Answer { call }, WINDOW / 2));
    assert_eq!(outbox.queued_replies(), 3 * WINDOW / 2);
    drain(&mut outbox);
    assert_eq!(outbox.queued_replies(), WINDOW / 2, "two are under way");
    assert!(outbox.withdraw(replies[2]));
    assert_eq!(outbox.queued_replies(), 0);
    push(&mut outbox, What::Answer { call: 4 }, 0);
    assert_eq!(outbox.queued_replies(), MIN_COST);
}
