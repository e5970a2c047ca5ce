//! All keys in memory, and their changes in the store.

use std::{collections::HashMap, fmt, sync::Arc};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use teammy_kernel::{
    MeetingId, Name, Store, Timestamp,
    store::{AccountId, AccountRecord},
};
use tokio::{sync::watch, time::Duration};

use super::{
    error::{Denied, Error},
    record::{KeyInfo, KeyRecord, Scope, Scopes},
    secret::{KeyId, Pepper, PrintedKey, Secret},
    token::{self, Token},
};
use crate::clock;

/// Its version says whether any key has changed; it is small, because it is read several times a second.
const CHANGES: &str = "keys";
/// The ids of all keys.
const INDEX: &str = "keys/all";
/// A key's id follows.
const KEY: &str = "key/";

/// How often a change is tried while others change keys too.
const ATTEMPTS: usize = 20;

/// What a new key is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NewKey {
    /// Whose key it is.
    pub tenant: Name,
    /// What it allows.
    pub scopes: Scopes,
    /// From when on it is refused; never without it.
    #[serde(default)]
    pub expires: Option<Timestamp>,
}

impl NewKey {
    /// A key of a tenant.
    pub fn new(tenant: Name, scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self { tenant, scopes: scopes.into_iter().collect(), expires: None }
    }

    /// Sets from when on it is refused.
    #[must_use]
    pub fn expires(mut self, at: Timestamp) -> Self {
        self.expires = Some(at);
        self
    }
}

/// What a request may do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// The key, or that of which the token was made.
    pub key: KeyId,
    /// Whose it is.
    pub tenant: Name,
    /// What it allows.
    pub scopes: Scopes,
    /// The only meeting of a token.
    pub meeting: Option<MeetingId>,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

#[derive(Default)]
struct Table {
    /// The version that the store had.
    version: u64,
    keys: HashMap<KeyId, KeyRecord>,
}

/// The keys of a store. A clone is the same.
#[derive(Clone)]
pub struct Keys {
    store: Arc<dyn Store>,
    pepper: Pepper,
    table: Arc<RwLock<Table>>,
    /// Its value is the table's version.
    changed: Arc<watch::Sender<u64>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("count", &self.table.read().keys.len()).finish_non_exhaustive()
    }
}

fn account(key: String) -> AccountId {
    AccountId { meeting: None, key }
}

fn of_key(id: &KeyId) -> AccountId {
    account(format!("{KEY}{id}"))
}

impl Keys {
    /// How often a node looks for changes.
    pub const REFRESH: Duration = Duration::from_millis(250);

    /// The keys of a store, hashed with a pepper (`service.pepper`). None is known before [`refresh`](Self::refresh).
    pub fn new(store: Arc<dyn Store>, pepper: &str) -> Self {
        Self {
            store,
            pepper: Pepper::new(pepper),
            table: Arc::default(),
            changed: Arc::new(watch::channel(0).0),
        }
    }

    /// Whether there is no key at all, not even one that is not valid any more.
    pub fn is_empty(&self) -> bool {
        self.table.read().keys.is_empty()
    }

    /// Takes up what has changed in the store.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Unreadable`]; the keys are then as they were.
    pub async fn refresh(&self) -> Result<(), Error> {
        let changes = self.read(account(CHANGES.to_owned())).await?;
        if changes.version == self.table.read().version {
            return Ok(());
        }
        let ids = ids(&self.read(account(INDEX.to_owned())).await?)?;
        let records = self.store.accounts(ids.iter().map(of_key).collect()).await?;
        let mut keys = HashMap::new();
        for record in records.into_iter().filter(|record| record.version > 0) {
            let key: KeyRecord = serde_json::from_str(&record.document).map_err(Error::Unreadable)?;
            keys.insert(key.info.id.clone(), key);
        }
        let mut table = self.table.write();
        // A slower reader does not bring back what an earlier version said.
        if changes.version > table.version {
            *table = Table { version: changes.version, keys };
            self.changed.send_replace(changes.version);
        }
        Ok(())
    }

    /// Makes a key, and returns its printed form, which is never shown again.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create(&self, new: NewKey) -> Result<(PrintedKey, KeyInfo), Error> {
        if new.scopes.is_empty() {
            return Err(Error::NoScope);
        }
        let secret = Secret::random().map_err(Error::Random)?;
        let NewKey { tenant, scopes, expires } = new;
        let info = KeyInfo {
            id: secret.id.clone(),
            tenant,
            scopes,
            created: clock::now(),
            expires,
            replaced: None,
            revoked: None,
        };
        self.change(&[&info.id], |_| Ok(vec![KeyRecord::new(info.clone(), secret.hash(&self.pepper))]))
            .await?;
        Ok((secret.printed(), info))
    }

    /// Refuses a key from now on. Again is no error.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revoke(&self, id: &KeyId) -> Result<KeyInfo, Error> {
        let revoke = |stored: &mut HashMap<KeyId, KeyRecord>| {
            let mut key = stored.remove(id).ok_or_else(|| Error::NoKey(id.clone()))?;
            key.info.revoked.get_or_insert(clock::now());
            Ok(vec![key])
        };
        Ok(self.change(&[id], revoke).await?.swap_remove(0).info)
    }

    /// Makes another key that allows the same, and has the old one expire after `overlap`, so that its users can change over.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rotate(&self, id: &KeyId, overlap: Duration) -> Result<(PrintedKey, KeyInfo), Error> {
        let secret = Secret::random().map_err(Error::Random)?;
        let rotate = |stored: &mut HashMap<KeyId, KeyRecord>| {
            let now = clock::now();
            let mut old = stored.remove(id).ok_or_else(|| Error::NoKey(id.clone()))?;
            if !old.info.is_valid(now) {
                return Err(Error::Dead(id.clone()));
            }
            let new = KeyInfo { id: secret.id.clone(), created: now, replaced: None, ..old.info.clone() };
            let ends = now.checked_add(overlap).unwrap_or(Timestamp::MAX);
            old.info.replaced = Some(old.info.replaced.map_or(ends, |replaced| replaced.min(ends)));
            Ok(vec![KeyRecord::new(new, secret.hash(&self.pepper)), old])
        };
        let mut changed = self.change(&[&secret.id, id], rotate).await?;
        Ok((secret.printed(), changed.swap_remove(0).info))
    }

    /// All keys, by tenant, then by age.
    ///
    /// # Errors
    /// See [`refresh`](Self::refresh).
    pub async fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        self.refresh().await?;
        let mut all: Vec<_> = self.table.read().keys.values().map(|key| key.info.clone()).collect();
        all.sort_by(|a, b| (&a.tenant, a.created, &a.id).cmp(&(&b.tenant, b.created, &b.id)));
        Ok(all)
    }

    /// What a key or a token allows now. It takes the same time for a key that is right and one whose secret is wrong.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn access(&self, text: &str) -> Result<Access, Denied> {
        let now = clock::now();
        let found = match Token::parse(text) {
            Some(token) => self.access_of_token(&token, now),
            None => self.access_of_key(text, now),
        };
        found.ok_or(Denied::Invalid)
    }

    fn access_of_key(&self, text: &str, now: Timestamp) -> Option<Access> {
        let secret = Secret::parse(text)?;
        // Hashed also for an id that is unknown.
        let hash = secret.hash(&self.pepper);
        let table = self.table.read();
        let key = table.keys.get(&secret.id)?;
        let is_right = key.hash() == hash;
        let KeyInfo { id, tenant, scopes, .. } = &key.info;
        (is_right && key.info.is_valid(now)).then(|| Access {
            key: id.clone(),
            tenant: tenant.clone(),
            scopes: scopes.clone(),
            meeting: None,
            expires: key.info.ends(),
        })
    }

    fn access_of_token(&self, token: &Token<'_>, now: Timestamp) -> Option<Access> {
        let table = self.table.read();
        let key = table.keys.get(&token.key)?;
        let (meeting, until) = token.check(&key.hash(), &self.pepper, now)?;
        key.info.is_valid(now).then(|| Access {
            key: key.info.id.clone(),
            tenant: key.info.tenant.clone(),
            scopes: Scopes::from_iter([Scope::Read]),
            meeting: Some(meeting),
            expires: Some(key.info.ends().map_or(until, |ends| ends.min(until))),
        })
    }

    /// Whether what was allowed still is.
    pub fn still_holds(&self, access: &Access) -> bool {
        let now = clock::now();
        let table = self.table.read();
        let key_holds = table.keys.get(&access.key).is_some_and(|key| key.info.is_valid(now));
        key_holds && access.expires.is_none_or(|expires| now < expires)
    }

    /// When it ends, as far as that is known: its key's end may have been set meanwhile.
    fn expiry(&self, access: &Access) -> Option<Timestamp> {
        let of_key = self.table.read().keys.get(&access.key).and_then(|key| key.info.ends());
        of_key.into_iter().chain(access.expires).min()
    }

    /// Waits until there is a key, so that whoever came without one may nothing more.
    pub async fn asked_for(&self) {
        let mut changed = self.changed.subscribe();
        // The sender is `self`, so it is there.
        while self.is_empty() && changed.changed().await.is_ok() {}
    }

    /// Waits until what was allowed is not allowed any more.
    pub async fn ended(&self, access: &Access) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if !self.still_holds(access) {
                return;
            }
            let left = self.expiry(access).map(clock::until);
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep(left.unwrap_or(clock::FOREVER)) => {}
            }
        }
    }

    /// A token with which a meeting can be read until a time, or until its key ends.
    ///
    /// # Errors
    /// [`Error::NoKey`] if the key is not there any more.
    pub fn token(&self, key: &KeyId, meeting: &MeetingId, until: Timestamp) -> Result<String, Error> {
        let table = self.table.read();
        let hash = table.keys.get(key).ok_or_else(|| Error::NoKey(key.clone()))?.hash();
        Ok(token::make(key, &hash, &self.pepper, meeting, until))
    }

    async fn read(&self, id: AccountId) -> Result<AccountRecord, Error> {
        let mut read = self.store.accounts(vec![id.clone()]).await?;
        Ok(read.pop().unwrap_or_else(|| AccountRecord::absent(id)))
    }

    /// Writes what `decide` makes of the stored keys of these ids, together with the index.
    async fn change(
        &self,
        of: &[&KeyId],
        decide: impl Fn(&mut HashMap<KeyId, KeyRecord>) -> Result<Vec<KeyRecord>, Error>,
    ) -> Result<Vec<KeyRecord>, Error> {
        for _ in 0..ATTEMPTS {
            let wanted = [CHANGES, INDEX].map(|key| account(key.to_owned()));
            let wanted = wanted.into_iter().chain(of.iter().copied().map(of_key)).collect();
            let mut stored = self.store.accounts(wanted).await?.into_iter();
            let (Some(mut changes), Some(mut index)) = (stored.next(), stored.next()) else { break };
            let stored: Vec<AccountRecord> = stored.collect();
            let mut keys = HashMap::new();
            for record in stored.iter().filter(|record| record.version > 0) {
                let key: KeyRecord = serde_json::from_str(&record.document).map_err(Error::Unreadable)?;
                keys.insert(key.info.id.clone(), key);
            }
            let decided = decide(&mut keys)?;
            let mut ids = ids(&index)?;
            let mut writes = Vec::new();
            for key in &decided {
                if !ids.contains(&key.info.id) {
                    ids.push(key.info.id.clone());
                }
                let id = of_key(&key.info.id);
                let version = stored.iter().find(|record| record.id == id).map_or(0, |record| record.version);
                writes.push(AccountRecord { id, version, document: document(key)? });
            }
            index.document = document(&ids)?;
            changes.document = "changed".into();
            writes.extend([changes, index]);
            if self.store.replace_accounts(writes).await? {
                self.refresh().await?;
                return Ok(decided);
            }
        }
        Err(Error::Contended)
    }
}

fn ids(index: &AccountRecord) -> Result<Vec<KeyId>, Error> {
    if index.version == 0 {
        return Ok(Vec::new());
    }
    serde_json::from_str(&index.document).map_err(Error::Unreadable)
}

fn document<T: Serialize>(value: &T) -> Result<Arc<str>, Error> {
    Ok(serde_json::to_string(value).map_err(Error::Unreadable)?.into())
}

#[cfg(test)]
mod tests {
    use teammy_kernel::store::MemoryStore;

    use super::*;

    fn tenant(name: &str) -> Name {
        Name::new(name).unwrap()
    }

    #[tokio::test]
    async fn a_key_is_made_rotated_and_revoked_and_every_node_knows() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let (here, there) = (Keys::new(store.clone(), "p"), Keys::new(store.clone(), "p"));
        assert!(here.is_empty());
        let (secret, info) = here.create(NewKey::new(tenant("acme"), [Scope::Read])).await.unwrap();
        let access = here.access(secret.reveal()).unwrap();
        assert_eq!((&access.tenant, access.scopes.has(Scope::Publish)), (&tenant("acme"), false));
        assert_eq!(there.access(secret.reveal()), Err(Denied::Invalid), "it has not looked yet");
        there.refresh().await.unwrap();
        assert_eq!(there.access(secret.reveal()).unwrap(), access);
        assert_eq!(Keys::new(store.clone(), "another").list().await.unwrap(), std::slice::from_ref(&info));
        let peppered = Keys::new(store.clone(), "another");
        peppered.refresh().await.unwrap();
        assert_eq!(peppered.access(secret.reveal()), Err(Denied::Invalid), "the pepper is another one");

        let (newer, of_newer) = there.rotate(&info.id, Duration::from_hours(1)).await.unwrap();
        here.refresh().await.unwrap();
        assert!(here.access(secret.reveal()).is_ok() && here.access(newer.reveal()).is_ok());
        here.rotate(&of_newer.id, Duration::ZERO).await.unwrap();
        assert_eq!(here.access(newer.reveal()), Err(Denied::Invalid), "without an overlap it ends at once");
        here.revoke(&info.id).await.unwrap();
        here.revoke(&info.id).await.unwrap();
        assert!(!here.still_holds(&access));
        assert!(there.still_holds(&access));
        there.refresh().await.unwrap();
        assert!(!there.still_holds(&access));
        assert!(matches!(there.rotate(&info.id, Duration::ZERO).await, Err(Error::Dead(_))));
        assert!(!there.is_empty(), "a revoked key still means that keys are asked for");
        assert_eq!(there.list().await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn wrong_secrets_and_foreign_ids_are_refused_alike() {
        let keys = Keys::new(Arc::new(MemoryStore::default()), "");
        let (secret, info) = keys.create(NewKey::new(tenant("acme"), [Scope::Read])).await.unwrap();
        let secret = secret.reveal();
        let mut wrong = secret.to_owned();
        wrong.replace_range(wrong.len() - 1.., if wrong.ends_with('0') { "1" } else { "0" });
        let unknown = secret.replace(info.id.as_str(), "0000000000000000");
        for text in [&wrong, &unknown, "", "tmy_", info.id.as_str(), &secret.to_uppercase()] {
            assert_eq!(keys.access(text), Err(Denied::Invalid), "{text}");
        }
        let expired = NewKey::new(tenant("acme"), [Scope::Read]).expires(Timestamp::UNIX_EPOCH);
        let (secret, _) = keys.create(expired).await.unwrap();
        assert_eq!(keys.access(secret.reveal()), Err(Denied::Invalid));
    }

    #[tokio::test]
    async fn a_token_ends_with_its_key() {
        let keys = Keys::new(Arc::new(MemoryStore::default()), "");
        let all = [Scope::Publish, Scope::Read, Scope::Admin];
        let (_, info) = keys.create(NewKey::new(tenant("acme"), all)).await.unwrap();
        let meeting = MeetingId::new("acme/standup").unwrap();
        let token = keys.token(&info.id, &meeting, clock::now() + Duration::from_mins(1)).unwrap();
        let access = keys.access(&token).unwrap();
        assert_eq!((access.meeting.as_ref(), access.scopes.has(Scope::Publish)), (Some(&meeting), false));
        keys.revoke(&info.id).await.unwrap();
        assert_eq!(keys.access(&token), Err(Denied::Invalid));
    }

    #[tokio::test]
    async fn changes_at_one_time_are_all_kept() {
        let keys = Keys::new(Arc::new(MemoryStore::default()), "");
        let create = |_| keys.create(NewKey::new(tenant("acme"), [Scope::Read]));
        let made = futures::future::join_all((0..10).map(create)).await;
        assert!(made.iter().all(Result::is_ok));
        assert_eq!(keys.list().await.unwrap().len(), 10);
    }
}
