//! Publishes a recording into a meeting at nodes.
//!
//! Packets that are stored are published as one numbered producer, many at a time, and again until they are
//! stored. Packets that are not stored, such as sound, take no numbers: each is published by itself once
//! those before it have their places, and one whose fate is unknown is not sent again.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
};

use futures::{
    SinkExt, Stream, StreamExt,
    channel::mpsc::{self, Sender},
    future::try_join,
};
use indicatif::ProgressBar;
use teammy::{Durability, Publish, Seq, Timestamp, graph::Graph};
use teammy_client::{Client, Meeting, Producer};
use tokio::time::{Instant, sleep_until};

use super::error;
use crate::cli::{
    error::Error,
    pace::{Pacer, Speed},
    recording::{Place, Recording},
};

/// How many packets are read ahead of those that are under way.
const AHEAD: usize = 64;

/// A packet that is still to be published.
struct Due {
    publish: Publish,
    place: Place,
    /// Its position in the recording, from 1.
    position: u64,
    is_numbered: bool,
}

/// When packets are due.
struct Clock {
    pacer: Pacer,
    started: Instant,
}

impl Clock {
    async fn wait(&mut self, packet: &Publish) {
        if let Some(due) = packet.timestamp.and_then(|timestamp| self.pacer.due(timestamp)) {
            sleep_until(self.started + due).await;
        }
    }
}

/// What was published.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) packets: u64,
    /// The positions of packets that are not stored, by their seqs.
    pub(super) volatile: HashMap<Seq, u64>,
    /// How many packets were sent whose fate is unknown.
    pub(super) unsure: u64,
}

pub(super) struct Publisher<'a> {
    pub(super) client: &'a Client,
    pub(super) meeting: &'a Meeting,
    pub(super) recording: &'a Recording,
    pub(super) graph: &'a Graph,
    pub(super) speed: Speed,
    pub(super) bar: &'a ProgressBar,
}

/// Whether packets of a source are stored, and therefore numbered.
pub(super) fn is_numbered(graph: &Graph, packet: &Publish) -> bool {
    graph.durability(packet.source.as_str()) == Some(Durability::Durable)
}

impl Publisher<'_> {
    /// Publishes the recording, without the first `done` numbered packets, in a meeting that began at
    /// `start`.
    pub(super) async fn publish(
        &self,
        producer: &mut Producer,
        done: u64,
        start: Timestamp,
    ) -> Result<Published, Error> {
        let mut clock = Clock { pacer: Pacer::new(self.speed), started: Instant::now() };
        let mut published = Published::default();
        let mut due = self.due(done, start)?;
        let mut next = due.next().transpose()?;
        while let Some(one) = next {
            next = if one.is_numbered {
                let (sender, receiver) = mpsc::channel(AHEAD);
                let places = RefCell::default();
                let feed = feed(sender, one, &mut due, &mut clock, &places);
                let results = self.results(producer.publish_all(receiver), &places, &mut published);
                let (next, ()) = try_join(feed, results).await?;
                next
            } else {
                clock.wait(&one.publish).await;
                self.volatile(one, &mut published).await?;
                due.next().transpose()?
            };
        }
        Ok(published)
    }

    /// What is still to be published. A packet that is not stored, before one that the meeting has, was lost
    /// with the run that published it.
    fn due(&self, done: u64, start: Timestamp) -> Result<impl Iterator<Item = Result<Due, Error>>, Error> {
        let mut number = 0;
        let packets = (1..).zip(self.recording.play_from(start)?);
        Ok(packets.filter_map(move |(position, packet)| {
            let (publish, place) = match packet {
                Ok(packet) => packet,
                Err(error) => return Some(Err(error.into())),
            };
            let is_numbered = is_numbered(self.graph, &publish);
            number += u64::from(is_numbered);
            if done > 0 && number <= done {
                self.bar.inc(1);
                return None;
            }
            Some(Ok(Due { publish, place, position, is_numbered }))
        }))
    }

    /// Takes the results of packets from these places.
    async fn results(
        &self,
        mut results: impl Stream<Item = Result<teammy_client::Published, teammy_client::Error>> + Unpin,
        places: &RefCell<VecDeque<Place>>,
        published: &mut Published,
    ) -> Result<(), Error> {
        while let Some(result) = results.next().await {
            let place = places.borrow_mut().pop_front();
            let place = place.expect("invariant: each result is of a packet that was sent");
            result.map_err(|source| self.failed(place, source))?;
            published.packets += 1;
            self.bar.inc(1);
        }
        Ok(())
    }

    async fn volatile(&self, one: Due, published: &mut Published) -> Result<(), Error> {
        match self.meeting.publish_at_most_once(one.publish).await {
            Ok(receipt) => {
                published.packets += 1;
                published.volatile.insert(receipt.seq, one.position);
            }
            Err(teammy_client::Error::Unknown(_)) => published.unsure += 1,
            Err(source) => return Err(self.failed(one.place, source)),
        }
        self.bar.inc(1);
        Ok(())
    }

    fn failed(&self, place: Place, source: teammy_client::Error) -> Error {
        let tried = if source.can_retry() { self.client.failures() } else { Vec::new() };
        let recording = self.recording.name().to_owned();
        error::Error::Publish { recording, place, tried, source: Box::new(source) }.into()
    }
}

/// Sends numbered packets as they are due, from this one on. Returns the first one that has no number.
async fn feed(
    mut sender: Sender<Publish>,
    first: Due,
    due: &mut impl Iterator<Item = Result<Due, Error>>,
    clock: &mut Clock,
    places: &RefCell<VecDeque<Place>>,
) -> Result<Option<Due>, Error> {
    let mut next = Some(first);
    while let Some(one) = next.take_if(|one| one.is_numbered) {
        clock.wait(&one.publish).await;
        places.borrow_mut().push_back(one.place);
        if sender.send(one.publish).await.is_err() {
            // The results end with an error.
            break;
        }
        next = due.next().transpose()?;
    }
    Ok(next)
}
