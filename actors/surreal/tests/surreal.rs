//! Runs the store conformance suite on the SurrealDB store, and tests what only this store has: directories,
//! locks, schema versions.
//!
//! All tests that link SurrealDB are in this one file, because linking it takes longer than running them.
#![allow(clippy::unwrap_used, reason = "functions beside the tests are test code too")]

#[cfg(unix)]
#[path = "surreal/crashes.rs"]
mod crashes;
#[cfg(unix)]
#[path = "surreal/leases.rs"]
mod leases;
#[cfg(unix)]
#[path = "surreal/over_ws.rs"]
mod over_ws;
#[cfg(unix)]
#[path = "surreal/proxy.rs"]
mod proxy;
#[cfg(unix)]
#[path = "surreal/server.rs"]
mod server;
#[cfg(unix)]
#[path = "surreal/sign_in.rs"]
mod sign_in;
#[path = "surreal/versions.rs"]
mod versions;

use std::{fs, path::Path, sync::Arc};

use surrealdb::types::Value;
use teammy_kernel::{
    DataPacket, Lifecycle, MeetingId, MeetingMetadata, Name, Payload, Producer, Publish, Seq, Store,
    Timestamp, chain,
    store::{
        Commit, Epoch, Error, Mark, MeetingQuery, MeetingStatus, Outcome, PacketQuery, Take,
        conformance::Fixture,
    },
};
use teammy_surreal::{self as surreal, OpenError, Options, SurrealStore};

async fn open_directory(path: &Path) -> SurrealStore {
    surreal::open(Options::new(url(path))).await.unwrap()
}

fn url(path: &Path) -> String {
    format!("surrealkv://{}", path.display())
}

mod in_a_directory {
    use super::{Arc, Fixture, Store, open_directory};

    async fn directory() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let store = open_directory(&path).await;
        Fixture::new(store)
            .reopen(move || {
                let path = path.clone();
                async move { Arc::new(open_directory(&path).await) as Arc<dyn Store> }
            })
            .keep(directory)
    }

    teammy_kernel::store_conformance!(directory());
}

fn meeting(id: &str) -> MeetingId {
    MeetingId::new(id).unwrap()
}

/// A commit of `count` packets whose seqs begin with `from`.
fn commit(id: &str, number: u64, from: u64, count: u64) -> Commit {
    let mut commit = Commit::new(meeting(id), Epoch(1), number, Seq(from + count));
    commit.packets = (from..from + count)
        .map(|seq| {
            let at = Timestamp::from_second(1_700_000_000 + i64::try_from(seq).unwrap()).unwrap();
            let publish = Publish::json_text("chat", format!("{{\"text\":\"{seq}\"}}")).unwrap();
            Arc::new(publish.participant("Ada").into_packet(meeting(id), Seq(seq), at))
        })
        .collect();
    commit
}

async fn create(store: &SurrealStore, id: &str) {
    store.create(MeetingMetadata::new(meeting(id)), vec![], Seq(1_000), Timestamp::UNIX_EPOCH).await.unwrap();
}

/// The ids of all meetings that match a query, page by page.
async fn listed(store: &SurrealStore, mut query: MeetingQuery) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let page = store.meetings(query.clone()).await.unwrap();
        ids.extend(page.meetings.iter().map(|row| row.metadata.id.as_str().to_owned()));
        let Some(next) = page.next else { return ids };
        assert!(query.after.as_ref().is_none_or(|after| *after < next), "a page goes on from the one before");
        query.after = Some(next);
    }
}

#[tokio::test]
async fn a_directory_is_made_with_its_parents_and_free_after_close() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("not/there yet/ü db");
    for round in 1..=3 {
        let store = open_directory(&path).await;
        if round == 1 {
            create(&store, "m").await;
        }
        assert_eq!(store.commit(&[commit("m", round, round * 10, 1)]).await.unwrap(), [Outcome::Applied]);
        assert_eq!(store.packets(meeting("m"), PacketQuery::default()).await.unwrap().len() as u64, round);
        // The directory is free although another clone was not dropped.
        let clone = store.clone();
        store.close().await.unwrap();
        clone.close().await.unwrap();
        let refused = clone.commit(&[commit("m", 9, 90, 1)]).await.unwrap_err();
        assert!(matches!(refused, Error::Failed { .. }), "{refused:?}");
        assert!(chain(&refused).ends_with("the store is closed"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_directory_that_is_open_elsewhere_is_locked() {
    let directory = tempfile::tempdir().unwrap();
    let holder = open_directory(directory.path()).await;
    let error = surreal::open(Options::new(url(directory.path()))).await.unwrap_err();
    assert!(matches!(&error, OpenError::Locked { path } if path == directory.path()), "{error:?}");
    let message = error.to_string();
    let expected = format!(
        "another process holds the database {}; stop it, or use another --db",
        directory.path().display()
    );
    assert_eq!(message, expected);
    holder.close().await.unwrap();
    open_directory(directory.path()).await.close().await.unwrap();
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = surreal::open(Options::new(url(&path))).await.unwrap_err();
        assert!(matches!(&error, OpenError::Directory { path: named, .. } if *named == path), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "not a directory");
}

#[tokio::test]
async fn a_url_that_makes_no_sense_is_refused_without_its_secrets() {
    for url in [
        "",
        "mem",
        "mem://",
        "surrealkv://",
        "surrealkv://?sync=never",
        "ws://",
        "http://localhost",
        "rocksdb://x",
    ] {
        let error = surreal::open(Options::new(url)).await.unwrap_err();
        assert!(matches!(error, OpenError::Url { .. }), "{url:?}: {error:?}");
        assert!(error.to_string().contains("surrealkv://DIRECTORY"), "{error}");
    }
    let mut options = Options::new("ws://root:hunter2@localhost:8000");
    options.password = Some("hunter2".to_owned());
    assert!(!format!("{options:?}").contains("hunter2"), "{options:?}");
    let error = surreal::open(options).await.unwrap_err();
    assert!(matches!(error, OpenError::Url { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    // Nothing listens on this port.
    let port = 1;
    let error = surreal::open(Options::new(format!("ws://127.0.0.1:{port}"))).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("ws://127.0.0.1:{port}")), "{error}");
}

/// Runs a plain query on a store's directory, as an operator would.
async fn by_hand(path: &Path, text: &str) -> Value {
    let datastore = surrealdb_core::kvs::Datastore::builder()
        .without_maintenance_tasks()
        .build_with_path(&url(path))
        .await;
    let datastore = datastore.unwrap();
    datastore.check_version().await.unwrap();
    let db =
        surrealdb::Surreal::<surrealdb::engine::local::Db>::unstable_from_datastore(datastore.clone(), None);
    let db = db.await.unwrap();
    db.use_ns("teammy").use_db("teammy").await.unwrap();
    let value = db.query(text).await.unwrap().check().unwrap().take(0).unwrap();
    drop(db);
    // The SDK's task shuts the engine down after its last client, and the directory is free when that has ended.
    while Arc::strong_count(&datastore) > 1 {
        tokio::task::yield_now().await;
    }
    value
}

#[tokio::test]
async fn a_database_from_before_packets_were_numbered_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_directory(directory.path()).await;
    create(&store, "m").await;
    store.commit(&[commit("m", 1, 1, 3)]).await.unwrap();
    store.close().await.unwrap();
    by_hand(directory.path(), "REMOVE TABLE mark").await;
    by_hand(directory.path(), "REMOVE TABLE numbered").await;
    by_hand(directory.path(), "UPDATE teammy:schema SET version = 1").await;

    let store = open_directory(directory.path()).await;
    assert_eq!(store.packets(meeting("m"), PacketQuery::default()).await.unwrap().len(), 3);
    assert_eq!(store.marks(meeting("m")).await.unwrap(), []);
    assert_eq!(store.numbered(meeting("m"), "p".into(), 1).await.unwrap(), None);
    let mut next = commit("m", 2, 4, 1);
    Arc::make_mut(&mut next.packets[0]).producer = Some(Producer { id: "p".into(), number: 1 });
    assert_eq!(store.commit(&[next]).await.unwrap(), [Outcome::Applied]);
    let mark = Mark { producer: "p".into(), number: 1, seq: Seq(4) };
    assert_eq!(store.marks(meeting("m")).await.unwrap(), [mark]);
    assert_eq!(store.numbered(meeting("m"), "p".into(), 1).await.unwrap(), Some(Seq(4)));
    store.close().await.unwrap();
    let version = by_hand(directory.path(), "SELECT VALUE version FROM teammy:schema").await;
    assert_eq!(version.into_array().unwrap().into_vec(), [Value::Number(6.into())]);
}

/// A commit with packets of source `meeting`, and others between them.
fn lifecycle_commit(id: &str) -> Commit {
    let mut commit = commit(id, 1, 1, 200);
    let events = [
        (1, Lifecycle::Start { instances: vec![], setups: std::collections::BTreeMap::new() }),
        (90, Lifecycle::Join { instance: Name::new("late").unwrap(), setup: None }),
        (200, Lifecycle::Ending),
    ];
    for (seq, event) in events {
        let packet = Arc::make_mut(&mut commit.packets[seq - 1]);
        packet.source = Name::new(Lifecycle::SOURCE).unwrap();
        packet.payload = event.to_payload();
    }
    commit
}

/// The stored packets of source `meeting`, read as a new owner reads them.
async fn stored_lifecycle(store: &SurrealStore, id: &str) -> Vec<Arc<DataPacket>> {
    let own = PacketQuery::default().sources(vec![Name::new(Lifecycle::SOURCE).unwrap()]);
    store.packets(meeting(id), own).await.unwrap()
}

#[tokio::test]
async fn a_database_from_before_the_lifecycle_table_gets_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_directory(directory.path()).await;
    for id in ["m", "n"] {
        create(&store, id).await;
        store.commit(&[lifecycle_commit(id)]).await.unwrap();
    }
    let before = stored_lifecycle(&store, "n").await;
    let seqs: Vec<_> = before.iter().map(|packet| packet.seq.0).collect();
    assert_eq!(seqs, [1, 90, 200]);
    store.close().await.unwrap();
    by_hand(directory.path(), "REMOVE TABLE lifecycle").await;
    // As if an earlier upgrade had been interrupted while it copied the first meeting.
    let copied = "CREATE lifecycle:['m', 1] CONTENT (SELECT * OMIT id FROM ONLY packet:['m', 1])";
    by_hand(directory.path(), copied).await;
    by_hand(directory.path(), "UPDATE teammy:schema SET version = 2").await;

    let store = open_directory(directory.path()).await;
    assert_eq!(stored_lifecycle(&store, "n").await, before);
    let seqs: Vec<_> = stored_lifecycle(&store, "m").await.iter().map(|packet| packet.seq.0).collect();
    assert_eq!(seqs, [1, 90, 200]);
    let mut next = commit("m", 2, 201, 1);
    let packet = Arc::make_mut(&mut next.packets[0]);
    packet.source = Name::new(Lifecycle::SOURCE).unwrap();
    packet.payload = Lifecycle::Ended.to_payload();
    assert_eq!(store.commit(&[next]).await.unwrap(), [Outcome::Applied]);
    assert_eq!(stored_lifecycle(&store, "m").await.last().unwrap().seq, Seq(201));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_database_from_before_meetings_were_listed_lists_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_directory(directory.path()).await;
    // Of these, one runs, one has ended, one was never started, and one is from before rows had a last seq.
    for id in ["runs", "ended", "blank", "old"] {
        create(&store, id).await;
    }
    for (id, status) in
        [("runs", MeetingStatus::Running), ("ended", MeetingStatus::Ended), ("old", MeetingStatus::Ending)]
    {
        let mut commit = lifecycle_commit(id);
        commit.status = status;
        for packet in &mut commit.packets {
            // Meetings come in the order of their ids' lengths.
            let day = i64::try_from(id.len()).unwrap() * 86_400;
            Arc::make_mut(packet).received_at = Timestamp::from_second(1_700_000_000 + day).unwrap();
        }
        assert_eq!(store.commit(&[commit]).await.unwrap(), [Outcome::Applied]);
    }
    store.close().await.unwrap();
    by_hand(directory.path(), "UPDATE meeting UNSET created, place").await;
    by_hand(directory.path(), "UPDATE meeting:['old'] UNSET last").await;
    for table in ["listed", "open"] {
        by_hand(directory.path(), &format!("REMOVE TABLE {table}")).await;
    }
    // As if an earlier upgrade had been interrupted.
    by_hand(directory.path(), "DEFINE TABLE listed SCHEMALESS").await;
    by_hand(
        directory.path(),
        "LET $row = UPDATE ONLY meeting:['ended'] SET created = d'2023-11-19T22:13:20Z', place = [-1700432000, 999999999, 'ended'];
         CREATE type::record('listed', $row.place)",
    )
    .await;
    by_hand(directory.path(), "UPDATE teammy:schema SET version = 3").await;

    for _ in 0..2 {
        let store = open_directory(directory.path()).await;
        assert_eq!(listed(&store, MeetingQuery::default().limit(2)).await, ["ended", "runs", "old", "blank"]);
        assert_eq!(listed(&store, MeetingQuery::open()).await, ["runs", "old", "blank"]);
        let created = store.meeting(meeting("runs")).await.unwrap().unwrap().created.unwrap();
        assert_eq!(created, Timestamp::from_second(1_700_000_000 + 4 * 86_400).unwrap());
        assert_eq!(listed(&store, MeetingQuery::default().from(created)).await, ["ended", "runs"]);
        assert_eq!(listed(&store, MeetingQuery::default().to(created)).await, ["old"]);
        for (id, last) in [("runs", 200), ("ended", 200), ("old", 200), ("blank", 0)] {
            assert_eq!(store.meeting(meeting(id)).await.unwrap().unwrap().last, Seq(last), "{id}");
        }
        store.close().await.unwrap();
    }
    // What the upgrade listed ends and is forgotten like any other.
    let store = open_directory(directory.path()).await;
    let mut end = commit("old", 2, 201, 1);
    end.status = MeetingStatus::Ended;
    assert_eq!(store.commit(&[end]).await.unwrap(), [Outcome::Applied]);
    assert!(store.forget(meeting("blank")).await.unwrap());
    assert_eq!(listed(&store, MeetingQuery::open()).await, ["runs"]);
    assert_eq!(listed(&store, MeetingQuery::default()).await, ["ended", "runs", "old"]);
    store.close().await.unwrap();
    let left = by_hand(directory.path(), "SELECT VALUE record::id(id)[2] FROM open").await;
    assert_eq!(left.into_array().unwrap().into_vec(), [Value::String("runs".to_owned())]);
    let left = by_hand(directory.path(), "SELECT VALUE record::id(id)[2] FROM listed").await;
    assert_eq!(left.into_array().unwrap().into_vec().len(), 3);
}

#[tokio::test]
async fn history_can_be_queried_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_directory(directory.path()).await;
    create(&store, "Bed015").await;
    store.commit(&[commit("Bed015", 1, 1, 20)]).await.unwrap();
    store.close().await.unwrap();
    let said = by_hand(
        directory.path(),
        "SELECT VALUE encoding::json::decode(payload).text FROM packet:['Bed015', 5]..['Bed015', 8]
         WHERE source = 'chat' AND participant = 'Ada' AND timestamp > d'2023-11-14T22:13:25Z'",
    );
    assert_eq!(
        said.await.into_array().unwrap().into_vec(),
        ["6", "7"].map(|text| Value::String(text.to_owned()))
    );
    // A newer planner of SurrealDB must still read ranges by range scans, in the log's order.
    for (text, sorted) in [
        ("EXPLAIN SELECT * FROM packet:['Bed015', 5]..['Bed015', 8] ORDER BY id LIMIT 3", false),
        (
            "EXPLAIN SELECT * FROM packet:['Bed015', 5]..['Bed015', 8] WHERE source IN ['chat'] ORDER BY id LIMIT 3",
            false,
        ),
        ("EXPLAIN SELECT * FROM packet:['Bed015', 5]..['Bed015', 8] ORDER BY id DESC LIMIT 3", true),
    ] {
        let plan = format!("{:?}", by_hand(directory.path(), text).await);
        assert!(plan.contains("RecordIdScan"), "{plan}");
        assert_eq!(plan.contains("Sort"), sorted, "{plan}");
    }
}

#[tokio::test]
async fn packets_are_found_across_holes() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_directory(directory.path()).await;
    create(&store, "m").await;
    // A few packets at the start, one far behind them, and a much higher reservation.
    store.commit(&[commit("m", 1, 1, 30)]).await.unwrap();
    let mut far = commit("m", 2, 40_000_000, 1);
    far.reserved = Seq(9_000_000_000);
    store.commit(&[far]).await.unwrap();
    for (count, expected) in [(1, vec![40_000_000]), (3, vec![29, 30, 40_000_000])] {
        let query = PacketQuery::default().take(Take::Last(count));
        let read = store.packets(meeting("m"), query).await.unwrap();
        assert_eq!(read.iter().map(|packet| packet.seq.0).collect::<Vec<_>>(), expected);
    }
    let query = PacketQuery::range(Seq(29), Seq::MAX).take(Take::First(3));
    let read = store.packets(meeting("m"), query).await.unwrap();
    assert_eq!(read.iter().map(|packet| packet.seq.0).collect::<Vec<_>>(), [29, 30, 40_000_000]);
    let query = PacketQuery::default().take(Take::Last(5)).sources(vec![Name::new("audio").unwrap()]);
    assert_eq!(store.packets(meeting("m"), query).await.unwrap(), []);
}

#[tokio::test]
async fn numbers_that_do_not_fit_fail_without_a_trace() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_directory(directory.path()).await;
    create(&store, "m").await;
    let mut high = commit("m", 1, 1, 2);
    Arc::make_mut(&mut high.packets[1]).seq = Seq(u64::MAX);
    let error = store.commit(&[high]).await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error:?}");
    assert!(chain(&error).contains("committing 1 of meeting m"), "{error:?}");
    let error = store.claim(meeting("m"), u64::MAX).await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error:?}");
    // The sum that the database computes may pass the limit too.
    let error = store.claim(meeting("m"), i64::MAX as u64).await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error:?}");
    let row = store.meeting(meeting("m")).await.unwrap().unwrap();
    assert_eq!((row.epoch, row.commit, row.reserved), (Epoch(1), 0, Seq(1_000)));
}

#[tokio::test]
async fn no_transaction_outgrows_the_memtable() {
    const MEMTABLE: u64 = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(url(directory.path()));
    options.memtable = Some(MEMTABLE);
    let store = surreal::open(options.clone()).await.unwrap();
    let with_text = |id: &str, number, bytes: usize| {
        let mut commit = commit(id, number, number, 1);
        Arc::make_mut(&mut commit.packets[0]).payload = Payload::Text("x".repeat(bytes).into());
        commit
    };
    // A commit that is too large on its own is rejected with its whole batch, before anything is written.
    for id in ["m", "n"] {
        create(&store, id).await;
    }
    let error = store.commit(&[commit("n", 1, 1, 1), with_text("m", 1, 1 << 20)]).await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error:?}");
    assert!(chain(&error).contains("raise the memtable"), "{}", chain(&error));
    for id in ["m", "n"] {
        assert_eq!(store.meeting(meeting(id)).await.unwrap().unwrap().commit, 0);
    }
    // Commits near the limit: one long text, or many short packets.
    assert_eq!(store.commit(&[with_text("m", 1, 500_000)]).await.unwrap(), [Outcome::Applied]);
    assert_eq!(store.commit(&[commit("n", 1, 1, 700)]).await.unwrap(), [Outcome::Applied]);
    let error = store.commit(&[commit("n", 2, 701, 800)]).await.unwrap_err();
    assert!(chain(&error).contains("raise the memtable"), "{}", chain(&error));
    // The rows of numbered packets count too.
    create(&store, "numbered").await;
    let by_many = |number, from, count| {
        let mut commit = commit("numbered", number, from, count);
        for packet in &mut commit.packets {
            let id = format!("{}{}", "p".repeat(200), packet.seq).into();
            Arc::make_mut(packet).producer = Some(Producer { id, number: 1 });
        }
        commit
    };
    assert_eq!(store.commit(&[by_many(1, 1, 150)]).await.unwrap(), [Outcome::Applied]);
    let error = store.commit(&[by_many(2, 151, 300)]).await.unwrap_err();
    assert!(chain(&error).contains("raise the memtable"), "{}", chain(&error));
    // A batch that is too large as a whole is split, and its outcomes keep their order.
    let ids: Vec<String> = (0..9).map(|index| format!("part {index}")).collect();
    for id in &ids {
        create(&store, id).await;
    }
    store.claim(meeting(&ids[4]), 1).await.unwrap();
    let batch: Vec<Commit> = ids.iter().map(|id| with_text(id, 1, 200_000)).collect();
    let outcomes = store.commit(&batch).await.unwrap();
    for (index, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome, if index == 4 { Outcome::Fenced } else { Outcome::Applied }, "{index}");
    }
    store.close().await.unwrap();
    let store = surreal::open(options).await.unwrap();
    assert_eq!(store.marks(meeting("numbered")).await.unwrap().len(), 150);
    for (index, id) in ids.iter().enumerate() {
        let packets = store.packets(meeting(id), PacketQuery::default()).await.unwrap();
        assert_eq!(packets.len(), usize::from(index != 4));
    }
    store.close().await.unwrap();
}
