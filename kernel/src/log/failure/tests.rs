use proptest::prelude::*;

use super::*;
use crate::{MeetingId, Publish, Tick};

const POLICY: FailurePolicy = FailurePolicy {
    tries: 3,
    retry: Backoff::new(Duration::from_millis(10), Duration::from_millis(15)),
    intensity: 2,
    within: Duration::from_secs(10),
    restart: Backoff::new(Duration::from_millis(100), Duration::from_millis(150)),
};

fn after(ms: u64) -> RestartDecision {
    RestartDecision::RestartAfter(Duration::from_millis(ms))
}

#[test]
fn a_failure_is_tried_again_and_a_reject_is_not() {
    let (retry, reject) = (Error::retry("it may pass"), Error::reject("it is the packet"));
    let after = |ms| HookDecision::RetryAfter(Duration::from_millis(ms));
    assert_eq!(POLICY.hook_failed(1, &retry), after(10));
    assert_eq!(POLICY.hook_failed(2, &retry), after(15));
    assert_eq!(POLICY.hook_failed(3, &retry), HookDecision::GiveUp);
    assert_eq!(POLICY.hook_failed(1, &reject), HookDecision::GiveUp);
}

#[test]
fn failures_in_a_row_suspend_and_old_ones_are_forgotten() {
    let start = Duration::from_secs(7);
    let mut failures = Failures::default();
    let mut failed =
        |seconds| failures.actor_failed(None, start + Duration::from_secs(seconds), &POLICY).restart;
    assert_eq!(failed(0), after(100));
    assert_eq!(failed(0), after(150));
    assert_eq!(failed(11), after(100));
    assert_eq!(failed(11), after(150));
    assert_eq!(failed(12), RestartDecision::Suspend);
}

#[test]
fn a_failure_counts_up_to_the_end_of_its_time() {
    for (second, expected) in [(10, RestartDecision::Suspend), (11, after(100))] {
        let mut failures = Failures::default();
        for _ in 0..POLICY.intensity {
            let _ = failures.actor_failed(None, Duration::ZERO, &POLICY);
        }
        let decision = failures.actor_failed(None, Duration::from_secs(second), &POLICY);
        assert_eq!(decision.restart, expected, "second {second}");
    }
}

/// What it shows, the packets that actors fail on (0 for none), and after how many tries each is given up.
type Case<'a> = (&'a str, &'a [u64], &'a [Option<u32>]);

#[test]
fn a_packet_that_kills_has_its_tries_and_another_begins_anew() {
    let patient = FailurePolicy { intensity: 100, ..POLICY };
    let cases: [Case; 4] = [
        ("the last try gives it up", &[5, 5, 5], &[None, None, Some(3)]),
        ("a packet that is given up may come again", &[5, 5, 5, 5], &[None, None, Some(3), Some(4)]),
        ("another packet in between", &[5, 5, 6, 5], &[None, None, None, None]),
        ("no packet in between", &[5, 0, 5, 5], &[None, None, None, Some(3)]),
    ];
    for (what, packets, expected) in cases {
        let mut failures = Failures::default();
        let decisions = packets.iter().map(|seq| {
            let packet = (*seq > 0).then_some(Seq(*seq));
            failures.actor_failed(packet, Duration::ZERO, &patient).give_up
        });
        assert_eq!(decisions.collect::<Vec<_>>(), expected, "{what}");
    }
}

#[test]
fn tries_count_until_the_packet_is_finished_with() {
    let mut failures = Failures::default();
    assert_eq!((failures.count_try(Seq(5)), failures.count_try(Seq(5))), (1, 2));
    failures.finished_up_to(Seq(4));
    assert_eq!(failures.tried(), Some((Seq(5), 2)));
    failures.finished_up_to(Seq(5));
    assert_eq!(failures.tried(), None);
    assert_eq!(failures.count_try(Seq(5)), 1);
}

#[test]
fn a_reinstated_instance_has_all_its_restarts_and_keeps_its_tries() {
    let mut failures = Failures::default();
    let failed = |failures: &mut Failures| failures.actor_failed(Some(Seq(5)), Duration::ZERO, &POLICY);
    for _ in 0..POLICY.intensity {
        assert_ne!(failed(&mut failures).restart, RestartDecision::Suspend);
    }
    assert_eq!(failed(&mut failures).restart, RestartDecision::Suspend);
    failures.forget_actors();
    assert_eq!(failed(&mut failures), ActorDecision { give_up: Some(4), restart: after(100) });
}

#[test]
fn only_what_is_stored_becomes_a_dead_letter() {
    let instance = Name::new("minutes").unwrap();
    let cases = [
        ("chat", Some(Durability::Durable), true),
        ("audio", Some(Durability::Volatile), false),
        ("unheard-of", None, false),
        (Tick::SOURCE, None, false),
        (Lifecycle::SOURCE, None, true),
    ];
    for (source, durability, is_kept) in cases {
        let publish = Publish::on(Name::new(source).unwrap(), crate::Payload::Text("".into()));
        let packet = publish.into_packet(MeetingId::new("m").unwrap(), Seq(5), Timestamp::UNIX_EPOCH);
        let letter = dead_letter(&instance, &packet, durability, 3, "it failed", Timestamp::UNIX_EPOCH);
        let expected = DeadLetter::new(instance.clone(), &packet, 3, "it failed", Timestamp::UNIX_EPOCH);
        assert_eq!(letter, is_kept.then_some(expected), "{source}");
    }
}

fn policies() -> impl Strategy<Value = FailurePolicy> {
    let backoff = (0..500_u64, 0..2_000_u64)
        .prop_map(|(first, max)| Backoff::new(Duration::from_millis(first), Duration::from_millis(max)));
    (1..6_u32, backoff.clone(), 0..5_u32, 0..5_000_u64, backoff).prop_map(
        |(tries, retry, intensity, within, restart)| {
            let within = Duration::from_millis(within);
            FailurePolicy { tries, retry, intensity, within, restart }
        },
    )
}

proptest! {
    #[test]
    fn a_hook_has_its_tries_and_no_more(policy in policies(), tried in 0..8_u32) {
        // An actor runs a hook that always fails, on a packet that was tried before.
        let (mut tries, mut longest) = (tried, Duration::ZERO);
        loop {
            tries += 1;
            match policy.hook_failed(tries, &Error::retry("always")) {
                HookDecision::RetryAfter(delay) => {
                    prop_assert!(delay >= longest && delay <= policy.retry.max);
                    longest = delay;
                }
                HookDecision::GiveUp => break,
            }
        }
        prop_assert_eq!(tries, policy.tries.max(tried + 1));
        prop_assert_eq!(policy.hook_failed(1, &Error::reject("at once")), HookDecision::GiveUp);
    }

    /// The model remembers every failure of an actor, and every packet.
    #[test]
    fn actors_fail_as_in_the_model(
        policy in policies(),
        steps in prop::collection::vec((0..1_500_u64, 0..4_u64), 1..60),
    ) {
        let mut failures = Failures::default();
        let mut now = Duration::from_secs(1);
        let mut times = Vec::new();
        let mut packets: Vec<Seq> = Vec::new();
        for (wait, seq) in steps {
            now += Duration::from_millis(wait);
            times.push(now);
            let packet = (seq > 0).then_some(Seq(seq));
            packets.extend(packet);
            let decision = failures.actor_failed(packet, now, &policy);

            let counted = times.iter().filter(|at| now <= **at + policy.within).count();
            let counted = u32::try_from(counted).unwrap();
            let expected = if counted > policy.intensity {
                RestartDecision::Suspend
            } else {
                RestartDecision::RestartAfter(policy.restart.delay(counted - 1))
            };
            prop_assert_eq!(decision.restart, expected);

            let in_a_row = packets.iter().rev().take_while(|tried| Some(**tried) == packet).count();
            let tries = u32::try_from(in_a_row).unwrap();
            prop_assert_eq!(decision.give_up, packet.map(|_| tries).filter(|tries| *tries >= policy.tries));
            prop_assert_eq!(failures.tried().map(|(seq, _)| seq), packets.last().copied());
        }
    }
}
