//! `teammy plugins`: the plugins that there are, and the instances that are configured.

use std::collections::BTreeMap;

use serde::Serialize;
use teammy::{
    Factory, InCallPluginMetadata, Node,
    config::Config,
    graph::{Graph, Instance, KnownKind},
    plugins::bundle,
};

use super::{
    error::Error,
    output::{Form, Output, table},
};

const EXAMPLES: &str = "\
Examples:
  teammy plugins
  teammy plugins --json | jq 'select(.kind == \"minutes\").config_schema'";

/// Show the plugins and the instances that are configured.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print JSON lines, each with a "type", with the JSON Schemas of configurations and outputs
    #[arg(long)]
    pub(super) json: bool,
}

/// A plugin that some build has. What is not in this one is only known by name.
#[derive(Debug, Serialize)]
struct Plugin {
    r#type: &'static str,
    kind: &'static str,
    feature: &'static str,
    in_build: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(flatten)]
    metadata: Option<Metadata>,
}

#[derive(Debug, Serialize)]
struct Metadata {
    version: &'static str,
    sources: Vec<String>,
    tick_seconds: Option<f64>,
    output: teammy::Durability,
    needs_llm: bool,
    config_schema: serde_json::Value,
    output_schema: Option<serde_json::Value>,
}

impl Metadata {
    fn new(metadata: InCallPluginMetadata) -> Self {
        Self {
            version: metadata.version,
            sources: metadata.sources.iter().map(|source| source.as_str().to_owned()).collect(),
            tick_seconds: metadata.every.map(|every| every.as_secs_f64()),
            output: metadata.output,
            needs_llm: metadata.needs_llm,
            config_schema: metadata.config.to_value(),
            output_schema: metadata.output_schema.as_ref().map(|schema| schema.as_value().clone()),
        }
    }
}

/// An instance that is configured, or that stands for a plugin where none is.
#[derive(Debug, Serialize)]
struct Configured {
    r#type: &'static str,
    name: String,
    kind: &'static str,
    /// As the plugin calls each source, and the source it takes.
    sources: BTreeMap<String, String>,
    output: teammy::Durability,
}

pub(crate) fn run(config: Config, output: &Output) -> Result<(), Error> {
    let bundle = bundle();
    let plugins: Vec<Plugin> = bundle.known().iter().map(|known| plugin(*known, &bundle)).collect();
    // A configuration that doesn't fit is an error, but what could be written instead is shown first.
    let graph = Node::builder(config).plugins(bundle).check();
    let instances: Vec<Configured> = graph.iter().flat_map(Graph::instances).map(configured).collect();
    match output.form() {
        Form::Json => {
            plugins.iter().try_for_each(|plugin| output.object(plugin))?;
            instances.iter().try_for_each(|instance| output.object(instance))?;
        }
        Form::Text => {
            output.text(&kinds(&plugins))?;
            if graph.is_ok() {
                output.text("")?;
                output.text(&configured_table(&instances))?;
            }
        }
    }
    Ok(graph.map(drop)?)
}

fn plugin(known: KnownKind, factories: &[Factory]) -> Plugin {
    let factory = factories.iter().find(|factory| factory.kind() == known.kind);
    let (metadata, problem) = match factory.map(Factory::metadata) {
        None => (None, None),
        Some(Ok(metadata)) => (Some(Metadata::new(metadata)), None),
        Some(Err(problem)) => (None, Some(problem)),
    };
    Plugin {
        r#type: "plugin",
        kind: known.kind,
        feature: known.feature,
        in_build: factory.is_some(),
        problem,
        metadata,
    }
}

fn configured(instance: &Instance) -> Configured {
    let text = |name: &teammy::Name| name.as_str().to_owned();
    let sources = instance.subscriptions.iter().map(|(actual, declared)| (text(declared), text(actual)));
    Configured {
        r#type: "instance",
        name: text(&instance.name),
        kind: instance.factory.kind(),
        sources: sources.collect(),
        output: instance.output,
    }
}

fn kinds(plugins: &[Plugin]) -> String {
    let mut table = table(["plugin", "version", "takes", "tick", "needs", "output", "configuration"]);
    for plugin in plugins {
        let Some(metadata) = &plugin.metadata else {
            let why = plugin.problem.clone();
            let why = why
                .unwrap_or_else(|| format!("not in this build: cargo build --features {}", plugin.feature));
            table.add_row([plugin.kind.to_owned(), "-".to_owned(), why]);
            continue;
        };
        table.add_row([
            plugin.kind.to_owned(),
            metadata.version.to_owned(),
            metadata.sources.join(", "),
            metadata.tick_seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds} s")),
            if metadata.needs_llm { "a language model" } else { "-" }.to_owned(),
            format!("{} ({})", fields(metadata.output_schema.as_ref()), durability(metadata.output)),
            fields(Some(&metadata.config_schema)),
        ]);
    }
    table.trim_fmt()
}

fn configured_table(instances: &[Configured]) -> String {
    if instances.is_empty() {
        return "no instance is configured".to_owned();
    }
    let mut table = table(["instance", "plugin", "takes", "output"]);
    for instance in instances {
        let takes = instance.sources.iter().map(|(declared, actual)| {
            if declared == actual { actual.clone() } else { format!("{actual} as {declared}") }
        });
        let takes: Vec<String> = takes.collect();
        let output = durability(instance.output).to_owned();
        table.add_row([instance.name.clone(), instance.kind.to_owned(), takes.join(", "), output]);
    }
    table.trim_fmt()
}

fn durability(durability: teammy::Durability) -> &'static str {
    match durability {
        teammy::Durability::Durable => "durable",
        teammy::Durability::Volatile => "volatile",
    }
}

/// A schema on one line: the names of an object's fields, or else the type.
fn fields(schema: Option<&serde_json::Value>) -> String {
    let Some(schema) = schema else { return "not JSON".to_owned() };
    if let Some(fields) = schema["properties"].as_object().filter(|fields| !fields.is_empty()) {
        return fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    }
    schema["type"].as_str().unwrap_or("any").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_build_is_shown_with_its_feature() {
        let absent = plugin(KnownKind { kind: "minutes", feature: "minutes" }, &[]);
        let line = serde_json::to_value(&absent).unwrap();
        assert_eq!(
            line,
            serde_json::json!({"type": "plugin", "kind": "minutes", "feature": "minutes", "in_build": false})
        );
        assert!(kinds(&[absent]).contains("cargo build --features minutes"));
    }

    #[test]
    fn a_schema_fits_a_line() {
        let schema = serde_json::json!({"type": "object", "properties": {"a": true, "b": true}});
        assert_eq!(fields(Some(&schema)), "a, b");
        assert_eq!(fields(Some(&serde_json::json!({"type": "null"}))), "null");
        assert_eq!(fields(Some(&serde_json::json!(true))), "any");
        assert_eq!(fields(None), "not JSON");
    }
}
