//! The locks and atomics of the lock-free parts ([`Combiner`](crate::meeting), the completion flag, the wake
//! gate). `tests/loom.rs` compiles those files once more with loom's in their place.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};

pub(crate) use parking_lot::Mutex;
