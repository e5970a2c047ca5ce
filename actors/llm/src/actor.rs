//! The actor: takes questions, and has each answered on a task of its own.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use teammy_kernel::{LlmError, LlmProvider, LlmRequest, LlmResponse, SharedLlm};
use tokio::{sync::oneshot, task::JoinSet};

type Answer = Result<LlmResponse, LlmError>;

pub(crate) enum Message {
    /// Answer this.
    Ask { request: LlmRequest, reply: oneshot::Sender<Answer> },
}

impl ractor::Message for Message {}

pub(crate) struct LlmActor;

pub(crate) struct State {
    provider: SharedLlm,
    /// The questions that are being answered.
    open: JoinSet<()>,
}

impl Actor for LlmActor {
    type Msg = Message;
    type State = State;
    type Arguments = SharedLlm;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        provider: SharedLlm,
    ) -> Result<State, ActorProcessingErr> {
        Ok(State { provider, open: JoinSet::new() })
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        Message::Ask { request, reply }: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        while state.open.try_join_next().is_some() {}
        state.open.spawn(answer(state.provider.clone(), request, reply));
        Ok(())
    }
}

async fn answer(provider: SharedLlm, request: LlmRequest, mut reply: oneshot::Sender<Answer>) {
    let asked = AssertUnwindSafe(provider.complete(request)).catch_unwind();
    let answer = tokio::select! {
        answer = asked => answer.unwrap_or_else(|_| Err(LlmError::Failed("its provider panicked".to_owned()))),
        () = reply.closed() => return,
    };
    // Whoever has stopped waiting has no use for it.
    let _ = reply.send(answer);
}

/// The way to the actor: what plugins' engines hold. The actor ends with the last who holds it.
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
    async fn complete(&self, request: LlmRequest) -> Answer {
        let gone = || LlmError::Failed("the node answers no questions any more".to_owned());
        let (reply, answer) = oneshot::channel();
        self.0.cast(Message::Ask { request, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

#[cfg(test)]
mod tests;
