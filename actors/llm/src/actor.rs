//! The actor: takes questions, and spawns a task for each that asks the provider.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde_json::Value;
use teammy_kernel::{Deltas, LlmError, LlmProvider, LlmRequest, LlmResponse, SharedLlm};
use tokio::{sync::oneshot, task::JoinSet};

type LlmAnswer = Result<LlmResponse, LlmError>;

pub(crate) enum Message {
    /// Asks the provider `request`, and sends the answer to `reply`; pieces of it go to `deltas` as they come.
    Ask { request: LlmRequest, deltas: Option<Deltas>, reply: oneshot::Sender<LlmAnswer> },
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
        Message::Ask { request, deltas, reply }: Message,
        state: &mut LlmActorState,
    ) -> Result<(), ActorProcessingErr> {
        while state.open_questions.try_join_next().is_some() {}
        state.open_questions.spawn(answer(state.provider.clone(), request, deltas, reply));
        Ok(())
    }
}

async fn answer(
    provider: SharedLlm,
    request: LlmRequest,
    deltas: Option<Deltas>,
    mut reply: oneshot::Sender<LlmAnswer>,
) {
    let asked = async {
        match deltas {
            Some(deltas) => provider.stream(request, deltas).await,
            None => provider.complete(request).await,
        }
    };
    let asked = AssertUnwindSafe(asked).catch_unwind();
    let answer = tokio::select! {
        answer = asked => answer.unwrap_or_else(|_| Err(LlmError::Failed("its provider panicked".to_owned()))),
        () = reply.closed() => return,
    };
    // The asker may have stopped waiting.
    let _ = reply.send(answer);
}

/// The actor's handle, which plugins' engines hold behind an `Arc`. Dropping the handle stops the actor.
pub(crate) struct LlmRef {
    actor: ActorRef<Message>,
    /// Checks answers without the actor: that takes no request.
    provider: SharedLlm,
}

impl Drop for LlmRef {
    fn drop(&mut self) {
        self.actor.stop(None);
    }
}

impl LlmRef {
    pub(crate) fn new(actor: ActorRef<Message>, provider: SharedLlm) -> Self {
        Self { actor, provider }
    }

    async fn ask(&self, request: LlmRequest, deltas: Option<Deltas>) -> LlmAnswer {
        let gone = || LlmError::Failed("the node has stopped answering questions".to_owned());
        let (reply, answer) = oneshot::channel();
        self.actor.cast(Message::Ask { request, deltas, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl LlmProvider for LlmRef {
    async fn complete(&self, request: LlmRequest) -> LlmAnswer {
        self.ask(request, None).await
    }

    async fn stream(&self, request: LlmRequest, deltas: Deltas) -> LlmAnswer {
        self.ask(request, Some(deltas)).await
    }

    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        self.provider.check(schema, value)
    }
}

#[cfg(test)]
mod tests;
