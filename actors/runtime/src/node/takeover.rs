//! Taking a meeting over: after a crash, after a shutdown, or from another node.
//!
//! The new owner reads what is stored and checks that it can go on with it. Then it **claims** the meeting: the
//! row's epoch rises, and the earlier owner's next commit is fenced. What that owner stored between the read
//! and the claim is read, too. Then the meeting runs from what is stored.

use std::{collections::BTreeMap, sync::Arc};

use teammy_kernel::{
    DataPacket, Lifecycle, MeetingId, Name, Seq, Setup, Store,
    log::{Sequencer, Snapshot, StoredMeeting},
    store::{self, Mark, MeetingRecord, MeetingStatus, PacketQuery, Take},
};

use super::{error::Error, handle::Node, registry::ReservedGuard};
use crate::{
    kill_points::{self, KillPoint},
    meeting::{LocalMeeting, MeetingRef, StartFrom},
};

/// From how many of the newest packets the meeting's clock is read: they may be out of order.
const NEWEST: usize = 16;

/// A meeting whose dead letters are to be redriven.
pub(crate) enum ForRedrive<'a> {
    /// This node runs it.
    Running(LocalMeeting),
    /// It was taken over for the redrive.
    TakenOver(LocalMeeting, ReservedGuard<'a>),
}

/// A meeting's lifecycle packets, as far as they were read. They never change, so a second read continues
/// where the first ended.
#[derive(Default)]
struct LifecyclePackets {
    packets: Vec<Arc<DataPacket>>,
    /// Those up to this seq were read.
    up_to: Seq,
}

fn lifecycle_source() -> Name {
    Name::new(Lifecycle::SOURCE).expect("invariant: a well-formed name")
}

/// Reads what is stored of a meeting.
async fn read(
    store: &dyn Store,
    record: MeetingRecord,
    known: &mut LifecyclePackets,
) -> Result<StoredMeeting, Error> {
    let id = record.metadata.id.clone();
    // The newest packets are read first: up to the last one's seq the log is complete.
    let newest = PacketQuery::default().take(Take::Last(NEWEST));
    let newest = store.packets(id.clone(), newest).await.map_err(Error::Store)?;
    let end = newest.last().map_or(Seq::ZERO, |last| last.seq);
    let since = PacketQuery::range(known.up_to.next(), end).sources(vec![lifecycle_source()]);
    let (instances, since) =
        futures::try_join!(store.instances(id.clone()), store.packets(id, since)).map_err(Error::Store)?;
    known.packets.extend(since);
    known.up_to = end;
    Ok(StoredMeeting::new(record, &newest, &known.packets, instances))
}

/// The instances that have not finished with a meeting: a node that takes it over must have them. None for a
/// meeting that is complete, or that does not exist.
///
/// # Errors
/// [`Error::Store`].
pub async fn unfinished(store: &dyn Store, meeting: &MeetingId) -> Result<Vec<Name>, Error> {
    match store.meeting(meeting.clone()).await.map_err(Error::Store)? {
        Some(record) => Ok(read(store, record, &mut LifecyclePackets::default()).await?.unfinished()),
        None => Ok(Vec::new()),
    }
}

/// The instances that a meeting has had, and what they were configured as, where its log says it. None for a
/// meeting that does not exist.
///
/// # Errors
/// [`Error::Store`].
pub async fn members(store: &dyn Store, meeting: &MeetingId) -> Result<BTreeMap<Name, Option<Setup>>, Error> {
    let Some(record) = store.meeting(meeting.clone()).await.map_err(Error::Store)? else {
        return Ok(BTreeMap::new());
    };
    let packets = store.packets(meeting.clone(), PacketQuery::default().sources(vec![lifecycle_source()]));
    let mut members: BTreeMap<Name, Option<Setup>> =
        record.instances.into_iter().map(|name| (name, None)).collect();
    for packet in packets.await.map_err(Error::Store)? {
        match Lifecycle::from_payload(&packet.payload) {
            Some(Lifecycle::Start { instances, mut setups }) => {
                members.extend(instances.into_iter().map(|name| {
                    let setup = setups.remove(&name);
                    (name, setup)
                }));
            }
            Some(Lifecycle::Join { instance, setup }) => drop(members.insert(instance, setup)),
            _ => {}
        }
    }
    Ok(members)
}

impl Node {
    /// Resumes a meeting that is in the store: after a crash, a shutdown, or on another node. This node becomes
    /// its owner, and an earlier owner is fenced: what it has not stored is lost, and it stops. Each instance
    /// continues from its stored cursor, with its stored state; stored work is not done again. A meeting whose
    /// first commit was never stored starts with the instances that it was created with.
    ///
    /// # Errors
    /// [`Error::NoMeeting`], [`Error::Running`], [`Error::Ended`], [`Error::MissingInstance`],
    /// [`Error::NeedsLlm`], [`Error::ShutDown`]: the meeting stays with its owner. [`Error::Store`],
    /// [`Error::Spawn`].
    ///
    /// A call for a meeting that this node is starting or resuming already waits for that, and then fails with
    /// [`Error::Running`]; [`open`](Self::open) gets the meeting in each of these cases.
    ///
    /// # Cancel safety
    /// A dropped call may have claimed the meeting, though no node runs it; call it again. So may a call that a
    /// shutdown overtook.
    ///
    /// In a cluster a meeting is resumed on whichever node it is to run, and one that runs stays where it is.
    pub async fn resume_meeting(&self, id: &MeetingId) -> Result<MeetingRef, Error> {
        if let Some(cluster) = self.cluster() {
            let meeting = cluster.find(id).await?;
            return if meeting.has_ended() { Err(Error::Ended(id.clone())) } else { Ok(meeting) };
        }
        self.resume_here(id).await
    }

    /// As [`resume_meeting`](Self::resume_meeting), on this node.
    ///
    /// # Errors
    /// Those of [`resume_meeting`](Self::resume_meeting), and [`Error::Store`] with [`store::Error::Owned`] if a live node owns the
    /// meeting.
    ///
    /// # Cancel safety
    /// As [`resume_meeting`](Self::resume_meeting).
    pub async fn resume_here(&self, id: &MeetingId) -> Result<MeetingRef, Error> {
        let _reserved = self.reserved.reserve(id).await;
        if self.running_meeting(id).is_some() {
            return Err(Error::Running(id.clone()));
        }
        Ok(self.resume_row(self.row(id).await?).await?.into())
    }

    /// As [`resume_here`](Self::resume_here), of a meeting that its owner has just handed over to this node: if nothing was stored
    /// since its snapshot was made, only the claim goes to the store.
    ///
    /// # Errors
    /// Those of [`resume_here`](Self::resume_here). After those for which a meeting stays with its owner, this node owns it.
    ///
    /// # Cancel safety
    /// As [`resume_meeting`](Self::resume_meeting).
    pub async fn resume_from(&self, id: &MeetingId, snapshot: Snapshot) -> Result<MeetingRef, Error> {
        let _reserved = self.reserved.reserve(id).await;
        if self.running_meeting(id).is_some() {
            return Err(Error::Running(id.clone()));
        }
        self.check_open()?;
        let record = self.claim(id).await?;
        let store = &self.resources.store;
        let (stored, marks) = if let Some(known) = snapshot.of(&record) {
            known
        } else {
            let stored = read(&**store, record, &mut LifecyclePackets::default()).await?;
            (stored, store.marks(id.clone()).await.map_err(Error::Store)?)
        };
        self.can_resume(&stored)?;
        Ok(self.go_on(stored, marks).await?.into())
    }

    /// A meeting for the redrive of these dead letters: the one that runs here, or one that is taken over. One
    /// that has ended is reopened for their instances alone. Nobody else takes it over while the guard is there.
    pub(crate) async fn meeting_for_redrive(
        &self,
        id: &MeetingId,
        letters: &[(Name, Seq)],
    ) -> Result<ForRedrive<'_>, Error> {
        let reserved = self.reserved.reserve(id).await;
        if let Some(meeting) = self.running_meeting(id) {
            return Ok(ForRedrive::Running(meeting));
        }
        let check = |stored: &StoredMeeting| {
            if stored.status() == MeetingStatus::Ended {
                self.can_reopen(letters)
            } else {
                self.can_resume(stored)
            }
        };
        let meeting = self.take_over(self.row(id).await?, check).await?;
        Ok(ForRedrive::TakenOver(meeting, reserved))
    }

    pub(super) async fn row(&self, id: &MeetingId) -> Result<MeetingRecord, Error> {
        let row = self.resources.store.meeting(id.clone()).await.map_err(Error::Store)?;
        row.ok_or_else(|| Error::NoMeeting(id.clone()))
    }

    /// Resumes a meeting that this node has reserved and does not run, from a row that may be out of date.
    pub(super) async fn resume_row(&self, row: MeetingRecord) -> Result<LocalMeeting, Error> {
        self.take_over(row, |stored| self.can_resume(stored)).await
    }

    async fn take_over(
        &self,
        record: MeetingRecord,
        check: impl Fn(&StoredMeeting) -> Result<(), Error>,
    ) -> Result<LocalMeeting, Error> {
        self.check_open()?;
        let store = &self.resources.store;
        let id = record.metadata.id.clone();
        // Checked before the claim: a meeting that cannot run here stays with its owner.
        let mut known = LifecyclePackets::default();
        let mut before = read(&**store, record, &mut known).await?;
        check(&before)?;
        let record = self.claim(&id).await?;
        let stored = if record.commit == before.record.commit {
            before.record = record;
            before
        } else {
            // The earlier owner has stored more before the claim.
            let stored = read(&**store, record, &mut known).await?;
            check(&stored)?;
            stored
        };
        let marks = store.marks(id.clone()).await.map_err(Error::Store)?;
        self.go_on(stored, marks).await
    }

    /// Becomes a meeting's owner.
    async fn claim(&self, id: &MeetingId) -> Result<MeetingRecord, Error> {
        let store = &self.resources.store;
        let claimed = match self.owner.clone() {
            Some(owner) => store.leases().claim_as(owner, id.clone(), Sequencer::BLOCK).await,
            None => store.claim(id.clone(), Sequencer::BLOCK).await,
        };
        let record = claimed.map_err(|error| match error {
            store::Error::NotFound(id) => Error::NoMeeting(id),
            error => Error::Store(error),
        })?;
        kill_points::pass(KillPoint::Claimed);
        Ok(record)
    }

    /// Runs a meeting that this node owns, from what is stored.
    async fn go_on(&self, stored: StoredMeeting, marks: Vec<Mark>) -> Result<LocalMeeting, Error> {
        let start_from =
            if stored.is_started() { StartFrom::Stored(stored) } else { StartFrom::New(stored.record) };
        self.run(start_from, marks).await
    }

    fn can_resume(&self, stored: &StoredMeeting) -> Result<(), Error> {
        let meeting = &stored.record.metadata.id;
        if stored.status() == MeetingStatus::Ended {
            return Err(Error::Ended(meeting.clone()));
        }
        for name in stored.unfinished() {
            let Some(instance) = self.resources.graph.instance(name.as_str()) else {
                return Err(Error::MissingInstance { meeting: meeting.clone(), instance: name });
            };
            if self.resources.lacks_llm(instance) {
                return Err(Error::NeedsLlm(name));
            }
        }
        Ok(())
    }

    fn can_reopen(&self, letters: &[(Name, Seq)]) -> Result<(), Error> {
        for (instance, _) in letters {
            let Some(configured) = self.graph().instance(instance.as_str()) else {
                let suggestion = self.graph().closest_instance(instance.as_str()).cloned();
                let instance = instance.as_str().to_owned();
                return Err(Error::Meeting(crate::meeting::Error::UnknownInstance { instance, suggestion }));
            };
            if self.resources.lacks_llm(configured) {
                return Err(Error::NeedsLlm(instance.clone()));
            }
        }
        Ok(())
    }
}
