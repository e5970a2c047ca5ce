use std::{future, sync::Arc};

use teammy_kernel::{LlmMessage, MeetingId, Model, Name};
use tokio::sync::{Notify, mpsc};

use super::*;

/// A provider that answers "hello", panics at "panic", and thinks about all else for ever.
struct Provider {
    asked: Arc<Notify>,
    called_off: mpsc::UnboundedSender<()>,
}

/// Says that it is gone.
struct Guard(mpsc::UnboundedSender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl LlmProvider for Provider {
    async fn complete(&self, request: LlmRequest) -> Answer {
        match &*request.messages[0].content {
            "hello" => Ok(LlmResponse::new("hi")),
            "panic" => panic!("a provider's panic"),
            _ => {
                let _guard = Guard(self.called_off.clone());
                self.asked.notify_one();
                future::pending().await
            }
        }
    }
}

struct Setup {
    models: Arc<LlmRef>,
    actor: ActorRef<Message>,
    asked: Arc<Notify>,
    called_off: mpsc::UnboundedReceiver<()>,
}

async fn setup() -> Setup {
    let asked = Arc::new(Notify::new());
    let (sender, called_off) = mpsc::unbounded_channel();
    let provider = SharedLlm::new(Provider { asked: asked.clone(), called_off: sender });
    let (actor, _) = LlmActor::spawn(None, LlmActor, provider).await.unwrap();
    Setup { models: Arc::new(LlmRef::new(actor.clone())), actor, asked, called_off }
}

fn question(text: &str) -> LlmRequest {
    let (meeting, instance) = (MeetingId::new("m").unwrap(), Name::new("i").unwrap());
    LlmRequest::new(Model::Default, vec![LlmMessage::user(text)], 0.0, meeting, instance)
}

#[tokio::test]
async fn a_slow_question_holds_nobody_up_and_is_called_off_with_its_asker() {
    let Setup { models, asked, mut called_off, .. } = setup().await;
    let slow = models.clone();
    let asker = tokio::spawn(async move { slow.complete(question("think")).await });
    asked.notified().await;
    assert_eq!(models.complete(question("hello")).await.unwrap().text, "hi");
    assert!(called_off.try_recv().is_err(), "it is still being thought about");
    asker.abort();
    called_off.recv().await.unwrap();
}

#[tokio::test]
async fn a_provider_that_panics_fails_one_question() {
    let Setup { models, .. } = setup().await;
    match models.complete(question("panic")).await {
        Err(LlmError::Failed(said)) => assert_eq!(said, "its provider panicked"),
        other => panic!("{other:?}"),
    }
    assert_eq!(models.complete(question("hello")).await.unwrap().text, "hi");
}

#[tokio::test]
async fn when_the_actor_stops_nobody_waits() {
    let Setup { models, actor, asked, mut called_off } = setup().await;
    let slow = models.clone();
    let asker = tokio::spawn(async move { slow.complete(question("think")).await });
    asked.notified().await;
    actor.stop(None);
    called_off.recv().await.unwrap();
    for answer in [asker.await.unwrap(), models.complete(question("hello")).await] {
        match answer {
            Err(LlmError::Failed(said)) => assert_eq!(said, "the node answers no questions any more"),
            other => panic!("{other:?}"),
        }
    }
}
