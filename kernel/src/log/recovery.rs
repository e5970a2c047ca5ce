//! Recovery: how a new owner goes on with a log, from what the store holds of it.
//!
//! An owner's commits are a prefix of what it issued, so the store holds the meeting as it was at one moment:
//! cursors, states and outputs fit each other. The meeting's lifecycle packets say which instances take part
//! and which are leaving; their rows say how far each has come; each reads on from its cursor. A row or the
//! meeting's status may lag behind the lifecycle packets, since each is an item of its own in the queue: then
//! the packets count.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    commit::{InstanceUpdate, Item},
    consumer::Consumer,
    consumer_spec::ConsumerSpec,
    ids::Slot,
    lifecycle_history::LifecycleHistory,
    limits::Limits,
    meeting_log::MeetingLog,
};
use crate::{
    DataPacket, Name, Seq, Timestamp,
    plugin::StateRef,
    store::{InstanceRecord, InstanceStatus, MeetingRecord, MeetingStatus},
};

/// What the store holds of a meeting.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredMeeting {
    /// The meeting's row after the claim.
    pub record: MeetingRecord,
    /// The seq of the last stored packet.
    pub(super) last: Seq,
    /// The latest timestamp of the newest stored packets: the meeting's clock goes on from there.
    pub clock: Option<Timestamp>,
    pub(super) instances: Vec<InstanceRecord>,
    pub(super) lifecycle: LifecycleHistory,
}

/// An instance that took part in the meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The instance's name.
    pub name: Name,
    /// Whether it still takes part.
    pub status: InstanceStatus,
    /// Its state as JSON; `None` if no state of it was ever stored.
    pub state: Option<Arc<str>>,
    /// The seq up to which it has finished with the log.
    cursor: Seq,
    /// The packet on which `on_meeting_start` runs.
    joined: Seq,
    /// The `leave` packet that it has not reached.
    leaving: Option<Seq>,
    has_row: bool,
}

impl StoredMeeting {
    /// What was read from the store: the meeting's row, its newest packets, its packets of source
    /// [`Lifecycle::SOURCE`](crate::Lifecycle::SOURCE) in order, and its instances' rows.
    pub fn new(
        record: MeetingRecord,
        newest: &[Arc<DataPacket>],
        lifecycle: &[Arc<DataPacket>],
        instances: Vec<InstanceRecord>,
    ) -> Self {
        let clock = newest.iter().map(|packet| packet.timestamp).max();
        let last = newest.last().map_or(Seq::ZERO, |packet| packet.seq);
        let lifecycle = LifecycleHistory::read(lifecycle);
        Self { record, last, clock, instances, lifecycle }
    }

    /// Whether the meeting's `start` packet is stored. If not, nothing but the meeting's row is stored, and
    /// the new owner starts the meeting.
    pub fn is_started(&self) -> bool {
        self.lifecycle.start.is_some()
    }

    /// The seq of the last stored packet; [`Seq::ZERO`] if there is none.
    pub fn last_seq(&self) -> Seq {
        self.last
    }

    /// The meeting's status by its lifecycle packets.
    pub fn status(&self) -> MeetingStatus {
        if self.lifecycle.has_ended {
            MeetingStatus::Ended
        } else if self.lifecycle.ending.is_some() {
            MeetingStatus::Ending
        } else {
            MeetingStatus::Running
        }
    }

    /// The instances that still have something to do. A node must run all of them to go on with the meeting.
    pub fn unfinished(&self) -> Vec<Name> {
        if !self.is_started() {
            return self.record.instances.clone();
        }
        let members = self.members().into_iter();
        members.filter(|member| member.status == InstanceStatus::Active).map(|member| member.name).collect()
    }

    /// The instances that ever took part, in the order in which they first joined; empty if the meeting was
    /// never [started](Self::is_started).
    pub fn members(&self) -> Vec<Member> {
        let rows: BTreeMap<&Name, &InstanceRecord> =
            self.instances.iter().map(|row| (&row.instance, row)).collect();
        let member = |(name, joined, leaving): (Name, Seq, Option<Seq>)| match rows.get(&name) {
            Some(row) => Member {
                status: row.status,
                state: row.state.clone(),
                cursor: row.cursor,
                joined: row.joined,
                leaving: leaving.filter(|_| row.status == InstanceStatus::Active),
                has_row: true,
                name,
            },
            None => Member {
                status: InstanceStatus::Active,
                state: None,
                cursor: joined.previous(),
                joined,
                leaving,
                has_row: false,
                name,
            },
        };
        self.lifecycle.members.iter().cloned().map(member).collect()
    }
}

impl MeetingLog {
    /// The log of a claimed meeting, as its last owner's commits left it. `opened` are its
    /// [`members`](StoredMeeting::members) in their order, each with its subscription on this node and the
    /// state to go on from.
    ///
    /// # Panics
    /// If the meeting was never [started](StoredMeeting::is_started).
    pub fn recover(
        stored: &StoredMeeting,
        limits: Limits,
        opened: impl IntoIterator<Item = (Member, ConsumerSpec, StateRef)>,
    ) -> Self {
        let mut log = Self::new(&stored.record, stored.last_seq(), limits);
        assert!(stored.is_started(), "invariant: the meeting was started");
        log.lifecycle_history = stored.lifecycle.clone();
        log.absent.clone_from(&stored.instances);
        for (member, subscription, state) in opened {
            log.absent.retain(|row| row.instance != member.name);
            let sources = log.resolve(&subscription);
            let output = log.source(&member.name);
            let slot = Slot(log.consumers.len());
            let mut consumer =
                Consumer::new(member.name, sources, output, member.cursor, member.joined, state);
            consumer.status = member.status;
            consumer.leaving = member.leaving;
            let can_redrive = matches!(consumer.status, InstanceStatus::Active | InstanceStatus::Suspended);
            let redrives = stored
                .lifecycle
                .redrives
                .iter()
                .filter(|(name, at, _)| can_redrive && *name == consumer.name && *at > consumer.cursor);
            consumer.redrives = redrives.map(|(_, at, seq)| (*at, *seq)).collect();
            if !member.has_row {
                log.queue.push(Item::Update(InstanceUpdate::row(slot, &mut consumer)));
            }
            log.consumers.push(consumer);
        }
        log.status = stored.status();
        if log.status != stored.record.status {
            log.queue.push(Item::Status(log.status));
        }
        log
    }
}
