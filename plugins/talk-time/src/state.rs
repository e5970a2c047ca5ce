//! The plugin's state in one meeting, and its keys.
//!
//! Each turn changes a count, and a changed state is stored whole. So the state holds only the participants
//! who talked lately, and each of the others has a key, which is read when its participant talks again. When
//! the state is full, all of its participants go to their keys at once: one write for each participant who
//! has talked since, and nothing in meetings of a few.
//!
//! A table must not read all keys. So one more key holds the participants with the most words, and is
//! updated whenever participants go to their keys.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use teammy_kernel::{Datastore, DatastoreError, FormerNames};

use crate::{
    table::{Counts, MAX_LAST_ROWS, MAX_ROWS, Table, by_words},
    tally::Tally,
};

/// The most participants in the state, enough for most meetings.
const MAX_RECENT: usize = 32;
/// The most participants that go to their keys at once. Only states of earlier versions hold more.
const MAX_MOVED: usize = 500;
/// The longest name in bytes; a longer one is cut off. A name is a part of a key, and of a table.
const MAX_NAME_BYTES: usize = 400;
/// The prefix of participants' keys.
const PREFIX: &str = "participant/";
/// The key of the participants with the most words.
const RANKING: &str = "ranking";

/// The plugin's state in one meeting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub(crate) turns: u64,
    /// Participants who talked lately. Those that have a key too differ from it.
    named: BTreeMap<Arc<str>, Tally>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unnamed: Option<Tally>,
    /// Former names, each with the present name, as states of earlier versions hold them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    renamed: BTreeMap<Arc<str>, Arc<str>>,
    #[serde(default, skip_serializing_if = "FormerNames::is_empty")]
    former_names: FormerNames,
    /// The participants that are only in keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stored: Option<Stored>,
    /// What [`RANKING`] holds, once it was read. It isn't stored with the state, so it costs a change nothing.
    #[serde(skip)]
    ranking: Option<Arc<Ranking>>,
}

/// The participants that are only in keys, together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    participants: u64,
    said: Tally,
}

/// The participants in keys with the most words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ranking {
    /// No participant who is only in a key and not among `rows` has more words than this.
    floor: u64,
    rows: Vec<(Arc<str>, Tally)>,
}

impl Ranking {
    /// Takes in participants whose keys have changed.
    fn update(&mut self, moved: Vec<(Arc<str>, Tally)>) {
        let rows: BTreeMap<_, _> = std::mem::take(&mut self.rows).into_iter().chain(moved).collect();
        self.rows = rows.into_iter().filter(|(_, tally)| tally.words >= self.floor).collect();
        self.rows.sort_unstable_by(by_words);
        if let Some((_, tally)) = self.rows.get(MAX_ROWS) {
            self.floor = tally.words;
            self.rows.truncate(MAX_ROWS);
        }
    }
}

/// Cuts off a name that is too long for a key.
pub(crate) fn shortened(name: &Arc<str>) -> Arc<str> {
    if name.len() <= MAX_NAME_BYTES {
        return name.clone();
    }
    format!("{}…", &name[..name.floor_char_boundary(MAX_NAME_BYTES - '…'.len_utf8())]).into()
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

impl State {
    /// Brings a state of an earlier version, which held all participants, into this version's form. A large
    /// one takes several hooks.
    pub(crate) async fn upgrade(&mut self, datastore: &Datastore) -> Result<(), DatastoreError> {
        if !self.renamed.is_empty() {
            self.set_former_names(self.former_names());
        }
        self.former_names.make_room(datastore).await?;
        if self.named.len() > MAX_RECENT {
            self.store_recent(datastore).await?;
        }
        Ok(())
    }

    /// The counts of the participant who has or had this name; `None` stands for packets without one.
    pub(crate) async fn tally(
        &mut self,
        name: Option<Arc<str>>,
        datastore: &Datastore,
    ) -> Result<&mut Tally, DatastoreError> {
        let Some(name) = name else { return Ok(self.unnamed.get_or_insert_default()) };
        let name = self.former_names.held(&name).unwrap_or(name);
        self.find(&name, datastore).await?;
        if self.named.contains_key(&name) {
            return self.tally_of(name, datastore).await;
        }
        // Only a name that has no counts can be a former one.
        let name = self.former_names.present(name, datastore).await?;
        self.tally_of(name, datastore).await
    }

    /// The counts of the participant with this present name.
    async fn tally_of(
        &mut self,
        name: Arc<str>,
        datastore: &Datastore,
    ) -> Result<&mut Tally, DatastoreError> {
        self.find(&name, datastore).await?;
        Ok(self.named.entry(name).or_default())
    }

    /// Makes sure that the state has the counts of a present name, if there are any, or else room for them.
    async fn find(&mut self, name: &Arc<str>, datastore: &Datastore) -> Result<(), DatastoreError> {
        if !self.named.contains_key(name) {
            if self.named.len() >= MAX_RECENT {
                self.store_recent(datastore).await?;
            }
            self.load(name, datastore).await?;
        }
        Ok(())
    }

    /// Moves a participant's counts to a new name, and remembers the former one.
    pub(crate) async fn rename(
        &mut self,
        from: &Arc<str>,
        to: &Arc<str>,
        datastore: &Datastore,
    ) -> Result<(), DatastoreError> {
        if from == to || to.is_empty() {
            return Ok(());
        }
        self.former_names.rename(from, to, datastore).await?;
        self.load(from, datastore).await?;
        let Some(tally) = self.named.remove(from) else { return Ok(()) };
        if self.stored.is_some() {
            datastore.delete(&key(from))?;
            let ranking = self.ranking(datastore).await?;
            if let Some(index) = ranking.rows.iter().position(|(name, _)| name == from) {
                let ranking = Arc::make_mut(ranking);
                ranking.rows.remove(index);
                datastore.set(RANKING, ranking)?;
            }
        }
        self.tally_of(to.clone(), datastore).await?.add(&tally);
        Ok(())
    }

    /// The former names of all participants.
    pub(crate) fn former_names(&self) -> FormerNames {
        if self.renamed.is_empty() { self.former_names.clone() } else { self.renamed.clone().into() }
    }

    pub(crate) fn set_former_names(&mut self, names: FormerNames) {
        self.renamed.clear();
        self.former_names = names;
    }

    /// The table during the meeting.
    pub(crate) async fn table(&mut self, datastore: &Datastore) -> Result<Table, DatastoreError> {
        let mut named = self.recent();
        if self.stored.is_some() {
            let ranking = self.ranking(datastore).await?.clone();
            named.extend(ranking.rows.iter().filter(|(name, _)| !self.named.contains_key(name)).cloned());
            // Somebody in a key may have more words than one below.
            named.retain(|(_, tally)| tally.words >= ranking.floor);
        }
        Ok(self.counts(named).table(MAX_ROWS))
    }

    /// The last table, which reads all keys.
    pub(crate) async fn last_table(&self, datastore: &Datastore) -> Result<Table, DatastoreError> {
        let mut named = self.recent();
        if self.stored.is_some() {
            for (key, tally) in datastore.entries::<Tally>(PREFIX).await? {
                let name = &key[PREFIX.len()..];
                if !self.named.contains_key(name) {
                    named.push((name.into(), tally));
                }
            }
        }
        Ok(self.counts(named).table(MAX_LAST_ROWS))
    }

    fn recent(&self) -> Vec<(Arc<str>, Tally)> {
        self.named.iter().map(|(name, tally)| (name.clone(), *tally)).collect()
    }

    fn counts(&self, named: Vec<(Arc<str>, Tally)>) -> Counts<'_> {
        let Stored { mut participants, mut said } = self.stored.unwrap_or_default();
        for tally in self.named.values() {
            participants += 1;
            said.add(tally);
        }
        Counts { named, all: (participants, said), unnamed: self.unnamed.as_ref(), turns: self.turns }
    }

    /// Takes a participant into the state, if only a key has the counts.
    async fn load(&mut self, name: &Arc<str>, datastore: &Datastore) -> Result<(), DatastoreError> {
        if let Some(stored) = &mut self.stored
            && !self.named.contains_key(name)
            && let Some(tally) = datastore.get::<Tally>(&key(name)).await?
        {
            stored.participants = stored.participants.saturating_sub(1);
            stored.said.subtract(&tally);
            self.named.insert(name.clone(), tally);
        }
        Ok(())
    }

    /// The participants in keys with the most words. Reads the key once in a node's time with a meeting.
    async fn ranking(&mut self, datastore: &Datastore) -> Result<&mut Arc<Ranking>, DatastoreError> {
        if self.ranking.is_none() {
            self.ranking = Some(datastore.get(RANKING).await?.unwrap_or_default());
        }
        Ok(self.ranking.as_mut().expect("invariant: it was just read"))
    }

    /// Moves the participants in the state to their keys.
    async fn store_recent(&mut self, datastore: &Datastore) -> Result<(), DatastoreError> {
        let mut moved = Vec::new();
        while moved.len() < MAX_MOVED
            && let Some((name, tally)) = self.named.pop_first()
        {
            let short = shortened(&name);
            if short != name {
                // Only a state of an earlier version holds such a name.
                self.load(&short, datastore).await?;
                self.named.entry(short).or_default().add(&tally);
                continue;
            }
            datastore.set(&key(&name), &tally)?;
            let stored = self.stored.get_or_insert_default();
            stored.participants += 1;
            stored.said.add(&tally);
            moved.push((name, tally));
        }
        let ranking = Arc::make_mut(self.ranking(datastore).await?);
        ranking.update(moved);
        datastore.set(RANKING, ranking)
    }
}
