use std::{future, sync::Arc};

use teammy_kernel::{Caller, LlmMessage, MeetingId, Model, Name};
use tokio::sync::{Notify, mpsc};

use super::*;

/// A provider that answers "hello", panics at "panic", and never answers anything else.
struct TestProvider {
    asked: Arc<Notify>,
    cancelled: mpsc::UnboundedSender<()>,
}

/// Sends `()` when it is dropped, which is when its question is cancelled.
struct SendOnDrop(mpsc::UnboundedSender<()>);

impl Drop for SendOnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl LlmProvider for TestProvider {
    async fn complete(&self, request: LlmRequest) -> Result<LlmResponse, LlmError> {
        match &*request.messages[0].content {
            "hello" => Ok(LlmResponse::new("hi")),
            "panic" => panic!("a provider's panic"),
            _ => {
                let _on_drop = SendOnDrop(self.cancelled.clone());
                self.asked.notify_one();
                future::pending().await
            }
        }
    }
}

struct RunningActor {
    models: Arc<LlmRef>,
    actor: ActorRef<Message>,
    asked: Arc<Notify>,
    cancelled: mpsc::UnboundedReceiver<()>,
}

async fn start() -> RunningActor {
    let asked = Arc::new(Notify::new());
    let (sender, cancelled) = mpsc::unbounded_channel();
    let provider = SharedLlm::new(TestProvider { asked: asked.clone(), cancelled: sender });
    let (actor, _) = LlmActor::spawn(None, LlmActor, ()).await.unwrap();
    RunningActor { models: Arc::new(LlmRef::new(actor.clone(), provider)), actor, asked, cancelled }
}

fn question(text: &str) -> LlmRequest {
    let (meeting, instance) = (MeetingId::new("m").unwrap(), Name::new("i").unwrap());
    LlmRequest::new(Model::Default, vec![LlmMessage::user(text)], Caller::new(meeting, instance))
}

#[tokio::test]
async fn a_slow_question_holds_nobody_up_and_is_called_off_with_its_asker() {
    let RunningActor { models, asked, mut cancelled, .. } = start().await;
    let slow = models.clone();
    let asker = tokio::spawn(async move { slow.complete(question("think")).await });
    asked.notified().await;
    assert_eq!(models.complete(question("hello")).await.unwrap().text, "hi");
    assert!(cancelled.try_recv().is_err(), "the slow question is still open");
    asker.abort();
    cancelled.recv().await.unwrap();
}

#[tokio::test]
async fn a_provider_that_panics_fails_one_question() {
    let RunningActor { models, .. } = start().await;
    match models.complete(question("panic")).await {
        Err(LlmError::Failed(said)) => assert_eq!(said, "its provider panicked"),
        other => panic!("{other:?}"),
    }
    assert_eq!(models.complete(question("hello")).await.unwrap().text, "hi");
}

#[tokio::test]
async fn when_the_actor_stops_nobody_waits() {
    let RunningActor { models, actor, asked, mut cancelled } = start().await;
    let slow = models.clone();
    let asker = tokio::spawn(async move { slow.complete(question("think")).await });
    asked.notified().await;
    actor.stop(None);
    cancelled.recv().await.unwrap();
    for answer in [asker.await.unwrap(), models.complete(question("hello")).await] {
        match answer {
            Err(LlmError::Failed(said)) => assert_eq!(said, "the node has stopped answering questions"),
            other => panic!("{other:?}"),
        }
    }
}
