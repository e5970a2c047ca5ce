//! A node shuts down once, however often and from wherever it is told to.

use std::{sync::LazyLock, time::Duration};

use futures::FutureExt;
use teammy_config::Config;
use teammy_kernel::{
    Cx, Error, Factory, Hooks, InCallPlugin, Json, MeetingMetadata, Receive, ShutdownCx, StartupCx,
};
use teammy_runtime::{Node, node};
use tokio::sync::Semaphore;

use super::support::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// A plugin whose `on_shutdown` waits for a permit.
struct Slow;

/// One for each `on_shutdown` that may end.
static PERMITS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(0));

impl InCallPlugin for Slow {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = std::convert::Infallible;
    const KIND: &'static str = "slow";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Message>>("transcription")
    }

    async fn on_shutdown(&self, _: &ShutdownCx) -> Result<(), Error> {
        record("slow-shutdown", "begins");
        PERMITS.acquire().await.unwrap().forget();
        record("slow-shutdown", "ends");
        Ok(())
    }
}

impl Receive<Json<Message>> for Slow {
    async fn receive(&self, _: Json<Message>, _: &mut Cx<'_, Self>) -> Result<Option<Self::Output>, Error> {
        Ok(None)
    }
}

fn shutdowns(list: &str) -> usize {
    events(list).iter().filter(|event| *event == "shutdown").count()
}

#[tokio::test(start_paused = true)]
async fn calls_at_the_same_time_and_later_ones_share_one_shutdown() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("shared")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    publish_durable(&meeting, "one").await;
    store.hold_commits();
    let receipt = meeting.publish(transcription("two")).await.unwrap();
    let (mut first, mut second) = (Box::pin(node.shutdown(DEADLINE)), Box::pin(node.shutdown(DEADLINE)));
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    store.release_commits();
    // The second waits for the first, which must be polled meanwhile.
    let (first, second) = futures::join!(first, second);
    first.unwrap();
    second.unwrap();
    receipt.durable().await.unwrap();
    node.shutdown(Duration::ZERO).await.unwrap();
    assert_eq!(shutdowns("shared"), 1);
    assert!(node.meetings().is_empty());
    drop(node);
    assert_eq!(shutdowns("shared"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_continues_where_a_dropped_one_stopped() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("continued")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    store.hold_commits();
    let receipt = meeting.publish(transcription("one")).await.unwrap();
    for _ in 0..3 {
        let cut = tokio::time::timeout(Duration::from_secs(1), node.shutdown(DEADLINE)).await;
        assert!(cut.is_err(), "the meeting cannot store its packet");
    }
    assert_eq!(shutdowns("continued"), 0);
    let refused = node.start_meeting(MeetingMetadata::new(id("n")), ["probe"]).await.unwrap_err();
    assert!(matches!(refused, node::Error::ShutDown), "{refused}");
    store.release_commits();
    node.shutdown(DEADLINE).await.unwrap();
    receipt.durable().await.unwrap();
    assert_eq!(shutdowns("continued"), 1);
}

#[tokio::test]
async fn a_hook_that_a_dropped_call_started_is_awaited_by_the_next_one() {
    let node = Node::builder(Config::from_toml("database.url = \"mem://\"").unwrap())
        .plugin(Factory::of::<Slow>("slow"))
        .start()
        .await
        .unwrap();
    {
        let mut dropped = Box::pin(node.shutdown(Duration::from_hours(1)));
        futures::future::poll_fn(|cx| {
            assert!(dropped.as_mut().poll(cx).is_pending(), "the hook has no permit");
            if events("slow-shutdown").is_empty() {
                cx.waker().wake_by_ref();
            } else {
                return std::task::Poll::Ready(());
            }
            std::task::Poll::Pending
        })
        .await;
    }
    PERMITS.add_permits(2);
    node.shutdown(Duration::from_hours(1)).await.unwrap();
    assert_eq!(events("slow-shutdown"), ["begins", "ends"]);
    assert_eq!(PERMITS.available_permits(), 1, "it ran once");
}

#[tokio::test(start_paused = true)]
async fn every_call_gets_the_deadline_that_passed_first() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("hurried")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    meeting.publish(transcription("hang")).await.unwrap();
    wait_for_event("hurried", "probe hang").await;
    let began = tokio::time::Instant::now();
    let (patient, hasty) =
        futures::join!(node.shutdown(Duration::from_hours(1)), node.shutdown(Duration::from_secs(2)));
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    for result in [patient, hasty, node.shutdown(DEADLINE).await] {
        let error = result.unwrap_err().to_string();
        assert_eq!(error, "the shutdown took longer than 2s; unfinished work was cut off");
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_gets_the_error_of_the_store() {
    let store = FaultyStore::default();
    store.fail_to_close();
    let node = node(&store, &probe_toml("")).await;
    for _ in 0..2 {
        let error = node.shutdown(DEADLINE).await.unwrap_err();
        assert_eq!(teammy_kernel::chain(&error), "the store failed while closing: the disk is gone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_shut_down_takes_no_meetings() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    start(&node, "m", &["probe"]).await;
    node.shutdown(DEADLINE).await.unwrap();
    let says = "the node is shutting down or has shut down: it takes no meetings; start another node";
    let started = node.start_meeting(MeetingMetadata::new(id("n")), ["probe"]).await;
    assert_eq!(started.unwrap_err().to_string(), says);
    assert_eq!(node.resume_meeting(&id("m")).await.unwrap_err().to_string(), says);
    assert_eq!(node.forget(&id("m")).await.unwrap_err().to_string(), says);
    assert!(node.meeting(&id("m")).is_none());
    let another = self::node(&store, &probe_toml("")).await;
    another.resume_meeting(&id("m")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_a_shutdown_overtakes_is_refused_and_can_be_resumed() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    store.hold_creates();
    let mut starting = Box::pin(node.start_meeting(MeetingMetadata::new(id("m")), ["probe"]));
    assert!(starting.as_mut().now_or_never().is_none());
    let mut shutdown = Box::pin(node.shutdown(DEADLINE));
    let _ = shutdown.as_mut().now_or_never();
    store.release_creates();
    let (started, stopped) = futures::join!(starting, shutdown);
    assert!(matches!(started, Err(node::Error::ShutDown)), "{started:?}");
    stopped.unwrap();
    let another = self::node(&store, &probe_toml("")).await;
    another.resume_meeting(&id("m")).await.unwrap();
}

#[tokio::test]
async fn a_node_can_be_dropped_at_any_step_of_a_shutdown() {
    let toml = format!("{}\n[[source]]\nname = \"up\"", probe_toml(""));
    for polls in 0..20 {
        let store = FaultyStore::default();
        store.hold_commits();
        let node = Node::builder(Config::from_toml(&toml).unwrap())
            .plugins([Factory::of::<Probe>("probe")])
            .store(std::sync::Arc::new(store.clone()))
            .start()
            .await
            .unwrap();
        let meeting = start(&node, "m", &["probe"]).await;
        meeting.publish(transcription("one")).await.unwrap();
        let mut shutdown = Box::pin(node.shutdown(DEADLINE));
        for poll in 0..polls {
            if poll == 10 {
                store.release_commits();
            }
            if shutdown.as_mut().now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(shutdown);
        drop(node);
        let error = meeting.publish(transcription("late")).await.unwrap_err().to_string();
        assert!(error.starts_with("meeting m is no longer run by this node: the node "), "{error}");
    }
}
