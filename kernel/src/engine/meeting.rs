//! An instance's engine in one meeting: the part that a hook sees, and the part that drives it.
//!
//! Both are handles to the same values. A hook gets [`MeetingEngine`] only, so it cannot end its own buffer
//! of writes or change its own deadline.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    datastore::Datastore,
    llm::{Llm, SharedLlm},
    provider::{KeyValue, PersistenceProvider, ReadError},
};
use crate::{MeetingId, Name, Seq, Timestamp, timers::Timers};

/// A hook's way to the rest of the system.
///
/// One engine belongs to one instance in one meeting. Cloning is cheap. A clone that outlives its hook still
/// reads; its writes belong to no hook and are dropped.
#[derive(Debug, Clone)]
pub struct MeetingEngine {
    llm: Llm,
    datastore: Datastore,
}

impl MeetingEngine {
    /// The language models.
    pub fn llm(&self) -> &Llm {
        &self.llm
    }

    /// The instance's keys and values, and the meeting's history.
    pub fn datastore(&self) -> &Datastore {
        &self.datastore
    }
}

/// Drives a [`MeetingEngine`]: tells it which hook runs, and takes what the hook wrote.
///
/// The runtime and the test kit hold one for each instance and meeting; no hook can reach it.
#[derive(Debug)]
pub struct EngineControl {
    engine: MeetingEngine,
}

impl EngineControl {
    /// An engine over these models and this provider. A hook's questions to a model fail `limit` after its
    /// first one, unless [`until`](Self::until) sets another time; `None` is no limit.
    pub fn new(
        models: SharedLlm,
        provider: Arc<dyn PersistenceProvider>,
        meeting: MeetingId,
        instance: Name,
        limit: Option<Duration>,
    ) -> Self {
        let llm = Llm::new(models, meeting, instance, limit);
        Self { engine: MeetingEngine { llm, datastore: Datastore::new(provider) } }
    }

    /// The part that a hook sees.
    pub fn engine(&self) -> &MeetingEngine {
        &self.engine
    }

    /// Starts a hook on this packet: drops what an earlier hook wrote and did not commit, and clears its
    /// deadline.
    #[inline]
    pub fn begin(&self, seq: Seq, timestamp: Timestamp) {
        self.engine.datastore.begin(seq, timestamp);
        self.engine.llm.begin();
    }

    /// Fails the running hook's questions to a model at `deadline`, just before the hook's own deadline, so
    /// that the hook can still handle the failure. A hook that has asked already keeps its first deadline.
    pub fn until(&self, deadline: Instant) {
        self.engine.llm.until(deadline);
    }

    /// The timers of an instance that starts here, or goes on here, with those that are stored.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn timers(&self, every: Option<Duration>) -> Result<Timers, ReadError> {
        let mut timers = Timers::new(every);
        timers.restore(self.engine.datastore.provider().list(Timers::PREFIX).await?);
        Ok(timers)
    }

    /// Whether the running hook has written anything.
    #[inline]
    pub fn has_writes(&self) -> bool {
        self.engine.datastore.has_writes()
    }

    /// Takes what the running hook has written, in key order.
    #[inline]
    pub fn take_writes(&self) -> Vec<KeyValue> {
        self.engine.datastore.take_writes()
    }
}
