//! The supervisor of a node's persistence actor and meetings.

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use teammy_kernel::chain;
use tokio::sync::oneshot;
use tracing::error;

use super::registry::Meetings;
use crate::persistence::{self, PersistenceActor};

pub(crate) enum Message {
    /// Reply with the actors that all meetings use.
    Services(oneshot::Sender<Services>),
}

/// The actors that all meetings use.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) persistence: ActorRef<persistence::Message>,
}

impl ractor::Message for Message {}

pub(crate) struct NodeActor;

pub(crate) struct State {
    meetings: Meetings,
    services: Services,
}

impl Actor for NodeActor {
    type Msg = Message;
    type State = State;
    type Arguments = (Meetings, persistence::Args);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (meetings, persistence): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let supervisor = myself.get_cell();
        let (persistence, _) =
            PersistenceActor::spawn_linked(None, PersistenceActor, persistence, supervisor).await?;
        Ok(State { meetings, services: Services { persistence } })
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Message::Services(reply) = message;
        let _ = reply.send(state.services.clone());
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (who, failure) = match event {
            SupervisionEvent::ActorFailed(who, failure) => (who.get_id(), Some(chain(&*failure))),
            SupervisionEvent::ActorTerminated(who, _, _) => (who.get_id(), None),
            _ => return Ok(()),
        };
        if who == state.services.persistence.get_id() {
            error!(error = failure, "persistence failed: every meeting of this node stops");
            for (_, meeting) in state.meetings.lock().drain() {
                meeting.kill("the node's persistence failed");
            }
            return Ok(());
        }
        let mut meetings = state.meetings.lock();
        let meeting = meetings.values().find(|meeting| meeting.actor_id() == who).cloned();
        if let Some(meeting) = meeting {
            meetings.remove(meeting.id());
            drop(meetings);
            if let Some(failure) = failure {
                error!(meeting = %meeting.id(), error = failure, "meeting failed");
            }
            // A meeting that ended or was released has said so itself; this is for one that failed.
            meeting.shared().gone("its actor failed");
        }
        Ok(())
    }
}
