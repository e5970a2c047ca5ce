//! What is let go of when memory is short: stored packets are read again when they are due, volatile ones are
//! counted as lost.

use super::{
    MeetingLog, Slot,
    consumer::{Consumer, ResolvedPolicy},
    latest::Latest,
};
use crate::{Seq, store::InstanceStatus};

impl MeetingLog {
    /// The seq up to which every instance is done with the log.
    fn seen(&self) -> Seq {
        let active = self.consumers.iter().filter(|instance| instance.status == InstanceStatus::Active);
        active.map(|instance| instance.cursor).min().unwrap_or(Seq::MAX)
    }

    /// Lets go of packets that nobody needs any more.
    pub(super) fn trim(&mut self) {
        self.trim_to(self.limits.tail_bytes);
    }

    fn trim_to(&mut self, bytes: usize) {
        let seen = self.seen();
        let (instances, lifecycle) = (&mut self.consumers, self.lifecycle);
        self.tail.trim(seen, bytes, |entry| {
            for (index, instance) in instances.iter_mut().enumerate() {
                if instance.takes(entry.source) == Some(ResolvedPolicy::DropOldest) {
                    instance.miss(Slot(index), entry, lifecycle);
                }
            }
        });
        self.batch_cache.trim(seen);
        for latest in &mut self.latest {
            latest.trim(seen);
        }
        if self.blocks {
            let blocking = self.consumers.iter().filter(|instance| instance.can_block());
            self.tail.release(blocking.map(|instance| instance.cursor).min().unwrap_or(Seq::MAX));
            self.shed_to(self.limits.tail_bytes);
        }
    }

    /// Drops the oldest volatile packets while the tail is too large, and counts them where they are missed.
    pub(super) fn shed(&mut self) {
        self.shed_to(self.limits.tail_bytes);
        self.tail.trim_volatile(self.seen());
    }

    fn shed_to(&mut self, bytes: usize) {
        if self.tail.volatile_bytes() > bytes {
            self.shed_replaced();
        }
        while let Some(entry) = self.tail.shed(bytes) {
            // What is counted as lost must not be delivered.
            self.batch_cache.clear();
            for (index, instance) in self.consumers.iter_mut().enumerate() {
                instance.miss(Slot(index), &entry, self.lifecycle);
            }
        }
    }

    /// Before the oldest packets go, those that nobody is to get any more; if they are so many that looking
    /// for them pays.
    fn shed_replaced(&mut self) {
        let replaced: usize = self.latest.iter().map(Latest::replaced).sum();
        if replaced == 0 || replaced * 4 < self.tail.volatile().len() {
            return;
        }
        let (instances, latest) = (&mut self.consumers, &self.latest);
        self.tail.shed_if(|entry| {
            let is_needless = |instance: &Consumer| match instance.takes(entry.source) {
                None => true,
                Some(_) if !instance.awaits(entry.seq) => true,
                Some(ResolvedPolicy::Latest(place)) => latest[place].is_replaced(entry.seq),
                Some(_) => false,
            };
            if entry.to.is_some() || !instances.iter().all(is_needless) {
                return false;
            }
            for instance in instances.iter_mut().filter(|instance| instance.awaits(entry.seq)) {
                instance.gap += u64::from(instance.takes(entry.source).is_some());
            }
            true
        });
    }

    /// Lets go of half of what can be gone without: stored packets, which are read again, and volatile ones,
    /// which are counted as lost. For when a node has too much in memory.
    pub fn squeeze(&mut self) {
        self.trim_to(self.tail.bytes() / 2);
        self.shed_to(self.tail.volatile_bytes() / 2);
    }
}
