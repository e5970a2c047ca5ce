use bytes::Bytes;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::world::*;
use crate::{CallError, LinkSettings};

fn reason_of(error: &CallError) -> String {
    match error {
        CallError::NotSent { reason, .. } | CallError::Unknown { reason, .. } => reason.to_string(),
    }
}

#[tokio::test(start_paused = true)]
async fn calls_go_both_ways() {
    let world = World::pair().await;
    for (from, to) in [("a", "b"), ("b", "a")] {
        let asked = ordered("standup", format!("echo {from}"));
        assert_eq!(world.call(from, to, asked.clone()).await.unwrap(), asked.body);
        assert_eq!(*world.handler(to).begun.lock(), [(incarnation(from), asked)]);
    }
    let nobody = world.call("a", "nobody", call("echo")).await.unwrap_err();
    assert!(matches!(nobody, CallError::NotSent { .. }), "{nobody:?}");
    // What was taken is told with a heartbeat at the latest.
    sleep(Duration::from_secs(1)).await;
    let status = world.status("a", "b");
    assert_eq!((status.is_up, status.breaks, status.under_way, status.waiting), (true, 0, 0, 0));
    assert_eq!((status.sent_messages, status.received_messages), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn ordered_calls_keep_their_order_and_others_do_not_wait_for_them() {
    let world = World::pair().await;
    let mut ordered_calls = vec![world.begin("a", "b", ordered("m", "wait"))];
    settle().await;
    for number in 0..50 {
        ordered_calls.push(world.begin("a", "b", ordered("m", format!("slow {number}"))));
        settle().await;
    }
    // Neither the meeting's other calls nor those of other meetings wait.
    assert_eq!(world.call("a", "b", call("echo")).await.unwrap(), "echo");
    assert_eq!(world.call("a", "b", ordered("n", "echo n")).await.unwrap(), "echo n");
    assert_eq!(world.handler("b").bodies(), ["wait", "echo", "echo n"]);
    world.handler("b").permits.add_permits(1);
    let began = Instant::now();
    for call in ordered_calls {
        call.await.unwrap().unwrap();
    }
    assert!(began.elapsed() >= Duration::from_millis(500), "one after the other");
    let wanted: Vec<Bytes> = (0..50).map(|number| Bytes::from(format!("slow {number}"))).collect();
    assert_eq!(world.handler("b").bodies()[3..], wanted);
}

#[tokio::test(start_paused = true)]
async fn large_bodies_are_cut_and_put_together() {
    let world = World::pair().await;
    for bytes in [0, 1, (256 << 10) - 1, 256 << 10, (256 << 10) + 1, 3 << 20, 8 << 20] {
        let body: Vec<u8> = (0..=250).cycle().take(bytes).collect();
        assert_eq!(world.call("b", "a", call(body.clone())).await.unwrap(), body, "{bytes}");
    }
    let too_large = world.call("a", "b", call(vec![0; (8 << 20) + 1])).await.unwrap_err();
    assert!(matches!(too_large, CallError::NotSent { .. }), "{too_large:?}");
    let no_answer = world.call("a", "b", call("huge")).await.unwrap_err();
    assert!(matches!(no_answer, CallError::Unknown { .. }), "{no_answer:?}");
    assert_eq!(world.call("a", "b", call("echo")).await.unwrap(), "echo");
    assert_eq!(world.status("a", "b").breaks, 0);
}

const BODY: usize = 100 << 10;

#[tokio::test(start_paused = true)]
async fn a_frozen_peer_gets_no_more_than_the_window() {
    let world = World::pair().await;
    let (a, b) = (incarnation("a"), incarnation("b"));
    world.network.freeze(&b);
    let calls: Vec<_> = (0..500)
        .map(|number| {
            let mut call = call(vec![0; BODY]);
            call.meeting = Some(meeting(&format!("m{}", number % 10)));
            world.begin("a", "b", call)
        })
        .collect();
    settle().await;
    let window = LinkSettings::default().window;
    let status = world.status("a", "b");
    assert!(status.under_way <= window && status.under_way > window - BODY, "{status:?}");
    assert_eq!(status.waiting, 500 - window / BODY);
    // What a frame has besides its body is small.
    let in_flight = world.network.in_flight(&a, &b);
    assert!(
        in_flight >= status.under_way && in_flight < status.under_way + (window / BODY) * 512,
        "{in_flight}"
    );
    sleep(Duration::from_secs(2)).await;
    assert!(world.network.in_flight(&a, &b) < window + 50_000, "heartbeats only");
    world.network.thaw(&b);
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().len(), BODY);
    }
    let status = world.status("a", "b");
    assert_eq!((status.breaks, status.waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_blocked_meeting_leaves_three_quarters_of_the_window_to_others() {
    let world = World::pair().await;
    let blocked: Vec<_> = (0..100)
        .map(|_| {
            let mut body = vec![0; 100 << 10];
            body[..4].copy_from_slice(b"wait");
            world.begin("a", "b", ordered("blocked", body))
        })
        .collect();
    settle().await;
    let quarter = LinkSettings::default().window / 4;
    assert!(world.status("a", "b").under_way <= quarter);
    // More than what is left goes through meanwhile.
    for _ in 0..20 {
        let call = timeout(Duration::from_millis(10), world.call("a", "b", ordered("m", vec![1; 1 << 20])));
        call.await.expect("it waits for another meeting").unwrap();
    }
    world.handler("b").permits.add_permits(100);
    for call in blocked {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_the_whole_window_is_not_passed_over() {
    let world = World::pair().await;
    let small: Vec<_> = (0..200).map(|_| world.begin("a", "b", ordered("m", "slow"))).collect();
    let body = LinkSettings::default().window;
    let began = Instant::now();
    let large = world.call("a", "b", ordered("n", vec![0; body])).await.unwrap();
    assert_eq!(large.len(), body);
    // It needs all that the small ones hold, so it comes when the last of them was taken.
    assert!(began.elapsed() <= Duration::from_millis(2100), "{:?}", began.elapsed());
    for call in small {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn silence_breaks_a_link_and_healing_makes_it_anew() {
    for one_way in [None, Some(("a", "b")), Some(("b", "a"))] {
        let world = World::pair().await;
        let sent = world.begin("a", "b", call("wait"));
        settle().await;
        match one_way {
            None => world.network.cut(&incarnation("a"), &incarnation("b")),
            Some((from, to)) => world.network.cut_one_way(&incarnation(from), &incarnation(to)),
        }
        let began = Instant::now();
        let error = sent.await.unwrap().unwrap_err();
        assert!(matches!(error, CallError::Unknown { .. }), "{error:?}");
        let took = began.elapsed();
        let bounds = Duration::from_millis(1900)..Duration::from_secs(4);
        assert!(bounds.contains(&took), "{one_way:?}: {took:?}");
        until(|| !world.is_up("a", "b") && !world.is_up("b", "a")).await;
        assert!(began.elapsed() < Duration::from_secs(4));
        // Then nothing is sent, and nobody waits for long.
        let began = Instant::now();
        let error = world.call("a", "b", call("echo")).await.unwrap_err();
        assert!(matches!(error, CallError::NotSent { .. }), "{error:?}");
        assert!(began.elapsed() <= Duration::from_secs(1));
        sleep(Duration::from_secs(20)).await;
        assert!(!world.is_up("a", "b"));
        let status = world.status("a", "b");
        assert_eq!(status.breaks, 1);
        assert!(status.reason.is_some() && status.silence.is_none());
        world.network.heal();
        let began = Instant::now();
        world.up("a", "b").await;
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(world.call("b", "a", call("echo")).await.unwrap(), "echo");
        assert_eq!(world.handler("b").bodies(), ["wait"], "what was not sent was not handled");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_made_anew_at_once() {
    let world = World::pair().await;
    sleep(Duration::from_secs(10)).await;
    let waits = world.begin("a", "b", call("wait"));
    settle().await;
    world.network.break_connections(&incarnation("a"), &incarnation("b"));
    settle().await;
    assert_eq!(world.call("a", "b", call("echo")).await.unwrap(), "echo");
    assert!(matches!(waits.await.unwrap(), Err(CallError::Unknown { .. })));
    assert_eq!(world.status("a", "b").breaks, 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_window_when_the_link_breaks_was_not_sent() {
    let world = World::pair().await;
    world.network.freeze(&incarnation("b"));
    let calls: Vec<_> = (0..12).map(|_| world.begin("a", "b", call(vec![0; 1 << 20]))).collect();
    let mut outcomes = [0, 0];
    for call in calls {
        match call.await.unwrap() {
            Err(CallError::Unknown { .. }) => outcomes[0] += 1,
            Err(CallError::NotSent { .. }) => outcomes[1] += 1,
            Ok(_) => panic!("it is frozen"),
        }
    }
    assert_eq!(outcomes, [8, 4]);
    assert_eq!(world.status("a", "b").waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_that_was_not_sent_is_not_sent() {
    let world = World::pair().await;
    world.network.freeze(&incarnation("b"));
    let fill: Vec<_> = (0..8).map(|_| world.begin("a", "b", call(vec![0; 1 << 20]))).collect();
    settle().await;
    let body = Bytes::from(vec![7; 1 << 20]);
    let dropped = world.begin("a", "b", call(body.clone()));
    let kept = world.begin("a", "b", call("kept"));
    settle().await;
    assert_eq!(world.status("a", "b").waiting, 2);
    dropped.abort();
    settle().await;
    assert_eq!(world.status("a", "b").waiting, 1);
    assert!(body.is_unique(), "its memory is given back");
    world.network.thaw(&incarnation("b"));
    kept.await.unwrap().unwrap();
    for call in fill {
        call.await.unwrap().unwrap();
    }
    assert_eq!(world.handler("b").bodies().iter().filter(|seen| **seen == body).count(), 0);
    // One that was sent is handled, and its answer does no harm.
    let sent = world.begin("a", "b", call("wait"));
    settle().await;
    sent.abort();
    world.handler("b").permits.add_permits(1);
    assert_eq!(world.call("a", "b", call("echo")).await.unwrap(), "echo");
    assert_eq!((world.status("a", "b").breaks, world.status("b", "a").breaks), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_takes_only_its_own_call() {
    let world = World::pair().await;
    for asked in [call("panic"), ordered("m", "panic")] {
        let error = world.call("a", "b", asked).await.unwrap_err();
        assert!(matches!(error, CallError::Unknown { .. }), "{error:?}");
        assert!(reason_of(&error).contains("no answer"), "{error}");
    }
    assert_eq!(world.call("a", "b", ordered("m", "echo")).await.unwrap(), "echo");
    assert_eq!(world.status("a", "b").breaks, 0);
}

#[tokio::test(start_paused = true)]
async fn calls_that_cross_while_both_windows_are_full_are_answered() {
    // Each side's window is full of calls that wait, and answers have a window of their own.
    let world = World::pair().await;
    let mut waits = vec![];
    for (from, to) in [("a", "b"), ("b", "a")] {
        for number in 0..8 {
            let mut body = vec![0; 1 << 20];
            body[..4].copy_from_slice(b"wait");
            waits.push(world.begin(from, to, ordered(&format!("m{}", number % 4), body.clone())));
        }
    }
    settle().await;
    for node in ["a", "b"] {
        world.handler(node).permits.add_permits(8);
    }
    for call in waits {
        assert_eq!(call.await.unwrap().unwrap().len(), 1 << 20);
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_links_end_what_waits_at_the_other_side() {
    let mut world = World::pair().await;
    let waits = world.begin("a", "b", call("wait"));
    settle().await;
    drop(world.nodes.remove("b"));
    let error = waits.await.unwrap().unwrap_err();
    assert!(matches!(&error, CallError::Unknown { .. }), "{error:?}");
    assert!(reason_of(&error).contains("the node has closed its links"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_fit_beside_a_stuck_meeting_holds_others_up_for_a_heartbeat_only() {
    let world = World::pair().await;
    let stuck: Vec<_> = (0..3)
        .map(|_| {
            let mut body = vec![0; 500 << 10];
            body[..4].copy_from_slice(b"wait");
            world.begin("a", "b", ordered("stuck", body))
        })
        .collect();
    settle().await;
    let large = world.begin("a", "b", ordered("large", vec![0; LinkSettings::default().window]));
    settle().await;
    for number in 0..100 {
        let call = world.call("a", "b", ordered("m", format!("{number}")));
        let answer = timeout(Duration::from_millis(1100), call).await.expect("it waits for others");
        assert_eq!(answer.unwrap(), format!("{number}"));
    }
    assert!(!large.is_finished());
    world.handler("b").permits.add_permits(3);
    for call in stuck {
        call.await.unwrap().unwrap();
    }
    // The others do not stop, and it goes all the same.
    let began = Instant::now();
    while !large.is_finished() {
        let others: Vec<_> =
            (0..64).map(|_| world.begin("a", "b", ordered("m", vec![0; 256 << 10]))).collect();
        for other in others {
            other.await.unwrap().unwrap();
        }
        sleep(Duration::from_millis(10)).await;
        assert!(began.elapsed() < Duration::from_secs(20), "it is passed over for ever");
    }
}
