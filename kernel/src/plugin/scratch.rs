//! A plugin's memory of one meeting that is not stored.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

/// Holds the scratch of one actor of an instance while no hook runs.
#[derive(Debug)]
pub(super) struct ScratchCell<S>(Arc<Mutex<Option<Box<S>>>>);

impl<S: Default> ScratchCell<S> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Lends the scratch to a call. One that is not there is made; one of no size need not be kept.
    pub(super) fn lend(&self) -> Scratch<S> {
        if size_of::<S>() == 0 {
            return Scratch { cell: None, value: Some(Box::default()) };
        }
        let value = self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        Scratch { cell: Some(self.0.clone()), value: Some(value) }
    }
}

/// A scratch that is lent to a call, and returned when that ends, even if its future is dropped.
#[derive(Debug)]
pub(super) struct Scratch<S> {
    cell: Option<Arc<Mutex<Option<Box<S>>>>>,
    value: Option<Box<S>>,
}

impl<S> Deref for Scratch<S> {
    type Target = S;

    fn deref(&self) -> &S {
        self.value.as_ref().expect("invariant: it is there until it is dropped")
    }
}

impl<S> DerefMut for Scratch<S> {
    fn deref_mut(&mut self) -> &mut S {
        self.value.as_mut().expect("invariant: it is there until it is dropped")
    }
}

impl<S> Drop for Scratch<S> {
    fn drop(&mut self) {
        if let Some(cell) = &self.cell {
            *cell.lock().unwrap_or_else(PoisonError::into_inner) = self.value.take();
        }
    }
}
