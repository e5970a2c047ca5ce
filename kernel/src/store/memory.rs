//! The store in memory: one map of meetings under one lock.
//!
//! The conformance suite compares other stores with this one, so it is kept simple: a commit takes the lock
//! once and decides for each meeting whether the commit applies before it changes anything.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::Instant;

use super::{
    account::{AccountId, AccountRecord},
    commit::{Commit, Outcome},
    contract::{Leases, Store, StoreFuture},
    error::Error,
    lease::{Incarnation, LeaseRecord, LeaseStatus},
    listing::{MeetingPage, MeetingQuery},
    mark::Mark,
    query::{PacketQuery, Take},
    record::{DeadLetter, Epoch, InstanceRecord, MeetingRecord, MeetingStatus},
};
use crate::{DataPacket, MeetingId, MeetingMetadata, Name, Seq, Timestamp};

/// A store that lasts as long as the process. A clone is the same store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    meetings: Arc<Mutex<BTreeMap<MeetingId, Stored>>>,
    accounts: Arc<Mutex<BTreeMap<AccountId, AccountRecord>>>,
    leases: Arc<Mutex<BTreeMap<Incarnation, Lease>>>,
}

/// A lease. Its clock is tokio's, so that a test may pause it.
struct Lease {
    status: LeaseStatus,
    until: Instant,
    document: Arc<str>,
}

impl Lease {
    fn is_live(&self) -> bool {
        self.status == LeaseStatus::Held && self.until > Instant::now()
    }
}

/// One meeting.
struct Stored {
    row: MeetingRecord,
    packets: BTreeMap<Seq, Arc<DataPacket>>,
    /// By producer: the seq of each number.
    numbered: BTreeMap<Arc<str>, BTreeMap<u64, Seq>>,
    instances: BTreeMap<Name, InstanceRecord>,
    keys: BTreeMap<(Name, String), Arc<str>>,
    dead_letters: BTreeMap<(Seq, Name), DeadLetter>,
}

/// A reservation would exceed the highest seq.
#[derive(Debug, thiserror::Error)]
#[error("no seqs are left")]
struct SeqsUsedUp;

impl Stored {
    fn new(row: MeetingRecord) -> Self {
        Self {
            row,
            packets: BTreeMap::new(),
            numbered: BTreeMap::new(),
            instances: BTreeMap::new(),
            keys: BTreeMap::new(),
            dead_letters: BTreeMap::new(),
        }
    }

    /// The outcome of a commit, and whether it is still to be written.
    fn outcome(&self, commit: &Commit) -> (Outcome, bool) {
        if self.row.epoch != commit.epoch {
            (Outcome::Fenced, false)
        } else if self.row.commit == commit.number {
            (Outcome::Applied, false)
        } else if self.row.commit + 1 == commit.number {
            (Outcome::Applied, true)
        } else {
            (Outcome::OutOfOrder { stored: self.row.commit }, false)
        }
    }

    fn write(&mut self, commit: &Commit) {
        self.row.commit = commit.number;
        self.row.reserved = self.row.reserved.max(commit.reserved);
        self.row.status = commit.status;
        self.row.last = commit.packets.iter().map(|packet| packet.seq).fold(self.row.last, Seq::max);
        self.packets.extend(commit.packets.iter().map(|packet| (packet.seq, packet.clone())));
        for packet in &commit.packets {
            if let Some(producer) = &packet.producer {
                let numbers = self.numbered.entry(producer.id.clone()).or_default();
                numbers.entry(producer.number).or_insert(packet.seq);
            }
        }
        for instance in &commit.instances {
            let mut record = instance.clone();
            if record.state.is_none() {
                record.state = self.instances.get(&record.instance).and_then(|stored| stored.state.clone());
            }
            self.instances.insert(record.instance.clone(), record);
        }
        for write in &commit.keys {
            let key = (write.instance.clone(), write.key.clone());
            match &write.value {
                Some(value) => self.keys.insert(key, value.clone()),
                None => self.keys.remove(&key),
            };
        }
        for letter in &commit.dead_letters {
            self.dead_letters.insert((letter.seq, letter.instance.clone()), letter.clone());
        }
        for (instance, seq) in &commit.redriven {
            self.dead_letters.remove(&(*seq, instance.clone()));
        }
    }

    fn read(&self, query: &PacketQuery) -> Vec<Arc<DataPacket>> {
        if query.from > query.to {
            return Vec::new();
        }
        let matching = self.packets.range(query.from..=query.to).map(|(_, packet)| packet);
        let matching = matching.filter(|packet| query.matches(packet)).cloned();
        match query.take {
            Take::All => matching.collect(),
            Take::First(count) => matching.take(count).collect(),
            Take::Last(count) => {
                let mut newest: Vec<_> = matching.rev().take(count).collect();
                newest.reverse();
                newest
            }
        }
    }
}

impl MemoryStore {
    /// Locks the map. Poison is ignored: no code under the lock panics half way through a change.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<MeetingId, Stored>> {
        self.meetings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_accounts(&self) -> MutexGuard<'_, BTreeMap<AccountId, AccountRecord>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_leases(&self) -> MutexGuard<'_, BTreeMap<Incarnation, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a meeting. The leases stay locked, so that the owner's does not end meanwhile.
    fn insert(
        &self,
        owner: Option<Incarnation>,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
        created: Timestamp,
    ) -> Result<MeetingRecord, Error> {
        let leases = self.lock_leases();
        let mut meetings = self.lock();
        if meetings.contains_key(&metadata.id) {
            return Err(Error::Exists(metadata.id));
        }
        if let Some(owner) = &owner {
            live(&leases, owner)?;
        }
        let mut row = MeetingRecord::first(metadata, instances, reserve, created);
        row.owner = owner;
        meetings.insert(row.metadata.id.clone(), Stored::new(row.clone()));
        Ok(row)
    }

    fn take(
        &self,
        owner: Option<Incarnation>,
        meeting: MeetingId,
        reserve: u64,
    ) -> Result<MeetingRecord, Error> {
        let leases = self.lock_leases();
        let mut meetings = self.lock();
        let Some(stored) = meetings.get_mut(&meeting) else { return Err(Error::NotFound(meeting)) };
        if let Some(owner) = &owner {
            live(&leases, owner)?;
            let held = |other: &Incarnation| {
                leases.get(other).is_some_and(|lease| lease.status == LeaseStatus::Held)
            };
            if let Some(other) = stored.row.owner.as_ref().filter(|other| *other != owner && held(other)) {
                return Err(Error::Owned { meeting, owner: other.clone() });
            }
        }
        let Some(reserved) = stored.row.reserved.0.checked_add(reserve) else {
            let doing = format!("claiming meeting {meeting}");
            return Err(Error::Failed { doing, cause: Box::new(SeqsUsedUp) });
        };
        stored.row.epoch.0 += 1;
        stored.row.reserved = Seq(reserved);
        stored.row.owner = owner;
        Ok(stored.row.clone())
    }

    /// Reads one meeting; the default value if there is none.
    fn read<'a, T: Default + Send + 'a>(
        &'a self,
        meeting: &MeetingId,
        read: impl FnOnce(&Stored) -> T,
    ) -> StoreFuture<'a, T> {
        answer(Ok(self.lock().get(meeting).map(read).unwrap_or_default()))
    }
}

/// Whether a lease is live.
fn live(leases: &BTreeMap<Incarnation, Lease>, owner: &Incarnation) -> Result<(), Error> {
    if leases.get(owner).is_some_and(Lease::is_live) { Ok(()) } else { Err(Error::LeaseEnded(owner.clone())) }
}

fn answer<'a, T: Send + 'a>(result: Result<T, Error>) -> StoreFuture<'a, T> {
    std::future::ready(result).boxed()
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("meetings", &self.lock().len()).finish()
    }
}

// Each method does its work when it is called and not when its future is polled. Callers await at once, so
// that makes no difference.
impl Store for MemoryStore {
    fn create(
        &self,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
        created: Timestamp,
    ) -> StoreFuture<'_, MeetingRecord> {
        answer(self.insert(None, metadata, instances, reserve, created))
    }

    fn claim(&self, meeting: MeetingId, reserve: u64) -> StoreFuture<'_, MeetingRecord> {
        answer(self.take(None, meeting, reserve))
    }

    fn leases(&self) -> &dyn Leases {
        self
    }

    fn commit<'a>(&'a self, batch: &'a [Commit]) -> StoreFuture<'a, Vec<Outcome>> {
        let mut meetings = self.lock();
        let outcomes = batch.iter().map(|commit| {
            let Some(stored) = meetings.get_mut(&commit.meeting) else {
                return Outcome::Fenced;
            };
            let (outcome, is_new) = stored.outcome(commit);
            if is_new {
                stored.write(commit);
            }
            outcome
        });
        answer(Ok(outcomes.collect()))
    }

    fn meeting(&self, meeting: MeetingId) -> StoreFuture<'_, Option<MeetingRecord>> {
        self.read(&meeting, |stored| Some(stored.row.clone()))
    }

    fn meetings(&self, query: MeetingQuery) -> StoreFuture<'_, MeetingPage> {
        let meetings = self.lock();
        let mut rows: Vec<&MeetingRecord> =
            meetings.values().map(|stored| &stored.row).filter(|row| query.matches(row)).collect();
        // By id already, which a stable sort keeps.
        rows.sort_by_key(|row| Reverse(row.created));
        answer(Ok(query.page(rows.into_iter().take(query.page_len() + 1).cloned().collect())))
    }

    fn instances(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<InstanceRecord>> {
        self.read(&meeting, |stored| stored.instances.values().cloned().collect())
    }

    fn packets(&self, meeting: MeetingId, query: PacketQuery) -> StoreFuture<'_, Vec<Arc<DataPacket>>> {
        self.read(&meeting, |stored| stored.read(&query))
    }

    fn marks(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<Mark>> {
        self.read(&meeting, |stored| {
            let newest = stored.numbered.iter().filter_map(|(producer, numbers)| {
                let (&number, &seq) = numbers.last_key_value()?;
                Some(Mark { producer: producer.clone(), number, seq })
            });
            newest.collect()
        })
    }

    fn with_marks(&self, mut meetings: Vec<MeetingId>) -> StoreFuture<'_, Vec<MeetingId>> {
        let stored = self.lock();
        meetings.retain(|id| stored.get(id).is_some_and(|stored| !stored.numbered.is_empty()));
        answer(Ok(meetings))
    }

    fn numbered(&self, meeting: MeetingId, producer: Arc<str>, number: u64) -> StoreFuture<'_, Option<Seq>> {
        self.read(&meeting, |stored| stored.numbered.get(&producer)?.get(&number).copied())
    }

    fn get(&self, meeting: MeetingId, instance: Name, key: String) -> StoreFuture<'_, Option<Arc<str>>> {
        self.read(&meeting, |stored| stored.keys.get(&(instance, key)).cloned())
    }

    fn list(
        &self,
        meeting: MeetingId,
        instance: Name,
        prefix: String,
    ) -> StoreFuture<'_, Vec<(String, Arc<str>)>> {
        self.read(&meeting, |stored| {
            let from = stored.keys.range((instance.clone(), prefix.clone())..);
            from.take_while(|((of, key), _)| *of == instance && key.starts_with(&prefix))
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .collect()
        })
    }

    fn dead_letter(
        &self,
        meeting: MeetingId,
        instance: Name,
        seq: Seq,
    ) -> StoreFuture<'_, Option<DeadLetter>> {
        self.read(&meeting, |stored| stored.dead_letters.get(&(seq, instance)).cloned())
    }

    fn dead_letters(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.read(&meeting, |stored| stored.dead_letters.values().cloned().collect())
    }

    fn accounts(&self, ids: Vec<AccountId>) -> StoreFuture<'_, Vec<AccountRecord>> {
        let accounts = self.lock_accounts();
        let read = |id: AccountId| accounts.get(&id).cloned().unwrap_or_else(|| AccountRecord::absent(id));
        answer(Ok(ids.into_iter().map(read).collect()))
    }

    fn replace_accounts(&self, new: Vec<AccountRecord>) -> StoreFuture<'_, bool> {
        let mut accounts = self.lock_accounts();
        let version = |id: &AccountId| accounts.get(id).map_or(0, |account| account.version);
        let fits = new.iter().all(|account| version(&account.id) == account.version);
        if fits {
            for mut account in new {
                account.version += 1;
                accounts.insert(account.id.clone(), account);
            }
        }
        answer(Ok(fits))
    }

    fn forget(&self, meeting: MeetingId) -> StoreFuture<'_, bool> {
        self.lock_accounts().retain(|id, _| id.meeting.as_ref() != Some(&meeting));
        answer(Ok(self.lock().remove(&meeting).is_some()))
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        answer(Ok(()))
    }
}

impl Leases for MemoryStore {
    fn create_as(
        &self,
        owner: Incarnation,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
        created: Timestamp,
    ) -> StoreFuture<'_, MeetingRecord> {
        answer(self.insert(Some(owner), metadata, instances, reserve, created))
    }

    fn claim_as(
        &self,
        owner: Incarnation,
        meeting: MeetingId,
        reserve: u64,
    ) -> StoreFuture<'_, MeetingRecord> {
        answer(self.take(Some(owner), meeting, reserve))
    }

    fn pass_on(&self, meeting: MeetingId, epoch: Epoch, to: Option<Incarnation>) -> StoreFuture<'_, bool> {
        let leases = self.lock_leases();
        let holds = |to: &Incarnation| leases.get(to).is_some_and(|lease| lease.status == LeaseStatus::Held);
        let mut meetings = self.lock();
        let row = meetings.get_mut(&meeting).map(|stored| &mut stored.row).filter(|row| row.epoch == epoch);
        answer(Ok(row.filter(|_| to.as_ref().is_none_or(holds)).map(|row| row.owner = to).is_some()))
    }

    fn owned(&self, owner: Incarnation, limit: usize) -> StoreFuture<'_, Vec<MeetingId>> {
        let meetings = self.lock();
        let of_owner = meetings.iter().filter(|(_, stored)| {
            stored.row.owner.as_ref() == Some(&owner) && stored.row.status != MeetingStatus::Ended
        });
        answer(Ok(of_owner.map(|(id, _)| id.clone()).take(limit).collect()))
    }

    fn take_lease(&self, holder: Incarnation, ttl: Duration, document: Arc<str>) -> StoreFuture<'_, bool> {
        let mut leases = self.lock_leases();
        let until = Instant::now() + ttl;
        let is_live = leases.get(&holder).is_none_or(Lease::is_live);
        if is_live {
            leases.insert(holder, Lease { status: LeaseStatus::Held, until, document });
        }
        answer(Ok(is_live))
    }

    fn renew_lease(&self, holder: Incarnation, ttl: Duration, document: Arc<str>) -> StoreFuture<'_, bool> {
        let mut leases = self.lock_leases();
        let live = leases.get_mut(&holder).filter(|lease| lease.is_live());
        let renewed = live.map(|lease| (lease.until, lease.document) = (Instant::now() + ttl, document));
        answer(Ok(renewed.is_some()))
    }

    fn release_lease(&self, holder: Incarnation) -> StoreFuture<'_, ()> {
        let mut leases = self.lock_leases();
        if let Some(lease) = leases.get_mut(&holder).filter(|lease| lease.status == LeaseStatus::Held) {
            lease.status = LeaseStatus::Released;
        }
        answer(Ok(()))
    }

    fn end_lease(&self, holder: Incarnation) -> StoreFuture<'_, bool> {
        let mut leases = self.lock_leases();
        let Some(lease) = leases.get_mut(&holder) else { return answer(Ok(true)) };
        if lease.status == LeaseStatus::Held && !lease.is_live() {
            lease.status = LeaseStatus::Expired;
        }
        answer(Ok(lease.status != LeaseStatus::Held))
    }

    fn remove_lease(&self, holder: Incarnation) -> StoreFuture<'_, bool> {
        let mut leases = self.lock_leases();
        let is_held = leases.get(&holder).is_some_and(|lease| lease.status == LeaseStatus::Held);
        if !is_held {
            leases.remove(&holder);
        }
        answer(Ok(!is_held))
    }

    fn all_leases(&self) -> StoreFuture<'_, Vec<LeaseRecord>> {
        let now = Instant::now();
        let leases = self.lock_leases();
        let row = |(holder, lease): (&Incarnation, &Lease)| {
            let left = lease.until.saturating_duration_since(now);
            LeaseRecord::new(holder.clone(), lease.status, left, lease.document.clone())
        };
        answer(Ok(leases.iter().map(row).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryStore;
    use crate::store::conformance::Fixture;

    crate::store_conformance!(std::future::ready(Fixture::new(MemoryStore::default())));
}
