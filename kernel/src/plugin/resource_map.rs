//! What an embedder gives to all plugins of a node.

use std::{
    any::{Any, TypeId, type_name},
    collections::HashMap,
    fmt,
    sync::Arc,
};

/// Values by their type, one of each: a client, a pool, a directory's name in a type of its own.
#[derive(Clone, Default)]
pub struct ResourceMap(HashMap<TypeId, (&'static str, Arc<dyn Any + Send + Sync>)>);

impl ResourceMap {
    /// Adds a value. It replaces an earlier one of the same type.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), (type_name::<T>(), Arc::new(value)));
    }

    /// The value of a type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let (_, value) = self.0.get(&TypeId::of::<T>())?;
        value.clone().downcast().ok()
    }
}

impl fmt::Debug for ResourceMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.values().map(|(name, _)| name)).finish()
    }
}
