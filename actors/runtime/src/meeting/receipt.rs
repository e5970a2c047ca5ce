//! Receipts of published packets.

use std::{fmt, sync::Arc};

use teammy_kernel::{Name, PublishError, Seq};

use super::{
    ingress::Accepted,
    remote::{RemoteMeeting, RemoteReceipt},
    shared::Shared,
    state::MeetingState,
};

/// A packet's seq, and a way to wait until the packet is stored.
#[derive(Clone)]
pub struct Receipt(Form<Accepted, RemoteReceipt, Seq>);

/// The receipts of packets that were [published together](super::MeetingRef::publish_all), in their order.
#[derive(Clone)]
pub struct Receipts(Form<Vec<Accepted>, Vec<RemoteReceipt>, Vec<Seq>>);

/// What was accepted, and the meeting that accepted it.
#[derive(Clone)]
enum Form<L, R, S> {
    Local(L, Arc<Shared<MeetingState>>),
    Remote(R, Arc<dyn RemoteMeeting>),
    /// It was stored before.
    Stored(S),
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("seq", &self.seq()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Receipts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.seqs()).finish()
    }
}

impl Receipt {
    pub(super) fn local(accepted: Accepted, meeting: Arc<Shared<MeetingState>>) -> Self {
        Self(Form::Local(accepted, meeting))
    }

    pub(super) fn remote(receipt: RemoteReceipt, meeting: Arc<dyn RemoteMeeting>) -> Self {
        Self(Form::Remote(receipt, meeting))
    }

    pub(super) fn stored(seq: Seq) -> Self {
        Self(Form::Stored(seq))
    }

    /// The packet's seq.
    pub fn seq(&self) -> Seq {
        match &self.0 {
            Form::Local(accepted, _) => accepted.seq,
            Form::Remote(receipt, _) => receipt.seq,
            Form::Stored(seq) => *seq,
        }
    }

    /// Whether the meeting had the packet before, by its producer and number: then this is the first one's receipt.
    pub fn is_repeat(&self) -> bool {
        match &self.0 {
            Form::Local(accepted, _) => accepted.is_repeat,
            Form::Remote(receipt, _) => receipt.is_repeat,
            Form::Stored(_) => true,
        }
    }

    /// Whether the packet's source is volatile, so that the packet is never stored.
    pub fn is_volatile(&self) -> bool {
        self.volatile().is_some()
    }

    /// The packet's source, if the source is volatile.
    fn volatile(&self) -> Option<&Name> {
        match &self.0 {
            Form::Local(accepted, meeting) => {
                accepted.volatile.map(|source| meeting.graph.source_name(source))
            }
            Form::Remote(receipt, _) => receipt.volatile.as_ref(),
            Form::Stored(_) => None,
        }
    }

    /// Waits until the packet is stored: from then on no crash loses it.
    ///
    /// # Errors
    /// [`PublishError::Volatile`] if its source is volatile; [`PublishError::Gone`] or [`PublishError::Ended`] if
    /// the meeting was lost or ended before the packet was stored.
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    pub async fn durable(&self) -> Result<(), PublishError> {
        if let Some(source) = self.volatile() {
            return Err(PublishError::Volatile(source.clone()));
        }
        match &self.0 {
            Form::Local(accepted, meeting) => meeting.stored(accepted.seq).await,
            Form::Remote(receipt, meeting) => meeting.stored(receipt.seq).await,
            Form::Stored(_) => Ok(()),
        }
    }
}

impl From<&Receipt> for RemoteReceipt {
    fn from(receipt: &Receipt) -> Self {
        Self { seq: receipt.seq(), volatile: receipt.volatile().cloned(), is_repeat: receipt.is_repeat() }
    }
}

impl Receipts {
    pub(super) fn local(accepted: Vec<Accepted>, meeting: Arc<Shared<MeetingState>>) -> Self {
        Self(Form::Local(accepted, meeting))
    }

    pub(super) fn remote(receipts: Vec<RemoteReceipt>, meeting: Arc<dyn RemoteMeeting>) -> Self {
        Self(Form::Remote(receipts, meeting))
    }

    pub(super) fn stored(seqs: Vec<Seq>) -> Self {
        Self(Form::Stored(seqs))
    }

    /// How many packets were published.
    fn len(&self) -> usize {
        match &self.0 {
            Form::Local(accepted, _) => accepted.len(),
            Form::Remote(receipts, _) => receipts.len(),
            Form::Stored(seqs) => seqs.len(),
        }
    }

    fn receipt(&self, index: usize) -> Receipt {
        match &self.0 {
            Form::Local(accepted, meeting) => Receipt::local(accepted[index], meeting.clone()),
            Form::Remote(receipts, meeting) => Receipt::remote(receipts[index].clone(), meeting.clone()),
            Form::Stored(seqs) => Receipt::stored(seqs[index]),
        }
    }

    fn seq(&self, index: usize) -> Seq {
        match &self.0 {
            Form::Local(accepted, _) => accepted[index].seq,
            Form::Remote(receipts, _) => receipts[index].seq,
            Form::Stored(seqs) => seqs[index],
        }
    }

    /// A receipt for each packet.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Receipt> + '_ {
        (0..self.len()).map(|index| self.receipt(index))
    }

    /// The packets' seqs.
    pub fn seqs(&self) -> impl ExactSizeIterator<Item = Seq> + '_ {
        (0..self.len()).map(|index| self.seq(index))
    }

    /// Waits until all packets of durable sources are stored. Packets of volatile sources are not waited for.
    ///
    /// # Errors
    /// [`PublishError::Gone`] or [`PublishError::Ended`] if the meeting was lost or ended before they were stored.
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    pub async fn durable(&self) -> Result<(), PublishError> {
        match &self.0 {
            Form::Local(accepted, meeting) => {
                let durable = accepted.iter().filter(|one| one.volatile.is_none());
                match durable.map(|one| one.seq).max() {
                    Some(seq) => meeting.stored(seq).await,
                    None => Ok(()),
                }
            }
            Form::Remote(receipts, meeting) => {
                let durable = receipts.iter().filter(|one| one.volatile.is_none());
                match durable.map(|one| one.seq).max() {
                    Some(seq) => meeting.stored(seq).await,
                    None => Ok(()),
                }
            }
            Form::Stored(_) => Ok(()),
        }
    }
}
