//! A replay's meeting: a new one, one that an earlier run of the same recording did not finish, or one that it did.
//!
//! A replay is a numbered producer that is named after what it plays. So the store says how far an earlier run came, and the
//! same command goes on from there. A meeting that another recording was played into is somebody else's.

use teammy::{
    DataPacket, Lifecycle, MeetingId, MeetingMetadata, MeetingRef, Node, node,
    store::{MeetingStatus, PacketQuery, Take},
};

use crate::cli::error::Error;

/// What there is to play into.
pub(super) enum Opening {
    /// A meeting that was just made.
    New(MeetingRef),
    /// A meeting that has so many of the recording's packets already.
    GoesOn(MeetingRef, u64),
    /// A meeting that has all of them, and has ended.
    Complete,
}

/// Starts the meeting, or goes on with what an earlier run has left of it.
pub(super) async fn open(
    node: &Node,
    metadata: MeetingMetadata,
    instances: &[String],
    producer: &str,
) -> Result<Opening, Error> {
    let id = metadata.id.clone();
    match node.start_meeting(metadata, instances).await {
        Ok(meeting) => Ok(Opening::New(meeting)),
        Err(node::Error::MeetingExists(_)) if is_ours(node, &id, producer).await? => {
            match node.resume_meeting(&id).await {
                Ok(meeting) => {
                    let done = meeting.expects(producer) - 1;
                    Ok(Opening::GoesOn(meeting, done))
                }
                Err(node::Error::Ended(_)) => Ok(Opening::Complete),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a meeting is of this recording: it has packets of it, or was left before it had any of anybody.
async fn is_ours(node: &Node, id: &MeetingId, producer: &str) -> Result<bool, Error> {
    let store = node.store();
    let marks = store.marks(id.clone()).await?;
    if marks.iter().any(|mark| &*mark.producer == producer) {
        return Ok(true);
    }
    let record = store.meeting(id.clone()).await?;
    if record.is_none_or(|record| record.status != MeetingStatus::Running) {
        return Ok(false);
    }
    let first = PacketQuery::default().take(Take::First(16));
    let is_own = |packet: &DataPacket| packet.source == Lifecycle::SOURCE || !packet.causes.is_empty();
    Ok(store.packets(id.clone(), first).await?.iter().all(|packet| is_own(packet)))
}
