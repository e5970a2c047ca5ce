//! Makes a replay wait where a live meeting would lose packets.
//!
//! Packets of volatile sources, such as `audio`, are in memory alone. In a live meeting an instance that is too
//! slow loses the oldest of them. A recording can wait: its instances get the policy `block`, which holds up the
//! replay's publishing while `delivery.block_bytes` wait for one of them. A policy that the configuration or the
//! plugin itself sets stays, so that a replay can show what `drop-oldest` loses.

use teammy::{
    Durability, Name,
    config::{Config, DeliveryPolicyConfig, InstanceConfig},
    graph::{Graph, Instance},
};

use crate::cli::select::with_defaults;

/// The configuration of a graph, with the policy `block` for each volatile source of an instance for which nobody
/// chose a policy.
pub(super) fn waiting(graph: &Graph, mut config: Config) -> Config {
    let mut instances: Vec<InstanceConfig> = config.plugins.clone().unwrap_or_default();
    // Without a list of instances each plugin is one, and beside a list each that the builder was given by itself.
    let is_listed = |instance: &&Instance| instances.iter().any(|it| it.name == instance.name.as_str());
    let unlisted: Vec<_> = graph.instances().filter(|instance| !is_listed(instance)).collect();
    instances.extend(unlisted.iter().flat_map(|it| with_defaults(it.name.as_str(), it.factory.kind())));
    let mut has_changed = false;
    for configured in &mut instances {
        let Some(instance) = graph.instance(&configured.name) else { continue };
        for source in undecided(graph, instance) {
            configured.delivery.entry(source).or_insert_with(|| {
                has_changed = true;
                DeliveryPolicyConfig::Block
            });
        }
    }
    if has_changed {
        config.plugins = Some(instances);
    }
    config
}

/// Whether an instance takes another's outputs and something else too: another source, ticks or wakes. The
/// order in which it gets them is that of the log, where an output comes when its hook has finished: at full
/// speed the recording may be further by then, and may have moved the clock past a tick or a wake. So the
/// replay of such instances waits for each packet to be done with, and gives the same each time.
pub(super) fn depends_on_pace(graph: &Graph, instances: &[String]) -> bool {
    let is_output = |source: &Name| graph.instance(source.as_str()).is_some();
    let takes_more = |instance: &Instance| {
        let metadata = &instance.metadata;
        instance.subscriptions.len() > 1 || metadata.every.is_some() || metadata.takes_wakes
    };
    let mut instances = instances.iter().filter_map(|name| graph.instance(name));
    instances.any(|instance| takes_more(instance) && instance.subscriptions.keys().any(is_output))
}

/// The volatile sources for which the plugin sets no policy, by its own names for them.
fn undecided(graph: &Graph, instance: &Instance) -> impl Iterator<Item = String> {
    let is_volatile = |source: &str| graph.durability(source) == Some(Durability::Volatile);
    let sources = instance.subscriptions.iter().filter(move |(actual, own)| {
        is_volatile(actual.as_str()) && !instance.metadata.policies.contains_key(*own)
    });
    sources.map(|(_, own)| own.as_str().to_owned())
}
