//! A replay's meeting: a new one, one that an earlier run of the same recording did not finish, or one that
//! it did.
//!
//! A replay is a numbered producer that is named after what it plays. So the store says how far an earlier
//! run came, and the same command goes on from there. A meeting that another recording was played into is
//! somebody else's; and one that other instances took part in, or the same with another configuration, isn't
//! what is asked for: nothing in it would be run again.

use std::collections::BTreeMap;

use teammy::{
    DataPacket, Lifecycle, MeetingId, MeetingMetadata, MeetingRef, Name, Node, Setup, Timestamp, node,
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

/// What is to be played.
pub(super) struct Wanted<'a> {
    pub(super) metadata: MeetingMetadata,
    pub(super) instances: &'a [String],
    /// What the meeting calls whoever plays it.
    pub(super) producer: &'a str,
    /// How many numbered packets the recording has.
    pub(super) packets: u64,
    /// When the meeting is said to have begun.
    pub(super) started_at: Option<Timestamp>,
}

/// Starts the meeting, or goes on with what an earlier run has left of it.
pub(super) async fn open(node: &Node, wanted: Wanted<'_>) -> Result<Opening, Error> {
    let Wanted { metadata, instances, producer, packets, started_at } = wanted;
    let id = metadata.id.clone();
    match node.start_meeting(metadata, instances).await {
        Ok(meeting) => Ok(Opening::New(meeting)),
        Err(node::Error::MeetingExists(_)) if is_ours(node, &id, producer).await? => {
            is_what_is_asked(node, &id, instances, started_at).await?;
            match node.resume_meeting(&id).await {
                Ok(meeting) => {
                    let done = meeting.expects(producer) - 1;
                    Ok(Opening::GoesOn(meeting, done))
                }
                Err(node::Error::Ended(_)) => {
                    let marks = node.store().marks(id.clone()).await?;
                    let mark = marks.iter().find(|mark| &*mark.producer == producer);
                    match mark.map_or(0, |mark| mark.number) {
                        played if played < packets => Err(Error::EndedEarly { id, played, packets }),
                        _ => Ok(Opening::Complete),
                    }
                }
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a meeting that is there runs, or ran, what this replay asks for.
async fn is_what_is_asked(
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
    // One that is cut off says itself which of its instances it cannot go on without.
    let is_complete = record.as_ref().is_some_and(|record| record.status == MeetingStatus::Ended);
    let is_missing = asked.keys().any(|name| !ran.contains_key(name));
    let is_left_out = ran.keys().any(|name| !asked.contains_key(name));
    if is_missing || is_complete && is_left_out {
        let asked: Vec<&str> = asked.keys().map(Name::as_str).collect();
        let asked = if asked.is_empty() { "none".to_owned() } else { asked.join(", ") };
        return Err(others(format!("this asks for {asked}")));
    }
    let works_otherwise = |(name, asked): &(&Name, &Setup)| {
        ran.get(*name).and_then(Option::as_ref).is_some_and(|ran| !ran.works_like(asked))
    };
    if let Some((name, _)) = asked.iter().find(works_otherwise) {
        return Err(others(format!("{name} is configured otherwise now")));
    }
    match (started_at, record.and_then(|record| record.metadata.started_at)) {
        (Some(asked), Some(began)) if asked != began => Err(Error::BeganOtherwise { id: id.clone(), began }),
        _ => Ok(()),
    }
}

/// An instance with what is known of it.
fn shown(name: &Name, setup: Option<&Setup>) -> String {
    match setup {
        Some(Setup { kind, version, .. }) if kind == name.as_str() => format!("{name} {version}"),
        Some(Setup { kind, version, .. }) => format!("{name} ({kind} {version})"),
        None => name.to_string(),
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
