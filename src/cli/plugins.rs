//! `teammy plugins`: shows the plugins, and the configured instances.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use teammy::{
    DataType, Factory, InCallPluginMetadata,
    config::Config,
    graph::{Bundle, Graph, Instance},
};

use super::{
    error::Error,
    output::{Form, Output, table},
    plugin_set::PluginSet,
};

const EXAMPLES: &str = "\
Examples:
  teammy plugins
  teammy plugins --json | jq 'select(.kind == \"minutes\").config_schema'";

/// Show the plugins and the configured instances.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print JSON lines, each with a "type", with the JSON Schemas of configurations and outputs
    #[arg(long)]
    pub(super) json: bool,
}

/// A plugin that some build has. Of a plugin that is not in this build only the names are known.
#[derive(Debug, Serialize)]
struct Plugin {
    r#type: &'static str,
    kind: String,
    /// The feature that brings it into a build; null if every build has it.
    feature: Option<&'static str>,
    in_build: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(flatten)]
    metadata: Option<Metadata>,
}

#[derive(Debug, Serialize)]
struct Metadata {
    version: String,
    sources: Vec<String>,
    /// What packets of each source must carry.
    takes: BTreeMap<teammy::Name, DataType>,
    tick_seconds: Option<f64>,
    output: teammy::Durability,
    needs_llm: bool,
    config_schema: Value,
    output_schema: Option<Value>,
}

impl Metadata {
    fn new(metadata: InCallPluginMetadata) -> Self {
        Self {
            version: metadata.version.into_owned(),
            sources: metadata.sources.iter().map(|source| source.as_str().to_owned()).collect(),
            takes: metadata.takes,
            tick_seconds: metadata.every.map(|every| every.as_secs_f64()),
            output: metadata.output,
            needs_llm: metadata.needs_llm,
            config_schema: metadata.config.to_value(),
            output_schema: metadata.output_type.schema().map(|schema| schema.as_value().clone()),
        }
    }
}

/// An instance that is configured, or that a plugin gets where no instance is configured.
#[derive(Debug, Serialize)]
struct ConfiguredInstance {
    r#type: &'static str,
    name: String,
    kind: String,
    /// The plugin's name for each source, and the source that the instance takes.
    sources: BTreeMap<String, String>,
    output: teammy::Durability,
}

pub(crate) fn run(set: &PluginSet, config: Config, output: &Output) -> Result<(), Error> {
    let bundle = set.bundle();
    let plugins: Vec<Plugin> = bundle.kinds().map(|kind| plugin(kind, bundle)).collect();
    // A configuration that does not fit is an error, but first the plugins are shown that it could name.
    let graph = set.builder(config).check();
    let instances: Vec<ConfiguredInstance> =
        graph.iter().flat_map(Graph::instances).map(configured).collect();
    for warning in graph.iter().flat_map(Graph::warnings) {
        output.note(&format!("warning: {warning}"));
    }
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

fn plugin(kind: &str, bundle: &Bundle) -> Plugin {
    let factory = bundle.iter().find(|factory| factory.kind() == kind);
    let (metadata, problem) = match factory.map(Factory::metadata) {
        None => (None, misnamed(kind, bundle)),
        Some(Ok(metadata)) => (Some(Metadata::new(metadata)), None),
        Some(Err(problem)) => (None, Some(problem)),
    };
    Plugin {
        r#type: "plugin",
        kind: kind.to_owned(),
        feature: bundle.known().iter().find(|known| known.kind == kind).map(|known| known.feature),
        in_build: factory.is_some(),
        problem,
        metadata,
    }
}

/// The problem of a plugin that is in the bundle under the kind's name, but has another `KIND`.
fn misnamed(kind: &str, factories: &[Factory]) -> Option<String> {
    let other = factories.iter().find(|factory| factory.name() == kind)?;
    Some(format!("the plugin in the bundle under this name says KIND = {:?}", other.kind()))
}

fn configured(instance: &Instance) -> ConfiguredInstance {
    let text = |name: &teammy::Name| name.as_str().to_owned();
    let sources = instance.subscriptions.iter().map(|(actual, declared)| (text(declared), text(actual)));
    ConfiguredInstance {
        r#type: "instance",
        name: text(&instance.name),
        kind: instance.factory.kind().to_owned(),
        sources: sources.collect(),
        output: instance.output,
    }
}

fn kinds(plugins: &[Plugin]) -> String {
    let mut table = table(["plugin", "version", "takes", "tick", "needs", "output", "configuration"]);
    for plugin in plugins {
        let Some(metadata) = &plugin.metadata else {
            let why = plugin.problem.clone();
            let feature = plugin.feature.unwrap_or_default();
            let why = why.unwrap_or_else(|| format!("not in this build: build it with --features {feature}"));
            table.add_row([plugin.kind.clone(), "-".to_owned(), why]);
            continue;
        };
        table.add_row([
            plugin.kind.clone(),
            metadata.version.clone(),
            metadata.sources.join(", "),
            metadata.tick_seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds} s")),
            if metadata.needs_llm { "a language model" } else { "-" }.to_owned(),
            format!("{} ({})", fields(metadata.output_schema.as_ref()), durability(metadata.output)),
            fields(Some(&metadata.config_schema)),
        ]);
    }
    table.trim_fmt()
}

fn configured_table(instances: &[ConfiguredInstance]) -> String {
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
        table.add_row([instance.name.clone(), instance.kind.clone(), takes.join(", "), output]);
    }
    table.trim_fmt()
}

fn durability(durability: teammy::Durability) -> &'static str {
    match durability {
        teammy::Durability::Durable => "durable",
        teammy::Durability::Volatile => "volatile",
    }
}

/// A schema on one line: the names of an object's fields or of an enum's variants, or else the type.
fn fields(schema: Option<&Value>) -> String {
    schema.map_or_else(|| "not JSON".to_owned(), |schema| SchemaSummary { root: schema, depth: 0 }.of(schema))
}

/// Summarises a schema, and follows its references.
#[derive(Clone, Copy)]
struct SchemaSummary<'a> {
    root: &'a Value,
    depth: u8,
}

impl SchemaSummary<'_> {
    /// How far references and variants are followed: a type may contain itself.
    const DEPTH: u8 = 4;

    fn of(self, schema: &Value) -> String {
        if self.depth == Self::DEPTH {
            return "…".to_owned();
        }
        let below = Self { depth: self.depth + 1, ..self };
        let mut shown = String::new();
        if let Some(fields) = schema["properties"].as_object() {
            shown = fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        }
        if let Some(variants) = ["oneOf", "anyOf"].iter().find_map(|key| schema[key].as_array()) {
            let variants: Vec<String> = variants.iter().map(|variant| below.variant(variant)).collect();
            let variants = variants.join(" | ");
            // An enum that is flattened into a struct stands beside the struct's fields.
            shown = if shown.is_empty() { variants } else { format!("{shown}, ({variants})") };
        }
        if !shown.is_empty() {
            return shown;
        }
        if let Some(target) = schema["$ref"].as_str().and_then(|target| target.strip_prefix('#')) {
            return self.root.pointer(target).map_or_else(|| "any".to_owned(), |target| below.of(target));
        }
        let texts = |values: &[Value]| values.iter().map(literal).collect::<Vec<_>>().join(" | ");
        if let Some(value) = schema.get("const") {
            return literal(value);
        }
        match (&schema["enum"], &schema["type"]) {
            (Value::Array(values), _) | (_, Value::Array(values)) => texts(values),
            (_, Value::String(one)) => one.clone(),
            _ => "any".to_owned(),
        }
    }

    /// An enum's variant: the value of its tag, which is the field with one possible value, or else its
    /// summary.
    fn variant(self, schema: &Value) -> String {
        let fields = schema["properties"].as_object();
        let tag = fields.into_iter().flat_map(|fields| fields.values()).find_map(|field| field.get("const"));
        tag.map_or_else(|| self.of(schema), literal)
    }
}

/// A value of a schema, for people.
fn literal(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use teammy::graph::KnownKind;

    use super::*;

    #[test]
    fn what_is_not_in_the_build_is_shown_with_its_feature() {
        let known = KnownKind { kind: "minutes", feature: "minutes" };
        let absent = plugin("minutes", &Bundle::new(Vec::new(), vec![known]));
        let line = serde_json::to_value(&absent).unwrap();
        assert_eq!(
            line,
            serde_json::json!({"type": "plugin", "kind": "minutes", "feature": "minutes", "in_build": false})
        );
        assert!(kinds(&[absent]).contains("--features minutes"));
    }

    #[test]
    fn a_schema_fits_a_line() {
        let tagged =
            |tag: &str| json!({"type": "object", "properties": {"about": true, "event": {"const": tag}}});
        let within = |field: &str| json!({"type": "object", "properties": {field: true}, "required": [field], "additionalProperties": false});
        for (schema, shown) in [
            (json!({"type": "object", "properties": {"a": true, "b": true}}), "a, b"),
            (json!({"type": "object", "properties": {}}), "object"),
            (json!({"type": "null"}), "null"),
            (json!({"type": ["string", "null"]}), "string | null"),
            (json!(true), "any"),
            // Enums, in the ways of serde.
            (json!({"oneOf": [tagged("asked"), tagged("answered")]}), "asked | answered"),
            (
                json!({"oneOf": [within("Asked"), {"type": "string", "enum": ["None", "All"]}]}),
                "Asked | None | All",
            ),
            (json!({"type": "string", "enum": ["low", "high"]}), "low | high"),
            (json!({"oneOf": [{"const": "low", "description": "Not high."}, {"const": 2}]}), "low | 2"),
            (
                json!({
                    "anyOf": [{"type": "object", "properties": {"a": true, "b": true}}, {"$ref": "#/$defs/C"}],
                    "$defs": {"C": {"type": "string"}},
                }),
                "a, b | string",
            ),
            (
                json!({"type": "object", "properties": {"a": true}, "oneOf": [tagged("x"), tagged("y")]}),
                "a, (x | y)",
            ),
            // A newtype variant's tag stands beside the reference to its type.
            (
                json!({"oneOf": [{"$ref": "#/$defs/C", "properties": {"kind": {"const": "c"}}}], "$defs": {"C": true}}),
                "c",
            ),
            (json!({"$ref": "#/$defs/None"}), "any"),
            (json!({"anyOf": [{"type": "null"}, {"$ref": "#"}]}), "null | null | …"),
        ] {
            assert_eq!(fields(Some(&schema)), shown, "{schema}");
        }
        assert_eq!(fields(None), "not JSON");
    }

    #[cfg(feature = "minutes")]
    #[test]
    fn a_plugins_enum_is_shown_by_its_variants() {
        let minutes = plugin("minutes", &teammy::plugins::bundle());
        assert_eq!(fields(minutes.metadata.unwrap().output_schema.as_ref()), "rolling | final");
    }

    #[test]
    fn a_plugin_of_another_kind_than_its_name_is_told_apart() {
        struct Mine;
        impl teammy::InCallPlugin for Mine {
            type Config = ();
            type State = ();
            type Scratch = ();
            type Output = String;
            const KIND: &'static str = "template";
            const VERSION: &'static str = "0.0.0";
            async fn on_startup((): (), _: &teammy::StartupCx) -> Result<Self, teammy::plugin::Error> {
                Ok(Self)
            }
            fn hooks(hooks: teammy::Hooks<Self>) -> teammy::Hooks<Self> {
                hooks
            }
        }
        let known = KnownKind { kind: "mine", feature: "mine" };
        let bundle = Bundle::new(vec![Factory::of::<Mine>("mine")], vec![known]);
        let shown = kinds(&[plugin("mine", &bundle)]);
        assert!(shown.contains("under this name says KIND = \"template\""), "{shown}");
        assert!(!shown.contains("cargo build"), "{shown}");
    }
}
