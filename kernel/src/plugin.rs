//! The plugin contract.
//!
//! An author implements [`InCallPlugin`] for a type that holds resources only, names its sources in
//! [`InCallPlugin::hooks`], and implements [`Receive`] once for each. What a plugin remembers of a meeting is
//! its `State`: the runtime gives each hook a state to read and change, keeps the changed state if the hook
//! ends well, and drops it if the hook fails.
//!
//! A host of plugins in another language implements [`DynamicPlugin`] instead, and [`PluginHost`] where each
//! instance names a plugin of its own.
//!
//! Both are erased into what the runtime handles, so that hooks of any plugin run over one kind of state.
//! Layers, each of which uses those before it: values (`durability`, `input`, `delivery_policy`, `config`,
//! `state`, `outputs`, `scratch`, `resource_map`), tables (`hook_table`, `metadata`, `observer`, `startup`, `shutdown`), contracts (`contract`, `dynamic`),
//! the erased form (`erased`, `factory`, `bundle`), and what leads from a contract to it (`handlers`,
//! `typed`, `untyped`).

mod bundle;
mod config;
mod contract;
mod delivery_policy;
mod durability;
mod dynamic;
pub(crate) mod erased;
mod factory;
mod handlers;
pub(crate) mod hook_table;
pub(crate) mod input;
mod metadata;
mod observer;
pub(crate) mod outputs;
pub(crate) mod resource_map;
mod scratch;
mod shutdown;
pub(crate) mod startup;
pub(crate) mod state;
mod typed;
mod untyped;

pub use bundle::{Bundle, KnownKind};
pub use config::ConfigError;
pub use contract::{Cx, Hooks, InCallPlugin, Receive};
pub use delivery_policy::{DeliveryPolicy, Key, KeyError};
pub use durability::Durability;
pub use dynamic::{DynamicCx, DynamicInstance, DynamicPlugin, DynamicRun, DynamicSpec};
#[cfg(any(test, feature = "runtime"))]
pub use erased::{Call, HandlerOutcome, Hosted, Invocation, Rejected, StartedPlugin};
pub use factory::{Factory, PluginHost};
pub use hook_table::Hook;
#[cfg(any(test, feature = "runtime"))]
pub use hook_table::HookId;
#[cfg(any(test, feature = "runtime"))]
pub use input::Tries;
pub use input::{Batch, Tick, Wake};
pub use metadata::InCallPluginMetadata;
#[cfg(any(test, feature = "runtime"))]
pub use observer::{HookObserver, Pace};
#[cfg(any(test, feature = "runtime"))]
pub use outputs::{HookOutput, Outputs};
#[cfg(any(test, feature = "runtime"))]
pub use resource_map::ResourceMap;
pub use shutdown::ShutdownCx;
pub use startup::StartupCx;
#[cfg(any(test, feature = "runtime"))]
pub use state::{StateError, StateRef};
