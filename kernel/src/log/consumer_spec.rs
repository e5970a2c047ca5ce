//! What an instance takes, and from where in the log on.

use crate::{Name, plugin::DeliveryPolicy};

/// The sources that an instance takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerSpec {
    /// The instance; its outputs are the source of this name.
    pub instance: Name,
    /// The sources that it takes, by their names in this meeting, each with what happens to its packets
    /// while the instance is busy. For a volatile source [`DeliveryPolicy::Spill`] means
    /// [`DeliveryPolicy::DropOldest`]: its packets cannot be read from the store.
    pub sources: Vec<(Name, DeliveryPolicy)>,
}

/// Where an instance that is added to a running meeting begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinAt {
    /// With the next packet.
    #[default]
    Now,
    /// With the meeting's first packet: the instance reads what is stored, then goes on.
    Start,
}
