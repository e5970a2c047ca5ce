//! The actor that runs a meeting: a shell around [`MeetingState`], which other threads drive as well.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use teammy_kernel::chain;

use super::{
    message::Message,
    shared::Shared,
    state::{Args, MeetingState, StartFrom},
};

pub(crate) struct MeetingActor;

/// Drops the meeting's state with its actor, however that ends.
pub(crate) struct MeetingGuard(Arc<Shared<MeetingState>>);

impl Drop for MeetingGuard {
    fn drop(&mut self) {
        drop(self.0.state.replace(None));
    }
}

impl Actor for MeetingActor {
    type Msg = Message;
    type State = MeetingGuard;
    type Arguments = Args;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        args: Args,
    ) -> Result<MeetingGuard, ActorProcessingErr> {
        let shared = args.shared.clone();
        let mut meeting = MeetingState::new(myself, &args);
        match args.start_from {
            StartFrom::New(record) => meeting.start(&record.instances),
            StartFrom::Stored(stored) => meeting.resume(&stored),
        }
        meeting.drive();
        shared.state.replace(Some(meeting));
        Ok(MeetingGuard(shared))
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        MeetingGuard(shared): &mut MeetingGuard,
    ) -> Result<(), ActorProcessingErr> {
        let handle = |meeting: &mut MeetingState| {
            // Effects that were submitted before the message was sent come before it.
            meeting.apply_submitted();
            meeting.handle(message);
        };
        shared.state.combine(handle, MeetingState::drive);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Message>,
        event: SupervisionEvent,
        MeetingGuard(shared): &mut MeetingGuard,
    ) -> Result<(), ActorProcessingErr> {
        let (actor, error) = match event {
            SupervisionEvent::ActorFailed(actor, error) => (actor, chain(&*error)),
            SupervisionEvent::ActorTerminated(actor, _, _) => (actor, "it stopped".to_owned()),
            _ => return Ok(()),
        };
        let note = |meeting: &mut MeetingState| meeting.instance_actor_ended(actor.get_id(), error);
        shared.state.combine(note, MeetingState::drive);
        Ok(())
    }
}
