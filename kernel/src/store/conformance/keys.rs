//! Instances' keys and values.

use std::sync::Arc;

use super::{
    fixture::Fixture,
    samples::{ODD_IDS, commit, commit_one, create, meeting, name, seqs},
};
use crate::{
    MeetingId, Name,
    store::{KeyWrite, Outcome, Store},
};

fn write(instance: &str, key: &str, value: Option<&str>) -> KeyWrite {
    KeyWrite { instance: name(instance), key: key.to_owned(), value: value.map(Into::into) }
}

async fn get(store: &dyn Store, of: &MeetingId, instance: &str, key: &str) -> Option<Arc<str>> {
    store.get(of.clone(), name(instance), key.to_owned()).await.expect("a key is read")
}

async fn list(store: &dyn Store, of: &MeetingId, instance: &str, prefix: &str) -> Vec<(String, Arc<str>)> {
    store.list(of.clone(), name(instance), prefix.to_owned()).await.expect("keys are listed")
}

/// Keys are set, overwritten and deleted; deleting a missing key is no error.
pub async fn keys_are_set_and_deleted(fixture: Fixture) {
    let store = &*fixture.store;
    create(store, "m").await;
    let id = meeting("m");
    let big = format!("\"{}\"", "x".repeat(1 << 20));
    let steps: [(Vec<KeyWrite>, [Option<&str>; 3]); 4] = [
        (vec![write("i", "a", Some("1")), write("i", "b", Some("null"))], [Some("1"), Some("null"), None]),
        (
            vec![write("i", "a", Some("{\"x\":\"ü🚀\"}")), write("i", "c", None)],
            [Some("{\"x\":\"ü🚀\"}"), Some("null"), None],
        ),
        (
            vec![write("i", "b", None), write("i", "c", Some(&big))],
            [Some("{\"x\":\"ü🚀\"}"), None, Some(&big)],
        ),
        (
            vec![write("i", "a", None), write("i", "b", Some("\"back\""))],
            [None, Some("\"back\""), Some(&big)],
        ),
    ];
    for (number, (writes, expected)) in (1..).zip(steps) {
        let mut commit = commit(&id, 1, number);
        commit.keys = writes;
        assert_eq!(commit_one(store, commit).await, Outcome::Applied);
        for (key, expected) in ["a", "b", "c"].into_iter().zip(expected) {
            assert_eq!(get(store, &id, "i", key).await.as_deref(), expected, "{key} after commit {number}");
        }
        let listed: Vec<_> = list(store, &id, "i", "").await;
        let expected: Vec<(String, Arc<str>)> = ["a", "b", "c"]
            .into_iter()
            .zip(expected)
            .filter_map(|(key, value)| Some((key.to_owned(), value?.into())))
            .collect();
        assert_eq!(listed, expected, "after commit {number}");
    }
}

/// Keys that a store might mistake for patterns, quotes, separators or bounds.
const KEYS: [&str; 30] = [
    "",
    " ",
    "%",
    "%a",
    "_",
    "__",
    "*",
    "a",
    "a\0",
    "a\0b",
    "a b",
    "a%",
    "a%b",
    "a_b",
    "a.b",
    "a/b",
    "aa",
    "ab",
    "a\u{7f}",
    "aé",
    "a\u{ffff}",
    "a\u{10ffff}",
    "a\u{10ffff}\u{10ffff}",
    "b",
    "'",
    "\"; DELETE kv; \"",
    "`⟩",
    "line\nbreak",
    "é",
    "\u{10ffff}",
];

/// A prefix is plain text, and keys are listed in the order of their bytes.
pub async fn keys_are_listed_by_prefix(fixture: Fixture) {
    let store = &*fixture.store;
    create(store, "m").await;
    let id = meeting("m");
    let mut commit = commit(&id, 1, 1);
    let value = |key: &str| format!("\"value of {}\"", key.escape_unicode());
    for key in KEYS {
        commit.keys.push(write("i", key, Some(&value(key))));
        commit.keys.push(write("i2", key, Some("0")));
    }
    assert_eq!(commit_one(store, commit).await, Outcome::Applied);
    let mut sorted = KEYS;
    sorted.sort_unstable();
    let longer = ["a\u{10ffff}\u{10ffff}\u{10ffff}", "zz", "e"];
    for prefix in KEYS.into_iter().chain(longer) {
        let listed: Vec<(String, Arc<str>)> = list(store, &id, "i", prefix).await;
        let expected: Vec<(String, Arc<str>)> = sorted
            .iter()
            .filter(|key| key.starts_with(prefix))
            .map(|key| ((*key).to_owned(), value(key).into()))
            .collect();
        assert_eq!(listed, expected, "prefix {prefix:?}");
    }
    for key in KEYS {
        assert_eq!(get(store, &id, "i", key).await.as_deref(), Some(value(key).as_str()), "{key:?}");
    }
}

/// Each meeting, instance and key has a value of its own, whatever characters they contain.
pub async fn keys_do_not_collide(fixture: Fixture) {
    let store = &*fixture.store;
    let long = "x".repeat(MeetingId::MAX_BYTES);
    let meetings: Vec<&str> = ODD_IDS
        .into_iter()
        .chain([long.as_str(), &long[1..], "a", "a,i", "a:i", "a i", "a.i", "a-i", "1"])
        .collect();
    let longest = "n".repeat(Name::MAX_BYTES);
    let instances = ["i", "i.k", "i-k", "k", "1", longest.as_str()];
    let keys = ["k", "i", "i:k", "i,k", "k:i", "1", ".k", "-k"];
    for id in &meetings {
        create(store, id).await;
    }
    let value = |id: &str, instance: &str, key: &str| {
        serde_json::to_string(&(id, instance, key)).expect("invariant: texts have a JSON form")
    };
    let batch: Vec<_> = meetings
        .iter()
        .map(|id| {
            let mut commit = commit(&meeting(id), 1, 1);
            for instance in instances {
                commit.keys.extend(keys.map(|key| write(instance, key, Some(&value(id, instance, key)))));
            }
            commit
        })
        .collect();
    let outcomes = store.commit(&batch).await.expect("a batch is committed");
    assert_eq!(outcomes, vec![Outcome::Applied; batch.len()]);
    let mut sorted = keys;
    sorted.sort_unstable();
    for id in &meetings {
        for instance in instances {
            let expected: Vec<(String, Arc<str>)> =
                sorted.iter().map(|key| ((*key).to_owned(), value(id, instance, key).into())).collect();
            assert_eq!(list(store, &meeting(id), instance, "").await, expected, "{id:?} {instance}");
        }
        assert_eq!(seqs(store, &meeting(id)).await, [1], "{id:?}");
    }
    assert_eq!(get(store, &meeting("a"), "i", "missing").await, None);
    assert_eq!(get(store, &meeting("a"), "missing", "k").await, None);
}
