//! The contract and the rules of Teammy, without I/O.
//!
//! A plugin's author needs this crate alone: [`InCallPlugin`], [`Receive`], [`Cx`] and the well-known
//! [`data`] types. Feature `testing` adds the test kit. Feature `runtime` adds what a program needs that
//! hosts plugins (the log, the store, the graph of instances, what runs hooks); a plugin must not turn it on.

// Without the feature, the code that runs hooks has no caller and is not exported. Builds with the feature
// check for both.
#![cfg_attr(not(feature = "runtime"), allow(dead_code, unreachable_pub))]

#[cfg(any(test, feature = "runtime"))]
pub mod backoff;
pub mod data;
mod data_type;
#[cfg(not(feature = "runtime"))]
mod decode;
#[cfg(feature = "runtime")]
pub mod decode;
mod engine;
pub mod error;
mod error_kind;
mod former_names;
#[cfg(any(test, feature = "runtime"))]
pub mod graph;
#[cfg(feature = "runtime")]
pub mod journal;
mod json_text;
#[cfg(feature = "runtime")]
pub mod ledger;
#[cfg(any(test, feature = "runtime"))]
pub mod log;
mod meeting;
pub mod name;
pub mod packet;
mod participant;
pub mod plugin;
mod publish;
mod publish_error;
#[cfg(any(test, feature = "runtime"))]
mod remote_error;
mod shortened;
#[cfg(any(test, feature = "runtime"))]
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(not(feature = "runtime"))]
mod timers;
#[cfg(feature = "runtime")]
pub mod timers;
mod trace;
#[cfg(not(feature = "runtime"))]
mod wire;
#[cfg(feature = "runtime")]
pub mod wire;

pub use bytes::Bytes;
pub use data_type::DataType;
pub use decode::{DecodeError, EncodeError};
#[cfg(any(test, feature = "runtime", feature = "testing"))]
pub use engine::llm::{
    Caller, Charges, Deltas, EmbedRequest, Embeddings, Format as LlmFormat, LlmProvider, Meter,
    Request as LlmRequest, TranscribeRequest,
};
pub use engine::{
    datastore::{Datastore, Error as DatastoreError},
    history::History,
    llm::{
        AnswerError, Ask, Audio, Budget, Budgets, Error as LlmError, Finish, Llm, Message as LlmMessage,
        Model, NanoUsd, Priority, Response as LlmResponse, Role, Spend, Spoken, TextStream, Tool, ToolCall,
        Transcribe, Transcript, Usage, parse_answer,
    },
    meeting::MeetingEngine,
    provider::ReadError,
};
#[cfg(any(test, feature = "runtime"))]
pub use engine::{
    llm::SharedLlm,
    meeting::EngineControl,
    provider::{KeyValue, PersistenceProvider, ReadFuture, write_cost},
};
pub use error::{Error, chain};
pub use error_kind::{ErrorClass, ErrorKind};
pub use former_names::FormerNames;
pub use jiff::Timestamp;
pub use json_text::{JsonText, MalformedJson};
pub use meeting::{Lifecycle, MeetingMetadata, Setup};
pub use name::{MeetingId, Name};
pub use packet::{DataPacket, FromPacket, IntoPayload, Json, Payload, Producer, Seq};
pub use plugin::{
    Batch, Bundle, Cx, DeliveryPolicy, Durability, Factory, Hooks, InCallPlugin, InCallPluginMetadata, Key,
    KeyError, KnownKind, Receive, ShutdownCx, StartupCx, Tick, Wake,
};
pub use publish::Publish;
pub use publish_error::PublishError;
#[cfg(any(test, feature = "runtime"))]
pub use remote_error::RemoteError;
#[cfg(any(test, feature = "runtime"))]
pub use shortened::shortened;
#[cfg(any(test, feature = "runtime"))]
pub use store::Store;
pub use trace::{InvalidTraceparent, TraceContext};
#[cfg(any(test, feature = "runtime"))]
pub use trace::{Outcome as SpanOutcome, Span};
