//! A cluster in one process, to test what runs in it: nodes over a store and a network in memory, with faults.

mod cluster;
pub mod history;
mod store;

pub use self::{
    cluster::{StartError, TestCluster, TestNode},
    store::{StoreLink, Way},
};
pub use crate::transport::memory::{Faults, Network};
