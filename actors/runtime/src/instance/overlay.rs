//! An instance's keys that are handed on but not stored yet.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use teammy_kernel::KeyValue;

#[derive(Debug)]
struct Written {
    value: Option<Arc<str>>,
    /// How many writes of this key are on their way to the store; the value is the last one's.
    on_the_way: u32,
}

/// Lies over the store when an instance reads, so that a read sees every earlier hook's writes. It outlives
/// the instance's actor, as those writes do.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    keys: Mutex<BTreeMap<String, Written>>,
}

impl Overlay {
    /// With these writes on their way.
    pub(crate) fn of<'a>(writes: impl IntoIterator<Item = &'a KeyValue>) -> Self {
        let overlay = Self::default();
        overlay.handed_on(writes);
        overlay
    }

    /// Writes were handed on.
    pub(crate) fn handed_on<'a>(&self, writes: impl IntoIterator<Item = &'a KeyValue>) {
        let mut keys = self.keys.lock();
        for (key, value) in writes {
            let on_the_way = keys.get(key).map_or(0, |written| written.on_the_way) + 1;
            keys.insert(key.clone(), Written { value: value.clone(), on_the_way });
        }
    }

    /// A write is stored.
    pub(crate) fn stored(&self, key: &str) {
        let mut keys = self.keys.lock();
        if let Some(written) = keys.get_mut(key) {
            written.on_the_way -= 1;
            if written.on_the_way == 0 {
                keys.remove(key);
            }
        }
    }

    /// The last write of a key that is on its way, if one is.
    pub(crate) fn get(&self, key: &str) -> Option<KeyValue> {
        self.keys.lock().get(key).map(|written| (key.to_owned(), written.value.clone()))
    }

    /// The keys that start with a prefix and are on their way.
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
        overlay.handed_on(&write(None));
        overlay.handed_on(&write(Some("1")));
        overlay.handed_on(&write(None));
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
