//! The actor: takes questions, and spawns a task for each.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde_json::Value;
use teammy_kernel::{
    Budgets, Caller, Deltas, EmbedRequest, Embeddings, LlmError, LlmProvider, LlmRequest, LlmResponse,
    SharedLlm, Store, TranscribeRequest, Transcript,
};
use tokio::{sync::oneshot, task::JoinSet};

pub(crate) enum Message {
    /// Runs a question to its end.
    Run(BoxFuture<'static, ()>),
}

impl ractor::Message for Message {}

pub(crate) struct LlmActor;

pub(crate) struct LlmActorState {
    /// One task for each question without an answer; dropping the set cancels them.
    open_questions: JoinSet<()>,
}

impl Actor for LlmActor {
    type Msg = Message;
    type State = LlmActorState;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<LlmActorState, ActorProcessingErr> {
        Ok(LlmActorState { open_questions: JoinSet::new() })
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        Message::Run(question): Message,
        state: &mut LlmActorState,
    ) -> Result<(), ActorProcessingErr> {
        while state.open_questions.try_join_next().is_some() {}
        state.open_questions.spawn(question);
        Ok(())
    }
}

/// Answers a question, unless its asker stops waiting.
async fn answer<T>(
    asked: impl Future<Output = Result<T, LlmError>>,
    mut reply: oneshot::Sender<Result<T, LlmError>>,
) {
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

    /// Has the actor run a question to the provider.
    async fn run<T, F>(&self, question: impl FnOnce(SharedLlm) -> F) -> Result<T, LlmError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LlmError>> + Send + 'static,
    {
        let gone = || LlmError::Failed("the node has stopped answering questions".to_owned());
        let (reply, answered) = oneshot::channel();
        let question = answer(question(self.provider.clone()), reply).boxed();
        self.actor.cast(Message::Run(question)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl LlmProvider for LlmRef {
    async fn complete(&self, request: LlmRequest) -> Result<LlmResponse, LlmError> {
        self.run(|provider| async move { provider.complete(request).await }).await
    }

    async fn stream(&self, request: LlmRequest, deltas: Deltas) -> Result<LlmResponse, LlmError> {
        self.run(|provider| async move { provider.stream(request, deltas).await }).await
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings, LlmError> {
        self.run(|provider| async move { provider.embed(request).await }).await
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<Transcript, LlmError> {
        self.run(|provider| async move { provider.transcribe(request).await }).await
    }

    async fn budgets(&self, caller: Caller) -> Result<Budgets, LlmError> {
        self.run(|provider| async move { provider.budgets(caller).await }).await
    }

    fn opened(&self, store: Arc<dyn Store>) {
        self.provider.opened(store);
    }

    async fn close(&self) {
        self.provider.close().await;
    }

    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        self.provider.check(schema, value)
    }
}

#[cfg(test)]
mod tests;
