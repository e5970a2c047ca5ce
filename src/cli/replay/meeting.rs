//! Opens a replay's meeting: starts it, or resumes what an earlier run of the same recording left.
//!
//! A replay is a numbered producer whose id is a digest of the recording. So the store knows how far an
//! earlier run came, and the same command continues from there. A meeting that another recording was played
//! into is not touched. A meeting with other instances, or with instances of another configuration, is
//! rejected, because packets that were played are not run again. A recording of volatile sources alone, such as
//! sound, leaves no numbers in the store, so it is played into new meetings only.

use std::collections::BTreeMap;

use teammy::{
    DataPacket, Lifecycle, MeetingId, MeetingMetadata, MeetingRef, Name, Node, Setup, Timestamp, node,
    store::{MeetingStatus, PacketQuery, Take},
};

use crate::cli::error::Error;

/// The meeting that a recording is played into.
pub(super) enum ReplayMeeting {
    /// A meeting that was just started.
    New(MeetingRef),
    /// A meeting that was cut off, and how many of the recording's numbered packets it has.
    Resumed(MeetingRef, u64),
    /// A meeting that has all packets, and has ended.
    Complete,
}

/// What a replay asks for.
pub(super) struct ReplayRequest<'a> {
    pub(super) metadata: MeetingMetadata,
    pub(super) instances: &'a [String],
    /// The recording's producer id.
    pub(super) producer: &'a str,
    /// How many numbered packets the recording has.
    pub(super) packets: u64,
    /// The option `--started-at`.
    pub(super) started_at: Option<Timestamp>,
}

/// Starts the meeting, or resumes what an earlier run left of it.
pub(super) async fn open(node: &Node, request: ReplayRequest<'_>) -> Result<ReplayMeeting, Error> {
    let ReplayRequest { metadata, instances, producer, packets, started_at } = request;
    let id = metadata.id.clone();
    match node.start_meeting(metadata, instances).await {
        Ok(meeting) => Ok(ReplayMeeting::New(meeting)),
        // Of packets that are not stored, nothing shows which have been played.
        Err(node::Error::MeetingExists(_)) if packets > 0 && is_of_recording(node, &id, producer).await? => {
            check_matches(node, &id, instances, started_at).await?;
            match node.resume_meeting(&id).await {
                Ok(meeting) => {
                    let done = meeting.expects(producer).await? - 1;
                    Ok(ReplayMeeting::Resumed(meeting, done))
                }
                Err(node::Error::Ended(_)) => {
                    let marks = node.store().marks(id.clone()).await?;
                    let mark = marks.iter().find(|mark| &*mark.producer == producer);
                    match mark.map_or(0, |mark| mark.number) {
                        played if played < packets => Err(Error::EndedEarly { id, played, packets }),
                        _ => Ok(ReplayMeeting::Complete),
                    }
                }
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Checks that an existing meeting has the instances and the start that this replay asks for.
async fn check_matches(
    node: &Node,
    id: &MeetingId,
    instances: &[String],
    started_at: Option<Timestamp>,
) -> Result<(), Error> {
    let store = &**node.store();
    let ran = node::members(store, id).await?;
    let setup = |name: &String| {
        let instance = node.graph().instance(name)?;
        Some((instance.name.clone(), instance.setup()))
    };
    let asked: BTreeMap<Name, Setup> = instances.iter().filter_map(setup).collect();
    let others = |differs: String| {
        let ran = ran.iter().map(|(name, setup)| shown(name, setup.as_ref())).collect();
        Error::OtherInstances { id: id.clone(), ran, differs }
    };
    let record = store.meeting(id.clone()).await?;
    // A meeting that was cut off reports missing instances itself when it is resumed.
    let is_complete = record.as_ref().is_some_and(|record| record.status == MeetingStatus::Ended);
    let is_missing = asked.keys().any(|name| !ran.contains_key(name));
    let is_left_out = ran.keys().any(|name| !asked.contains_key(name));
    if is_missing || is_complete && is_left_out {
        let asked: Vec<&str> = asked.keys().map(Name::as_str).collect();
        let asked = if asked.is_empty() { "none".to_owned() } else { asked.join(", ") };
        return Err(others(format!("this command asks for {asked}")));
    }
    let works_differently = |(name, asked): &(&Name, &Setup)| {
        ran.get(*name).and_then(Option::as_ref).is_some_and(|ran| !ran.works_like(asked))
    };
    if let Some((name, _)) = asked.iter().find(works_differently) {
        return Err(others(format!("{name} is configured differently now")));
    }
    match (started_at, record.and_then(|record| record.metadata.started_at)) {
        (Some(asked), Some(began)) if asked != began => Err(Error::OtherStart { id: id.clone(), began }),
        _ => Ok(()),
    }
}

/// An instance with its kind and version, as far as they are known.
fn shown(name: &Name, setup: Option<&Setup>) -> String {
    match setup {
        Some(Setup { kind, version, .. }) if kind == name.as_str() => format!("{name} {version}"),
        Some(Setup { kind, version, .. }) => format!("{name} ({kind} {version})"),
        None => name.to_string(),
    }
}

/// Whether a meeting belongs to this recording: it has packets of it, or was left before it had any packets
/// from outside.
async fn is_of_recording(node: &Node, id: &MeetingId, producer: &str) -> Result<bool, Error> {
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
    let is_internal = |packet: &DataPacket| packet.source == Lifecycle::SOURCE || !packet.causes.is_empty();
    Ok(store.packets(id.clone(), first).await?.iter().all(|packet| is_internal(packet)))
}
