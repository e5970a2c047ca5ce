//! The actor: takes questions, and spawns a task for each that asks the provider.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use teammy_kernel::{LlmError, LlmProvider, LlmRequest, LlmResponse, SharedLlm};
use tokio::{sync::oneshot, task::JoinSet};

type LlmAnswer = Result<LlmResponse, LlmError>;

pub(crate) enum Message {
    /// Asks the provider `request`, and sends the answer to `reply`.
    Ask { request: LlmRequest, reply: oneshot::Sender<LlmAnswer> },
}

impl ractor::Message for Message {}

pub(crate) struct LlmActor;

pub(crate) struct LlmActorState {
    provider: SharedLlm,
    /// One task for each question without an answer; dropping the set cancels them.
    open_questions: JoinSet<()>,
}

impl Actor for LlmActor {
    type Msg = Message;
    type State = LlmActorState;
    type Arguments = SharedLlm;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        provider: SharedLlm,
    ) -> Result<LlmActorState, ActorProcessingErr> {
        Ok(LlmActorState { provider, open_questions: JoinSet::new() })
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        Message::Ask { request, reply }: Message,
        state: &mut LlmActorState,
    ) -> Result<(), ActorProcessingErr> {
        while state.open_questions.try_join_next().is_some() {}
        state.open_questions.spawn(answer(state.provider.clone(), request, reply));
        Ok(())
    }
}

async fn answer(provider: SharedLlm, request: LlmRequest, mut reply: oneshot::Sender<LlmAnswer>) {
    let asked = AssertUnwindSafe(provider.complete(request)).catch_unwind();
    let answer = tokio::select! {
        answer = asked => answer.unwrap_or_else(|_| Err(LlmError::Failed("its provider panicked".to_owned()))),
        () = reply.closed() => return,
    };
    // The asker may have stopped waiting.
    let _ = reply.send(answer);
}

/// The actor's handle, which plugins' engines hold behind an `Arc`. Dropping the handle stops the actor.
pub(crate) struct LlmRef(ActorRef<Message>);

impl Drop for LlmRef {
    fn drop(&mut self) {
        self.0.stop(None);
    }
}

impl LlmRef {
    pub(crate) fn new(actor: ActorRef<Message>) -> Self {
        Self(actor)
    }
}

impl LlmProvider for LlmRef {
    async fn complete(&self, request: LlmRequest) -> LlmAnswer {
        let gone = || LlmError::Failed("the node has stopped answering questions".to_owned());
        let (reply, answer) = oneshot::channel();
        self.0.cast(Message::Ask { request, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

#[cfg(test)]
mod tests;
