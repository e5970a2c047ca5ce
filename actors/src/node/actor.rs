//! The supervisor at the root.

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tracing::error;

use super::Meetings;

/// The node's actor is told nothing: it supervises.
pub(crate) enum Message {}

impl ractor::Message for Message {}

pub(crate) struct NodeActor;

impl Actor for NodeActor {
    type Msg = Message;
    type State = Meetings;
    type Arguments = Meetings;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        meetings: Meetings,
    ) -> Result<Meetings, ActorProcessingErr> {
        Ok(meetings)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        _: &mut Meetings,
    ) -> Result<(), ActorProcessingErr> {
        match message {}
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Message>,
        event: SupervisionEvent,
        meetings: &mut Meetings,
    ) -> Result<(), ActorProcessingErr> {
        let (who, failure) = match event {
            SupervisionEvent::ActorFailed(who, failure) => (who, Some(failure.to_string())),
            SupervisionEvent::ActorTerminated(who, _, _) => (who, None),
            _ => return Ok(()),
        };
        let mut meetings = meetings.lock();
        let meeting = meetings.values().find(|meeting| meeting.actor_id() == who.get_id()).cloned();
        if let Some(meeting) = meeting {
            meetings.remove(meeting.id());
            drop(meetings);
            if let Some(failure) = failure {
                error!(meeting = %meeting.id(), error = failure, "meeting failed");
            }
            // One that ended or was let go of has said so; this is for one that could not.
            meeting.shared().gone("its actor failed");
        } else if let Some(failure) = failure {
            error!(error = failure, "an actor of the node failed");
            for (_, meeting) in meetings.drain() {
                meeting.kill("the node's persistence failed");
            }
        }
        Ok(())
    }
}
