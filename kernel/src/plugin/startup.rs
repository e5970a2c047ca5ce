//! What a plugin has when its node starts.

use std::{any::type_name, sync::Arc};

use super::resource_map::ResourceMap;
use crate::{Error, Name};

/// What [`on_startup`](crate::InCallPlugin::on_startup) is given beside the configuration.
#[derive(Debug, Clone)]
pub struct StartupCx {
    instance: Name,
    resources: ResourceMap,
}

/// A plugin asked for a resource that the node does not have.
#[derive(Debug, thiserror::Error)]
#[error(
    "the node has no resource of type {0}; the program that starts the node gives it with `Builder::resource`"
)]
struct NoResource(&'static str);

impl StartupCx {
    /// The context of an instance that starts with these resources.
    pub(crate) fn of(instance: Name, resources: ResourceMap) -> Self {
        Self { instance, resources }
    }

    /// The name of the instance that starts.
    pub fn instance(&self) -> &Name {
        &self.instance
    }

    /// What the embedding program gave the node for its plugins: the value of this type, shared by all
    /// instances.
    ///
    /// # Errors
    /// [`Error::reject`] if there is none, which keeps the node from starting.
    pub fn resource<T: Send + Sync + 'static>(&self) -> Result<Arc<T>, Error> {
        self.find_resource().ok_or_else(|| Error::reject(NoResource(type_name::<T>())))
    }

    /// As [`resource`](Self::resource), for a plugin that can do without.
    pub fn find_resource<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.resources.get()
    }
}
