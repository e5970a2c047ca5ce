//! Subscriptions: durable sources from a seq on, then live, without a hole or a duplicate; volatile sources
//! live only.

use futures::{FutureExt, StreamExt};
use serde_json::json;
use teammy_kernel::{Key, Publish, Seq};
use teammy_runtime::meeting::{Delivered, Error, Slow, StartAt, Subscribe, Subscription};

use super::support::*;

fn sound(n: u64) -> Publish {
    Publish::json("sound", &json!(n)).unwrap()
}

/// The items that are ready now.
fn ready(subscription: &mut Subscription) -> Vec<Delivered> {
    std::iter::from_fn(|| subscription.next().now_or_never()?).map(Result::unwrap).collect()
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_gets_stored_packets_then_new_ones_each_once() {
    let store = FaultyStore::default();
    // No stored packet is kept in memory, so history comes from the store.
    let node = node(&store, &format!("delivery.recent_bytes = 0\n{}", probe_toml("history"))).await;
    let meeting = start(&node, "m", &["probe"]).await;
    for n in 0..300 {
        meeting.publish(transcription(&n.to_string())).await.unwrap();
    }
    meeting.caught_up().await.unwrap();
    let all = Subscribe::to(["transcription", "probe"]).from(StartAt::Start);
    let mut from_start = meeting.subscribe(all.clone()).await.unwrap();
    let mut seqs: Vec<Seq> = Vec::new();
    for _ in 0..200 {
        seqs.push(from_start.next().await.unwrap().unwrap().packet.seq);
    }
    let mut from_there = meeting.subscribe(all.clone().from(StartAt::After(seqs[199]))).await.unwrap();
    let mut from_now = meeting.subscribe(all.from(StartAt::Now)).await.unwrap();
    for n in 0..300 {
        meeting.publish(transcription(&n.to_string())).await.unwrap();
    }
    meeting.end().await.unwrap();
    let rest =
        |subscription: Subscription| subscription.map(|item| item.unwrap().packet.seq).collect::<Vec<_>>();
    seqs.extend(rest(from_start).await);
    let wanted = ["transcription", "probe"];
    let packets = store.packets("m").await;
    let stored = packets.iter().filter(|packet| wanted.contains(&packet.source.as_str()));
    let stored: Vec<Seq> = stored.map(|packet| packet.seq).collect();
    assert_eq!(stored.len(), 1200);
    assert_eq!(seqs, stored, "no hole and no duplicate");
    let first = from_there.next().await.unwrap().unwrap().packet.seq;
    assert_eq!(first, stored[200]);
    assert_eq!(rest(from_there).await, stored[201..]);
    let first = from_now.next().await.unwrap().unwrap().packet.seq;
    let position = stored.iter().position(|seq| *seq == first).unwrap();
    assert_eq!(position, 600);
    assert_eq!(rest(from_now).await, stored[601..]);
}

#[tokio::test(start_paused = true)]
async fn volatile_sources_are_live_and_a_slow_subscriber_learns_what_it_lost() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    meeting.publish(sound(0)).await.unwrap();
    let cost = 2_000;
    let mut oldest = meeting.subscribe(Subscribe::to(["sound"]).buffer_bytes(cost)).await.unwrap();
    let latest = Slow::Latest("/n".parse::<Key>().unwrap());
    let mut latest = meeting.subscribe(Subscribe::to(["sound"]).slow(latest)).await.unwrap();
    let mut ending =
        meeting.subscribe(Subscribe::to(["sound"]).buffer_bytes(cost).slow(Slow::End)).await.unwrap();
    meeting.publish(sound(1)).await.unwrap();
    assert_eq!(
        value(&ready(&mut oldest)[0].packet),
        json!(1),
        "packets from before the subscription are not delivered"
    );
    assert_eq!(ready(&mut ending).len(), 1);
    assert_eq!(ready(&mut latest).len(), 1);
    for n in 2..102 {
        meeting.publish(Publish::json("sound", &json!({"n": n % 3, "of": n})).unwrap()).await.unwrap();
    }
    let kept = ready(&mut oldest);
    assert!(kept[0].gap > 0 && kept[1..].iter().all(|item| item.gap == 0));
    assert_eq!(kept[0].gap + kept.len() as u64, 100, "every packet is delivered or counted as lost");
    assert_eq!(value(&kept.last().unwrap().packet)["of"], json!(101));
    let newest: Vec<_> = ready(&mut latest).iter().map(|item| value(&item.packet)["of"].clone()).collect();
    assert_eq!(newest, [json!(99), json!(100), json!(101)]);
    let error = ending.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::TooSlow(_)), "{error}");
    assert!(ending.next().await.is_none());
    let error = meeting.subscribe(Subscribe::to(["sonud"])).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no source sonud; did you mean sound?");
    meeting.end().await.unwrap();
    assert!(oldest.next().await.is_none(), "the subscription ends with the meeting");
}
