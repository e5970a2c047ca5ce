//! Our side, as an embedder uses it: a node on the store in memory, with plugins that do next to nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use serde::Deserialize;
use teammy_config::Config;
use teammy_kernel::{
    Cx, Durability, Error, Factory, Hooks, InCallPlugin, MeetingId, MeetingMetadata, Receive, StartupCx,
    Store, store::MemoryStore,
};
use teammy_runtime::{MeetingRef, Node};

use crate::{lateness::LatenessRecorder, tally::DeliveryCounter};

/// The counters of the plugins, by the place that a plugin's table names. They are global because a plugin is
/// made from its table alone.
static COUNTERS: Mutex<BTreeMap<usize, DeliveryCounter>> = Mutex::new(BTreeMap::new());

/// A plugin's table.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
pub struct CounterConfig {
    /// The plugin's counter in [`COUNTERS`].
    place: usize,
}

/// Counts its packets.
pub struct Sink(DeliveryCounter);

impl InCallPlugin for Sink {
    type Config = CounterConfig;
    type State = ();
    type Scratch = ();
    type Output = Bytes;
    const KIND: &'static str = "sink";
    const VERSION: &'static str = "1";

    async fn on_startup(CounterConfig { place }: CounterConfig, _: &StartupCx) -> Result<Self, Error> {
        Ok(Self(counter(place)))
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Bytes>("audio")
    }
}

impl Receive<Bytes> for Sink {
    async fn receive(&self, data: Bytes, _: &mut Cx<'_, Self>) -> Result<Option<Bytes>, Error> {
        std::hint::black_box(data.len());
        self.0.count();
        Ok(None)
    }
}

/// Counts its packets and puts them out again; its outputs are volatile.
pub struct Relay(DeliveryCounter);

impl InCallPlugin for Relay {
    type Config = CounterConfig;
    type State = ();
    type Scratch = ();
    type Output = Bytes;
    const KIND: &'static str = "relay";
    const VERSION: &'static str = "1";
    const OUTPUT: Durability = Durability::Volatile;

    async fn on_startup(CounterConfig { place }: CounterConfig, _: &StartupCx) -> Result<Self, Error> {
        Ok(Self(counter(place)))
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Bytes>("audio")
    }
}

impl Receive<Bytes> for Relay {
    async fn receive(&self, data: Bytes, _: &mut Cx<'_, Self>) -> Result<Option<Bytes>, Error> {
        self.0.count();
        Ok(Some(data))
    }
}

/// The recorder of the next [`LatenessProbe`].
static RECORDER: Mutex<Option<LatenessRecorder>> = Mutex::new(None);

/// Records how late its packets are.
pub struct LatenessProbe(LatenessRecorder);

impl InCallPlugin for LatenessProbe {
    type Config = CounterConfig;
    type State = ();
    type Scratch = ();
    type Output = Bytes;
    const KIND: &'static str = "clock";
    const VERSION: &'static str = "1";

    async fn on_startup(_: CounterConfig, _: &StartupCx) -> Result<Self, Error> {
        let recorder = RECORDER.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Self(recorder.clone().expect("the run has set it")))
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Bytes>("audio")
    }
}

impl Receive<Bytes> for LatenessProbe {
    async fn receive(&self, data: Bytes, _: &mut Cx<'_, Self>) -> Result<Option<Bytes>, Error> {
        self.0.arrived(&data);
        Ok(None)
    }
}

/// Sets the recorder of the next [`LatenessProbe`].
pub fn set_recorder(recorder: LatenessRecorder) {
    *RECORDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(recorder);
}

/// Replaces the counters, with places from 0. Returns how many there are.
pub fn register(counters: impl IntoIterator<Item = DeliveryCounter>) -> usize {
    let mut places = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
    places.clear();
    places.extend(counters.into_iter().enumerate());
    places.len()
}

fn counter(place: usize) -> DeliveryCounter {
    let counters = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
    counters.get(&place).expect("the run has registered its counters").clone()
}

/// Starts a node whose configuration is `settings` and an instance `p0`, `p1`, … for each counter.
pub async fn node(
    settings: &str,
    factory: Factory,
    counters: impl IntoIterator<Item = DeliveryCounter>,
) -> Node {
    let mut toml = settings.to_owned();
    for place in 0..register(counters) {
        toml += &format!(
            "[[plugin]]\nname = \"p{place}\"\nkind = \"{}\"\nconfig.place = {place}\n",
            factory.kind()
        );
    }
    node_of(&toml, factory).await
}

/// Starts a node of a configuration, on a store in memory.
pub async fn node_of(toml: &str, factory: Factory) -> Node {
    node_on(Arc::new(MemoryStore::default()), toml, factory).await
}

/// Starts a node of a configuration on a store.
pub async fn node_on(store: Arc<dyn Store>, toml: &str, factory: Factory) -> Node {
    let config = Config::from_toml(toml).expect("the configuration is right");
    let node = Node::builder(config).plugin(factory).store(store);
    node.start().await.expect("the node starts")
}

/// Starts a meeting with the node's first instances.
pub async fn meeting(node: &Node, id: &str, instances: usize) -> MeetingRef {
    let names: Vec<_> = (0..instances).map(|place| format!("p{place}")).collect();
    meeting_of(node, id, &names).await
}

/// Starts a meeting with instances of these names.
pub async fn meeting_of(node: &Node, id: &str, names: &[String]) -> MeetingRef {
    let metadata = MeetingMetadata::new(MeetingId::new(id).expect("a well-formed id"));
    node.start_meeting(metadata, names).await.expect("the meeting starts")
}
