//! The state of a node and its meetings.

use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use teammy_kernel::{
    MeetingId, Seq, Timestamp,
    log::Lag,
    store::{PacketQuery, Take},
};

use crate::{
    InstanceStats,
    instance::HookPhase,
    meeting::{
        LocalMeeting,
        report::{HookReport, InstanceReport, LogReport, MeetingReport, SourceLag},
    },
    node::Node,
    resources::Resources,
};

/// The state of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// This package's version.
    pub version: String,
    /// The process id.
    pub process: u32,
    /// Bytes of packets that all meetings together keep in memory.
    pub memory: u64,
    /// Above this many bytes publishers wait.
    pub memory_limit: u64,
    /// Whether the store accepts commits.
    pub store: StoreStatus,
    /// Plugin threads that a hook has held for longer than `hooks.watchdog` without waiting for anything.
    pub threads_held: usize,
    /// The meetings that this node runs, by id.
    pub meetings: Vec<MeetingReport>,
}

/// Whether the store accepts commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StoreStatus {
    /// It accepts them.
    Ok,
    /// The last commits failed and are retried.
    Failing,
}

impl Node {
    /// The state of a meeting that this node runs; it costs a pass over the meeting's packets in memory, as for
    /// [`status`](Self::status).
    pub async fn report(&self, id: &MeetingId) -> Option<MeetingReport> {
        let meeting = self.local_meeting(id)?;
        let report = meeting.report().await?;
        Some(describe(self.resources(), &meeting, report).await)
    }

    /// How many plugin threads a hook has held for longer than `hooks.watchdog` without waiting for anything.
    fn threads_held(&self) -> usize {
        let longest = self.resources().settings.watchdog();
        let mut held = 0;
        for meeting in self.local_meetings() {
            meeting.running_hooks(|_, hook| {
                held += usize::from(hook.phase == HookPhase::Running && hook.elapsed >= longest);
            });
        }
        held
    }

    /// Whether hooks hold all plugin threads of this node, so that no other hook runs. Not known, so never, where the embedder
    /// gave the plugins' runtime.
    pub fn are_all_threads_held(&self) -> bool {
        self.plugin_threads().is_some_and(|threads| self.threads_held() >= threads)
    }

    /// Whether the store did not take the last commits, which are sent again.
    pub fn is_store_failing(&self) -> bool {
        self.resources().health.is_failing()
    }

    /// The state of the node and its meetings. It costs a pass over the packets in memory, and over those that
    /// instances must read from the store, up to [`SourceLag::MOST`] for each source.
    pub async fn status(&self) -> Status {
        let resources = self.resources();
        let meetings = self.local_meetings();
        let reports = join_all(meetings.iter().map(LocalMeeting::report)).await;
        let known = meetings.iter().zip(reports).filter_map(|(meeting, report)| Some((meeting, report?)));
        let meetings = join_all(known.map(|(meeting, report)| describe(resources, meeting, report))).await;
        let memory = self.memory();
        let held = self.threads_held();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            memory: memory.used as u64,
            memory_limit: memory.limit as u64,
            store: if resources.health.is_failing() { StoreStatus::Failing } else { StoreStatus::Ok },
            threads_held: held,
            meetings,
        }
    }
}

async fn describe(resources: &Resources, meeting: &LocalMeeting, report: LogReport) -> MeetingReport {
    let stats = meeting.stats();
    let mut hooks = Vec::new();
    meeting.running_hooks(|instance, hook| {
        let hook = HookReport {
            source: hook.source.clone(),
            holds_thread: hook.phase == HookPhase::Running,
            seconds: hook.elapsed.as_secs_f64(),
        };
        hooks.push((instance.clone(), hook));
    });
    let mut instances = Vec::new();
    for instance in report.instances {
        let counts = stats.instances.iter().find(|stats| stats.name == instance.name);
        let count = |of: fn(&InstanceStats) -> u64| counts.map_or(0, of);
        let mut lag = Vec::new();
        for one in &instance.lag {
            lag.push(source_lag(resources, meeting.id(), one, instance.spilled).await);
        }
        let hook = hooks.iter().find(|(name, _)| *name == instance.name).map(|(_, hook)| hook.clone());
        instances.push(InstanceReport {
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
    MeetingReport {
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

/// The lag of a source: what is in memory, and what is in the store alone.
async fn source_lag(
    resources: &Resources,
    meeting: &MeetingId,
    lag: &Lag,
    spilled: Option<(Seq, Seq)>,
) -> SourceLag {
    let (mut packets, mut oldest, mut newest) = (lag.packets, lag.oldest, lag.newest);
    if let Some((from, to)) = spilled {
        let most = usize::try_from(SourceLag::MOST).unwrap_or(usize::MAX);
        let query = PacketQuery::range(from, to).sources(vec![lag.source.clone()]).take(Take::First(most));
        // If the store is away, only what is in memory is counted.
        let stored = resources.store.packets(meeting.clone(), query).await.unwrap_or_default();
        packets += stored.len() as u64;
        let times = || stored.iter().map(|packet| packet.timestamp);
        oldest = oldest.into_iter().chain(times()).min();
        newest = newest.into_iter().chain(times()).max();
    }
    let seconds = |(oldest, newest): (Timestamp, Timestamp)| {
        Duration::try_from(newest.duration_since(oldest)).unwrap_or_default().as_secs_f64()
    };
    SourceLag {
        source: lag.source.clone(),
        packets: packets.min(SourceLag::MOST),
        seconds: oldest.zip(newest).map_or(0.0, seconds),
    }
}
