//! When packets are stored: receipts, readers, a store that is slow or away, and an owner that is fenced.

use futures::{FutureExt, StreamExt};
use serde_json::json;
use teammy_kernel::Store;
use teammy_runtime::PublishError;

use super::support::*;

#[tokio::test(start_paused = true)]
async fn readers_see_stored_packets_only() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("held")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    publish_durable(&meeting, "one").await;
    assert_eq!(outputs(&meeting, 1).await.len(), 1);
    store.hold_commits();
    let receipt = meeting.publish(transcription("two")).await.unwrap();
    wait_for_event("held", "probe two").await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let mut all = meeting.outputs().skip(1);
    assert!(all.next().now_or_never().is_none(), "the hook has run, its output is not stored");
    assert!(receipt.durable().now_or_never().is_none());
    store.release_commits();
    receipt.durable().await.unwrap();
    assert_eq!(value(&all.next().await.unwrap().unwrap()), json!({"count": 2}));
}

#[tokio::test(start_paused = true)]
async fn publishers_wait_or_get_busy_while_the_backlog_is_full() {
    let store = FaultyStore::default();
    let toml = format!(
        "{}\n[delivery]\nbacklog_bytes = \"4KiB\"\n[limits]\npacket_bytes = \"1KiB\"\n",
        probe_toml("")
    );
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    publish_durable(&meeting, "one").await;
    store.hold_commits();
    let mut accepted = vec![];
    let error = loop {
        match meeting.try_publish(transcription(&"x".repeat(900))).await {
            Ok(receipt) => accepted.push(receipt),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, PublishError::Busy(_)), "{error}");
    assert_eq!(accepted.len(), 3);
    let mut waiting = Box::pin(meeting.publish(transcription(&"y".repeat(900))));
    assert!((&mut waiting).now_or_never().is_none());
    store.release_commits();
    let last = waiting.await.unwrap();
    last.durable().await.unwrap();
    meeting.end().await.unwrap();
    let stored =
        store.packets("m").await.into_iter().filter(|packet| packet.source == "transcription").count();
    assert_eq!(stored, 5, "nothing was dropped");
}

#[tokio::test(start_paused = true)]
async fn unassign_returns_though_the_instance_is_assigned_again_at_once() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("leaves")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    publish_durable(&meeting, "one").await;
    store.hold_commits();
    let leaving = tokio::spawn({
        let meeting = meeting.clone();
        async move { meeting.unassign("probe").await }
    });
    wait_for_event("leaves", "probe end m 1").await;
    while meeting.assign("probe").await.is_err() {
        tokio::task::yield_now().await;
    }
    leaving.await.unwrap().unwrap();
    store.release_commits();
    meeting.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_is_lost_is_applied_once() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    store.set_answers_lost(true);
    let receipt = meeting.publish(transcription("one")).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    assert!(receipt.durable().now_or_never().is_none(), "whether it is stored is unknown");
    store.set_answers_lost(false);
    receipt.durable().await.unwrap();
    meeting.end().await.unwrap();
    assert_eq!(all_outputs(&meeting).await, [(json!({"count": 1}), vec![2])]);
    let packets = store.packets("m").await;
    assert_eq!(packets.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_owner_stops_and_reports_why() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    publish_durable(&meeting, "one").await;
    let before = store.packets("m").await;
    store.hold_commits();
    let receipt = meeting.publish(transcription("two")).await.unwrap();
    store.inner.claim(id("m"), 1000).await.unwrap();
    store.release_commits();
    let error = receipt.durable().await.unwrap_err().to_string();
    assert_eq!(error, "meeting m is no longer run by this node: another owner has taken it over");
    let error = meeting.end().await.unwrap_err().to_string();
    assert_eq!(error, "meeting m is no longer run by this node: another owner has taken it over");
    let read: Vec<_> = meeting.packets().collect().await;
    assert!(read.last().unwrap().is_err(), "readers get the error, too");
    assert!(
        store.packets("m").await.len() <= before.len() + 1,
        "the old owner stored nothing after the claim"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_far_behind_reads_the_store_and_misses_nothing() {
    let store = FaultyStore::default();
    let toml = format!("{}\n[delivery]\nrecent_bytes = \"1KiB\"\n", probe_toml(""));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let mut early = meeting.packets();
    let first = early.next().await.unwrap().unwrap();
    for n in 0..600 {
        meeting.publish(transcription(&n.to_string())).await.unwrap();
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
async fn commits_that_come_in_while_batches_are_stored_form_the_next_batch() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let mut meetings = vec![];
    for n in 0..20 {
        meetings.push(start(&node, &format!("m{n}"), &["probe"]).await);
    }
    let all = futures::future::join_all(meetings.iter().map(|meeting| publish_durable(meeting, "one")));
    all.await;
    for meeting in &meetings {
        meeting.caught_up().await.unwrap();
    }
    store.take_batches();
    store.hold_commits();
    let mut receipts = vec![meetings[0].publish(transcription("two")).await.unwrap()];
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    for meeting in &meetings[1..] {
        receipts.push(meeting.publish(transcription("two")).await.unwrap());
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    store.release_commits();
    for receipt in receipts {
        receipt.durable().await.unwrap();
    }
    let batches = store.take_batches();
    let sizes: Vec<usize> = batches.iter().take(3).map(Vec::len).collect();
    assert_eq!(sizes[..2], [1, 1], "two commits do not wait for others");
    assert_eq!(sizes[2], 18, "the commits that came in meanwhile are one batch: {batches:?}");
    for meeting in &meetings {
        meeting.end().await.unwrap();
    }
    let mut last = std::collections::HashMap::new();
    for (meeting, number) in batches.into_iter().chain(store.take_batches()).flatten() {
        if let Some(before) = last.insert(meeting, number) {
            assert_eq!(number, before + 1, "the commits of a meeting are applied in order");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_meeting_whose_commits_fail_does_not_delay_other_meetings() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let mut meetings = vec![];
    for n in 0..10 {
        meetings.push(start(&node, &format!("m{n}"), &["probe"]).await);
        publish_durable(&meetings[n], "one").await;
    }
    // Batches with a commit of this meeting fail as if the store were away.
    store.set_failing(Some(("m3", false)));
    let stuck = meetings[3].publish(transcription("two")).await.unwrap();
    for round in ["two", "three", "four"] {
        for (n, meeting) in meetings.iter().enumerate().filter(|(n, _)| *n != 3) {
            assert!(publish_durable(meeting, round).await > teammy_kernel::Seq(0), "{n} {round}");
        }
    }
    assert!(stuck.durable().now_or_never().is_none());
    store.set_failing(None);
    stuck.durable().await.unwrap();
    publish_durable(&meetings[3], "three").await;

    // A meeting whose commits fail permanently is abandoned; the others are not affected.
    store.set_failing(Some(("m5", true)));
    let lost = meetings[5].publish(transcription("five")).await.unwrap();
    let others = meetings.iter().enumerate().filter(|(n, _)| *n != 5);
    futures::future::join_all(others.map(|(_, meeting)| publish_durable(meeting, "five"))).await;
    let error = teammy_kernel::chain(&lost.durable().await.unwrap_err());
    assert!(error.contains("meeting m5 is no longer run by this node"), "{error}");
    assert!(error.contains("the commit is invalid"), "{error}");
    assert!(node.meeting(&id("m5")).is_none() && node.meeting(&id("m3")).is_some());
    for (n, meeting) in meetings.iter().enumerate().filter(|(n, _)| *n != 5) {
        meeting.end().await.unwrap();
        let packets = store.packets(&format!("m{n}")).await;
        let stored = packets.iter().filter(|packet| packet.source == "transcription").count();
        assert_eq!(stored, if n == 3 { 4 } else { 5 }, "each packet once: m{n}");
    }
}

#[tokio::test(start_paused = true)]
async fn packets_published_together_keep_their_order_and_wait_for_room() {
    let store = FaultyStore::default();
    let toml = format!(
        "{}\n[delivery]\nbacklog_bytes = \"4KiB\"\n[limits]\npacket_bytes = \"1KiB\"\n",
        probe_toml("")
    );
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let texts: Vec<_> = (0..20).map(|index| format!("{index} {}", "x".repeat(800))).collect();
    let receipts = meeting.publish_all(texts.iter().map(|text| transcription(text))).await.unwrap();
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

    let with_a_bad_one = [transcription("good"), transcription(&"x".repeat(2000))];
    let error = meeting.publish_all(with_a_bad_one).await.unwrap_err();
    assert!(matches!(error, PublishError::TooLarge { .. }), "{error}");
    let numbered = (1..=3).map(|number| transcription("numbered").numbered("caller", number));
    let first = meeting.publish_all(numbered.clone()).await.unwrap();
    let again = meeting.publish_all(numbered).await.unwrap();
    assert_eq!(
        first.seqs().collect::<Vec<_>>(),
        again.seqs().collect::<Vec<_>>(),
        "a repeat gets the seq of the original"
    );

    meeting.end().await.unwrap();
    let stored =
        store.packets("m").await.into_iter().filter(|packet| packet.source == "transcription").count();
    assert_eq!(stored, 23, "if one packet is invalid, none is published");
    assert!(meeting.publish_all([transcription("late")]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_publish_all_releases_the_room_it_acquired() {
    let store = FaultyStore::default();
    let toml = format!(
        "{}\n[delivery]\nbacklog_bytes = \"4KiB\"\n[limits]\npacket_bytes = \"1KiB\"\n",
        probe_toml("")
    );
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    publish_durable(&meeting, "one").await;
    store.hold_commits();
    let large = || (0..10).map(|_| transcription(&"x".repeat(900)));
    assert!(meeting.publish_all(large()).now_or_never().is_none(), "it waits for room, and is dropped");
    store.release_commits();
    meeting.publish_all(large()).await.unwrap().durable().await.unwrap();
    meeting.end().await.unwrap();
}
