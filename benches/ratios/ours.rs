//! Ours, as an embedder uses it: a node over the store in memory, and plugins that do next to nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use serde::Deserialize;
use teammy_config::Config;
use teammy_kernel::{
    Cx, Durability, Error, Factory, Hooks, InCallPlugin, MeetingId, MeetingMetadata, Receive, Store,
    store::MemoryStore,
};
use teammy_runtime::{MeetingRef, Node};

use crate::{latency::Clocked, tally::Counter};

/// What the plugins of a run count on, by the place that their table names: a plugin is made from its table
/// alone.
static COUNTERS: Mutex<BTreeMap<usize, Counter>> = Mutex::new(BTreeMap::new());

/// Which counter an instance counts on.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
pub struct Place {
    place: usize,
}

/// Counts what it gets.
pub struct Sink(Counter);

impl InCallPlugin for Sink {
    type Config = Place;
    type State = ();
    type Output = Bytes;
    const KIND: &'static str = "sink";
    const VERSION: &'static str = "1";

    async fn on_startup(Place { place }: Place) -> Result<Self, Error> {
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

/// Counts what it gets and passes it on; its outputs are not kept.
pub struct Relay(Counter);

impl InCallPlugin for Relay {
    type Config = Place;
    type State = ();
    type Output = Bytes;
    const KIND: &'static str = "relay";
    const VERSION: &'static str = "1";
    const OUTPUT: Durability = Durability::Volatile;

    async fn on_startup(Place { place }: Place) -> Result<Self, Error> {
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

/// Where [`Clock`] writes to.
static CLOCKED: Mutex<Option<Clocked>> = Mutex::new(None);

/// Sees how late its packets come.
pub struct Clock(Clocked);

impl InCallPlugin for Clock {
    type Config = Place;
    type State = ();
    type Output = Bytes;
    const KIND: &'static str = "clock";
    const VERSION: &'static str = "1";

    async fn on_startup(_: Place) -> Result<Self, Error> {
        let clocked = CLOCKED.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Self(clocked.clone().expect("the run has set it")))
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Bytes>("audio")
    }
}

impl Receive<Bytes> for Clock {
    async fn receive(&self, data: Bytes, _: &mut Cx<'_, Self>) -> Result<Option<Bytes>, Error> {
        self.0.arrived(&data);
        Ok(None)
    }
}

/// Says where the next [`Clock`] writes to.
pub fn clock(clocked: Clocked) {
    *CLOCKED.lock().unwrap_or_else(PoisonError::into_inner) = Some(clocked);
}

/// Gives counters their places, from 0.
pub fn register(counters: impl IntoIterator<Item = Counter>) -> usize {
    let mut places = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
    places.clear();
    places.extend(counters.into_iter().enumerate());
    places.len()
}

fn counter(place: usize) -> Counter {
    let counters = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
    counters.get(&place).expect("the run has registered its counters").clone()
}

/// A node whose configuration begins with this and has an instance of a kind for each counter.
pub async fn node(settings: &str, factory: Factory, counters: impl IntoIterator<Item = Counter>) -> Node {
    let mut toml = settings.to_owned();
    for place in 0..register(counters) {
        toml += &format!(
            "[[plugin]]\nname = \"p{place}\"\nkind = \"{}\"\nconfig.place = {place}\n",
            factory.kind()
        );
    }
    node_of(&toml, factory).await
}

/// A node of this configuration, whose store is in memory.
pub async fn node_of(toml: &str, factory: Factory) -> Node {
    node_on(Arc::new(MemoryStore::default()), toml, factory).await
}

/// A node of this configuration on a store.
pub async fn node_on(store: Arc<dyn Store>, toml: &str, factory: Factory) -> Node {
    let config = Config::from_toml(toml).expect("the configuration is right");
    let node = Node::builder(config).plugin(factory).store(store);
    node.start().await.expect("the node starts")
}

/// A meeting with the first so many of the node's instances.
pub async fn meeting(node: &Node, id: &str, instances: usize) -> MeetingRef {
    let names: Vec<_> = (0..instances).map(|place| format!("p{place}")).collect();
    meeting_of(node, id, &names).await
}

/// A meeting with these instances, which are all there.
pub async fn meeting_of(node: &Node, id: &str, names: &[String]) -> MeetingRef {
    let metadata = MeetingMetadata::new(MeetingId::new(id).expect("a well-formed id"));
    node.start_meeting(metadata, names).await.expect("the meeting starts")
}
