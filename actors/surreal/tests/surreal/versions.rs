//! Programs and databases of different schema versions.

use std::{path::Path, sync::Arc, time::Duration};

use surrealdb::types::Value;
use teammy_kernel::{
    Lifecycle, MeetingMetadata, Name, Producer, Seq, Store, Timestamp,
    store::{
        AccountId, AccountRecord, Commit, DeadLetter, Epoch, Incarnation, InstanceRecord, InstanceStatus,
        KeyWrite, Mark, MeetingQuery, Outcome, PacketQuery,
    },
};
use teammy_surreal::{self as surreal, Options};

use super::{by_hand, commit, create, lifecycle_commit, listed, meeting, open_directory, url};

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_directory(directory.path()).await;
    create(&store, "m").await;
    store.close().await.unwrap();
    // One that needs programs of version 7, and one that doesn't say what it needs.
    for (column, needed) in [("compatible_from = 7", 7), ("compatible_from = NONE", 8)] {
        by_hand(directory.path(), &format!("UPDATE teammy:schema SET version = 8, {column}")).await;
        for _ in 0..2 {
            let error = surreal::open(Options::new(url(directory.path()))).await.unwrap_err();
            let expected = format!(
                "the database {} has schema version 8, which programs of version {needed} and newer can use, and this \
                 program has version 6; use a newer version of the program",
                url(directory.path())
            );
            assert_eq!(error.to_string(), expected);
        }
        let version = by_hand(directory.path(), "SELECT VALUE version FROM teammy:schema").await;
        assert_eq!(version.into_array().unwrap().into_vec(), [Value::Number(8.into())]);
    }
    by_hand(directory.path(), "UPDATE teammy:schema SET version = 6").await;
    let store = open_directory(directory.path()).await;
    assert_eq!(listed(&store, MeetingQuery::default()).await, ["m"]);
    store.close().await.unwrap();
}

/// Adds a column to all rows, as the next version may.
async fn add_a_column(path: &Path, tables: &[&str]) {
    for table in tables {
        by_hand(path, &format!("UPDATE {table} SET added = 'by version 7'")).await;
    }
}

fn instance() -> Name {
    Name::new("i").unwrap()
}

/// A commit of 200 packets that writes rows of each kind.
fn everything(number: u64, from: u64, epoch: u64) -> Commit {
    let mut commit = commit("m", number, from, 200);
    commit.epoch = Epoch(epoch);
    for (number, packet) in (from..).zip(&mut commit.packets) {
        Arc::make_mut(packet).producer = Some(Producer { id: "p".into(), number });
    }
    let first = Arc::make_mut(&mut commit.packets[0]);
    (first.source, first.payload) = (Name::new(Lifecycle::SOURCE).unwrap(), Lifecycle::Ending.to_payload());
    let state = Some(Arc::from(number.to_string()));
    commit.instances.push(InstanceRecord {
        instance: instance(),
        cursor: Seq(from),
        joined: Seq(1),
        status: InstanceStatus::Active,
        state: state.clone(),
    });
    commit.keys.push(KeyWrite { instance: instance(), key: "k".to_owned(), value: state });
    commit.dead_letters.push(DeadLetter {
        instance: instance(),
        seq: Seq(2),
        source: Name::new("chat").unwrap(),
        tries: u32::try_from(number).unwrap(),
        error: "wrong".to_owned(),
        at: Timestamp::UNIX_EPOCH,
    });
    commit
}

#[tokio::test]
async fn a_database_that_the_next_version_has_added_to_is_used_and_its_additions_stay() {
    const TABLES: [&str; 13] = [
        "meeting",
        "listed",
        "open",
        "packet",
        "lifecycle",
        "numbered",
        "mark",
        "state",
        "kv",
        "dead_letter",
        "account",
        "lease",
        "owned",
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let node = Incarnation { node: Name::new("north").unwrap(), boot: 1 };
    let ttl = Duration::from_hours(1);
    let store = open_directory(path).await;
    let leases = store.leases();
    assert!(leases.take_lease(node.clone(), ttl, "{}".into()).await.unwrap());
    let metadata = MeetingMetadata::new(meeting("m"));
    leases.create_as(node.clone(), metadata, vec![], Seq(1_000), Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(store.commit(&[everything(1, 1, 1)]).await.unwrap(), [Outcome::Applied]);
    let account = AccountRecord::absent(AccountId { meeting: Some(meeting("m")), key: "a".to_owned() });
    assert!(store.replace_accounts(vec![account.clone()]).await.unwrap());
    store.close().await.unwrap();
    add_a_column(path, &TABLES).await;
    by_hand(path, "CREATE extra:1 SET value = 1").await;
    by_hand(path, "UPDATE teammy:schema SET version = 7, added = 'by version 7'").await;
    let added = async |table: &str| {
        let rows = by_hand(path, &format!("SELECT VALUE id FROM {table} WHERE added = 'by version 7'")).await;
        rows.into_array().unwrap().into_vec().len()
    };
    let mut before = Vec::new();
    for table in TABLES {
        before.push(added(table).await);
    }
    assert!(before.iter().all(|rows| *rows > 0), "{before:?}");

    for round in 2..=3 {
        let store = open_directory(path).await;
        let leases = store.leases();
        assert!(
            leases.renew_lease(node.clone(), ttl, format!("{{\"round\":{round}}}").into()).await.unwrap()
        );
        let claimed = leases.claim_as(node.clone(), meeting("m"), 1_000).await.unwrap();
        assert_eq!(claimed.epoch, Epoch(round));
        let next = everything(round, round * 1_000, round);
        assert_eq!(store.commit(&[next]).await.unwrap(), [Outcome::Applied]);
        assert_eq!(leases.owned(node.clone(), 9).await.unwrap(), [meeting("m")]);
        assert_eq!(listed(&store, MeetingQuery::open()).await, ["m"]);
        let packets = store.packets(meeting("m"), PacketQuery::default()).await.unwrap();
        assert_eq!(packets.len() as u64, round * 200);
        let mark = Mark { producer: "p".into(), number: round * 1_000 + 199, seq: Seq(round * 1_000 + 199) };
        assert_eq!(store.marks(meeting("m")).await.unwrap(), [mark]);
        let value = store.get(meeting("m"), instance(), "k".to_owned()).await.unwrap();
        assert_eq!(value, Some(round.to_string().into()));
        let account = store.accounts(vec![account.id.clone()]).await.unwrap();
        assert_eq!(account[0].version, round - 1);
        assert!(store.replace_accounts(account).await.unwrap());
        store.close().await.unwrap();
        for (table, before) in TABLES.iter().zip(&before) {
            let left = added(table).await;
            // A claim notes its owner anew.
            assert_eq!(left, if *table == "owned" { 0 } else { *before }, "{table}");
        }
    }
    let schema = by_hand(path, "SELECT VALUE [version, compatible_from, added] FROM teammy:schema").await;
    let expected = "Array([Number(Int(7)), Number(Int(6)), String(\"by version 7\")])";
    assert!(format!("{schema:?}").contains(expected), "{schema:?}");
    let extra = by_hand(path, "SELECT VALUE value FROM extra").await;
    assert_eq!(extra.into_array().unwrap().into_vec(), [Value::Number(1.into())]);
    let store = open_directory(path).await;
    assert!(store.forget(meeting("m")).await.unwrap());
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_upgrade_leaves_alone_what_another_node_has_made_since() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_directory(directory.path()).await;
    let created = Timestamp::from_second(1_600_000_000).unwrap();
    store.create(MeetingMetadata::new(meeting("m")), vec![], Seq(1_000), created).await.unwrap();
    store.commit(&[lifecycle_commit("m")]).await.unwrap();
    store.close().await.unwrap();
    // As if two nodes had found version 3, and one of them had finished the upgrade and created this meeting.
    by_hand(directory.path(), "UPDATE teammy:schema SET version = 3").await;
    let store = open_directory(directory.path()).await;
    assert_eq!(listed(&store, MeetingQuery::default()).await, ["m"]);
    assert_eq!(listed(&store, MeetingQuery::open()).await, ["m"]);
    assert_eq!(store.meeting(meeting("m")).await.unwrap().unwrap().created, Some(created));
    store.close().await.unwrap();
}
