//! What a plugin under test costs its store.

use std::ops::Sub;

/// What a plugin's hooks have cost so far: what a store writes and reads for them.
///
/// All figures grow; the difference of two costs is that of the hooks in between. A test can so hold that a
/// hook costs as much in a large or long meeting as in a small one.
///
/// # Examples
/// ```
/// # use teammy_kernel::testing::StoreCost;
/// let few = StoreCost { hooks: 10, state_bytes: 900, ..StoreCost::default() };
/// let many = StoreCost { hooks: 110, state_bytes: 9_900, key_writes: 5, ..few };
/// assert_eq!((many - few).bytes_per_hook(), 90);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreCost {
    /// The hooks that ended well.
    pub hooks: u64,
    /// The bytes of JSON of the states that they changed; a changed state is stored whole.
    pub state_bytes: u64,
    /// The keys that they set or deleted, each once a hook.
    pub key_writes: u64,
    /// The bytes of these keys and their values.
    pub key_bytes: u64,
    /// The reads of a key, of keys by prefix and of history, each of which may be a round trip to the store.
    /// A key that the hook has written itself is read without one. Reads of hooks that failed count too.
    pub reads: u64,
    /// The bytes of the outputs.
    pub output_bytes: u64,
}

impl StoreCost {
    /// The bytes that were written: states, keys and outputs.
    pub fn bytes(&self) -> u64 {
        self.state_bytes + self.key_bytes + self.output_bytes
    }

    /// The bytes that a hook wrote on average, rounded up; 0 without hooks.
    pub fn bytes_per_hook(&self) -> u64 {
        if self.hooks == 0 { 0 } else { self.bytes().div_ceil(self.hooks) }
    }
}

impl Sub for StoreCost {
    type Output = Self;

    /// # Panics
    /// If the other cost is the later one.
    fn sub(self, earlier: Self) -> Self {
        Self {
            hooks: self.hooks - earlier.hooks,
            state_bytes: self.state_bytes - earlier.state_bytes,
            key_writes: self.key_writes - earlier.key_writes,
            key_bytes: self.key_bytes - earlier.key_bytes,
            reads: self.reads - earlier.reads,
            output_bytes: self.output_bytes - earlier.output_bytes,
        }
    }
}
