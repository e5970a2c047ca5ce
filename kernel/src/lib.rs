//! The contract and the rules of Teammy, without I/O.
//!
//! A plugin's author needs this crate alone: [`InCallPlugin`], [`Receive`], [`Cx`], the well-known [`data`]
//! types, and the test kit behind feature `testing`.

pub mod backoff;
pub mod data;
pub mod decode;
mod engine;
pub mod error;
pub mod graph;
pub mod log;
mod meeting;
pub mod name;
pub mod packet;
mod participant;
pub mod plugin;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wire;

pub use bytes::Bytes;
pub use decode::{DecodeError, EncodeError};
pub use engine::{
    AnswerError, Datastore, DatastoreError, History, KeyValue, Llm, LlmError, LlmMessage, LlmProvider,
    LlmRequest, LlmResponse, MeetingEngine, Model, PersistenceProvider, ReadError, ReadFuture, Role,
    SharedLlm, Usage, parse_answer,
};
pub use error::{Error, chain};
pub use jiff::Timestamp;
pub use meeting::{Lifecycle, MeetingMetadata, Setup};
pub use name::{MeetingId, Name};
pub use packet::{DataPacket, FromPacket, IntoPayload, Json, Payload, Producer, Publish, Seq};
pub use plugin::{
    Batch, Cx, DeliveryPolicy, Durability, Factory, Hooks, InCallPlugin, InCallPluginMetadata, Key, KeyError,
    Receive, ShutdownCx, Tick,
};
pub use store::Store;
