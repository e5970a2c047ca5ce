//! A snapshot: what the store holds of a meeting, from the memory of the owner that stored it.
//!
//! The owner that hands a meeting over has stored all of it, and knows the number of its last commit. The next
//! owner claims the meeting, and if the claimed row has that number, nobody has stored anything since: then
//! what it would read is in the snapshot. If not, it reads the store.

use serde::{Deserialize, Serialize};

use super::{lifecycle_history::LifecycleHistory, meeting_log::MeetingLog, recovery::StoredMeeting};
use crate::{
    Seq, Timestamp,
    store::{Epoch, InstanceRecord, Mark, MeetingRecord, MeetingStatus},
};

/// What a meeting's next owner need not read from the store. As JSON it passes from node to node; one that another
/// version has written and that cannot be read is of no use, and no harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The owner's epoch; the next owner's is one higher.
    epoch: Epoch,
    /// The number of its last commit.
    commit: u64,
    created: Option<Timestamp>,
    last: Seq,
    clock: Timestamp,
    instances: Vec<InstanceRecord>,
    lifecycle: LifecycleHistory,
    marks: Vec<Mark>,
}

/// What an owner knows of a meeting outside of its log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Beside {
    /// When the meeting was created.
    pub created: Option<Timestamp>,
    /// The seq of the last stored packet.
    pub last: Seq,
    /// The meeting's time.
    pub clock: Timestamp,
    /// The last number of each producer.
    pub marks: Vec<Mark>,
}

impl Beside {
    /// All of it.
    pub fn new(created: Option<Timestamp>, last: Seq, clock: Timestamp, marks: Vec<Mark>) -> Self {
        Self { created, last, clock, marks }
    }
}

impl MeetingLog {
    /// A snapshot of a log of which all [is stored](Self::is_stored). None of a meeting that ends or was
    /// reopened after its end, or where a state cannot be written.
    pub fn snapshot(&self, beside: Beside) -> Option<Snapshot> {
        if self.status != MeetingStatus::Running || self.is_reopened() {
            return None;
        }
        let row = |consumer: &super::consumer::Consumer| {
            let state = consumer.state.to_json().ok()?;
            Some(InstanceRecord {
                instance: consumer.name.clone(),
                cursor: consumer.cursor,
                joined: consumer.joined,
                status: consumer.status,
                state: Some(state.into()),
            })
        };
        let mut instances = self.consumers.iter().map(row).collect::<Option<Vec<_>>>()?;
        instances.extend(self.absent.iter().cloned());
        let Beside { created, last, clock, marks } = beside;
        Some(Snapshot {
            epoch: self.epoch(),
            commit: self.queue.number(),
            created,
            last,
            clock,
            instances,
            lifecycle: self.lifecycle_history.clone(),
            marks,
        })
    }
}

impl Snapshot {
    /// What is stored of the meeting whose row this is after the claim, and its producers' last numbers. None if
    /// anything else may be stored.
    pub fn of(self, record: &MeetingRecord) -> Option<(StoredMeeting, Vec<Mark>)> {
        let is_next = record.epoch.0 == self.epoch.0 + 1 && record.commit == self.commit;
        if !is_next || record.created != self.created || record.status != MeetingStatus::Running {
            return None;
        }
        let Self { last, clock, instances, lifecycle, marks, .. } = self;
        let stored = StoredMeeting { record: record.clone(), last, clock: Some(clock), instances, lifecycle };
        Some((stored, marks))
    }
}
