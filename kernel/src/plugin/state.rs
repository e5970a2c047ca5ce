//! A plugin's state with its type erased. Beside `resource_map`, the only file that names `Any`.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{DecodeError, EncodeError, decode};

/// Why a state could not be written as JSON, or read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The state has no JSON form, such as a map whose keys are not strings.
    #[error("the state cannot be written as JSON")]
    Encode(#[source] EncodeError),
    /// The state's `Serialize` panicked.
    #[error("the state's Serialize panicked")]
    Panicked,
    /// The state is too large: it is stored whole with every change.
    #[error("the state is {bytes} bytes of JSON; the limit is {}", StateRef::MAX_BYTES)]
    TooLarge {
        /// The state's size in bytes of JSON.
        bytes: usize,
    },
    /// The stored JSON is not of this build's state type.
    #[error("the stored state is not of the plugin's state type")]
    Decode(#[source] DecodeError),
}

trait DynState: Send + Sync {
    fn to_json(&self) -> Result<String, StateError>;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<S: serde::Serialize + Send + Sync + 'static> DynState for S {
    fn to_json(&self) -> Result<String, StateError> {
        decode::to_json(self).map_err(StateError::Encode)
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// A state with its type erased: shared, immutable, and written as JSON only when it is committed.
#[derive(Clone)]
pub struct StateRef(Arc<dyn DynState>);

impl StateRef {
    /// A state of any type that serialises.
    pub fn new<S: serde::Serialize + Send + Sync + 'static>(state: S) -> Self {
        Self(Arc::new(state))
    }

    /// The largest state, in bytes of JSON.
    pub const MAX_BYTES: usize = 1 << 20;

    /// The state as JSON text.
    ///
    /// # Errors
    /// [`StateError::Encode`], [`StateError::TooLarge`] and [`StateError::Panicked`].
    pub fn to_json(&self) -> Result<String, StateError> {
        // The plugin's code runs in the meeting here, and must not take the other instances with it.
        let written = catch_unwind(AssertUnwindSafe(|| self.0.to_json()));
        let json = written.map_err(|_| StateError::Panicked)??;
        if json.len() > Self::MAX_BYTES {
            return Err(StateError::TooLarge { bytes: json.len() });
        }
        Ok(json)
    }

    /// Whether both are the same allocation: a hook that changed nothing returns the state that it got.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for StateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateRef")
    }
}

impl StateRef {
    /// The state as its own type; `None` if the state is of another type.
    pub(super) fn downcast<S: Send + Sync + 'static>(self) -> Option<Arc<S>> {
        self.0.into_any().downcast().ok()
    }

    /// A state that is already shared.
    pub(super) fn of<S: serde::Serialize + Send + Sync + 'static>(state: Arc<S>) -> Self {
        Self(state)
    }
}
