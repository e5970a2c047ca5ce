//! Remote meetings: an embedder's code does the same through [`MeetingRef::remote`] as through a handle of
//! this node.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::{
    FutureExt, StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use serde_json::json;
use teammy_kernel::{
    DataPacket, MeetingMetadata, Publish, Seq, Timestamp, chain, log::JoinAt, store::DeadLetter,
};
use teammy_runtime::{
    MeetingRef, MeetingStats, Node, Packets, PublishError,
    meeting::{
        Delivered, Error, Instruction, RemoteMeeting, RemoteReceipt, Selection, Slow, StartAt, Subscribe,
        Subscription, WhenFull,
    },
};

use super::support::*;

/// Passes every call on to a meeting of this process, as if a link were between them. It does so with the
/// public API alone, and builds what crosses the link anew.
#[derive(Debug)]
struct Loopback {
    meeting: MeetingRef,
    metadata: MeetingMetadata,
    calls: AtomicUsize,
}

impl Loopback {
    fn new(meeting: MeetingRef) -> Arc<Self> {
        let metadata = meeting.metadata().clone();
        Arc::new(Self { meeting, metadata, calls: AtomicUsize::new(0) })
    }

    fn called(&self) -> &MeetingRef {
        self.calls.fetch_add(1, Ordering::Relaxed);
        &self.meeting
    }
}

impl RemoteMeeting for Loopback {
    fn metadata(&self) -> &MeetingMetadata {
        &self.metadata
    }

    fn created(&self) -> Option<Timestamp> {
        self.meeting.created()
    }

    fn publish(
        &self,
        publish: Publish,
        when_full: WhenFull,
    ) -> BoxFuture<'_, Result<RemoteReceipt, PublishError>> {
        async move {
            let receipt = match when_full {
                WhenFull::Wait => self.called().publish(publish).await?,
                WhenFull::Fail => self.called().try_publish(publish).await?,
            };
            Ok(RemoteReceipt::from(&receipt))
        }
        .boxed()
    }

    fn publish_all(
        &self,
        publishes: Vec<Publish>,
    ) -> BoxFuture<'_, Result<Vec<RemoteReceipt>, PublishError>> {
        async move {
            let receipts = self.called().publish_all(publishes).await?;
            Ok(receipts.iter().map(|receipt| RemoteReceipt::from(&receipt)).collect())
        }
        .boxed()
    }

    fn stored(&self, seq: Seq) -> BoxFuture<'_, Result<(), PublishError>> {
        self.called().stored(seq).boxed()
    }

    fn expects(&self, producer: String) -> BoxFuture<'_, Result<u64, Error>> {
        async move { self.called().expects(&producer).await }.boxed()
    }

    fn numbered(&self, producer: Arc<str>, number: u64) -> BoxFuture<'_, Result<Option<Seq>, Error>> {
        async move { self.called().numbered(&producer, number).await }.boxed()
    }

    fn packets(
        &self,
        selection: Selection,
        after: Seq,
    ) -> BoxStream<'static, Result<Arc<DataPacket>, Error>> {
        match selection {
            Selection::All => self.called().packets_after(after).boxed(),
            Selection::Outputs => self.called().outputs_after(after).boxed(),
        }
    }

    fn subscribe(
        &self,
        subscribe: Subscribe,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Delivered, Error>>, Error>> {
        async move {
            let Subscribe { sources, from, buffer_bytes, slow, .. } = subscribe;
            let subscribe = Subscribe::to(sources).from(from).buffer_bytes(buffer_bytes).slow(slow);
            let subscription = self.called().subscribe(subscribe).await?;
            Ok(subscription.map_ok(|item| Delivered::new(item.packet, item.gap)).boxed())
        }
        .boxed()
    }

    fn instruct(&self, instruction: Instruction) -> BoxFuture<'_, Result<(), Error>> {
        self.called().instruct(instruction).boxed()
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>> {
        async move {
            let letters = serde_json::to_string(&self.called().dead_letters().await?).unwrap();
            Ok(serde_json::from_str(&letters).unwrap())
        }
        .boxed()
    }

    fn stats(&self) -> BoxFuture<'_, Result<MeetingStats, Error>> {
        async move {
            let stats = serde_json::to_string(&self.called().stats().await?).unwrap();
            Ok(serde_json::from_str(&stats).unwrap())
        }
        .boxed()
    }
}

/// A meeting as one form of handle shows it.
struct Scene {
    store: FaultyStore,
    /// It runs the meeting.
    _node: Node,
    meeting: MeetingRef,
}

/// Runs a scenario twice, each time on a node and a store of its own: through the node's handle of the
/// meeting, and through a remote one. Checks that both give the same result, and returns it. In the TOML,
/// `FORM` stands for the form, so that each has event lists of its own.
async fn in_both_forms<T: PartialEq + std::fmt::Debug>(
    toml: &str,
    instances: &[&str],
    scenario: impl AsyncFn(&Scene) -> T,
) -> T {
    let scene = async |is_remote: bool| {
        let store = FaultyStore::default();
        let toml = toml.replace("FORM", if is_remote { "remote" } else { "local" });
        let node = node(&store, &toml).await;
        let local = start(&node, "m", instances).await;
        local.caught_up().await.unwrap();
        let loopback = Loopback::new(local.clone());
        let meeting = if is_remote { MeetingRef::remote(loopback.clone()) } else { local };
        let result = scenario(&Scene { store, _node: node, meeting }).await;
        assert_eq!(loopback.calls.load(Ordering::Relaxed) > 0, is_remote, "calls cross the link");
        result
    };
    let local = scene(false).await;
    let remote = scene(true).await;
    assert_eq!(local, remote, "a remote meeting does the same as a local one");
    local
}

/// An error as programs and people see it: its variant, and its message with the causes.
fn describe(error: impl std::error::Error + 'static) -> String {
    let debug = format!("{error:?}");
    let variant = debug.split([' ', '(', '{']).next().unwrap();
    format!("{variant}: {}", chain(&error))
}

fn describe_result<T: std::fmt::Debug, E: std::error::Error + 'static>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => describe(error),
    }
}

fn line(packet: &DataPacket) -> String {
    format!("{} {} {}", packet.seq, packet.source, value(packet))
}

/// The packets of a stream that ends, and the error that ends it, if one does.
async fn lines(packets: Packets) -> Vec<String> {
    packets.map(|item| item.map_or_else(describe, |packet| line(&packet))).collect().await
}

/// The items of a subscription that are ready now.
fn ready(subscription: &mut Subscription) -> Vec<String> {
    let items = std::iter::from_fn(|| subscription.next().now_or_never()?);
    items
        .map(|item| item.map_or_else(describe, |item| format!("{} after {}", line(&item.packet), item.gap)))
        .collect()
}

fn sound(n: u64) -> Publish {
    Publish::json("sound", &json!({"n": n})).unwrap()
}

fn numbered(number: u64) -> Publish {
    transcription(&number.to_string()).numbered("p", number)
}

#[tokio::test(start_paused = true)]
async fn receipts_have_the_seq_and_tell_when_a_packet_is_stored() {
    let (seqs, errors) = in_both_forms(&probe_toml(""), &[], async |scene| {
        let Scene { store, meeting, .. } = scene;
        store.hold_commits();
        let durable = meeting.publish(transcription("one")).await.unwrap();
        let volatile = meeting.publish(sound(2)).await.unwrap();
        let now = meeting.try_publish(transcription("three")).await.unwrap();
        let all = [transcription("four"), sound(5), transcription("six")];
        let all = meeting.publish_all(all).await.unwrap();
        let only_volatile = meeting.publish_all([sound(7)]).await.unwrap();
        assert!(durable.durable().now_or_never().is_none() && all.durable().now_or_never().is_none());
        assert!(meeting.stored(now.seq()).now_or_never().is_none());
        only_volatile.durable().await.unwrap();
        store.release_commits();
        durable.durable().await.unwrap();
        all.durable().await.unwrap();
        meeting.stored(now.seq()).await.unwrap();
        let stored: Vec<_> = scene.store.packets("m").await.iter().map(|packet| packet.seq).collect();
        assert!(all.seqs().step_by(2).all(|seq| stored.contains(&seq)));
        let mut errors = vec![describe(volatile.durable().await.unwrap_err())];
        errors.extend(
            stream::iter(all.iter())
                .then(async |one| describe_result(one.durable().await))
                .collect::<Vec<_>>()
                .await,
        );
        let mut seqs = vec![durable.seq(), volatile.seq(), now.seq()];
        seqs.extend(all.seqs().chain(only_volatile.seqs()));
        (seqs, errors)
    })
    .await;
    assert_eq!(seqs, (2..=8).map(Seq).collect::<Vec<_>>());
    let volatile = "Volatile: source sound is volatile: its packets are never stored";
    assert_eq!(errors, [volatile, "()", volatile, "()"]);
}

#[tokio::test(start_paused = true)]
async fn numbers_are_accepted_once_and_in_order() {
    let results = in_both_forms(&probe_toml(""), &[], async |Scene { meeting, .. }| {
        let mut results = vec![meeting.expects("p").await.unwrap().to_string()];
        let publish = async |number| {
            let published = meeting.publish(numbered(number)).await;
            describe_result(published.map(|receipt| receipt.seq()))
        };
        for number in [1, 2, 1, 4, 3] {
            results.push(publish(number).await);
        }
        for number in [3, 1, 5, 4] {
            let published = meeting.try_publish(numbered(number)).await;
            results.push(describe_result(published.map(|receipt| receipt.seq())));
        }
        for numbers in [3..=6, 8..=9] {
            let published = meeting.publish_all(numbers.map(numbered)).await;
            results.push(describe_result(published));
        }
        results.push(meeting.expects("p").await.unwrap().to_string());
        results
    })
    .await;
    let expected = |last: u64, next: u64| {
        format!("Expected: the last number of producer p is {last}; number {next} is expected next")
    };
    let repeated = "Repeated: producer p has already published number 1".to_owned();
    let seq = |seq: u64| format!("{:?}", Seq(seq));
    let all = format!("{:?}", [Seq(4), Seq(5), Seq(6), Seq(7)]);
    assert_eq!(
        results,
        [
            "1".to_owned(),
            seq(2),
            seq(3),
            seq(2),
            expected(2, 3),
            seq(4),
            seq(4),
            repeated,
            expected(3, 4),
            seq(5),
            all,
            expected(6, 7),
            "7".to_owned()
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn publishers_wait_or_get_busy_while_the_backlog_is_full() {
    let toml = format!(
        "{}\n[delivery]\nbacklog_bytes = \"4KiB\"\n[limits]\npacket_bytes = \"1KiB\"\n",
        probe_toml("")
    );
    let (accepted, error) = in_both_forms(&toml, &[], async |Scene { store, meeting, .. }| {
        store.hold_commits();
        let mut receipts = Vec::new();
        let error = loop {
            match meeting.try_publish(transcription(&"x".repeat(900))).await {
                Ok(receipt) => receipts.push(receipt),
                Err(error) => break error,
            }
        };
        let large = || transcription(&"y".repeat(900));
        let mut one = meeting.publish(large()).boxed();
        assert!((&mut one).now_or_never().is_none());
        // A dropped call has not published anything.
        assert!(meeting.publish(large()).now_or_never().is_none());
        let mut several = meeting.publish_all([large(), large()]).boxed();
        assert!((&mut several).now_or_never().is_none());
        store.release_commits();
        one.await.unwrap().durable().await.unwrap();
        several.await.unwrap().durable().await.unwrap();
        let stored = store.packets("m").await;
        let stored = stored.iter().filter(|packet| packet.source == "transcription").count();
        assert_eq!(stored, receipts.len() + 3);
        (receipts.len(), describe(error))
    })
    .await;
    assert_eq!((accepted, &*error), (3, "Busy: meeting m is busy: its backlog is full"));
}

#[tokio::test(start_paused = true)]
async fn readers_get_stored_packets_and_can_resume() {
    let [packets, outputs, packets_after, outputs_after] =
        in_both_forms(&probe_toml(""), &["probe"], async |scene| {
            let Scene { store, meeting, .. } = scene;
            let (packets, mut outputs) = (meeting.packets(), meeting.outputs());
            publish_durable(meeting, "one").await;
            meeting.caught_up().await.unwrap();
            let first = outputs.next().await.unwrap().unwrap();
            store.hold_commits();
            meeting.publish(transcription("two")).await.unwrap();
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(outputs.next().now_or_never().is_none(), "readers see stored packets only");
            store.release_commits();
            meeting.end().await.unwrap();
            let rest = lines(outputs).await;
            let outputs = [vec![line(&first)], rest].concat();
            let (packets_after, outputs_after) =
                (meeting.packets_after(first.seq), meeting.outputs_after(first.seq));
            [lines(packets).await, outputs, lines(packets_after).await, lines(outputs_after).await]
        })
        .await;
    assert_eq!(packets.len(), 7, "{packets:?}");
    assert_eq!(outputs, [r#"3 probe {"count":1}"#, r#"5 probe {"count":2}"#]);
    assert_eq!(packets_after, packets[3..]);
    assert_eq!(outputs_after, outputs[1..]);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_the_same() {
    let [from_start, resumed, from_now, live, latest, ended, unknown] =
        in_both_forms(&probe_toml(""), &["probe"], async |Scene { meeting, .. }| {
            let first = publish_durable(meeting, "one").await;
            meeting.caught_up().await.unwrap();
            let durable = Subscribe::to(["transcription", "probe"]);
            let mut from_now = meeting.subscribe(durable.clone()).await.unwrap();
            let from_start = durable.clone().from(StartAt::Start);
            let mut from_start = meeting.subscribe(from_start).await.unwrap();
            let mut resumed = meeting.subscribe(durable.from(StartAt::After(first))).await.unwrap();
            let volatile = Subscribe::to(["sound"]).buffer_bytes(1_000);
            let mut live = meeting.subscribe(volatile.clone()).await.unwrap();
            let latest = Slow::Latest("/n".parse().unwrap());
            let mut latest = meeting.subscribe(Subscribe::to(["sound"]).slow(latest)).await.unwrap();
            let mut ended = meeting.subscribe(volatile.slow(Slow::End)).await.unwrap();
            for n in 0..20 {
                meeting.publish(sound(n % 2)).await.unwrap();
            }
            let live = ready(&mut live);
            let latest = ready(&mut latest);
            let ended = ready(&mut ended);
            publish_durable(meeting, "two").await;
            meeting.end().await.unwrap();
            let unknown = meeting.subscribe(Subscribe::to(["sonud"])).await.unwrap_err();
            let read = [ready(&mut from_start), ready(&mut resumed), ready(&mut from_now)];
            assert!(from_now.next().await.is_none(), "the subscription ends with the meeting");
            let [from_start, resumed, from_now] = read;
            [from_start, resumed, from_now, live, latest, ended, vec![describe(unknown)]]
        })
        .await;
    let expected = [
        r#"2 transcription {"text":"one"} after 0"#,
        r#"3 probe {"count":1} after 0"#,
        r#"24 transcription {"text":"two"} after 0"#,
        r#"25 probe {"count":2} after 0"#,
    ];
    assert_eq!(from_start, expected);
    assert_eq!(resumed, expected[1..]);
    assert_eq!(from_now, expected[2..]);
    assert!(live.len() < 20 && live[0].ends_with(&format!("after {}", 20 - live.len())), "{live:?}");
    assert_eq!(latest, [r#"22 sound {"n":0} after 18"#, r#"23 sound {"n":1} after 0"#]);
    assert_eq!(ended, ["TooSlow: the subscriber to meeting m was too slow"]);
    assert_eq!(unknown, ["UnknownSource: there is no source sonud; did you mean sound?"]);
}

#[tokio::test(start_paused = true)]
async fn instances_join_leave_and_are_resumed() {
    let toml = format!("restart.intensity = 0\n{}", probe_toml("resumed FORM"));
    let (results, log) = in_both_forms(&toml, &[], async |Scene { meeting, .. }| {
        let mut results = Vec::new();
        publish_durable(meeting, "one").await;
        results.push(meeting.unassign("probe").await);
        results.push(meeting.assign("prode").await);
        results.push(meeting.assign_at("probe", JoinAt::Start).await);
        results.push(meeting.assign("probe").await);
        publish_durable(meeting, "two").await;
        results.push(meeting.resume_instance("probe").await);
        results.push(meeting.unassign("probe").await);
        results.push(meeting.assign_at("probe", JoinAt::Start).await);
        results.push(meeting.assign("probe").await);
        publish_durable(meeting, "panic-once").await;
        let packets = meeting.packets().map(Result::unwrap);
        let mut statuses =
            packets.filter(|packet| std::future::ready(packet.source == "plugin-status")).boxed();
        statuses.next().await.unwrap();
        results.push(meeting.unassign("probe").await);
        results.push(meeting.resume_instance("probe").await);
        results.push(meeting.unassign("probe").await);
        meeting.end().await.unwrap();
        let results: Vec<_> = results.into_iter().map(describe_result).collect();
        let sources: Vec<_> =
            meeting.packets().map(|packet| packet.unwrap().source.to_string()).collect().await;
        (results, sources)
    })
    .await;
    let expected = [
        "NotAssigned: probe does not take part in meeting m",
        "UnknownInstance: there is no plugin instance prode; did you mean probe?",
        "()",
        "Assigned: probe takes part in meeting m already",
        "NotSuspended: probe is not suspended in meeting m",
        "()",
        "WasHere: probe took part in meeting m before, so it can only join it from now on",
        "()",
        "Suspended: probe is suspended in meeting m",
        "()",
        "()",
    ];
    assert_eq!(results, expected);
    let outputs = log.iter().filter(|source| *source == "probe").count();
    assert_eq!(outputs, 3, "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_meeting_catches_up_ends_and_shows_its_stats() {
    let (mut stats, errors) =
        in_both_forms(&probe_toml(""), &["probe"], async |Scene { store, meeting, .. }| {
            meeting.publish(transcription("wait-ms 100")).await.unwrap();
            meeting.publish(transcription("reject")).await.unwrap();
            assert!(meeting.caught_up().now_or_never().is_none());
            meeting.caught_up().await.unwrap();
            let stored = store.packets("m").await;
            assert!(stored.iter().any(|packet| packet.source == "probe"), "effects are stored: {stored:?}");
            let letters = meeting.dead_letters().await.unwrap();
            assert_eq!(letters.iter().map(|letter| letter.tries).collect::<Vec<_>>(), [1]);
            let (first, second) = tokio::join!(meeting.end(), meeting.end());
            first.and(second).unwrap();
            let mut stats = meeting.stats().await.unwrap();
            for instance in &mut stats.instances {
                assert!(instance.hook_p50.is_some() && instance.hook_p99.is_some());
                (instance.hook_p50, instance.hook_p99) = (None, None);
            }
            let errors = [
                describe_result(meeting.publish(transcription("late")).await),
                describe_result(meeting.try_publish(transcription("late")).await),
                describe_result(meeting.publish_all([transcription("late")]).await),
                describe_result(meeting.assign("probe").await),
                describe_result(meeting.resume_instance("probe").await),
                describe_result(meeting.caught_up().await),
                describe_result(meeting.end().await),
                describe_result(meeting.stored(Seq(1_000)).await),
            ];
            (stats, errors)
        })
        .await;
    let instance = stats.instances.remove(0);
    assert_eq!((stats.packets, instance.name.as_str()), (2, "probe"));
    assert_eq!((instance.delivered, instance.outputs, instance.dead_letters), (2, 1, 1));
    let ended = "meeting m has ended";
    for error in errors {
        assert_eq!(error, format!("Ended: {ended}"));
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_packets_have_the_same_errors() {
    let errors = in_both_forms(&probe_toml(""), &["probe"], async |Scene { meeting, .. }| {
        let text = |source: &str, bytes: usize| Publish::text(source, "x".repeat(bytes)).unwrap();
        let rejected = [
            text("transcripton", 1),
            text("probe", 1),
            text("chat", (1 << 20) + 1),
            text("chat", 1).participant("x".repeat(1025)),
            text("chat", 1).numbered("", 1),
            text("sound", 1).numbered("p", 1),
        ];
        let mut errors = Vec::new();
        for publish in rejected {
            let error = describe(meeting.publish(publish.clone()).await.unwrap_err());
            assert_eq!(describe(meeting.try_publish(publish.clone()).await.unwrap_err()), error);
            let both = meeting.publish_all([transcription("valid"), publish]).await;
            assert_eq!(describe(both.unwrap_err()), error);
            errors.push(error);
        }
        assert_eq!(meeting.stats().await.unwrap().packets, 0, "none is published");
        errors
    })
    .await;
    let variants: Vec<_> = errors.iter().map(|error| error.split(':').next().unwrap()).collect();
    let expected =
        ["UnknownSource", "NotExternal", "TooLarge", "ParticipantTooLong", "BadNumber", "NumberedVolatile"];
    assert_eq!(variants, expected);
}

#[tokio::test(start_paused = true)]
async fn a_lost_meeting_has_the_same_errors() {
    let errors = in_both_forms(&probe_toml(""), &["probe"], async |Scene { store, meeting, .. }| {
        publish_durable(meeting, "one").await;
        meeting.caught_up().await.unwrap();
        let mut subscription = meeting.subscribe(Subscribe::to(["transcription"])).await.unwrap();
        store.hold_commits();
        let receipt = meeting.publish(transcription("two")).await.unwrap();
        teammy_kernel::Store::claim(&store.inner, id("m"), 1_000).await.unwrap();
        store.release_commits();
        vec![
            describe_result(receipt.durable().await),
            describe_result(meeting.stored(receipt.seq()).await),
            describe_result(meeting.publish(transcription("three")).await),
            describe_result(meeting.end().await),
            describe_result(meeting.caught_up().await),
            describe_result(subscription.next().await.unwrap()),
            lines(meeting.packets()).await.pop().unwrap(),
        ]
    })
    .await;
    let gone = "meeting m is no longer run by this node: another owner has taken it over";
    for error in errors {
        assert_eq!(error, format!("Gone: {gone}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_remote_handle_shows_what_the_local_one_shows() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let metadata = MeetingMetadata::new(id("m")).title("Weekly").label("team", "maps");
    let local = node.start_meeting(metadata, ["probe"]).await.unwrap();
    let remote = MeetingRef::remote(Loopback::new(local.clone()));
    assert_eq!((remote.id(), remote.metadata()), (local.id(), local.metadata()));
    assert_eq!(format!("{remote:?}"), format!("{local:?}"));
    let by_remote = publish_durable(&remote, "one").await;
    let by_local = publish_durable(&local, "two").await;
    assert!(by_remote < by_local, "both publish to the same log");
    remote.publish(numbered(1)).await.unwrap();
    assert_eq!(local.expects("p").await.unwrap(), remote.expects("p").await.unwrap());
    remote.end().await.unwrap();
    assert_eq!(local.stats().await.unwrap(), remote.stats().await.unwrap());
    assert_eq!(lines(local.packets()).await, lines(remote.packets()).await);
    assert_eq!(lines(local.outputs()).await, lines(remote.outputs()).await);
}
