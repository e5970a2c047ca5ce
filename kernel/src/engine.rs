//! The engine: a plugin's only way to the rest of the system.

mod datastore;
mod llm;

use tokio::time::Instant;

use crate::{Seq, Timestamp};

pub use datastore::{
    Datastore, Error as DatastoreError, History, KeyValue, PersistenceProvider, ReadError, ReadFuture,
};
pub use llm::{
    AnswerError, Error as LlmError, Llm, LlmProvider, Message as LlmMessage, Model, Request as LlmRequest,
    Response as LlmResponse, Role, SharedLlm, Usage, parse_answer,
};

/// What a hook reaches the world through.
///
/// One engine belongs to one instance in one meeting. Cloning is cheap; a clone that outlives its hook still
/// reads, but what it writes belongs to no hook and is dropped.
#[derive(Debug, Clone)]
pub struct MeetingEngine {
    llm: Llm,
    datastore: Datastore,
}

impl MeetingEngine {
    /// An engine from its parts; the runtime and the test kit build these.
    pub fn new(llm: Llm, datastore: Datastore) -> Self {
        Self { llm, datastore }
    }

    /// A hook is about to run on this packet: what an earlier one wrote is forgotten, and its time; the
    /// runtime's.
    pub fn begin(&self, seq: Seq, timestamp: Timestamp) {
        self.datastore.begin(seq, timestamp);
        self.llm.begin();
    }

    /// The running hook must be done by then: a question to a language model that takes longer fails just
    /// before, so that the hook can still do something about it. Where it has asked already, that
    /// question's time holds; the runtime's.
    pub fn until(&self, deadline: Instant) {
        self.llm.until(deadline);
    }

    /// The language models.
    pub fn llm(&self) -> &Llm {
        &self.llm
    }

    /// The instance's keys and values, and the meeting's history.
    pub fn datastore(&self) -> &Datastore {
        &self.datastore
    }
}
