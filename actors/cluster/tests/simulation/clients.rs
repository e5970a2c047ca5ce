//! Publishers, subscribers and operators, as programs are that use a cluster.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture};
use teammy_cluster::testing::history::{Outcome, Record};
use teammy_kernel::{MeetingId, MeetingMetadata, PublishError, Seq};
use teammy_runtime::{
    MeetingRef,
    meeting::{self, StartAt, Subscribe},
    node,
};
use tokio::{sync::watch, time::sleep};

use crate::{
    counter::chat,
    world::{World, on},
};

const SOURCES: [&str; 4] = ["chat", "counter", "second", "meeting"];

struct Clients {
    world: Arc<World>,
    meeting: String,
}

/// All that is done with a meeting, from its start to its end.
pub(crate) fn all(
    world: &Arc<World>,
    meeting: &str,
    mut healed: watch::Receiver<bool>,
) -> BoxFuture<'static, ()> {
    let clients = Clients { world: world.clone(), meeting: meeting.to_owned() };
    Box::pin(async move {
        let it = &clients;
        open(&it.world, &it.meeting).await;
        let publishers = async {
            tokio::join!(
                it.numbered("p0", 25),
                it.numbered("p1", 15),
                it.unnumbered("u0", 12),
                it.operator(),
            );
            if it.world.happens(0.7) {
                let _ = healed.wait_for(|healed| *healed).await;
            }
            it.end().await;
        };
        tokio::join!(publishers, it.subscriber("s0"), it.subscriber("s1"), it.history_reader());
    })
}

/// Starts a meeting.
pub(crate) async fn open(world: &World, meeting: &str) {
    let metadata = MeetingMetadata::new(MeetingId::new(meeting).unwrap());
    loop {
        let node = world.node().await;
        if let Some(Ok(_)) = on(&node, node.open(metadata.clone(), ["counter"])).await {
            return;
        }
        sleep(world.millis(0..500)).await;
    }
}

impl Clients {
    fn id(&self) -> MeetingId {
        MeetingId::new(&self.meeting).unwrap()
    }

    async fn pause(&self, most: u64) {
        sleep(self.world.millis(0..most)).await;
    }

    fn said_ended(&self, by: &str) {
        let (meeting, at) = (self.meeting.clone(), self.world.cluster.recorder().now());
        self.world.record(Record::SaidEnded { meeting, by: by.to_owned(), at });
    }

    fn told(&self, publisher: &str, number: Option<u64>, key: String, outcome: Outcome, seq: Option<Seq>) {
        let (meeting, publisher) = (self.meeting.clone(), publisher.to_owned());
        let seq = seq.map(|seq| seq.0);
        self.world.record(Record::Told { meeting, publisher, number, key, outcome, seq });
    }

    /// A packet that was accepted was not stored.
    fn lost(&self, key: &str) {
        if self.world.is_calm {
            let text = format!("{} lost {key}, though its owner was well", self.meeting);
            self.world.wrong.lock().push(text);
        }
    }

    fn wait(&self) -> u64 {
        if self.world.happens(0.1) { self.world.random(|random| random.u64(50..3000)) } else { 0 }
    }

    /// Publishes each number until it is stored.
    async fn numbered(&self, name: &str, count: u64) {
        let mut next = 1;
        while next <= count {
            let node = self.world.node().await;
            let _ = on(&node, async {
                let meeting = node.find_meeting(&self.id()).await.ok()?;
                for _ in 0..self.world.random(|random| random.u32(1..5)) {
                    next = self.burst(&meeting, name, next, count).await?;
                    self.pause(1500).await;
                }
                Some(())
            })
            .await;
            self.pause(300).await;
        }
    }

    /// Publishes some numbers, and waits until they are stored. Returns the next one; none if a call failed.
    async fn burst(&self, meeting: &MeetingRef, name: &str, from: u64, count: u64) -> Option<u64> {
        let (mut next, mut receipts, mut is_cut) = (from, Vec::new(), false);
        let most = self.world.random(|random| random.u64(1..5));
        for number in from..=count.min(from + most - 1) {
            let packet = chat(&format!("{name}-{number}"), self.wait());
            match meeting.publish(packet.numbered(name, number)).await {
                Ok(receipt) => receipts.push((number, receipt)),
                Err(error) => {
                    if let PublishError::Ended(_) = error {
                        self.said_ended(name);
                    }
                    if let PublishError::Expected { expected, .. } = error {
                        next = next.min(expected);
                    }
                    is_cut = true;
                    break;
                }
            }
        }
        for (number, receipt) in receipts {
            match receipt.durable().await {
                Ok(()) => {
                    let (key, seq) = (format!("{name}-{number}"), Some(receipt.seq()));
                    self.told(name, Some(number), key, Outcome::Stored, seq);
                    next = number + 1;
                }
                Err(error) => {
                    if error.to_string().contains("lost with an earlier owner") {
                        self.lost(&format!("{name}-{number}"));
                    }
                    is_cut = true;
                    break;
                }
            }
        }
        // What is stored is not published again.
        if is_cut && next == from { None } else { Some(next) }
    }

    /// Publishes each packet once.
    async fn unnumbered(&self, name: &str, count: u64) {
        for number in 1..=count {
            let key = format!("{name}-{number}");
            let (meeting, node) = loop {
                let node = self.world.node().await;
                if let Some(Ok(meeting)) = on(&node, node.find_meeting(&self.id())).await {
                    break (meeting, node);
                }
                self.pause(300).await;
            };
            let published = on(&node, async {
                match meeting.publish(chat(&key, self.wait())).await {
                    Ok(receipt) => match receipt.durable().await {
                        Ok(()) => (Outcome::Stored, Some(receipt.seq())),
                        Err(error) if error.to_string().contains("lost with an earlier owner") => {
                            self.lost(&key);
                            (Outcome::Refused, None)
                        }
                        Err(_) => (Outcome::Unknown, None),
                    },
                    Err(PublishError::Unknown { .. } | PublishError::Gone { .. }) => (Outcome::Unknown, None),
                    Err(error) => {
                        if let PublishError::Ended(_) = error {
                            self.said_ended(name);
                        }
                        (Outcome::Refused, None)
                    }
                }
            });
            let (outcome, seq) = published.await.unwrap_or((Outcome::Unknown, None));
            self.told(name, None, key, outcome, seq);
            self.pause(3000).await;
        }
    }

    /// Reads until the meeting ends, from where it is, whichever node it reads from.
    async fn subscriber(&self, name: &str) {
        let (meeting, subscriber) = (self.meeting.clone(), name.to_owned());
        let sources = SOURCES.map(ToOwned::to_owned).to_vec();
        self.world.record(Record::Subscribed { meeting, subscriber, sources, after: 0 });
        let mut after = Seq::ZERO;
        loop {
            let node = self.world.node().await;
            let is_over = on(&node, async {
                let meeting = node.find_meeting(&self.id()).await.ok()?;
                let subscribe = Subscribe::to(SOURCES).from(StartAt::After(after));
                let mut packets = meeting.subscribe(subscribe).await.ok()?;
                loop {
                    // Some go to another node though nothing is wrong.
                    if self.world.happens(0.01) {
                        return None;
                    }
                    match packets.next().await {
                        Some(Ok(delivered)) => {
                            after = delivered.packet.seq;
                            self.saw(name, after, delivered.packet.source.as_str());
                        }
                        Some(Err(_)) => return None,
                        None => return Some(()),
                    }
                }
            });
            if is_over.await.flatten().is_some() {
                let (meeting, subscriber) = (self.meeting.clone(), name.to_owned());
                self.world.record(Record::SawEnd { meeting, subscriber });
                return;
            }
            self.pause(500).await;
        }
    }

    fn saw(&self, name: &str, seq: Seq, source: &str) {
        let (meeting, subscriber) = (self.meeting.clone(), name.to_owned());
        self.world.record(Record::Seen { meeting, subscriber, seq: seq.0, source: source.to_owned() });
    }

    /// Reads all packets by one handle that follows the meeting, and begins anew if it fails.
    async fn history_reader(&self) {
        for run in 0.. {
            let name = format!("h{run}");
            let (meeting, subscriber) = (self.meeting.clone(), name.clone());
            let sources = SOURCES.map(ToOwned::to_owned).to_vec();
            self.world.record(Record::Subscribed { meeting, subscriber, sources, after: 0 });
            let node = self.world.node().await;
            let is_over = on(&node, async {
                let mut packets = node.find_meeting(&self.id()).await.ok()?.packets();
                while let Some(packet) = packets.next().await {
                    let packet = packet.ok()?;
                    self.saw(&name, packet.seq, packet.source.as_str());
                }
                Some(())
            });
            if is_over.await.flatten().is_some() {
                let (meeting, subscriber) = (self.meeting.clone(), name);
                self.world.record(Record::SawEnd { meeting, subscriber });
                return;
            }
            self.pause(500).await;
        }
    }

    /// Adds an instance, and takes it away again, perhaps more than once.
    async fn operator(&self) {
        for _ in 0..self.world.random(|random| random.u32(0..3)) {
            self.pause(8000).await;
            self.instruct(true).await;
            self.pause(8000).await;
            if self.world.happens(0.7) {
                self.instruct(false).await;
            }
        }
    }

    async fn instruct(&self, joins: bool) {
        loop {
            let node = self.world.node().await;
            let result = on(&node, async {
                let meeting = node.find_meeting(&self.id()).await.map_err(Some)?;
                let result =
                    if joins { meeting.assign("second").await } else { meeting.unassign("second").await };
                result.map_err(|error| Some(node::Error::Meeting(error)))
            });
            match result.await {
                Some(Err(Some(node::Error::Meeting(meeting::Error::Ended(_))))) => {
                    self.said_ended("operator");
                    return;
                }
                Some(
                    Ok(())
                    | Err(Some(node::Error::Meeting(
                        meeting::Error::Assigned { .. } | meeting::Error::NotAssigned { .. },
                    ))),
                ) => return,
                _ => self.pause(500).await,
            }
        }
    }

    async fn end(&self) {
        let (meeting, at) = (self.meeting.clone(), self.world.cluster.recorder().now());
        self.world.record(Record::EndAsked { meeting, at });
        loop {
            let node = self.world.node().await;
            let result = on(&node, async {
                let meeting = node.find_meeting(&self.id()).await?;
                meeting.end().await.map_err(node::Error::Meeting)
            });
            match result.await {
                Some(Ok(()) | Err(node::Error::Meeting(meeting::Error::Ended(_)))) => {
                    self.said_ended("the one who ended it");
                    return;
                }
                _ => sleep(Duration::from_millis(200)).await,
            }
        }
    }
}
