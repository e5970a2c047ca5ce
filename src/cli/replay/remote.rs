//! Plays a recording into a meeting at nodes that run elsewhere, over their network API.
//!
//! The nodes keep the meeting and run its instances; this process publishes and reads. Any of the addresses
//! may fail at any time: the client goes on at another one, with the same numbers and after the last packet
//! that was read. So nothing is lost or doubled, also by the same command after it was cut off. What the
//! nodes do not offer is not done: the meeting's clock goes on by itself between packets, and publishing does
//! not wait for slow instances.

mod address;
mod error;
mod opening;
mod publishing;
mod seen;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::try_join};
use indicatif::ProgressBar;
use teammy::{DataPacket, MeetingId, Timestamp, graph::Graph};
use teammy_client::{Client, InstanceInfo, Meeting, MeetingInfo, Opened, Producer};
use tokio::time::Instant;

pub(crate) use self::{address::Address, error::Error as RemoteError};
use self::{
    opening::{Progress, Wanted},
    publishing::{Published, Publisher, is_numbered},
    seen::Seen,
};
use super::{
    expect::{self, Positions},
    played::Played,
};
use crate::cli::{
    error::{Error, Keeps},
    failures::Failures,
    output::{Output, is_shown},
    pace::Speed,
    recording::Recording,
    signal::Signals,
    summary::{OfLog, Summary},
    text::count,
};

/// The variable that holds the key of the network API.
pub(crate) const KEY_VARIABLE: &str = "TEAMMY_KEY";

/// How long the nodes are tried at first. Nothing has been sent yet, and the addresses may be wrong.
const FIRST_CONTACT: Duration = Duration::from_secs(3);

/// How long there may be no answer from any address afterwards. A dead node's meetings run again long before.
const PATIENCE: Duration = Duration::from_mins(1);

/// Which stored packets are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Outputs,
    All,
}

/// What is played, and where.
pub(super) struct Remote<'a> {
    pub(super) addresses: &'a [Address],
    pub(super) id: &'a MeetingId,
    /// The option `--plugins`.
    pub(super) instances: Option<&'a [String]>,
    pub(super) recording: &'a Recording,
    /// The sources, as this machine's configuration has them.
    pub(super) graph: &'a Graph,
    pub(super) speed: Speed,
    /// The option `--started-at`.
    pub(super) started_at: Option<Timestamp>,
    pub(super) shown: Shown,
    /// Whether the outputs are compared or written.
    pub(super) is_compared: bool,
    pub(super) output: &'a Output,
}

/// What was read of the meeting's log.
#[derive(Default)]
struct Log {
    seen: Seen,
    /// All packets, if outputs are compared.
    packets: Vec<Arc<DataPacket>>,
}

impl<'a> Remote<'a> {
    /// Plays the recording, until all of it is published and the meeting has ended, or a signal comes.
    pub(super) async fn play(&self) -> Result<Played<'a>, Error> {
        let client = self.client().map_err(RemoteError::Setup)?;
        let mut signals = Signals::take().map_err(Error::Runtime)?;
        tokio::select! {
            played = self.play_over(&client) => played,
            signal = signals.next() => {
                let keeps = if self.recording.is_sound() { Keeps::AllButSound } else { Keeps::AtNodes };
                Err(Error::Interrupted { signal, meeting: self.id.clone(), keeps })
            }
        }
    }

    /// A client of the addresses, with the key of the environment.
    fn client(&self) -> Result<Client, teammy_client::Error> {
        let client = Client::any_of(self.addresses.iter().map(Address::as_str))?.give_up_after(PATIENCE);
        let key = std::env::var(KEY_VARIABLE).unwrap_or_default();
        match key.trim() {
            "" => Ok(client),
            key => client.key(key),
        }
    }

    async fn play_over(&self, client: &Client) -> Result<Played<'a>, Error> {
        let started = Instant::now();
        let offered = client.clone().give_up_after(FIRST_CONTACT).instances().await;
        let offered =
            offered.map_err(|error| RemoteError::of("ask which instances there are", client, error))?;
        let instances = self.choose(&offered);
        let name = self.recording.producer()?;
        let (packets, mut positions) = self.count()?;
        let wanted = Wanted {
            id: self.id,
            instances: &instances,
            producer: &name,
            packets,
            started_at: self.started_at,
        };
        let meeting = client.meeting(self.id.clone());
        let mut producer = meeting.producer(name.as_str()).durable().give_up_after(PATIENCE);
        let (info, progress) = self.open(client, &mut producer, wanted).await?;
        let known = offered.iter().map(|instance| &instance.name).chain(&info.plugins);
        let known: BTreeSet<String> = known.map(ToString::to_string).collect();
        let is_instance = |source: &str| known.contains(source);
        let follow = self.follow(client, &meeting, &is_instance);
        let (published, log) = match progress {
            Progress::Complete => (Published::default(), follow.await?),
            Progress::Has(done) => {
                let start = info.started_at.unwrap_or(self.recording.started_at());
                try_join(self.publish(client, &meeting, &mut producer, done, start), follow).await?
            }
        };
        let Published { packets, volatile, .. } = published;
        positions.volatile = volatile;
        let given_up = self.given_up(client, &meeting).await?;
        let failures = Failures::known(log.seen.suspended(), given_up.clone().unwrap_or_default());
        let skipped = self.recording.skipped().counts();
        let summary = if progress == Progress::Complete {
            Summary::complete(self.id, skipped, started.elapsed())
        } else {
            let rows = info.plugins.iter().map(|instance| OfLog {
                instance: instance.as_str(),
                outputs: log.seen.outputs(instance.as_str()),
                dead_letters: given_up.as_ref().map(|it| it.get(instance.as_str()).copied().unwrap_or(0)),
            });
            Summary::of_log(self.id, packets, rows, skipped, started.elapsed())
        };
        let outputs = expect::outputs(&log.packets, &name, &positions, is_instance);
        Ok(Played { summary: summary.failures(failures), outputs })
    }

    /// The instances that take part.
    fn choose(&self, offered: &[InstanceInfo]) -> Vec<String> {
        let (instances, note) = opening::taking_part(self.instances, offered);
        let takes_audio = |instance: &InstanceInfo| {
            instances.iter().any(|name| *name == instance.name.as_str())
                && instance.sources.iter().any(|source| source.as_str() == "audio")
        };
        let sound = self.recording.is_sound().then(|| {
            let name = self.recording.name();
            if offered.iter().any(takes_audio) {
                (self.speed == Speed::Max).then(|| {
                    "nodes do not wait for instances that hear slowly, which lose sound then: --speed 1x plays it as fast as \
                     it was said"
                        .to_owned()
                })
            } else {
                Some(format!("no instance takes audio, so nobody hears {name}"))
            }
        });
        for note in note.into_iter().chain(sound.flatten()) {
            self.output.note(&format!("note: {note}"));
        }
        instances
    }

    /// How many numbered packets the recording has, and where they are if outputs are compared.
    fn count(&self) -> Result<(u64, Positions), Error> {
        let (mut packets, mut numbered) = (0, Vec::new());
        for (position, packet) in (1..).zip(self.recording.play()?) {
            if is_numbered(self.graph, &packet?.0) {
                packets += 1;
                if self.is_compared {
                    numbered.push(position);
                }
            }
        }
        Ok((packets, Positions { numbered, volatile: HashMap::new() }))
    }

    /// Opens the meeting, and learns how far it is.
    async fn open(
        &self,
        client: &Client,
        producer: &mut Producer,
        wanted: Wanted<'_>,
    ) -> Result<(MeetingInfo, Progress), Error> {
        let id = self.id;
        let opening = opening::opening(wanted, self.recording.started_at());
        let info = client.open_info(opening).await;
        let info = info.map_err(|error| RemoteError::of(format!("open meeting {id}"), client, error))?;
        let next = producer.next().await;
        let next =
            next.map_err(|error| RemoteError::of(format!("ask how far meeting {id} is"), client, error))?;
        let progress = opening::progress(&info, next, wanted)?;
        let name = self.recording.name();
        match progress {
            Progress::Complete => {
                self.output.note(&format!("note: meeting {id} is complete: all of {name} has been played"));
            }
            Progress::Has(done) if info.opened != Some(Opened::Started) => {
                let packets = count(done, "packet", "packets");
                self.output.note(&format!("note: meeting {id} resumes: it already has {packets} of {name}"));
            }
            Progress::Has(_) => {}
        }
        Ok((info, progress))
    }

    /// Publishes what the meeting does not have yet, and ends the meeting.
    async fn publish(
        &self,
        client: &Client,
        meeting: &Meeting,
        producer: &mut Producer,
        done: u64,
        start: Timestamp,
    ) -> Result<Published, Error> {
        let bar = self.output.progress(self.recording.len());
        bar.set_message("publishing");
        let recording = Publisher {
            client,
            meeting,
            recording: self.recording,
            graph: self.graph,
            speed: self.speed,
            bar: &bar,
        };
        let published = recording.publish(producer, done, start).await?;
        self.end(client, meeting, &bar).await?;
        if published.unsure > 0 {
            let packets = count(published.unsure, "packet", "packets");
            self.output.note(&format!(
                "warning: {packets} may be lost: a node failed while they were under way, and their source is not stored"
            ));
        }
        Ok(published)
    }

    async fn end(&self, client: &Client, meeting: &Meeting, bar: &ProgressBar) -> Result<(), Error> {
        bar.set_message("finishing");
        let ended = meeting.end_and_wait().await;
        ended.map_err(|error| RemoteError::of(format!("end meeting {}", self.id), client, error))?;
        bar.finish_and_clear();
        Ok(())
    }

    /// Reads the meeting's log to its end, and prints what is to be shown.
    async fn follow(
        &self,
        client: &Client,
        meeting: &Meeting,
        is_instance: impl Fn(&str) -> bool,
    ) -> Result<Log, Error> {
        let mut log = Log::default();
        let mut packets = meeting.events().give_up_after(PATIENCE).follow();
        while let Some(packet) = packets.next().await {
            let packet = packet
                .map_err(|error| RemoteError::of(format!("follow meeting {}", self.id), client, error))?;
            let is_output = log.seen.take(&packet, &is_instance);
            if is_shown(&packet) && (is_output || self.shown == Shown::All) {
                self.output.packet(&packet)?;
            }
            if self.is_compared {
                log.packets.push(Arc::new(packet));
            }
        }
        Ok(log)
    }

    /// How many packets each instance gave up; none if the key may not ask.
    async fn given_up(
        &self,
        client: &Client,
        meeting: &Meeting,
    ) -> Result<Option<BTreeMap<String, u64>>, Error> {
        let letters = match meeting.dead_letters().await {
            Ok(letters) => letters,
            Err(teammy_client::Error::Problem { status: 403, .. }) => {
                self.output.note(
                    "note: packets that instances gave up are not known: that takes a key with the scope admin",
                );
                return Ok(None);
            }
            Err(error) => return Err(RemoteError::of("ask for dead letters", client, error).into()),
        };
        let mut given_up = BTreeMap::new();
        for letter in letters {
            *given_up.entry(letter.instance.to_string()).or_default() += 1;
        }
        Ok(Some(given_up))
    }
}
