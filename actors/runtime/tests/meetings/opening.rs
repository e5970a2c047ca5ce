//! Opening meetings, one by one, all at once and in a race with everything else; handles of meetings that have
//! ended; resuming all that a store holds.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, TryStreamExt};
use teammy_kernel::{
    MeetingMetadata, Name, Publish, Seq, Store, Timestamp,
    log::Sequencer,
    store::{Epoch, MeetingQuery, MeetingStatus},
};
use teammy_runtime::{
    MeetingRef, Node, PublishError, admin,
    meeting::{Error, StartAt, Subscribe},
    node::{self, Beginning, Opened, ResumeOutcome},
};
use tokio::task::JoinSet;

use super::support::{
    FaultyStore, all_outputs, id, node, probe_toml, publish_durable, start, transcription, value,
};

const TWO: &str = r#"
    [[plugin]]
    name = "probe"
    [[plugin]]
    name = "second"
    kind = "probe"
"#;

fn metadata(meeting: &str) -> MeetingMetadata {
    MeetingMetadata::new(id(meeting))
}

fn word(opened: &Opened) -> &'static str {
    match opened {
        Opened::Started(_) => "started",
        Opened::Resumed(_) => "resumed",
        Opened::Running(_) => "running",
        Opened::Ended(_) => "ended",
        _ => "another",
    }
}

fn numbered(number: u64) -> Publish {
    transcription(&format!("number {number}")).numbered("p", number)
}

/// Eight tasks open a meeting at once. Returns what each got, in the order in which they came back; all can
/// publish to the same log.
async fn eight_open(node: &Arc<Node>, meeting: &str) -> Vec<&'static str> {
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (node, metadata) = (node.clone(), metadata(meeting));
        tasks.spawn(async move {
            let opened = node.open(metadata, ["probe"]).await.unwrap();
            let found = node.meeting(opened.meeting().id());
            assert!(found.is_some(), "an opened meeting runs: {opened:?}");
            let seq = publish_durable(opened.meeting(), "here").await;
            (word(&opened), seq)
        });
    }
    let (mut words, seqs): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().unzip();
    let mut once = seqs.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), 8, "they publish into one log: {seqs:?}");
    words.sort_unstable();
    words
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_tasks_open_one_meeting_a_thousand_times() {
    const EACH: usize = 334;
    let store = FaultyStore::default();
    let first = node(&store, "[[plugin]]\nname = \"probe\"").await;
    for number in 0..EACH {
        let meeting = start(&first, &format!("stored {number}"), &["probe"]).await;
        publish_durable(&meeting, "before").await;
    }
    first.shutdown(Duration::from_mins(1)).await.unwrap();
    let node = Arc::new(node(&store, "[[plugin]]\nname = \"probe\"").await);
    let one = |first: &'static str| {
        let mut words = vec!["running"; 7];
        words.push(first);
        words.sort_unstable();
        words
    };
    for number in 0..EACH {
        let (new, stored) = (format!("new {number}"), format!("stored {number}"));
        assert_eq!(eight_open(&node, &new).await, one("started"), "{new}");
        assert_eq!(eight_open(&node, &stored).await, one("resumed"), "{stored}");
        assert_eq!(eight_open(&node, &new).await, ["running"; 8], "{new}");
        let epochs = (store.row(&new).await.epoch, store.row(&stored).await.epoch);
        assert_eq!(epochs, (Epoch(1), Epoch(2)), "nobody claims a meeting twice");
    }
    assert_eq!(node.meetings().len(), 2 * EACH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn opening_races_with_starting_resuming_and_forgetting() {
    let store = FaultyStore::default();
    let node = Arc::new(node(&store, "[[plugin]]\nname = \"probe\"").await);
    for round in 0..300 {
        let meeting = id(&format!("m {round}"));
        let (opens, starts) = (node.clone(), node.clone());
        let (of, also) = (metadata(meeting.as_str()), metadata(meeting.as_str()));
        let open = tokio::spawn(async move { opens.open(of, ["probe"]).await });
        let start = tokio::spawn(async move { starts.start_meeting(also, ["probe"]).await });
        let (resumes, forgets, same) = (node.clone(), node.clone(), meeting.clone());
        let resume = tokio::spawn(async move { resumes.resume_meeting(&same).await });
        let same = meeting.clone();
        let forget = (round % 3 == 0).then(|| tokio::spawn(async move { forgets.forget(&same).await }));
        // None of them is told that the meeting runs while it does not, and none fails for another's sake.
        let opened = open.await.unwrap().unwrap();
        assert!(matches!(opened, Opened::Started(_) | Opened::Running(_) | Opened::Resumed(_)), "{opened:?}");
        match start.await.unwrap() {
            Ok(_) | Err(node::Error::MeetingExists(_)) => {}
            Err(error) => panic!("{error}"),
        }
        match resume.await.unwrap() {
            Ok(_) | Err(node::Error::Running(_) | node::Error::NoMeeting(_)) => {}
            Err(error) => panic!("{error}"),
        }
        if let Some(forget) = forget {
            forget.await.unwrap().unwrap();
            continue;
        }
        publish_durable(opened.meeting(), "it is not fenced").await;
        assert!(store.row(meeting.as_str()).await.epoch <= Epoch(1), "it was claimed once");
    }
}

#[tokio::test(start_paused = true)]
async fn an_opener_that_gives_up_strands_nobody() {
    for is_applied in [false, true] {
        let store = FaultyStore::default();
        let node = Arc::new(node(&store, &probe_toml("")).await);
        store.hold_creations(is_applied);
        let open = || {
            let node = node.clone();
            tokio::spawn(async move { node.open(metadata("m"), ["probe"]).await.unwrap() })
        };
        let (first, second, third) = (open(), open(), open());
        // Each runs as far as it can.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(node.meeting(&id("m")).is_none());
        first.abort();
        second.abort();
        assert!(first.await.unwrap_err().is_cancelled() && second.await.unwrap_err().is_cancelled());
        store.release_creations();
        let opened = third.await.unwrap();
        // What the first had made before it was dropped is taken over.
        assert_eq!(word(&opened), if is_applied { "resumed" } else { "started" });
        publish_durable(opened.meeting(), "one").await;
        assert_eq!(word(&open().await.unwrap()), "running");
    }
}

#[tokio::test(start_paused = true)]
async fn an_opener_that_fails_fails_alone() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    store.fail_creations(2);
    let open = || node.open(metadata("m"), ["probe"]);
    let (first, second, third, fourth) = tokio::join!(open(), open(), open(), open());
    assert!(matches!(first.unwrap_err(), node::Error::Store(_)));
    assert!(matches!(second.unwrap_err(), node::Error::Store(_)));
    assert_eq!(word(&third.unwrap()), "started");
    assert_eq!(word(&fourth.unwrap()), "running");
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_exists_keeps_what_it_was_started_with() {
    let store = FaultyStore::default();
    let first = node(&store, TWO).await;
    let made = metadata("m").title("made with").label("team", "maps");
    assert_eq!(word(&first.open(made.clone(), ["probe", "probe"]).await.unwrap()), "started");
    let other = metadata("m").title("another").label("team", "charts");
    let members = async |meeting: &MeetingRef| {
        let stats = meeting.stats().await.unwrap();
        stats.instances.iter().map(|instance| instance.name.as_str().to_owned()).collect::<Vec<_>>()
    };
    let running = first.open(other.clone(), ["second"]).await.unwrap();
    assert_eq!((word(&running), running.meeting().metadata()), ("running", &made));
    publish_durable(running.meeting(), "one").await;
    assert_eq!(members(running.meeting()).await, ["probe"]);
    first.shutdown(Duration::from_secs(5)).await.unwrap();

    let second = node(&store, TWO).await;
    // What is wrong with a call is wrong whatever is stored.
    for meeting in ["m", "new"] {
        let error = second.open(metadata(meeting), ["prob"]).await.unwrap_err();
        assert!(matches!(error, node::Error::UnknownInstance { .. }), "{error}");
    }
    let resumed = second.open(other, ["second"]).await.unwrap();
    assert_eq!((word(&resumed), resumed.meeting().metadata()), ("resumed", &made));
    publish_durable(resumed.meeting(), "two").await;
    assert_eq!(members(resumed.meeting()).await, ["probe"]);
    assert_eq!(word(&second.open(metadata("m"), [""; 0]).await.unwrap()), "running");
    let into = resumed.into_meeting();
    into.assign("second").await.unwrap();
    assert_eq!(members(&into).await, ["probe", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_was_lost_is_opened_anew() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let lost = start(&node, "m", &["probe"]).await;
    publish_durable(&lost, "one").await;
    store.inner.claim(id("m"), 10).await.unwrap();
    let receipt = lost.publish(transcription("fenced")).await.unwrap();
    receipt.durable().await.unwrap_err();
    // Its actor may not be off the node's list yet.
    let opened = node.open(metadata("m"), ["probe"]).await.unwrap();
    assert_eq!(word(&opened), "resumed");
    publish_durable(opened.meeting(), "two").await;
}

#[tokio::test(start_paused = true)]
async fn an_ended_meeting_has_a_handle_that_reads_it() {
    let store = FaultyStore::default();
    let first = node(&store, &probe_toml("")).await;
    let meeting = start(&first, "m", &["probe"]).await;
    let mut seqs = Vec::new();
    for number in 1..=3 {
        seqs.push(meeting.publish(numbered(number)).await.unwrap().seq());
    }
    let bad = publish_durable(&meeting, "reject").await;
    meeting.end().await.unwrap();
    let outputs = all_outputs(&meeting).await;
    assert_eq!(
        word(&first.open(metadata("m"), ["probe"]).await.unwrap()),
        "ended",
        "where it has just ended"
    );
    first.shutdown(Duration::from_secs(5)).await.unwrap();

    let node = node(&store, &probe_toml("")).await;
    let opened = node.open(metadata("m").title("another"), ["probe"]).await.unwrap();
    assert_eq!(word(&opened), "ended");
    let meeting = opened.into_meeting();
    assert!(node.meetings().is_empty(), "nothing runs");
    assert_eq!(store.row("m").await.epoch, Epoch(1), "nobody claims it");
    assert_eq!((meeting.id(), &meeting.metadata().title), (&id("m"), &None));

    assert_eq!(all_outputs(&meeting).await, outputs);
    let all: Vec<_> = meeting.packets().try_collect().await.unwrap();
    assert_eq!(all, store.packets("m").await);
    let rest: Vec<_> = meeting.packets_after(bad).try_collect().await.unwrap();
    assert!(!rest.is_empty() && rest.iter().all(|packet| packet.seq > bad));
    let from = Subscribe::to(["transcription", "sound"]).from(StartAt::Start);
    let said: Vec<_> = meeting.subscribe(from).await.unwrap().try_collect().await.unwrap();
    assert_eq!(said.len(), 4);
    assert!(meeting.subscribe(Subscribe::to(["nothing"])).await.is_err());
    assert_eq!(meeting.subscribe(Subscribe::to(["sound"])).await.unwrap().count().await, 0);

    // Repeats get the originals' receipts, and nothing else is accepted.
    for (number, seq) in (1..).zip(&seqs) {
        let receipt = meeting.publish(numbered(number)).await.unwrap();
        assert_eq!(receipt.seq(), *seq);
        assert!(receipt.durable().now_or_never().unwrap().is_ok(), "it is stored already");
        assert_eq!(meeting.try_publish(numbered(number)).await.unwrap().seq(), *seq);
    }
    let receipts = meeting.publish_all((1..=3).map(numbered)).await.unwrap();
    receipts.durable().await.unwrap();
    assert!(receipts.seqs().eq(seqs.iter().copied()) && receipts.iter().len() == 3);
    let ended = |result: Result<_, PublishError>| {
        assert!(matches!(result.unwrap_err(), PublishError::Ended(_)));
    };
    ended(meeting.publish(numbered(4)).await.map(drop));
    ended(meeting.publish(transcription("late")).await.map(drop));
    ended(meeting.try_publish(transcription("late")).await.map(drop));
    ended(meeting.publish_all([numbered(3), transcription("late")]).await.map(drop));
    ended(meeting.stored(Seq(10_000)).await);
    meeting.stored(seqs[2]).await.unwrap();
    let unknown = meeting.publish(Publish::text("nothing", "").unwrap()).await.unwrap_err();
    assert!(matches!(unknown, PublishError::UnknownSource { .. }), "{unknown}");
    assert_eq!((meeting.expects("p").await.unwrap(), meeting.expects("q").await.unwrap()), (4, 1));
    for result in [
        meeting.assign("probe").await,
        meeting.unassign("probe").await,
        meeting.resume_instance("probe").await,
        meeting.end().await,
        meeting.caught_up().await,
    ] {
        assert!(matches!(result.unwrap_err(), Error::Ended(_)));
    }
    assert!(meeting.stats().await.unwrap().instances.is_empty());
    assert_eq!(store.packets("m").await, all, "nothing was written");

    let letters = meeting.dead_letters().await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.seq).collect::<Vec<_>>(), [bad]);
    let redriven = node.redrive(&id("m"), &admin::Redrive::all()).await.unwrap();
    assert_eq!(redriven.count, 1);
    // The handle shows the meeting as it was; a later one shows what came of it.
    redriven.done().await.unwrap();
    assert_eq!(meeting.packets().count().await, all.len());
    let later = node.find_meeting(&id("m")).await.unwrap();
    assert!(later.packets().count().await > all.len());
}

#[tokio::test(start_paused = true)]
async fn a_meeting_is_found_only_if_it_runs_here_or_has_ended() {
    let store = FaultyStore::default();
    let (here, elsewhere) = (node(&store, &probe_toml("")).await, node(&store, &probe_toml("")).await);
    let error = here.find_meeting(&id("m")).await.unwrap_err();
    assert!(matches!(error, node::Error::NoMeeting(_)), "{error}");
    let meeting = start(&elsewhere, "m", &["probe"]).await;
    let error = here.find_meeting(&id("m")).await.unwrap_err();
    assert!(matches!(error, node::Error::NotRunning(_)), "{error}");
    publish_durable(&elsewhere.find_meeting(&id("m")).await.unwrap(), "it runs there").await;
    meeting.end().await.unwrap();
    for node in [here, elsewhere] {
        let ended = node.find_meeting(&id("m")).await.unwrap();
        assert_eq!(ended.outputs().try_collect::<Vec<_>>().await.unwrap().len(), 1);
    }
}

/// Meetings that were created and never began.
async fn create_many(store: &FaultyStore, count: i64) {
    for number in 0..count {
        let instances = vec![Name::new("probe").unwrap()];
        let created = Timestamp::from_second(number).unwrap();
        let made = metadata(&format!("m {number:03}"));
        store.inner.create(made, instances, Seq(Sequencer::BLOCK), created).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn all_open_meetings_are_resumed_and_each_is_reported() {
    let store = FaultyStore::default();
    let first = node(&store, TWO).await;
    for (meeting, instances) in [
        ("plain", vec!["probe"]),
        ("ended", vec!["probe"]),
        ("other team", vec!["probe"]),
        ("two", vec!["probe", "second"]),
    ] {
        let team = if meeting == "other team" { "charts" } else { "maps" };
        let metadata = metadata(meeting).label("team", team);
        let opened = first.open(metadata, instances).await.unwrap();
        publish_durable(opened.meeting(), "one").await;
        if meeting == "ended" {
            opened.meeting().end().await.unwrap();
        }
    }
    first.shutdown(Duration::from_secs(5)).await.unwrap();

    // `second` is not configured here.
    let node = node(&store, &probe_toml("")).await;
    let running = node.open(metadata("running").label("team", "maps"), ["probe"]).await.unwrap();
    publish_durable(running.meeting(), "one").await;
    let is_ours = |row: &teammy_kernel::store::MeetingRecord| row.metadata.labels["team"] == "maps";
    let report = node.resume_all(8, is_ours).await;
    assert!(report.unread.is_none());
    let mut outcomes: Vec<_> = report
        .meetings
        .iter()
        .map(|one| {
            let outcome = match &one.outcome {
                ResumeOutcome::Resumed(meeting) => {
                    assert_eq!(meeting.id(), &one.id);
                    "resumed"
                }
                ResumeOutcome::Running(_) => "running",
                ResumeOutcome::LeftOut => "left out",
                ResumeOutcome::Failed(node::Error::MissingInstance { .. }) => "missing instance",
                outcome => panic!("{outcome:?}"),
            };
            (one.id.as_str(), outcome)
        })
        .collect();
    outcomes.sort_unstable();
    let expected = [
        ("other team", "left out"),
        ("plain", "resumed"),
        ("running", "running"),
        ("two", "missing instance"),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!((report.resumed(), report.running().count(), report.failures().count()), (1, 2, 1));
    for meeting in report.running() {
        publish_durable(meeting, "it goes on").await;
    }
    let epochs = [store.row("other team").await.epoch, store.row("two").await.epoch];
    assert_eq!(epochs, [Epoch(1); 2], "what is not resumed stays with its owner");
}

#[tokio::test(start_paused = true)]
async fn so_many_are_resumed_at_once_and_no_more() {
    for (at_once, expected) in [(0, 1), (1, 1), (32, 32), (1000, 300)] {
        let store = FaultyStore::default();
        create_many(&store, 300).await;
        store.slow_claims();
        let node = node(&store, &probe_toml("")).await;
        let report = node.resume_all(at_once, |_| true).await;
        assert_eq!((report.resumed(), report.meetings.len()), (300, 300));
        let order: Vec<_> = report.meetings.iter().map(|one| one.id.as_str().to_owned()).collect();
        assert!(order.is_sorted_by(|newer, older| newer > older), "the newest first: {order:?}");
        assert_eq!(store.most_claims(), expected, "at most {at_once} at once");
        assert_eq!(node.meetings().len(), 300);
    }
}

#[tokio::test(start_paused = true)]
async fn meetings_with_numbered_publishers_are_resumed_first() {
    let store = FaultyStore::default();
    let first = node(&store, &probe_toml("")).await;
    // More than a page, so that the oldest is on the second one.
    for number in 0..300 {
        let opened = first.open(metadata(&format!("m {number:03}")), ["probe"]).await.unwrap();
        if [0, 150, 299].contains(&number) {
            let packet = Publish::text("chat", "one").unwrap().numbered("backend", 1);
            opened.meeting().publish(packet).await.unwrap().durable().await.unwrap();
        }
    }
    first.shutdown(Duration::from_secs(5)).await.unwrap();
    let node = node(&store, &probe_toml("")).await;
    let mut beginnings = node.beginnings();
    let report = node.resume_all(1, |_| true).await;
    assert_eq!((report.resumed(), report.unread.is_none()), (300, true));
    let mut order = Vec::new();
    for _ in 0..300 {
        let Some(Beginning::Of(id)) = beginnings.next().await else { panic!("{order:?}") };
        order.push(id.as_str()["m ".len()..].parse::<u32>().unwrap());
    }
    assert_eq!(order[..3], [299, 150, 0]);
    assert!(order[3..].is_sorted_by(|newer, older| newer > older), "the newest first: {order:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_between_pages_is_reported() {
    let store = FaultyStore::default();
    create_many(&store, 300).await;
    store.fail_second_page();
    let node = node(&store, &probe_toml("")).await;
    let report = node.resume_all(32, |_| true).await;
    assert!(matches!(report.unread, Some(node::Error::Store(_))));
    assert!(report.resumed() >= 100 && report.resumed() < 300, "{}", report.resumed());
    let again = node.resume_all(32, |_| true).await;
    assert!(again.unread.is_none());
    assert_eq!((again.resumed(), again.running().count()), (300 - report.resumed(), 300));
}

#[tokio::test(start_paused = true)]
async fn rows_say_when_a_meeting_was_created_and_how_far_it_is() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let before = Timestamp::now();
    let meeting = start(&node, "m", &["probe"]).await;
    let seq = publish_durable(&meeting, "one").await;
    let row = store.row("m").await;
    assert!(row.created.unwrap() >= before && row.created.unwrap() <= Timestamp::now());
    assert!(row.last >= seq);
    meeting.end().await.unwrap();
    let last = store.packets("m").await.last().unwrap().seq;
    let query = MeetingQuery::default().statuses([MeetingStatus::Ended]);
    let request = admin::Request::Meetings { query };
    let admin::Response::Meetings(answer) = admin::handle(&node, request).await.unwrap() else { panic!() };
    assert_eq!((answer.meetings.len(), answer.meetings[0].last_seq, &answer.next), (1, last, &None));
    assert_eq!(answer.meetings[0].instances, ["probe"].map(|name| Name::new(name).unwrap()));
    let outputs = all_outputs(&meeting).await;
    assert_eq!(outputs.len(), 1, "{:?}", value(&store.packets("m").await[1]));
}
