//! The attendees of a meeting.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use teammy_kernel::{Datastore, DatastoreError, FormerNames};

/// The most attendees that the minutes name.
const MAX_ATTENDEES: usize = 200;

/// The most attendees in the state, enough for most meetings.
const MAX_HELD: usize = 32;

/// The key of the list of attendees, where they are too many for the state.
const KEY: &str = "attendees";

/// The attendees, in the order of their first packet.
///
/// Each packet changes the state, and a changed state is stored whole. So the state holds the list only while
/// it is short; then a key does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Attendees {
    /// All attendees; empty once a key holds them.
    pub(crate) names: Vec<String>,
    /// Whether there were more attendees than the list can hold.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) more: bool,
    /// Former names, each with the present name, as states of earlier versions hold them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    before: BTreeMap<Arc<str>, Arc<str>>,
    /// Former names: a transcription may arrive after a rename.
    #[serde(skip_serializing_if = "FormerNames::is_empty")]
    former_names: FormerNames,
    /// The length of the list that a key holds; 0 if none does.
    #[serde(skip_serializing_if = "is_zero")]
    stored: usize,
    /// Attendees of that list who took part lately.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    known: BTreeSet<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Attendees {
    /// Brings a state of an earlier version, which held all names, into this version's form.
    pub(crate) async fn upgrade(&mut self, datastore: &Datastore) -> Result<(), DatastoreError> {
        if !self.before.is_empty() {
            self.former_names = std::mem::take(&mut self.before).into();
        }
        self.former_names.make_room(datastore).await?;
        if self.names.len() > MAX_HELD {
            self.store(datastore)?;
        }
        Ok(())
    }

    /// The list of all attendees.
    pub(crate) async fn all(&self, datastore: &Datastore) -> Result<Vec<String>, DatastoreError> {
        if self.stored == 0 {
            return Ok(self.names.clone());
        }
        Ok(datastore.get(KEY).await?.unwrap_or_default())
    }

    /// Adds the participant who has or had this name to the list; returns the present name.
    pub(crate) async fn add(
        &mut self,
        name: String,
        datastore: &Datastore,
    ) -> Result<String, DatastoreError> {
        // An attendee's present name is no other's former one.
        if self.names.contains(&name) || self.known.contains(&name) {
            return Ok(name);
        }
        let name = self.former_names.present(name.into(), datastore).await?.as_ref().to_owned();
        self.list(&name, datastore).await?;
        Ok(name)
    }

    /// A new participant has joined under this name.
    pub(crate) async fn joined(&mut self, name: &str, datastore: &Datastore) -> Result<(), DatastoreError> {
        self.former_names.forget(&name.into(), datastore).await.map(drop)
    }

    /// Renames an attendee. If the new name is another attendee's, the two become one.
    pub(crate) async fn rename(
        &mut self,
        from: &str,
        to: &str,
        datastore: &Datastore,
    ) -> Result<(), DatastoreError> {
        self.former_names.rename(&from.into(), &to.into(), datastore).await?;
        let mut names = self.all(datastore).await?;
        let Some(index) = names.iter().position(|name| name == from) else {
            return self.list(to, datastore).await;
        };
        if names.iter().any(|name| name == to) {
            names.remove(index);
        } else {
            to.clone_into(&mut names[index]);
        }
        self.known.clear();
        if self.stored == 0 {
            self.names = names;
            return Ok(());
        }
        self.stored = names.len();
        datastore.set(KEY, &names)
    }

    /// Adds a present name to the list.
    async fn list(&mut self, name: &str, datastore: &Datastore) -> Result<(), DatastoreError> {
        let is_new = !self.names.iter().any(|other| other == name) && !self.known.contains(name);
        if !is_new || (self.stored == MAX_ATTENDEES && self.more) {
            return Ok(());
        }
        if self.stored == 0 {
            self.names.push(name.to_owned());
            return if self.names.len() > MAX_HELD { self.store(datastore) } else { Ok(()) };
        }
        let mut names = self.all(datastore).await?;
        if !names.iter().any(|other| other == name) {
            if names.len() >= MAX_ATTENDEES {
                self.more = true;
                return Ok(());
            }
            names.push(name.to_owned());
            datastore.set(KEY, &names)?;
            self.stored = names.len();
        }
        if self.known.len() >= MAX_HELD {
            self.known.clear();
        }
        self.known.insert(name.to_owned());
        Ok(())
    }

    /// Moves the list to its key.
    fn store(&mut self, datastore: &Datastore) -> Result<(), DatastoreError> {
        datastore.set(KEY, &self.names)?;
        self.stored = self.names.len();
        self.names.clear();
        Ok(())
    }
}
