//! An instance's key writes that are submitted and not stored yet.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use teammy_kernel::KeyValue;
use tokio::sync::Notify;

#[derive(Debug)]
struct Written {
    value: Option<Arc<str>>,
    /// How many writes of this key are not stored yet; the value is the last one's.
    unstored: u32,
}

/// A read looks here before the store, so that it sees the writes of every earlier hook. Like those writes, the
/// overlay outlives the instance's actor.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    keys: Mutex<BTreeMap<String, Written>>,
    /// Tells those that wait for a write that one is stored.
    stored: Notify,
}

impl Overlay {
    /// An overlay of these writes.
    pub(crate) fn of<'a>(writes: impl IntoIterator<Item = &'a KeyValue>) -> Self {
        let overlay = Self::default();
        overlay.submitted(writes);
        overlay
    }

    /// Writes were submitted.
    pub(crate) fn submitted<'a>(&self, writes: impl IntoIterator<Item = &'a KeyValue>) {
        let mut keys = self.keys.lock();
        for (key, value) in writes {
            let unstored = keys.get(key).map_or(0, |written| written.unstored) + 1;
            keys.insert(key.clone(), Written { value: value.clone(), unstored });
        }
    }

    /// A write is stored.
    pub(crate) fn stored(&self, key: &str) {
        let mut keys = self.keys.lock();
        if let Some(written) = keys.get_mut(key) {
            written.unstored -= 1;
            if written.unstored == 0 {
                keys.remove(key);
                drop(keys);
                self.stored.notify_waiters();
            }
        }
    }

    /// Waits until all submitted writes of a key are stored. It never is if the owner loses the meeting first.
    pub(crate) async fn until_stored(&self, key: &str) {
        loop {
            let stored = self.stored.notified();
            if !self.keys.lock().contains_key(key) {
                return;
            }
            stored.await;
        }
    }

    /// The last unstored write of a key.
    pub(crate) fn get(&self, key: &str) -> Option<KeyValue> {
        self.keys.lock().get(key).map(|written| (key.to_owned(), written.value.clone()))
    }

    /// The unstored writes of keys that start with a prefix.
    pub(crate) fn list(&self, prefix: &str) -> Vec<KeyValue> {
        let keys = self.keys.lock();
        let matching = keys.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        matching.map(|(key, written)| (key.clone(), written.value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_is_read_until_the_last_is_stored() {
        let overlay = Overlay::default();
        let write = |value: Option<&str>| [("k".to_owned(), value.map(Into::into))];
        overlay.submitted(&write(None));
        overlay.submitted(&write(Some("1")));
        overlay.submitted(&write(None));
        overlay.stored("k");
        overlay.stored("k");
        assert_eq!(
            overlay.get("k"),
            Some(("k".to_owned(), None)),
            "the store says 1, the newest says deleted"
        );
        assert_eq!(overlay.list("k").len(), 1);
        overlay.stored("k");
        assert_eq!(overlay.get("k"), None);
        assert!(overlay.list("").is_empty());
    }
}
