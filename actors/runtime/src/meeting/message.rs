//! What a meeting's actor is told: commands, which ask for something, and events, which have happened.

use std::{sync::Arc, time::Duration};

use ractor::ActorRef;
use teammy_kernel::{
    DataPacket, Name, Seq, Timestamp,
    log::{DueRedrive, Fetch, HistoryRead, JoinAt, Slot, Snapshot},
    store::{self, Outcome},
};
use tokio::sync::oneshot;

use super::{error::Error, report::LogReport};
use crate::instance::{self, Incarnation};

/// Answers a command.
pub(crate) type Reply<T = ()> = oneshot::Sender<Result<T, Error>>;

pub(crate) enum Message {
    /// There is work that only the actor may do.
    Wake,
    Command(Command),
    Event(Event),
}

/// What the meeting is asked to do.
pub(crate) enum Command {
    /// Add an instance.
    Assign { instance: Name, at: JoinAt, reply: Reply },
    /// Remove an instance. The reply comes once it has left.
    Unassign { instance: Name, reply: Reply },
    /// Deliver dead letters again. The reply names those that are under way.
    Redrive { letters: Vec<(Name, Seq)>, reply: Reply<Vec<RedriveTicket>> },
    /// Reply once these redrives are finished and their effects are stored.
    AwaitRedrives { tickets: Vec<RedriveTicket>, reply: Reply },
    /// Deliver to a suspended instance again.
    ResumeInstance { instance: Name, reply: Reply },
    /// Suspend an instance whose hook has held its thread past its deadline.
    SuspendStuck { slot: Slot, incarnation: Incarnation, hook: Name, held: Duration },
    /// End the meeting. The reply comes once it has ended.
    End { reply: Reply },
    /// Reply once every instance has caught up with the log and its effects are stored.
    CatchUp { reply: Reply },
    /// Release the meeting without ending it. The reply comes once everything is stored.
    Release(Release),
    /// Release it without waiting for the hooks that still run.
    ReleaseNow,
    /// Report the state of the log.
    Report { reply: oneshot::Sender<LogReport> },
    /// Reply with the packets of a read that are not stored yet.
    UnstoredHistory { read: HistoryRead, reply: oneshot::Sender<Vec<Arc<DataPacket>>> },
    /// Reply with the seq of a producer's number, if its packet is not stored yet.
    UnstoredNumber { producer: Arc<str>, number: u64, reply: oneshot::Sender<Option<Seq>> },
}

/// What has happened to the meeting.
pub(crate) enum Event {
    /// An instance's actor has started, or could not be started.
    InstanceStarted {
        slot: Slot,
        incarnation: Incarnation,
        actor: Result<ActorRef<instance::Message>, String>,
    },
    /// An instance's actor has failed. What it submitted before has arrived.
    InstanceFailed { slot: Slot, incarnation: Incarnation, error: String },
    /// The backoff before an instance's restart is over.
    RestartDue { slot: Slot, incarnation: Incarnation },
    /// An instance's next timer is due at this time of the meeting; none if it has no timer.
    WakeAt { slot: Slot, incarnation: Incarnation, at: Option<Timestamp> },
    /// The meeting's clock may have reached an instance's next timer.
    WakeDue { slot: Slot },
    /// Packets were read from the store for an instance.
    Fetched { slot: Slot, fetch: Fetch, packets: Result<Vec<Arc<DataPacket>>, store::Error> },
    /// The packet of a redrive was read from the store; none if its dead letter is gone.
    RedriveFetched { slot: Slot, redrive: DueRedrive, packet: Result<Option<Arc<DataPacket>>, store::Error> },
    /// The commit in flight was stored, or never will be.
    Committed(Result<Outcome, Arc<store::Error>>),
    /// An instance's checkpoint has waited for its interval.
    CheckpointDue { slot: Slot },
    /// Moved cursors have waited for `delivery.cursor_interval`.
    CursorsDue,
    /// The instances have had `meeting.end_deadline` to finish.
    EndDeadlinePassed,
}

/// Who waits for a meeting to be released.
pub(crate) struct Release {
    /// Whether another node goes on with the meeting at once, from the snapshot in the reply.
    pub(crate) hands_over: bool,
    pub(crate) reply: oneshot::Sender<Option<Snapshot>>,
}

/// A redrive that is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RedriveTicket {
    pub(crate) slot: Slot,
    /// The seq of the redrive.
    pub(crate) at: Seq,
}

impl ractor::Message for Message {}

impl From<Command> for Message {
    fn from(command: Command) -> Self {
        Self::Command(command)
    }
}

impl From<Event> for Message {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}
