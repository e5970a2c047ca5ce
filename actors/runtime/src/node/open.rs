//! Opening a meeting, whatever has become of it.

use teammy_kernel::{
    MeetingId, MeetingMetadata, Name,
    store::{MeetingRecord, MeetingStatus},
};

use super::{error::Error, handle::Node, opened::Opened};
use crate::{
    meeting::{EndedMeeting, MeetingRef},
    resources::Resources,
};

/// How often a meeting is looked at anew, if another node creates or forgets it between two steps.
const ATTEMPTS: usize = 3;

impl Node {
    /// Opens a meeting: starts it if its id is new, resumes it if it is in the store, returns the one that this
    /// node runs, or a handle of one that has ended. [`Opened`] says which.
    ///
    /// Any number of calls for one meeting may run at once: all get the same meeting, and one of them starts or
    /// resumes it while the others wait. If that one fails, it alone has its error, and the next tries itself.
    ///
    /// `metadata` and `instances` are what a **new** meeting is started with. A meeting that exists keeps its
    /// own, which the handle shows ([`MeetingRef::metadata`], [`MeetingRef::stats`]); to add an instance, assign
    /// it. The instances are checked in any case, so that a call fails or not whatever the store holds.
    ///
    /// To resume a meeting is to become its owner: if another node runs it, that node stops.
    ///
    /// # Errors
    /// [`Error::UnknownInstance`], [`Error::NeedsLlm`], [`Error::MissingInstance`] if an instance that has not
    /// finished a stored meeting is not configured here, [`Error::Store`], [`Error::Spawn`], [`Error::ShutDown`].
    /// [`Error::NoMeeting`] or [`Error::MeetingExists`] if other nodes create and forget the meeting all the
    /// time, or an earlier [`forget`](Self::forget) left a part of it.
    ///
    /// # Cancel safety
    /// A dropped call may have created or claimed the meeting, though no node runs it. Those that wait go on, and
    /// so does another call.
    pub async fn open(
        &self,
        metadata: MeetingMetadata,
        instances: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Opened, Error> {
        self.check_open()?;
        let names = self.instance_names(instances)?;
        match self.cluster() {
            Some(cluster) => cluster.open(metadata, names).await,
            None => self.open_here(metadata, names).await,
        }
    }

    /// As [`open`](Self::open), on this node: of a node in a cluster. The names are those of instances that are configured here.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), and [`Error::Store`] with [`Owned`](teammy_kernel::store::Error::Owned) if a live node owns the meeting.
    ///
    /// # Cancel safety
    /// As [`open`](Self::open).
    pub async fn open_here(&self, metadata: MeetingMetadata, names: Vec<Name>) -> Result<Opened, Error> {
        self.check_open()?;
        let names = self.instance_names(names)?;
        let id = metadata.id.clone();
        if let Some(meeting) = self.running_meeting(&id) {
            return Ok(Opened::Running(meeting.into()));
        }
        let _reserved = self.reserved.reserve(&id).await;
        if let Some(meeting) = self.running_meeting(&id) {
            return Ok(Opened::Running(meeting.into()));
        }
        let mut last_error = Error::NoMeeting(id.clone());
        for _ in 0..ATTEMPTS {
            let row = self.resources.store.meeting(id.clone()).await.map_err(Error::Store)?;
            let opened = match row {
                None => {
                    let started = self.start_new(metadata.clone(), names.clone()).await;
                    started.map(|meeting| Opened::Started(meeting.into()))
                }
                Some(row) if row.status == MeetingStatus::Ended => return Ok(Opened::Ended(self.ended(row))),
                Some(row) => self.resume_row(row).await.map(|meeting| Opened::Resumed(meeting.into())),
            };
            match opened {
                Err(error @ (Error::MeetingExists(_) | Error::NoMeeting(_) | Error::Ended(_))) => {
                    last_error = error;
                }
                opened => return opened,
            }
        }
        Err(last_error)
    }

    /// A handle of a meeting that this node runs, or that has ended, wherever that was. It starts and resumes
    /// nothing. In a cluster it finds meetings on all nodes, and resumes one that no node runs.
    ///
    /// # Errors
    /// [`Error::NoMeeting`]; [`Error::NotRunning`] if the meeting has not ended and does not run here;
    /// [`Error::Store`].
    pub async fn find_meeting(&self, id: &MeetingId) -> Result<MeetingRef, Error> {
        match self.cluster() {
            Some(cluster) => cluster.find(id).await,
            None => self.find_here(id).await,
        }
    }

    /// As [`find_meeting`](Self::find_meeting) of a node that is in no cluster.
    ///
    /// # Errors
    /// As [`find_meeting`](Self::find_meeting).
    pub async fn find_here(&self, id: &MeetingId) -> Result<MeetingRef, Error> {
        if let Some(meeting) = self.running_meeting(id) {
            return Ok(meeting.into());
        }
        let row = self.row(id).await?;
        if row.status == MeetingStatus::Ended {
            return Ok(self.ended(row));
        }
        // It may have been opened meanwhile.
        self.running_meeting(id).map(Into::into).ok_or_else(|| Error::NotRunning(id.clone()))
    }

    /// The handle of a meeting that has ended, by its row.
    pub fn ended(&self, row: MeetingRecord) -> MeetingRef {
        let Resources { graph, store, settings, .. } = &*self.resources;
        EndedMeeting::new(row, graph.clone(), store.clone(), settings.packet_bytes()).into()
    }
}
