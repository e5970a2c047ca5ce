//! What is stored when: receipts, readers, a store that is slow or away, and an owner that was replaced.

use futures::{FutureExt, StreamExt};
use serde_json::json;
use teammy_kernel::Store;
use teammy_runtime::PublishError;

use super::support::*;

#[tokio::test(start_paused = true)]
async fn only_what_is_stored_leaves_the_meeting() {
    let store = Gate::default();
    let node = node(&store, &probe("held")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    say(&meeting, "one").await;
    assert_eq!(outputs(&meeting, 1).await.len(), 1);
    store.shut();
    let receipt = meeting.publish(said("two")).await.unwrap();
    noted("held", "probe two").await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let mut all = meeting.outputs().skip(1);
    assert!(all.next().now_or_never().is_none(), "the hook has run, its output is not stored");
    assert!(receipt.durable().now_or_never().is_none());
    store.open();
    receipt.durable().await.unwrap();
    assert_eq!(value(&all.next().await.unwrap().unwrap()), json!({"count": 2}));
}

#[tokio::test(start_paused = true)]
async fn publishers_wait_or_hear_busy_while_the_backlog_is_full() {
    let store = Gate::default();
    let toml =
        format!("{}\n[delivery]\nbacklog_bytes = \"4KiB\"\n[limits]\npacket_bytes = \"1KiB\"\n", probe(""));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    say(&meeting, "one").await;
    store.shut();
    let mut taken = vec![];
    let error = loop {
        match meeting.try_publish(said(&"x".repeat(900))).await {
            Ok(receipt) => taken.push(receipt),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, PublishError::Busy(_)), "{error}");
    assert_eq!(taken.len(), 3);
    let mut waiting = Box::pin(meeting.publish(said(&"y".repeat(900))));
    assert!((&mut waiting).now_or_never().is_none());
    store.open();
    let last = waiting.await.unwrap();
    last.durable().await.unwrap();
    meeting.end().await.unwrap();
    let said = store.packets("m").await.into_iter().filter(|packet| packet.source == "transcription").count();
    assert_eq!(said, 5, "nothing was dropped");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_instance_to_leave_is_answered_though_it_comes_back_at_once() {
    let store = Gate::default();
    let node = node(&store, &probe("leaves")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    say(&meeting, "one").await;
    store.shut();
    let leaving = tokio::spawn({
        let meeting = meeting.clone();
        async move { meeting.unassign("probe").await }
    });
    noted("leaves", "probe end m 1").await;
    while meeting.assign("probe").await.is_err() {
        tokio::task::yield_now().await;
    }
    leaving.await.unwrap().unwrap();
    store.open();
    meeting.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_stores_nothing_twice() {
    let store = Gate::default();
    let node = node(&store, &probe("")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    store.set_away(true);
    let receipt = meeting.publish(said("one")).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    assert!(receipt.durable().now_or_never().is_none(), "nobody knows yet");
    store.set_away(false);
    receipt.durable().await.unwrap();
    meeting.end().await.unwrap();
    assert_eq!(all_outputs(&meeting).await, [(json!({"count": 1}), vec![2])]);
    let packets = store.packets("m").await;
    assert_eq!(packets.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_replaced_stops_and_says_why() {
    let store = Gate::default();
    let node = node(&store, &probe("")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    say(&meeting, "one").await;
    let before = store.packets("m").await;
    store.shut();
    let receipt = meeting.publish(said("two")).await.unwrap();
    store.store.claim(id("m"), 1000).await.unwrap();
    store.open();
    let error = receipt.durable().await.unwrap_err().to_string();
    assert_eq!(error, "meeting m is no longer run by this node: another owner has taken it over");
    let error = meeting.end().await.unwrap_err().to_string();
    assert_eq!(error, "meeting m is no longer run by this node: another owner has taken it over");
    let seen: Vec<_> = meeting.packets().collect().await;
    assert!(seen.last().unwrap().is_err(), "its readers hear it too");
    assert!(store.packets("m").await.len() <= before.len() + 1, "nothing of it was stored after the claim");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_far_behind_reads_the_store_and_misses_nothing() {
    let store = Gate::default();
    let toml = format!("{}\n[delivery]\nrecent_bytes = \"1KiB\"\n", probe(""));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let mut early = meeting.packets();
    let first = early.next().await.unwrap().unwrap();
    for n in 0..600 {
        meeting.publish(said(&n.to_string())).await.unwrap();
    }
    meeting.end().await.unwrap();
    let rest: Vec<_> = early.map(|packet| packet.unwrap()).collect().await;
    let stored = store.packets("m").await;
    assert_eq!(rest.len() + 1, stored.len());
    assert_eq!([vec![first], rest].concat(), stored);
    let outputs = all_outputs(&meeting).await;
    let counts: Vec<_> = (1..=600).map(|n| json!({"count": n})).collect();
    assert_eq!(outputs.into_iter().map(|(value, _)| value).collect::<Vec<_>>(), counts);
}

#[tokio::test(start_paused = true)]
async fn while_one_batch_is_stored_the_next_one_fills() {
    let store = Gate::default();
    let node = node(&store, &probe("")).await;
    let mut meetings = vec![];
    for n in 0..20 {
        meetings.push(start(&node, &format!("m{n}"), &["probe"]).await);
    }
    let all = futures::future::join_all(meetings.iter().map(|meeting| say(meeting, "one")));
    all.await;
    for meeting in &meetings {
        meeting.caught_up().await.unwrap();
    }
    store.batches();
    store.shut();
    let mut receipts = vec![meetings[0].publish(said("two")).await.unwrap()];
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    for meeting in &meetings[1..] {
        receipts.push(meeting.publish(said("two")).await.unwrap());
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    store.open();
    for receipt in receipts {
        receipt.durable().await.unwrap();
    }
    let batches = store.batches();
    assert_eq!(batches[0].len(), 1, "who comes first doesn't wait for company");
    assert_eq!(batches[1].len(), 19, "and all who came meanwhile are one batch: {batches:?}");
    for meeting in &meetings {
        meeting.end().await.unwrap();
    }
    let mut last = std::collections::HashMap::new();
    for (meeting, number) in batches.into_iter().chain(store.batches()).flatten() {
        if let Some(before) = last.insert(meeting, number) {
            assert_eq!(number, before + 1, "one after the other");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_cannot_be_stored_holds_up_nobody_else() {
    let store = Gate::default();
    let node = node(&store, &probe("")).await;
    let mut meetings = vec![];
    for n in 0..10 {
        meetings.push(start(&node, &format!("m{n}"), &["probe"]).await);
        say(&meetings[n], "one").await;
    }
    // Its batches fail as if the store were away, and it alone knows that it isn't.
    store.set_bad(Some(("m3", false)));
    let stuck = meetings[3].publish(said("two")).await.unwrap();
    for round in ["two", "three", "four"] {
        for (n, meeting) in meetings.iter().enumerate().filter(|(n, _)| *n != 3) {
            assert!(say(meeting, round).await > teammy_kernel::Seq(0), "{n} {round}");
        }
    }
    assert!(stuck.durable().now_or_never().is_none());
    store.set_bad(None);
    stuck.durable().await.unwrap();
    say(&meetings[3], "three").await;

    // One that is impossible for good is let go of; the others notice nothing.
    store.set_bad(Some(("m5", true)));
    let lost = meetings[5].publish(said("five")).await.unwrap();
    let others = meetings.iter().enumerate().filter(|(n, _)| *n != 5);
    futures::future::join_all(others.map(|(_, meeting)| say(meeting, "five"))).await;
    let error = teammy_kernel::chain(&lost.durable().await.unwrap_err());
    assert!(error.contains("meeting m5 is no longer run by this node"), "{error}");
    assert!(error.contains("it cannot be"), "{error}");
    assert!(node.meeting(&id("m5")).is_none() && node.meeting(&id("m3")).is_some());
    for (n, meeting) in meetings.iter().enumerate().filter(|(n, _)| *n != 5) {
        meeting.end().await.unwrap();
        let said = store.packets(&format!("m{n}")).await;
        let said = said.iter().filter(|packet| packet.source == "transcription").count();
        assert_eq!(said, if n == 3 { 4 } else { 5 }, "each packet once: m{n}");
    }
}

#[tokio::test(start_paused = true)]
async fn packets_published_together_keep_their_order_and_wait_for_room() {
    let store = Gate::default();
    let toml =
        format!("{}\n[delivery]\nbacklog_bytes = \"4KiB\"\n[limits]\npacket_bytes = \"1KiB\"\n", probe(""));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let texts: Vec<_> = (0..20).map(|index| format!("{index} {}", "x".repeat(800))).collect();
    let receipts = meeting.publish_all(texts.iter().map(|text| said(text))).await.unwrap();
    receipts.durable().await.unwrap();
    assert!(receipts.seqs().is_sorted() && receipts.seqs().len() == 20);
    assert_eq!(
        receipts.iter().map(|receipt| receipt.seq()).collect::<Vec<_>>(),
        receipts.seqs().collect::<Vec<_>>()
    );
    let stored = store.packets("m").await;
    let stored: Vec<_> = stored.into_iter().filter(|packet| packet.source == "transcription").collect();
    assert_eq!(
        stored.iter().map(|packet| packet.seq).collect::<Vec<_>>(),
        receipts.seqs().collect::<Vec<_>>()
    );

    let with_a_bad_one = [said("good"), said(&"x".repeat(2000))];
    let error = meeting.publish_all(with_a_bad_one).await.unwrap_err();
    assert!(matches!(error, PublishError::TooLarge { .. }), "{error}");
    let numbered = (1..=3).map(|number| said("numbered").numbered("caller", number));
    let first = meeting.publish_all(numbered.clone()).await.unwrap();
    let again = meeting.publish_all(numbered).await.unwrap();
    assert_eq!(first.seqs().collect::<Vec<_>>(), again.seqs().collect::<Vec<_>>(), "a repeat gets its place");

    meeting.end().await.unwrap();
    let said = store.packets("m").await.into_iter().filter(|packet| packet.source == "transcription").count();
    assert_eq!(said, 23, "of packets one of which is wrong none is published");
    assert!(meeting.publish_all([super::support::said("late")]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_for_room_gives_back_what_it_took() {
    let store = Gate::default();
    let toml =
        format!("{}\n[delivery]\nbacklog_bytes = \"4KiB\"\n[limits]\npacket_bytes = \"1KiB\"\n", probe(""));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    say(&meeting, "one").await;
    store.shut();
    let large = || (0..10).map(|_| said(&"x".repeat(900)));
    assert!(meeting.publish_all(large()).now_or_never().is_none(), "it waits, and is dropped");
    store.open();
    meeting.publish_all(large()).await.unwrap().durable().await.unwrap();
    meeting.end().await.unwrap();
}
