//! How a node stands: for people, through `teammy status`, and for programs.

use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use teammy_kernel::{
    MeetingId, Name, Seq, Timestamp,
    store::{InstanceStatus, MeetingStatus, PacketQuery, Take},
};

use super::{Node, Resources};
use crate::{
    instance::HookPhase,
    meeting::{MeetingRef, Report},
};

/// How a node stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// This package's version.
    pub version: String,
    /// The process.
    pub process: u32,
    /// Bytes of packets that all meetings together keep in memory.
    pub memory: u64,
    /// Where publishers begin to wait.
    pub memory_limit: u64,
    /// Whether the store takes what it is given; if not, commits are tried again.
    pub store: StoreStatus,
    /// Threads for plugins that are held by a hook that waits for nothing, for longer than `hooks.watchdog`.
    pub threads_held: usize,
    /// The meetings that run here, by id.
    pub meetings: Vec<Meeting>,
}

/// How the store stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StoreStatus {
    /// It takes what it is given.
    Ok,
    /// The last commits did not arrive, and are tried again.
    Failing,
}

/// How a meeting stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Meeting {
    /// Its id.
    pub id: MeetingId,
    /// How far it has come.
    pub status: MeetingStatus,
    /// Packets taken from outside.
    pub packets: u64,
    /// The last place in its log.
    pub seq: Seq,
    /// The place up to which its log is stored.
    pub stored: Seq,
    /// Bytes of packets in memory.
    pub memory: u64,
    /// Bytes that wait to be stored.
    pub backlog: u64,
    /// Its instances, in the order in which they came.
    pub instances: Vec<Instance>,
}

/// How an instance stands in a meeting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Instance {
    /// Its name.
    pub name: Name,
    /// How it stands.
    pub status: InstanceStatus,
    /// The place up to which it has finished with the log.
    pub cursor: Seq,
    /// How far it is behind, by source.
    pub lag: Vec<Lag>,
    /// Packets that its hooks finished with.
    pub delivered: u64,
    /// Outputs.
    pub outputs: u64,
    /// Failed attempts.
    pub errors: u64,
    /// Packets given up since this node runs the meeting.
    pub dead_letters: u64,
    /// Packets lost, those that it has not been told of yet included.
    pub lost: u64,
    /// The hook that runs, if one does.
    pub hook: Option<Hook>,
}

/// What an instance has not finished with of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lag {
    /// The source.
    pub source: Name,
    /// How many packets; [`Lag::MOST`] stands for more.
    pub packets: u64,
    /// Between the oldest and the newest of them, in the meeting's own time.
    pub seconds: f64,
}

impl Lag {
    /// The most packets that are counted in the store.
    pub const MOST: u64 = 10_000;
}

/// A hook that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hook {
    /// The source that it takes, `tick`, or `meeting` for its start and end.
    pub source: Name,
    /// Whether it holds its thread; else it waits.
    pub holds_thread: bool,
    /// For how long.
    pub seconds: f64,
}

impl Node {
    /// How the node and its meetings stand. It costs a pass over what meetings keep in memory, and over what
    /// instances that are behind have to read, up to [`Lag::MOST`] packets each.
    pub async fn status(&self) -> Status {
        let meetings = self.meetings();
        let reports = join_all(meetings.iter().map(MeetingRef::report)).await;
        let known = meetings.iter().zip(reports).filter_map(|(meeting, report)| Some((meeting, report?)));
        let meetings =
            join_all(known.map(|(meeting, report)| describe(&self.resources, meeting, report))).await;
        let memory = self.memory();
        let mut held = 0;
        for meeting in self.meetings() {
            meeting.beats(|_, hook| {
                let is_long = hook.elapsed >= self.resources.settings.watchdog;
                held += usize::from(hook.phase == HookPhase::Running && is_long);
            });
        }
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            memory: memory.used as u64,
            memory_limit: memory.limit as u64,
            store: if self.resources.health.is_failing() { StoreStatus::Failing } else { StoreStatus::Ok },
            threads_held: held,
            meetings,
        }
    }
}

async fn describe(resources: &Resources, meeting: &MeetingRef, report: Report) -> Meeting {
    let stats = meeting.stats();
    let mut hooks = Vec::new();
    meeting.beats(|instance, hook| {
        let hook = Hook {
            source: hook.hook.clone(),
            holds_thread: hook.phase == HookPhase::Running,
            seconds: hook.elapsed.as_secs_f64(),
        };
        hooks.push((instance.clone(), hook));
    });
    let mut instances = Vec::new();
    for instance in report.instances {
        let counts = stats.instances.iter().find(|stats| stats.name == instance.name);
        let count = |of: fn(&crate::InstanceStats) -> u64| counts.map_or(0, of);
        let mut lag = Vec::new();
        for one in &instance.lag {
            lag.push(behind(resources, meeting.id(), one, instance.spilled).await);
        }
        let hook = hooks.iter().find(|(name, _)| *name == instance.name).map(|(_, hook)| hook.clone());
        instances.push(Instance {
            status: instance.status,
            cursor: instance.cursor,
            lag,
            delivered: count(|stats| stats.delivered),
            outputs: count(|stats| stats.outputs),
            errors: count(|stats| stats.errors),
            dead_letters: count(|stats| stats.dead_letters),
            lost: count(|stats| stats.lost) + instance.gap,
            hook,
            name: instance.name,
        });
    }
    Meeting {
        id: meeting.id().clone(),
        status: report.status,
        packets: stats.packets,
        seq: report.seq,
        stored: report.stored,
        memory: report.memory as u64,
        backlog: report.backlog as u64,
        instances,
    }
}

/// A lag, with what is in the store alone.
async fn behind(
    resources: &Resources,
    meeting: &MeetingId,
    lag: &teammy_kernel::log::Lag,
    spilled: Option<(Seq, Seq)>,
) -> Lag {
    let (mut packets, mut oldest, mut newest) = (lag.packets, lag.oldest, lag.newest);
    if let Some((from, to)) = spilled {
        let most = usize::try_from(Lag::MOST).unwrap_or(usize::MAX);
        let query = PacketQuery::range(from, to).sources(vec![lag.source.clone()]).take(Take::First(most));
        // A store that is away does not say; what is in memory counts all the same.
        let stored = resources.store.packets(meeting.clone(), query).await.unwrap_or_default();
        packets += stored.len() as u64;
        let times = || stored.iter().map(|packet| packet.timestamp);
        oldest = oldest.into_iter().chain(times()).min();
        newest = newest.into_iter().chain(times()).max();
    }
    let seconds = |(oldest, newest): (Timestamp, Timestamp)| {
        Duration::try_from(newest.duration_since(oldest)).unwrap_or_default().as_secs_f64()
    };
    Lag {
        source: lag.source.clone(),
        packets: packets.min(Lag::MOST),
        seconds: oldest.zip(newest).map_or(0.0, seconds),
    }
}
