//! The names that participants had before they were renamed.
//!
//! A plugin that counts or quotes by participant needs them, because a transcription may arrive after its
//! speaker was renamed, or go on under the first name. There may be as many as participants: so the state
//! holds a few, and the keys hold the rest.

use std::{collections::BTreeMap, ops::Not, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Datastore, DatastoreError};

/// Former names, each with the present name of the participant who had it. A part of a plugin's state.
///
/// The size of this value is bounded: it holds up to 16 former names, and of those that don't fit up to 16
/// that were asked for last. The rest has a key each in the instance's datastore, under the prefixes
/// `former-name/` and `former-names-of/`, so a plugin should set no such keys itself. Up to 32 former names
/// of one participant are kept there, and none that is longer than about 490 bytes.
///
/// As long as 16 former names suffice, nothing reads or writes a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FormerNames {
    /// Former names that the keys don't hold.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    recent: BTreeMap<Arc<str>, Arc<str>>,
    /// Former names that the keys hold and that were asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    looked_up: BTreeMap<Arc<str>, Arc<str>>,
    /// Whether the keys hold any.
    #[serde(skip_serializing_if = "Not::not")]
    stored: bool,
}

/// Former names by name, such as those of a state that held them all. Call [`FormerNames::make_room`] then.
impl From<BTreeMap<Arc<str>, Arc<str>>> for FormerNames {
    fn from(names: BTreeMap<Arc<str>, Arc<str>>) -> Self {
        Self { recent: names, ..Self::default() }
    }
}

impl FormerNames {
    /// The most entries of each map.
    const MAX_HELD: usize = 16;
    /// The most former names of one participant in the keys.
    const MAX_OF_ONE: usize = 32;
    /// The most entries that one hook moves to the keys, well below what it may write.
    const MAX_MOVED: usize = 500;

    /// Whether there are none at all.
    pub fn is_empty(&self) -> bool {
        self.recent.is_empty() && !self.stored
    }

    /// The present name, if this is a former one that needs no key to be read.
    pub fn held(&self, name: &str) -> Option<Arc<str>> {
        self.recent.get(name).or_else(|| self.looked_up.get(name)).cloned()
    }

    /// The present name of the participant who has or had this name. Reads a key at most, and none if the
    /// name was asked for lately.
    ///
    /// # Errors
    /// Those of [`Datastore::get`] and [`Datastore::set`].
    pub async fn present(
        &mut self,
        name: Arc<str>,
        datastore: &Datastore,
    ) -> Result<Arc<str>, DatastoreError> {
        if let Some(now) = self.held(&name) {
            return Ok(now);
        }
        let Some(now) = self.stored(&name, datastore).await? else { return Ok(name) };
        if self.looked_up.len() >= Self::MAX_HELD {
            self.looked_up.clear();
        }
        self.looked_up.insert(name, now.clone());
        Ok(now)
    }

    /// Remembers that a participant has another name from now on. If the new name was a former one, it is
    /// that no longer.
    ///
    /// # Errors
    /// Those of [`Datastore::get`] and [`Datastore::set`].
    pub async fn rename(
        &mut self,
        from: &Arc<str>,
        to: &Arc<str>,
        datastore: &Datastore,
    ) -> Result<(), DatastoreError> {
        if from == to {
            return Ok(());
        }
        self.forget(from, datastore).await?;
        self.forget(to, datastore).await?;
        self.looked_up.clear();
        self.recent.values_mut().filter(|now| *now == from).for_each(|now| now.clone_from(to));
        if self.stored && fits(from) {
            let names: Vec<Arc<str>> = datastore.get(&names_of(from)).await?.unwrap_or_default();
            if !names.is_empty() {
                datastore.delete(&names_of(from))?;
                add(names, to, datastore).await?;
            }
        }
        self.recent.insert(from.clone(), to.clone());
        self.make_room(datastore).await
    }

    /// Forgets a former name, because a new participant has it now. Returns whether it was one.
    ///
    /// # Errors
    /// Those of [`Datastore::get`] and [`Datastore::set`].
    pub async fn forget(&mut self, name: &Arc<str>, datastore: &Datastore) -> Result<bool, DatastoreError> {
        self.looked_up.remove(name);
        if self.recent.remove(name).is_some() {
            return Ok(true);
        }
        let Some(now) = self.stored(name, datastore).await? else { return Ok(false) };
        datastore.delete(&key(name))?;
        let mut names: Vec<Arc<str>> = datastore.get(&names_of(&now)).await?.unwrap_or_default();
        names.retain(|other| other != name);
        if names.is_empty() {
            datastore.delete(&names_of(&now))?;
        } else {
            datastore.set(&names_of(&now), &names)?;
        }
        Ok(true)
    }

    /// Moves former names to the keys if there are too many, at most 500 at once. Only needed in each hook of
    /// a plugin that makes this value of a map, which may be larger.
    ///
    /// # Errors
    /// Those of [`Datastore::get`] and [`Datastore::set`].
    pub async fn make_room(&mut self, datastore: &Datastore) -> Result<(), DatastoreError> {
        if self.recent.len() <= Self::MAX_HELD {
            return Ok(());
        }
        for _ in 0..Self::MAX_MOVED {
            let Some((name, now)) = self.recent.pop_first() else { break };
            if fits(&name) {
                add(vec![name], &now, datastore).await?;
            }
        }
        self.stored = true;
        Ok(())
    }

    /// What the keys say about a name.
    async fn stored(&self, name: &str, datastore: &Datastore) -> Result<Option<Arc<str>>, DatastoreError> {
        if self.stored && fits(name) { datastore.get(&key(name)).await } else { Ok(None) }
    }
}

/// Sets the keys of former names of a participant, as far as there is room for them.
async fn add(names: Vec<Arc<str>>, now: &Arc<str>, datastore: &Datastore) -> Result<(), DatastoreError> {
    if !fits(now) {
        return names.iter().try_for_each(|name| datastore.delete(&key(name)));
    }
    let mut all: Vec<Arc<str>> = datastore.get(&names_of(now)).await?.unwrap_or_default();
    for name in names {
        datastore.set(&key(&name), now)?;
        all.push(name);
    }
    for oldest in all.drain(..all.len().saturating_sub(FormerNames::MAX_OF_ONE)) {
        datastore.delete(&key(&oldest))?;
    }
    datastore.set(&names_of(now), &all)
}

/// The key of a former name, which holds the present one.
fn key(name: &str) -> String {
    format!("former-name/{name}")
}

/// The key of a present name, which holds the former ones.
fn names_of(name: &str) -> String {
    format!("former-names-of/{name}")
}

/// Whether a name is short enough for both keys.
fn fits(name: &str) -> bool {
    names_of(name).len() <= Datastore::MAX_KEY_BYTES
}

#[cfg(test)]
mod tests;
