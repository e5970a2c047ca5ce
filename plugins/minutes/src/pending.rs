//! The transcript that the running summary doesn't cover yet, and where its parts are.
//!
//! A message is a few words, and the running summary comes after hundreds. So the state holds only the newest
//! words, and every hundred or so go to a key of their own, which is read once: for the next summary.

use serde::{Deserialize, Serialize};
use teammy_kernel::{Datastore, DatastoreError};

use crate::transcript::Transcript;

/// The size of the newest part, in words, above which it goes to a key.
const MAX_NEWEST: usize = 100;

/// The prefix of the parts' keys.
const PREFIX: &str = "transcript/";

/// The transcript that the running summary doesn't cover yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Pending {
    /// The newest part. A state of an earlier version holds all of it here.
    #[serde(rename = "pending")]
    pub(crate) newest: Transcript,
    /// What is in keys.
    #[serde(rename = "stored_parts", skip_serializing_if = "Option::is_none")]
    stored: Option<StoredParts>,
}

/// The parts in keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct StoredParts {
    /// How many there are.
    count: u64,
    /// How many words participants said in them.
    words: usize,
    /// How many words they have in a prompt.
    size: usize,
    /// Who said the last line; the newest part may go on with it.
    last_by: Option<String>,
}

impl Pending {
    /// Counts the words that participants said.
    pub(crate) fn words(&self) -> usize {
        self.stored.as_ref().map_or(0, |stored| stored.words) + self.newest.words()
    }

    /// Counts the words that the whole transcript has in a prompt, names and remarks included.
    pub(crate) fn size(&self) -> usize {
        let Some(stored) = &self.stored else { return self.newest.size() };
        stored.size + self.newest.size_after(stored.last_by.as_deref())
    }

    /// Moves the newest part to a key if it is large.
    pub(crate) fn make_room(&mut self, datastore: &Datastore) -> Result<(), DatastoreError> {
        if self.newest.size() <= MAX_NEWEST {
            return Ok(());
        }
        let (words, size) = (self.words(), self.size());
        let mut stored = self.stored.take().unwrap_or_default();
        datastore.set(&format!("{PREFIX}{:010}", stored.count), &self.newest)?;
        stored = StoredParts {
            count: stored.count + 1,
            words,
            size,
            last_by: self.newest.last_by().map(str::to_owned),
        };
        self.stored = Some(stored);
        self.newest = Transcript::default();
        Ok(())
    }

    /// Returns the whole transcript.
    pub(crate) async fn read(&self, datastore: &Datastore) -> Result<Transcript, DatastoreError> {
        let mut whole = Transcript::default();
        if self.stored.is_some() {
            for (_, part) in datastore.entries::<Transcript>(PREFIX).await? {
                whole.append(part);
            }
        }
        whole.append(self.newest.clone());
        Ok(whole)
    }

    /// Replaces the whole transcript.
    pub(crate) fn replace(&mut self, whole: Transcript, datastore: &Datastore) -> Result<(), DatastoreError> {
        if let Some(stored) = self.stored.take() {
            for part in 0..stored.count {
                datastore.delete(&format!("{PREFIX}{part:010}"))?;
            }
        }
        self.newest = whole;
        self.make_room(datastore)
    }
}
