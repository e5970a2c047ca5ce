//! What a meeting's actor is told.

use std::{sync::Arc, time::Duration};

use teammy_kernel::{
    DataPacket, Name, Seq,
    log::{Effects, Fetch, JoinAt, Lag, Redrive, Slot},
    store::{self, InstanceStatus, MeetingStatus},
};
use tokio::sync::oneshot;

use super::Error;
use crate::instance::Output;

/// Which incarnation of an instance's actor a message comes from. Messages of one that was replaced are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Incarnation(pub(crate) u64);

pub(crate) enum Message {
    /// There is something to do that is not for any thread.
    Wake,
    /// Something happened to an instance's actor.
    Instance { slot: Slot, incarnation: Incarnation, event: Event },
    /// It is time for an instance's tick.
    Tick { slot: Slot },
    /// The store was read for an instance.
    Fetched { slot: Slot, fetch: Fetch, packets: Result<Vec<Arc<DataPacket>>, store::Error> },
    /// A packet that was given up was read, for its redrive; none if it is no dead letter any more.
    Redriven { slot: Slot, redrive: Redrive, packet: Result<Option<Arc<DataPacket>>, store::Error> },
    /// The commit in flight is stored, or never will be.
    Committed(Result<store::Outcome, Arc<store::Error>>),
    /// Cursors have waited long enough.
    Flush,
    /// Add an instance.
    Assign { instance: Name, at: JoinAt, reply: oneshot::Sender<Result<(), Error>> },
    /// Take an instance out; the answer comes when it is out.
    Unassign { instance: Name, reply: oneshot::Sender<Result<(), Error>> },
    /// Deliver these packets once more, which instances have given up; the answer says how many there are to
    /// be.
    Redrive { letters: Vec<(Name, Seq)>, reply: oneshot::Sender<Result<Vec<RedriveTicket>, Error>> },
    /// Say when these redrives are done with, and what came of them is stored.
    Redriving { places: Vec<RedriveTicket>, reply: oneshot::Sender<Result<(), Error>> },
    /// Go on delivering to an instance that was suspended.
    Reinstate { instance: Name, reply: oneshot::Sender<Result<(), Error>> },
    /// A hook of an instance has held its thread for longer than it may take.
    Stuck { slot: Slot, incarnation: Incarnation, hook: Name, held: Duration },
    /// End the meeting; the answer comes when it has ended.
    End { reply: oneshot::Sender<Result<(), Error>> },
    /// The instances had their time to finish.
    EndDeadline,
    /// Say how it stands.
    Report { reply: oneshot::Sender<Report> },
    /// Say when every instance has worked off the log, and all of that is stored.
    CatchUp { reply: oneshot::Sender<Result<(), Error>> },
    /// Let go of the meeting without ending it; the answer comes when all is stored.
    Stop { reply: oneshot::Sender<()> },
    /// Durable packets that are not stored yet, for an instance that reads history.
    Unstored { reply: oneshot::Sender<Vec<Arc<DataPacket>>> },
}

/// What happens to an instance's actor.
pub(crate) enum Event {
    /// It is there, or could not be started.
    Spawned(Result<ractor::ActorRef<crate::instance::Message>, String>),
    /// It ended; what it handed on before has arrived.
    Failed(String),
    /// It is time to start it again.
    Restart,
}

/// Where an instance comes by a redrive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RedriveTicket {
    pub(crate) slot: Slot,
    pub(crate) at: Seq,
}

/// How a meeting stands, as its log has it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) status: MeetingStatus,
    pub(crate) seq: Seq,
    pub(crate) stored: Seq,
    pub(crate) memory: usize,
    pub(crate) backlog: usize,
    pub(crate) instances: Vec<InstanceReport>,
}

/// How an instance stands, as the log has it.
#[derive(Debug)]
pub(crate) struct InstanceReport {
    pub(crate) name: Name,
    pub(crate) status: InstanceStatus,
    pub(crate) cursor: Seq,
    /// How many it lost and has not been told of.
    pub(crate) gap: u64,
    pub(crate) lag: Vec<Lag>,
    /// What it has to read from the store first.
    pub(crate) spilled: Option<(Seq, Seq)>,
}

/// What an instance's hooks made, on its way into the log. It does not go through the mailbox: see
/// [`combiner`](super::combiner).
#[derive(Debug)]
pub(crate) struct SubmittedEffects {
    pub(crate) slot: Slot,
    pub(crate) incarnation: Incarnation,
    pub(crate) hand_on: Effects,
    pub(crate) outputs: Vec<Output>,
}

impl ractor::Message for Message {}
