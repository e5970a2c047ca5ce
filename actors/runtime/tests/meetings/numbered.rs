//! Numbered publishing: the meeting accepts each number of a producer once, so a publisher may repeat it.

use teammy_kernel::{Publish, Seq};
use teammy_runtime::PublishError;

use super::support::*;

fn numbered(producer: &str, number: u64) -> Publish {
    transcription(&format!("{producer} {number}")).numbered(producer, number)
}

fn is_expected(result: &Result<teammy_runtime::Receipt, PublishError>, wanted: u64) -> bool {
    matches!(result, Err(PublishError::Expected { expected, .. }) if *expected == wanted)
}

#[tokio::test(start_paused = true)]
async fn each_number_is_accepted_once_and_in_order() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    assert_eq!(meeting.expects("p").await.unwrap(), 1);
    assert!(is_expected(&meeting.publish(numbered("p", 2)).await, 1));
    let mut seqs = Vec::new();
    for number in 1..=3 {
        seqs.push(meeting.publish(numbered("p", number)).await.unwrap().seq());
    }
    assert!(is_expected(&meeting.publish(numbered("p", 5)).await, 4));
    assert_eq!(meeting.expects("p").await.unwrap(), 4);
    assert_eq!(
        meeting.publish(numbered("other", 1)).await.unwrap().seq(),
        Seq(seqs[2].0 + 1),
        "each producer has numbers of its own"
    );
    // Repeats of the newest number and of older ones, before and after they are stored.
    for _ in 0..2 {
        for (number, seq) in (1..).zip(&seqs) {
            let receipt = meeting.publish(numbered("p", number)).await.unwrap();
            assert_eq!(receipt.seq(), *seq);
            receipt.durable().await.unwrap();
        }
    }
    let try_publish = |number| meeting.try_publish(numbered("p", number));
    assert_eq!(try_publish(3).await.unwrap().seq(), seqs[2]);
    assert!(matches!(try_publish(1).await, Err(PublishError::Repeated { number: 1, .. })));
    let four = try_publish(4).await.unwrap().seq();
    assert!(four > seqs[2]);
    meeting.end().await.unwrap();
    assert_eq!(meeting.publish(numbered("p", 4)).await.unwrap().seq(), four, "a repeat after the end");
    let stored =
        store.packets("m").await.into_iter().filter(|packet| packet.source == "transcription").count();
    assert_eq!(stored, 5);
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_continues_from_the_stored_numbers() {
    let store = FaultyStore::default();
    let first = node(&store, &probe_toml("")).await;
    let meeting = start(&first, "m", &["probe"]).await;
    let one = meeting.publish(numbered("p", 1)).await.unwrap();
    let two = meeting.publish(numbered("p", 2)).await.unwrap();
    two.durable().await.unwrap();
    store.hold_commits();
    meeting.publish(numbered("p", 3)).await.unwrap();
    drop(first);

    let second = node(&store, &probe_toml("")).await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    store.release_commits();
    assert_eq!(meeting.expects("p").await.unwrap(), 3, "the third was never stored");
    for (number, seq) in [(1, one.seq()), (2, two.seq())] {
        assert_eq!(meeting.publish(numbered("p", number)).await.unwrap().seq(), seq);
    }
    assert!(is_expected(&meeting.publish(numbered("p", 4)).await, 3));
    meeting.publish(numbered("p", 3)).await.unwrap().durable().await.unwrap();
    meeting.end().await.unwrap();
    let stored = store.packets("m").await;
    let numbers: Vec<_> =
        stored.iter().filter_map(|packet| packet.producer.as_ref()).map(|one| one.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn concurrent_publishes_of_one_number_get_the_same_seq() {
    let store = FaultyStore::default();
    let toml = format!("{}\n[delivery]\nbacklog_bytes = \"2MiB\"", probe_toml(""));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let publish = || {
        let meeting = meeting.clone();
        tokio::spawn(async move { meeting.publish(numbered("p", 1)).await.unwrap().seq() })
    };
    let tasks: Vec<_> = (0..20).map(|_| publish()).collect();
    let mut seqs = Vec::new();
    for task in tasks {
        seqs.push(task.await.unwrap());
    }
    seqs.dedup();
    assert_eq!(seqs.len(), 1);
    meeting.end().await.unwrap();
    assert_eq!(all_outputs(&meeting).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn invalid_numbers_and_volatile_sources_are_rejected() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let meeting = start(&node, "m", &[]).await;
    for (producer, number) in [(String::new(), 1), ("x".repeat(256), 1), ("p".to_owned(), 0)] {
        let rejected = meeting.publish(transcription("x").numbered(producer, number)).await;
        assert!(matches!(rejected, Err(PublishError::BadNumber)));
    }
    let sound = Publish::bytes("sound", vec![0_u8]).unwrap().numbered("p", 1);
    assert!(matches!(meeting.publish(sound).await, Err(PublishError::NumberedVolatile(_))));
    assert_eq!(meeting.expects("p").await.unwrap(), 1);
}
