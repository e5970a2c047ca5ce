//! How a new owner goes on with a log: from what the store holds of it.
//!
//! What an owner issues is committed as a prefix, so what is stored is a meeting as it once was: every
//! cursor, state and output fits every other. The new owner takes it from there: who takes part and who is
//! leaving is read off the meeting's own packets, how far each has come off its row, and each reads on from
//! its cursor. What the log's own packets say counts where a row or the meeting's status lags behind them,
//! since these are items of their own in the queue.

use std::{collections::BTreeMap, sync::Arc};

use super::{Consumer, InstanceUpdate, Item, Limits, MeetingLog, Subscription};
use crate::{
    DataPacket, Name, Seq,
    meeting::Lifecycle,
    plugin::StateRef,
    store::{InstanceRecord, InstanceStatus, MeetingRecord, MeetingStatus},
};

/// What the store holds of a meeting.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredMeeting {
    /// The meeting's row, as the claim left it.
    pub record: MeetingRecord,
    /// The last packet that is stored, if there is one.
    pub last: Option<Arc<DataPacket>>,
    instances: Vec<InstanceRecord>,
    lifecycle: LifecycleHistory,
}

/// An instance that was part of the meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The instance.
    pub name: Name,
    /// Its status: what it still has to do.
    pub status: InstanceStatus,
    /// Its state as JSON, if it ever had one that was stored.
    pub state: Option<Arc<str>>,
    cursor: Seq,
    joined: Seq,
    leaving: Option<Seq>,
    has_row: bool,
}

/// What the meeting's own packets say.
#[derive(Debug, Clone, Default)]
struct LifecycleHistory {
    start: Option<Seq>,
    /// In the order in which they first came; each with its last coming and going.
    members: Vec<(Name, Seq, Option<Seq>)>,
    ending: Option<Arc<DataPacket>>,
    has_ended: bool,
    /// It had ended, and was opened once more for packets that were given up.
    is_reopened: bool,
    /// Which packet an instance is to get once more, and where.
    redrives: Vec<(Name, Seq, Seq)>,
}

impl LifecycleHistory {
    fn read(packets: &[Arc<DataPacket>]) -> Self {
        let mut history = Self::default();
        for packet in packets {
            match Lifecycle::from_payload(&packet.payload) {
                Some(Lifecycle::Start { instances, .. }) => {
                    history.start.get_or_insert(packet.seq);
                    for instance in instances {
                        history.comes(instance, packet.seq);
                    }
                }
                Some(Lifecycle::Join { instance, .. }) => history.comes(instance, packet.seq),
                Some(Lifecycle::Leave { instance }) => {
                    let member = history.members.iter_mut().find(|(name, ..)| *name == instance);
                    if let Some((_, _, leaving)) = member {
                        *leaving = Some(packet.seq);
                    }
                }
                Some(Lifecycle::Ending) => history.ending = Some(packet.clone()),
                Some(Lifecycle::Ended) => history.has_ended = true,
                Some(Lifecycle::Redrive { instance, seq }) => {
                    history.is_reopened |= std::mem::take(&mut history.has_ended);
                    history.redrives.push((instance, packet.seq, seq));
                }
                None => {}
            }
        }
        history
    }

    fn comes(&mut self, instance: Name, seq: Seq) {
        match self.members.iter_mut().find(|(name, ..)| *name == instance) {
            Some((_, joined, leaving)) => (*joined, *leaving) = (seq, None),
            None => self.members.push((instance, seq, None)),
        }
    }
}

impl StoredMeeting {
    /// What was read: the meeting's row, its last packet, its own packets (of source [`Lifecycle::SOURCE`],
    /// in order), and its instances' rows.
    pub fn new(
        record: MeetingRecord,
        last: Option<Arc<DataPacket>>,
        lifecycle: &[Arc<DataPacket>],
        instances: Vec<InstanceRecord>,
    ) -> Self {
        Self { record, last, instances, lifecycle: LifecycleHistory::read(lifecycle) }
    }

    /// Whether the meeting's first packet is stored. If not, nothing of the meeting is, and it is to be
    /// started.
    pub fn is_started(&self) -> bool {
        self.lifecycle.start.is_some()
    }

    /// The last seq that is stored; [`Seq::ZERO`] if there is none.
    pub fn last_seq(&self) -> Seq {
        self.last.as_ref().map_or(Seq::ZERO, |packet| packet.seq)
    }

    /// How far the meeting has come, by its own packets.
    pub fn status(&self) -> MeetingStatus {
        if self.lifecycle.has_ended {
            MeetingStatus::Ended
        } else if self.lifecycle.ending.is_some() {
            MeetingStatus::Ending
        } else {
            MeetingStatus::Running
        }
    }

    /// The instances that still have something to do. They must be there for the meeting to go on.
    pub fn unfinished(&self) -> Vec<Name> {
        if !self.is_started() {
            return self.record.instances.clone();
        }
        let members = self.members().into_iter();
        members.filter(|member| member.status == InstanceStatus::Active).map(|member| member.name).collect()
    }

    /// The instances that were ever part of the meeting, in the order in which they came; none of one that
    /// was never [started](Self::is_started).
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
    /// The log of a meeting that was claimed, as its last owner's commits left it. `opened` are its
    /// [`members`](StoredMeeting::members), in their order, each with what it takes here and the state to go on
    /// from.
    ///
    /// # Panics
    /// If the meeting was never [started](StoredMeeting::is_started).
    pub fn recover(
        stored: &StoredMeeting,
        limits: Limits,
        opened: impl IntoIterator<Item = (Member, Subscription, StateRef)>,
    ) -> Self {
        let mut log = Self::new(&stored.record, stored.last_seq(), limits);
        log.start = stored.lifecycle.start.expect("invariant: what was never started cannot go on");
        for (member, subscription, state) in opened {
            let sources = log.taken(&subscription);
            let output = log.source(&member.name);
            let slot = super::Slot(log.consumers.len());
            let mut instance =
                Consumer::new(member.name, sources, output, member.cursor, member.joined, state);
            instance.status = member.status;
            instance.leaving = member.leaving;
            let is_there = matches!(instance.status, InstanceStatus::Active | InstanceStatus::Suspended);
            let redrives = stored
                .lifecycle
                .redrives
                .iter()
                .filter(|(name, at, _)| is_there && *name == instance.name && *at > instance.cursor);
            instance.redrives = redrives.map(|(_, at, seq)| (*at, *seq)).collect();
            if !member.has_row {
                log.queue.push(Item::Update(InstanceUpdate::row(slot, &instance)));
            }
            log.consumers.push(instance);
        }
        log.ending.clone_from(&stored.lifecycle.ending);
        log.status = stored.status();
        log.is_reopened = stored.lifecycle.is_reopened;
        if log.status != stored.record.status {
            log.queue.push(Item::Status(log.status));
        }
        log
    }
}
