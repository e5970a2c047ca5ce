//! Texts that should be JSON and are not: nobody gets one in, and one that an earlier version stored is reported
//! and costs nothing else.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use teammy_kernel::{
    DataPacket, JsonText, Payload, Publish, PublishError, Seq, Store,
    store::{Commit, Outcome, PacketQuery},
};
use teammy_runtime::admin::{self, Request, Response};

use super::support::*;

const DEADLINE: Duration = Duration::from_secs(10);

fn malformed(source: &str) -> Publish {
    Publish::new(source, JsonText::new("{not json").into()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_meeting_takes_no_malformed_json() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let both = [transcription("one"), malformed("transcription")];
    for refused in [
        meeting.publish(malformed("transcription")).await.map(drop),
        meeting.try_publish(malformed("transcription")).await.map(drop),
        meeting.publish_all(both).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        let PublishError::MalformedJson { error: cause, .. } = &error else { panic!("{error}") };
        assert_eq!((cause.line(), cause.column(), error.code()), (1, 2, "malformed-json"));
        assert!(!error.can_retry());
    }
    meeting.end().await.unwrap();
    assert!(all_outputs(&meeting).await.is_empty(), "nothing of these was published");
    node.shutdown(DEADLINE).await.unwrap();
}

/// Stores a packet behind a meeting's others, as a node of a version that checked nothing may have done.
async fn store_unchecked(store: &FaultyStore, meeting: &str, packet: Publish) -> Seq {
    let owner = store.inner.claim(id(meeting), 10).await.unwrap();
    let last = store.packets(meeting).await.last().unwrap().clone();
    let seq = last.seq.next();
    let mut commit = Commit::new(id(meeting), owner.epoch, owner.commit + 1, owner.reserved);
    commit.packets.push(Arc::new(packet.into_packet(id(meeting), seq, last.received_at)));
    assert_eq!(store.inner.commit(&[commit]).await.unwrap(), [Outcome::Applied]);
    seq
}

#[tokio::test(start_paused = true)]
async fn a_stored_one_is_a_dead_letter_and_the_history_stays_readable() {
    let store = FaultyStore::default();
    let first = node(&store, &probe_toml("")).await;
    let meeting = start(&first, "m", &["probe"]).await;
    publish_durable(&meeting, "one").await;
    meeting.caught_up().await.unwrap();
    first.shutdown(DEADLINE).await.unwrap();
    let seq = store_unchecked(&store, "m", malformed("transcription")).await;

    let second = node(&store, &probe_toml("")).await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    publish_durable(&meeting, "two").await;
    meeting.caught_up().await.unwrap();
    let dead = second.dead_letters(&id("m")).await.unwrap();
    assert_eq!(dead.iter().map(|letter| letter.seq).collect::<Vec<_>>(), [seq]);
    assert!(dead[0].error.ends_with(": key must be a string at line 1 column 2"), "{}", dead[0].error);

    // Readers and operators see it beside the others.
    let read: Vec<_> = meeting
        .packets()
        .take_while(|packet| {
            let is_before = packet.as_ref().is_ok_and(|packet| packet.seq <= seq);
            async move { is_before }
        })
        .try_collect()
        .await
        .unwrap();
    let Some(Payload::Malformed(payload)) = read.last().map(|packet| &packet.payload) else {
        panic!("{read:?}")
    };
    assert_eq!(payload.text(), "{not json");
    let request = Request::History { meeting: id("m"), query: PacketQuery::default() };
    let page = admin::handle(&second, request).await.unwrap();
    let text = serde_json::to_string(&page).unwrap();
    assert!(text.contains(r#""payload_malformed":"{not json""#), "{text}");
    assert_eq!(Response::from_json(&text).unwrap(), page);
    assert_eq!(
        outputs(&meeting, 2).await.iter().map(|(value, _)| value.clone()).collect::<Vec<_>>(),
        [json!({"count": 1}), json!({"count": 2}),]
    );
    meeting.end().await.unwrap();
    second.shutdown(DEADLINE).await.unwrap();
}

/// A packet that was read is published elsewhere, as JSON.
#[tokio::test(start_paused = true)]
async fn packets_go_in_and_out_as_one_json() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let body = r#"{"source":"transcription","participant":"Ada","payload":{"text":"one", "n":1.00}}"#;
    let publish: Publish = serde_json::from_str(body).unwrap();
    let seq = meeting.publish(publish).await.unwrap().seq();
    meeting.stored(seq).await.unwrap();
    let packets: Vec<_> = meeting.packets().take(2).try_collect().await.unwrap();
    let answer = serde_json::to_string(&packets[1]).unwrap();
    assert!(answer.contains(r#""payload":{"text":"one", "n":1.00}"#), "{answer}");
    assert_eq!(serde_json::from_str::<DataPacket>(&answer).unwrap(), *packets[1]);
    let again: Publish = serde_json::from_str(&answer).unwrap();
    assert_eq!(again.payload, packets[1].payload);
    meeting.publish(again).await.unwrap();
    meeting.end().await.unwrap();
    assert_eq!(all_outputs(&meeting).await.len(), 2);
    node.shutdown(DEADLINE).await.unwrap();
}
