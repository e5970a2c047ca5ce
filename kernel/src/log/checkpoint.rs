//! Checkpoints: effects of volatile packets that wait to be stored.
//!
//! A volatile packet is lost in a crash, so what a hook makes of it need not be stored at once. Its new state
//! and its key writes are folded into the instance's checkpoint. The owner stores the checkpoint when its
//! interval is over; any other update of the instance takes it along, so that a stored state and stored keys
//! fit each other. An output, a dead letter or the effects of a durable packet never wait.

use crate::{KeyValue, plugin::StateRef};

/// The effects of an instance that wait to be stored.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    state: Option<StateRef>,
    /// The key writes, oldest first.
    keys: Vec<KeyValue>,
    key_bytes: usize,
    is_due: bool,
}

impl Checkpoint {
    /// With this many bytes of key writes it is due: they must fit into one commit.
    const MAX_KEY_BYTES: usize = 1 << 20;

    /// Adds newer effects.
    pub(super) fn add(&mut self, state: Option<StateRef>, keys: Vec<KeyValue>) {
        self.state = state.or(self.state.take());
        self.key_bytes += keys.iter().map(crate::write_cost).sum::<usize>();
        self.keys.extend(keys);
        self.is_due |= self.key_bytes >= Self::MAX_KEY_BYTES;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state.is_none() && self.keys.is_empty()
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// It is to be stored with the next commit.
    pub(super) fn set_due(&mut self) {
        self.is_due = !self.is_empty();
    }

    /// The key writes, oldest first.
    pub(super) fn keys(&self) -> &[KeyValue] {
        &self.keys
    }

    /// Removes everything, to be stored: the newest state if there is one, and the key writes.
    pub(super) fn take(&mut self) -> (Option<StateRef>, Vec<KeyValue>) {
        let Self { state, keys, .. } = std::mem::take(self);
        (state, keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(key: &str, bytes: usize) -> KeyValue {
        (key.to_owned(), Some("1".repeat(bytes).into()))
    }

    #[test]
    fn the_newest_state_and_every_write_are_kept() {
        let mut checkpoint = Checkpoint::default();
        let states = [StateRef::new(1_u64), StateRef::new(2_u64)];
        checkpoint.add(Some(states[0].clone()), vec![write("a", 1)]);
        checkpoint.add(Some(states[1].clone()), vec![]);
        checkpoint.add(None, vec![write("a", 2), write("b", 1)]);
        assert!(!checkpoint.is_due());
        let (state, keys) = checkpoint.take();
        assert!(state.unwrap().ptr_eq(&states[1]));
        assert_eq!(keys, [write("a", 1), write("a", 2), write("b", 1)]);
        assert!(checkpoint.is_empty());
    }

    #[test]
    fn many_writes_do_not_wait() {
        let mut checkpoint = Checkpoint::default();
        checkpoint.add(None, vec![write("a", Checkpoint::MAX_KEY_BYTES / 2)]);
        assert!(!checkpoint.is_due());
        checkpoint.add(None, vec![write("b", Checkpoint::MAX_KEY_BYTES / 2)]);
        assert!(checkpoint.is_due());
        checkpoint.take();
        assert!(!checkpoint.is_due(), "the next one waits again");
    }

    #[test]
    fn nothing_is_never_due() {
        let mut checkpoint = Checkpoint::default();
        checkpoint.set_due();
        assert!(!checkpoint.is_due());
    }
}
