//! Dropping packets when memory is short: stored ones are read from the store again, volatile ones are
//! counted as lost.

use super::{
    consumer::{Consumer, ResolvedPolicy},
    ids::Slot,
    latest::Latest,
    meeting_log::MeetingLog,
};
use crate::{Seq, store::InstanceStatus};

impl MeetingLog {
    /// The seq up to which every active instance has finished with the log.
    fn seen(&self) -> Seq {
        let active = self.consumers.iter().filter(|consumer| consumer.status == InstanceStatus::Active);
        active.map(|consumer| consumer.cursor).min().unwrap_or(Seq::MAX)
    }

    /// Drops packets that no instance needs, and stored ones over the tail's bound.
    pub(super) fn trim(&mut self) {
        self.trim_to(self.limits.tail_bytes);
    }

    fn trim_to(&mut self, bytes: usize) {
        let seen = self.seen();
        let (consumers, lifecycle) = (&mut self.consumers, self.lifecycle);
        self.tail.trim(seen, bytes, |entry| {
            for (index, consumer) in consumers.iter_mut().enumerate() {
                if consumer.policy(entry.source) == Some(ResolvedPolicy::DropOldest) {
                    consumer.packet_dropped(Slot(index), entry, lifecycle);
                }
            }
        });
        self.batch_cache.trim(seen);
        for latest in &mut self.latest {
            latest.trim(seen);
        }
        if self.can_block {
            let blocking = self.consumers.iter().filter(|consumer| consumer.can_block());
            self.tail.release(blocking.map(|consumer| consumer.cursor).min().unwrap_or(Seq::MAX));
            self.shed_to(self.limits.tail_bytes);
        }
    }

    /// Drops the oldest volatile packets while the tail is too large, and counts them as lost for the
    /// instances that have not received them.
    pub(super) fn shed(&mut self) {
        self.shed_to(self.limits.tail_bytes);
        self.tail.trim_volatile(self.seen());
    }

    fn shed_to(&mut self, bytes: usize) {
        if self.tail.volatile_bytes() > bytes {
            self.shed_replaced();
        }
        while let Some(entry) = self.tail.shed(bytes) {
            // A packet that is counted as lost must not be delivered.
            self.batch_cache.clear();
            for (index, consumer) in self.consumers.iter_mut().enumerate() {
                consumer.packet_dropped(Slot(index), &entry, self.lifecycle);
            }
        }
    }

    /// Drops replaced packets before the oldest ones, if there are enough of them for a pass to pay.
    fn shed_replaced(&mut self) {
        let replaced: usize = self.latest.iter().map(Latest::replaced).sum();
        if replaced == 0 || replaced * 4 < self.tail.volatile_len() {
            return;
        }
        let (consumers, latest) = (&mut self.consumers, &self.latest);
        self.tail.shed_if(|entry| {
            let is_needless = |consumer: &Consumer| match consumer.policy(entry.source) {
                None => true,
                Some(_) if !consumer.may_receive(entry.seq) => true,
                Some(ResolvedPolicy::Latest(index)) => latest[index].is_replaced(entry.seq),
                Some(_) => false,
            };
            if entry.recipient.is_some() || !consumers.iter().all(is_needless) {
                return false;
            }
            for consumer in consumers.iter_mut().filter(|consumer| consumer.may_receive(entry.seq)) {
                consumer.gap += u64::from(consumer.policy(entry.source).is_some());
            }
            true
        });
    }

    /// Drops half of what may be dropped: stored packets, which are read again, and volatile ones, which are
    /// counted as lost. For a node that has too much in memory.
    pub fn squeeze(&mut self) {
        self.trim_to(self.tail.bytes() / 2);
        self.shed_to(self.tail.volatile_bytes() / 2);
    }
}
