//! What models have answered to a hook that has not ended: so that a hook which a crash or a takeover cut off gets the same
//! answers when it runs again, without asking. A pure state machine.
//!
//! An answer is kept as a key of the instance's datastore, out of the plugin's sight, as timers are. It is stored before the
//! hook sees it, under what was asked, and how often the hook had asked that before. The effects of the hook delete it, so it
//! goes in the same commit as they come. A hook that fails has seen answers that did not help: it asks anew.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{Seq, engine::provider::KeyValue};

/// The prefix of the keys; the seq, the digest of what was asked, and the occurrence follow.
const PREFIX: &str = "\0llm/";

/// Longer answers are not kept: they would not fit into a commit.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;

/// An instance's answers. See the [module](self).
#[derive(Debug, Default)]
pub struct Journal {
    /// The answers that the hook may get again, by their keys.
    kept: BTreeMap<String, Arc<str>>,
    /// Those that are stored and not wanted any more.
    stale: Vec<String>,
    /// The packet that the running hook is for.
    seq: Seq,
    /// How often the running hook has asked what.
    asked: HashMap<String, u32>,
}

/// What a hook asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It was answered before the hook was cut off.
    Before(Arc<str>),
    /// It was not. The answer is kept under this key.
    New(String),
}

impl Journal {
    /// Whether a key is one of an answer.
    pub fn is_answer(key: &str) -> bool {
        key.starts_with(PREFIX)
    }

    /// Takes up the answers that are stored, for an instance that goes on in another process. Of one whose hook failed in
    /// this process they are of no use.
    pub fn restore(&mut self, keys: impl IntoIterator<Item = (String, Arc<str>)>, has_failed: bool) {
        for (key, answer) in keys.into_iter().filter(|(key, _)| Self::is_answer(key)) {
            if has_failed {
                self.stale.push(key);
            } else {
                self.kept.insert(key, answer);
            }
        }
    }

    /// A hook begins, for this packet.
    pub fn begin(&mut self, seq: Seq) {
        self.seq = seq;
        self.asked.clear();
    }

    /// The running hook asks something, by its digest.
    pub fn ask(&mut self, digest: &str) -> Asked {
        let occurrence = self.asked.entry(digest.to_owned()).or_default();
        let key = format!("{PREFIX}{:020}/{digest}/{occurrence}", self.seq.0);
        *occurrence += 1;
        match self.kept.get(&key) {
            Some(answer) => Asked::Before(answer.clone()),
            None => Asked::New(key),
        }
    }

    /// The answer to what was asked under this key, as JSON. Returns what is to be stored before the hook sees it; none if
    /// the answer is too long to be kept.
    pub fn answered(&mut self, key: String, answer: &Arc<str>) -> Option<KeyValue> {
        if answer.len() > MAX_ANSWER_BYTES {
            return None;
        }
        self.stale.retain(|stale| *stale != key);
        self.kept.insert(key.clone(), answer.clone());
        Some((key, Some(answer.clone())))
    }

    /// Whether anything is to be deleted when the running hook ends.
    pub fn has_deletions(&self) -> bool {
        !self.stale.is_empty() || self.kept.first_key_value().is_some_and(|(first, _)| *first < self.after())
    }

    /// The running hook has ended, was given up, or has failed. Returns the deletion of its answers and of those of earlier
    /// packets, whose hooks do not run again.
    pub fn ended(&mut self) -> impl Iterator<Item = KeyValue> + use<> {
        let later = self.kept.split_off(&self.after());
        let done = std::mem::replace(&mut self.kept, later).into_keys();
        self.asked.clear();
        std::mem::take(&mut self.stale).into_iter().chain(done).map(|key| (key, None))
    }

    /// The key after all keys of the running hook.
    fn after(&self) -> String {
        format!("{PREFIX}{:020}0", self.seq.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(journal: &mut Journal, digest: &str, text: &str) -> KeyValue {
        let Asked::New(key) = journal.ask(digest) else { panic!("{digest} was answered before") };
        journal.answered(key, &text.into()).unwrap()
    }

    fn restored(keys: &[KeyValue], has_failed: bool) -> Journal {
        let mut journal = Journal::default();
        let keys = keys.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        journal.restore(keys, has_failed);
        journal
    }

    #[test]
    fn a_hook_that_was_cut_off_gets_the_same_answers_in_turn() {
        let mut journal = Journal::default();
        journal.begin(Seq(7));
        let stored =
            [answer(&mut journal, "a", "1"), answer(&mut journal, "a", "2"), answer(&mut journal, "b", "3")];
        let mut again = restored(&stored, false);
        again.begin(Seq(7));
        for (digest, expected) in [("b", "3"), ("a", "1"), ("a", "2")] {
            assert_eq!(again.ask(digest), Asked::Before(expected.into()));
        }
        assert!(matches!(again.ask("a"), Asked::New(_)), "a third time it had not come to");
        again.begin(Seq(6));
        assert!(!again.has_deletions(), "they are for a later hook");
        assert_eq!(again.ended().count(), 0);
        again.begin(Seq(8));
        assert!(matches!(again.ask("a"), Asked::New(_)), "another packet's hook asks for itself");
        assert!(again.has_deletions());
        let mut deleted: Vec<_> = again.ended().map(|(key, value)| (key, value.is_none())).collect();
        deleted.sort();
        let mut keys: Vec<_> = stored.into_iter().map(|(key, _)| (key, true)).collect();
        keys.sort();
        assert_eq!(deleted, keys);
        assert!(!again.has_deletions());
    }

    #[test]
    fn a_hook_that_failed_asks_anew() {
        let mut journal = Journal::default();
        journal.begin(Seq(7));
        let (key, _) = answer(&mut journal, "a", "1");
        assert_eq!(journal.ended().collect::<Vec<_>>(), [(key.clone(), None)]);
        journal.begin(Seq(7));
        assert_eq!(journal.ask("a"), Asked::New(key.clone()));
        // The new answer takes the place of the old one.
        journal.answered(key.clone(), &"2".into()).unwrap();
        assert_eq!(journal.ended().collect::<Vec<_>>(), [(key.clone(), None)]);
        // One whose process went on, with another actor, has failed, too.
        let mut next = restored(&[(key.clone(), Some("1".into()))], true);
        next.begin(Seq(7));
        assert_eq!(next.ask("a"), Asked::New(key.clone()));
        assert_eq!(next.ended().collect::<Vec<_>>(), [(key, None)]);
    }

    #[test]
    fn other_keys_and_long_answers_are_left_alone() {
        let mut journal = restored(&[("\0wake/a".to_owned(), Some("1".into()))], false);
        assert!(!journal.has_deletions());
        journal.begin(Seq(1));
        let Asked::New(key) = journal.ask("a") else { panic!() };
        assert_eq!(journal.answered(key, &"x".repeat(MAX_ANSWER_BYTES + 1).into()), None);
        assert!(!journal.has_deletions());
    }
}
