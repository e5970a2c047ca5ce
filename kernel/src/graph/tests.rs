use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    Bytes, Cx, DataPacket, DataType, Hooks, InCallPlugin, Payload, Receive, StartupCx, chain,
    data::Transcription,
    plugin::{DynamicCx, DynamicInstance, DynamicPlugin, DynamicSpec, Hook},
};

#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Table {
    every: u32,
}

macro_rules! plugin {
    ($type:ident, $kind:literal, $output:expr, $sources:expr) => {
        struct $type;

        impl InCallPlugin for $type {
            type Config = Table;
            type State = ();
            type Scratch = ();
            type Output = Bytes;
            const KIND: &'static str = $kind;
            const VERSION: &'static str = "0.0.0";
            const OUTPUT: Durability = $output;

            async fn on_startup(_: Table, _: &StartupCx) -> Result<Self, crate::Error> {
                Ok(Self)
            }

            fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
                let sources: &[&str] = &$sources;
                sources.iter().fold(hooks, |hooks, source| hooks.on::<Arc<DataPacket>>(source))
            }
        }

        impl Receive<Arc<DataPacket>> for $type {
            async fn receive(
                &self,
                _: Arc<DataPacket>,
                _: &mut Cx<'_, Self>,
            ) -> Result<Option<Bytes>, crate::Error> {
                Ok(None)
            }
        }
    };
}

plugin!(TalkTime, "talk-time", Durability::Durable, ["transcription"]);
plugin!(Meter, "meter", Durability::Volatile, ["audio", "chat"]);
plugin!(Faulty, "faulty", Durability::Durable, ["chat", "tick"]);
plugin!(Mixer, "mixer", Durability::Durable, ["in0", "in1", "in2", "in3"]);
plugin!(OtherTalkTime, "talk-time", Durability::Durable, ["chat"]);

const FACTORIES: [Factory; 4] = [
    Factory::of::<TalkTime>("talk-time"),
    Factory::of::<Meter>("meter"),
    Factory::of::<Faulty>("faulty"),
    Factory::of::<Mixer>("mixer"),
];
const KNOWN: [KnownKind; 2] = [
    KnownKind { kind: "talk-time", feature: "talk-time" },
    KnownKind { kind: "minutes", feature: "plugin-minutes" },
];

fn instance(name: &str, kind: &str, sources: &[(&str, &str)]) -> InstanceSpec {
    let sources = sources.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    InstanceSpec { sources, ..InstanceSpec::new(name, kind) }
}

fn build(declared: impl Into<Vec<InstanceSpec>>) -> Result<Graph, Error> {
    Graph::build(
        declared.into(),
        &FACTORIES,
        &KNOWN,
        vec![SourceSpec::new("captions-de", Durability::Volatile)],
    )
}

fn message(declared: impl Into<Vec<InstanceSpec>>) -> String {
    chain(&build(declared).unwrap_err())
}

fn source_message(name: &str) -> String {
    let sources = ["mine", name].map(|name| SourceSpec::new(name, Durability::Durable));
    chain(&Graph::build(Vec::new(), &FACTORIES, &KNOWN, sources.into()).unwrap_err())
}

#[test]
fn a_graph_knows_its_instances_and_sources() {
    let graph = build([
        instance("summary", "talk-time", &[("transcription", "level")]),
        instance("level", "meter", &[("chat", "captions-de")]),
        instance("watch", "talk-time", &[("transcription", "plugin-status")]),
    ])
    .unwrap();

    let order: Vec<&str> = graph.instances().map(|instance| instance.name.as_str()).collect();
    assert_eq!(order, ["level", "summary", "watch"]);
    assert_eq!(graph.upstream("summary").collect::<Vec<_>>(), ["level"]);
    assert_eq!(graph.upstream("level").count(), 0);
    assert_eq!(graph.upstream("nobody").count(), 0);

    let level = graph.instance("level").unwrap();
    let taken: Vec<_> = level.subscriptions.iter().map(|(a, d)| (a.as_str(), d.as_str())).collect();
    assert_eq!(taken, [("audio", "audio"), ("captions-de", "chat")]);
    assert_eq!(level.factory.kind(), "meter");
    assert!(graph.instance("meter").is_none());

    assert_eq!(graph.closest_instance("sumary").unwrap(), "summary");
    assert_eq!(graph.closest_source("transciption").unwrap(), "transcription");
    assert_eq!(graph.closest_source("captions-fr").unwrap(), "captions-de");
    assert_eq!(graph.closest_source("zzzzzz"), None);
    assert_eq!(graph.closest_source("meetin"), None, "reserved sources are never suggested");
}

#[test]
fn sources_say_whether_they_are_kept_and_who_may_publish() {
    use Durability::{Durable, Volatile};
    let quiet = InstanceSpec { output: Some(Volatile), ..InstanceSpec::new("quiet", "talk-time") };
    let kept = InstanceSpec { output: Some(Durable), ..InstanceSpec::new("kept", "meter") };
    let graph =
        build([quiet, kept, InstanceSpec::new("loud", "talk-time"), InstanceSpec::new("level", "meter")])
            .unwrap();
    for (source, durability, external) in [
        ("audio", Some(Volatile), true),
        ("transcription", Some(Durable), true),
        ("chat", Some(Durable), true),
        ("participant", Some(Durable), true),
        ("captions-de", Some(Volatile), true),
        ("plugin-status", Some(Durable), false),
        ("meeting", Some(Durable), false),
        ("tick", Some(Volatile), false),
        ("quiet", Some(Volatile), false),
        ("kept", Some(Durable), false),
        ("loud", Some(Durable), false),
        ("level", Some(Volatile), false),
        ("nowhere", None, false),
    ] {
        assert_eq!(graph.durability(source), durability, "{source}");
        assert_eq!(graph.is_external(source), external, "{source}");
    }
}

#[test]
fn one_kind_runs_under_two_names_with_two_tables() {
    let table = |every: u32| serde_json::json!({ "every": every });
    let graph = build([
        InstanceSpec { config: table(1), ..InstanceSpec::new("fast", "talk-time") },
        InstanceSpec { config: table(9), ..InstanceSpec::new("slow", "talk-time") },
    ])
    .unwrap();
    assert_eq!(graph.instance("fast").unwrap().config, table(1));
    assert_eq!(graph.instance("slow").unwrap().config, table(9));
}

#[test]
fn a_later_factory_of_one_kind_is_used() {
    let factories = [Factory::of::<TalkTime>("a"), Factory::of::<OtherTalkTime>("b")];
    let graph = Graph::build(vec![InstanceSpec::new("x", "talk-time")], &factories, &[], vec![]).unwrap();
    assert_eq!(graph.instance("x").unwrap().metadata.sources, ["chat"]);
}

#[test]
fn an_unknown_kind_is_answered_with_what_was_meant() {
    assert_eq!(
        message([InstanceSpec::new("x", "talktime")]),
        "instance x is of the unknown kind \"talktime\" (did you mean talk-time?); \
         known kinds: faulty, meter, minutes, mixer, talk-time"
    );
    let far = message([InstanceSpec::new("x", "\n".repeat(5_000))]);
    assert!(!far.contains("did you mean") && !far.contains('\n') && far.len() < 250, "{far}");
}

#[test]
fn a_kind_left_out_names_its_feature() {
    assert_eq!(
        message([InstanceSpec::new("x", "minutes")]),
        "instance x is of kind minutes, which this build leaves out; \
         build it with --features plugin-minutes"
    );
}

#[test]
fn a_plugin_that_calls_itself_something_else_is_told() {
    let factories = [Factory::of::<Meter>("minutes")];
    let declared = vec![InstanceSpec::new("x", "minutes")];
    let error = Graph::build(declared.clone(), &factories, &KNOWN, vec![]).unwrap_err();
    assert_eq!(
        chain(&error),
        "instance x is of kind minutes, but the plugin in the bundle under that name says KIND = \"meter\"; \
         write KIND = \"minutes\" in it"
    );
    // An embedder's plugin may have any name: the name is no kind.
    let error = Graph::build(declared, &factories, &[], vec![]).unwrap_err();
    assert!(matches!(error, Error::UnknownKind { .. }), "{error}");
}

#[test]
fn two_instances_of_one_name_are_refused() {
    assert_eq!(
        message([InstanceSpec::new("x", "talk-time"), InstanceSpec::new("x", "meter")]),
        "two instances are called x; give each [[plugin]] a name of its own"
    );
}

#[test]
fn a_cycle_shows_its_path() {
    // z is downstream of the cycle, and must not be shown as part of it.
    let declared = [
        instance("z", "talk-time", &[("transcription", "c")]),
        instance("b", "talk-time", &[("transcription", "a")]),
        instance("c", "talk-time", &[("transcription", "b")]),
        instance("a", "talk-time", &[("transcription", "c")]),
    ];
    let shown = message(declared);
    assert!(shown.starts_with("the output of b comes back to it: b -> c -> a -> b; "), "{shown}");
    assert!(shown.contains("[plugin.sources]"), "{shown}");
}

#[test]
fn an_instance_cannot_take_its_own_output() {
    let shown = message([instance("a", "talk-time", &[("transcription", "a")])]);
    assert!(shown.starts_with("the output of a comes back to it: a -> a; "), "{shown}");
}

#[test]
fn a_source_that_nobody_declares_is_named() {
    assert_eq!(
        message([instance("x", "talk-time", &[("transcription", "captions-dee")])]),
        "instance x takes the source captions-dee as transcription, which nobody declares \
         (did you mean captions-de?); declare it ([[source]] name = \"captions-dee\"), \
         add a [[plugin]] of that name, or map transcription to another source in the instance's [plugin.sources]"
    );
    let unmapped = message([InstanceSpec::new("x", "mixer")]);
    assert_eq!(
        unmapped,
        "instance x takes the source in0, which nobody declares; declare it ([[source]] name = \"in0\"), \
         add a [[plugin]] of that name, map in0 to another source in the instance's [plugin.sources], \
         or correct it in the plugin's `hooks`"
    );
}

#[test]
fn a_mapping_without_a_hook_is_refused() {
    assert_eq!(
        message([instance("x", "meter", &[("chats", "captions-de")])]),
        "instance x maps the source \"chats\", but its plugin meter has no hook for it \
         (did you mean chat?); it takes: audio, chat"
    );
}

#[test]
fn two_sources_cannot_lead_to_one() {
    for mapping in [&[("chat", "audio")][..], &[("chat", "captions-de"), ("audio", "captions-de")]] {
        let shown = message([instance("x", "meter", mapping)]);
        assert!(shown.contains("as audio and as chat; map each to a source of its own"), "{shown}");
    }
}

#[test]
fn an_instance_cannot_take_the_name_of_a_source() {
    for (name, whose) in [
        ("chat", "a well-known source"),
        ("plugin-status", "a well-known source"),
        ("captions-de", "a declared source"),
        ("meeting", "a source reserved for the runtime"),
        ("tick", "a source reserved for the runtime"),
    ] {
        let shown = message([InstanceSpec::new(name, "talk-time")]);
        let expected = format!("an instance cannot be called {name}, because that is {whose}");
        assert!(shown.starts_with(&expected), "{shown}");
        assert!(shown.ends_with("give the [[plugin]] another name"), "{shown}");
    }
}

#[test]
fn reserved_sources_cannot_be_mapped_to() {
    for reserved in ["meeting", "tick"] {
        let shown = message([instance("x", "talk-time", &[("transcription", reserved)])]);
        let expected =
            format!("instance x maps transcription to {reserved}, which is reserved for the runtime; ");
        assert!(shown.starts_with(&expected), "{shown}");
    }
}

#[test]
fn malformed_names_say_where_they_stand() {
    let shown = message([InstanceSpec::new("a b", "talk-time")]);
    assert!(shown.starts_with("the name of a [[plugin]] cannot be used: name \"a b\""), "{shown}");
    let shown = message([instance("x", "talk-time", &[("transcription", "ä")])]);
    let place = "the source to which instance x maps transcription cannot be used: name \"ä\"";
    assert!(shown.starts_with(place), "{shown}");
    let shown = source_message("");
    assert!(
        shown.starts_with("the name of a [[source]] cannot be used: name \"\" is empty; use 1 to"),
        "{shown}"
    );
}

#[test]
fn a_source_is_declared_once_and_takes_no_others_name() {
    assert_eq!(
        source_message("mine"),
        "[[source]] mine cannot be declared, because that is a declared source; declare it once"
    );
    assert_eq!(
        source_message("chat"),
        "[[source]] chat cannot be declared, because that is a well-known source; leave the declaration out"
    );
    assert_eq!(
        source_message("tick"),
        "[[source]] tick cannot be declared, because that is a source reserved for the runtime; give it another name"
    );
}

#[test]
fn malformed_hooks_name_the_plugin() {
    assert_eq!(
        message([InstanceSpec::new("x", "faulty")]),
        "plugin faulty, of instance x, is faulty: it takes the reserved source tick; correct its `hooks`"
    );
}

#[test]
fn a_table_that_does_not_fit_names_the_instance_and_the_field() {
    let config = serde_json::json!({ "evry": 3 });
    let shown = message([InstanceSpec { config, ..InstanceSpec::new("x", "talk-time") }]);
    assert!(
        shown.starts_with(
            "the [plugin.config] of instance x does not fit its plugin talk-time: unknown field `evry`"
        ),
        "{shown}"
    );
    let config = serde_json::json!({ "every": "3" });
    assert_eq!(
        message([InstanceSpec { config, ..InstanceSpec::new("x", "talk-time") }]),
        "the [plugin.config] of instance x does not fit its plugin talk-time: every: invalid type: string, expected u32"
    );
}

/// Up to seven instances, each with up to two others that it takes from.
fn edges() -> impl Strategy<Value = Vec<BTreeSet<usize>>> {
    (1_usize..8).prop_flat_map(|count| {
        prop::collection::vec(prop::collection::btree_set(0..count, 0..=2.min(count)), count)
    })
}

/// The expected order by definition: repeatedly the first declared instance whose upstream is done. `None` if
/// that stops before all are done.
fn expected(edges: &[BTreeSet<usize>]) -> Option<Vec<usize>> {
    let mut order = Vec::new();
    while order.len() < edges.len() {
        let ready = |at: &usize| !order.contains(at) && edges[*at].iter().all(|from| order.contains(from));
        order.push((0..edges.len()).find(ready)?);
    }
    Some(order)
}

/// A plugin with one hook, for JSON that a schema describes, and with JSON outputs.
struct Reader {
    kind: &'static str,
    source: &'static str,
    takes: DataType,
    puts_out: DataType,
}

struct Started;

impl DynamicPlugin for Reader {
    type Instance = Started;

    fn spec(&self) -> DynamicSpec {
        DynamicSpec::new(self.kind, "1.0.0")
            .on(self.source)
            .takes(self.takes.clone())
            .output_type(self.puts_out.clone())
    }

    async fn on_startup(&self, _: serde_json::Value, _: &StartupCx) -> Result<Started, crate::Error> {
        Ok(Started)
    }
}

impl DynamicInstance for Started {
    async fn receive(&self, _: &Hook, _: &mut DynamicCx<'_>) -> Result<Option<Payload>, crate::Error> {
        Ok(None)
    }
}

fn reader(kind: &'static str, source: &'static str, takes: DataType, puts_out: DataType) -> Factory {
    Factory::dynamic(kind, Reader { kind, source, takes, puts_out })
}

fn schema(json: serde_json::Value) -> DataType {
    DataType::of_schema(json.try_into().unwrap())
}

#[test]
fn a_hook_must_be_able_to_read_what_its_source_carries() {
    let line = || {
        schema(json!({
            "title": "Line", "type": "object", "properties": {"line": {"type": "integer"}}, "required": ["line"],
        }))
    };
    let other = || {
        schema(json!({
            "title": "Other", "type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"],
        }))
    };
    let factories = [
        reader("chatty", "chat", DataType::read_by::<Transcription>(), line()),
        reader("sound", "transcription", DataType::Bytes, DataType::Text),
        reader("liner", "line", line(), DataType::Any),
        reader("worder", "line", other(), DataType::Any),
    ];
    let with = |sources: &[(&str, DataType)], instances: &[(&str, &str, &str)]| {
        let sources = sources.iter().map(|(name, carries)| SourceSpec {
            carries: carries.clone(),
            ..SourceSpec::new(*name, Durability::Durable)
        });
        let own = |kind: &str| match kind {
            "chatty" => "chat",
            "sound" => "transcription",
            _ => "line",
        };
        let instances = instances.iter().map(|(name, kind, from)| instance(name, kind, &[(own(kind), from)]));
        Graph::build(instances.collect(), &factories, &[], sources.collect())
    };
    let says = |result: Result<Graph, Error>| chain(&result.unwrap_err());

    assert_eq!(
        says(with(&[], &[("minutes", "chatty", "chat")])),
        "instance minutes takes the source chat, which its hook reads as Json<Transcription>, but chat carries Json<Chat>; \
         take that in the plugin's hook, or map chat to another source in the instance's [plugin.sources]"
    );
    let mapped = says(with(&[], &[("minutes", "chatty", "audio")]));
    assert!(
        mapped.starts_with(
            "instance minutes takes the source audio as chat, which its hook reads as Json<Transcription>, but audio carries bytes;"
        ),
        "{mapped}"
    );
    assert!(
        says(with(&[], &[("level", "sound", "transcription")]))
            .contains("reads as bytes, but transcription carries Json<Transcription>;")
    );
    with(&[], &[("minutes", "chatty", "transcription"), ("level", "sound", "audio")]).unwrap();

    // A plugin's output, and a declared source.
    with(&[], &[("a", "chatty", "transcription"), ("b", "liner", "a")]).unwrap();
    let wrong = says(with(&[], &[("a", "chatty", "transcription"), ("b", "worder", "a")]));
    assert!(
        wrong.contains(
            "takes the source a as line, which its hook reads as Other, but a carries Line (it does not take {\"line\":-1}"
        ),
        "{wrong}"
    );
    assert!(wrong.contains(r#""words" is a required property"#), "{wrong}");
    with(&[("lines", line())], &[("b", "liner", "lines")]).unwrap();
    with(&[("lines", DataType::Any)], &[("b", "worder", "lines")]).unwrap();
    assert!(says(with(&[("lines", line())], &[("b", "worder", "lines")])).contains("but lines carries Line"));
    let text = says(with(&[], &[("level", "sound", "audio"), ("b", "liner", "level")]));
    assert!(text.contains("reads as Line, but level carries text;"), "{text}");

    let malformed = says(with(&[("lines", schema(json!({"type": "strin"})))], &[]));
    assert!(
        malformed.starts_with("the schema of [[source]] \"lines\" cannot be used: it is not a JSON Schema: "),
        "{malformed}"
    );
}

#[test]
fn what_cannot_be_decided_is_a_warning() {
    let text = |pattern: &str| schema(json!({"title": pattern, "type": "string", "pattern": pattern}));
    let factories = [reader("reader", "codes", text("^[ab]+$"), DataType::Any)];
    let carrying = |carries| {
        let source = SourceSpec { carries, ..SourceSpec::new("codes", Durability::Durable) };
        Graph::build(vec![InstanceSpec::new("reader", "reader")], &factories, &[], vec![source]).unwrap()
    };
    assert_eq!(carrying(text("^[ab]+$")).warnings(), []);
    let graph = carrying(text("^a+$"));
    let [warning] = graph.warnings() else { panic!("{:?}", graph.warnings()) };
    let shown = warning.to_string();
    let says =
        "instance reader takes the source codes as ^[ab]+$, which may not fit all that it carries, ^a+$: ";
    assert!(shown.starts_with(says), "{shown}");
}

proptest! {
    #[test]
    fn upstream_comes_first_and_a_cycle_is_one(edges in edges()) {
        // Names descend in declared order, so that sorting by name would fail the test.
        let name = |at: usize| format!("n{}", 9 - at);
        let declared: Vec<_> = edges.iter().enumerate().map(|(at, from)| {
            let sources = from.iter().enumerate().map(|(hook, from)| (format!("in{hook}"), name(*from)));
            InstanceSpec { sources: sources.collect(), ..InstanceSpec::new(name(at), "mixer") }
        }).collect();
        let inputs = [0, 1, 2, 3].map(|hook| SourceSpec::new(format!("in{hook}"), Durability::Durable));

        match (Graph::build(declared, &FACTORIES, &[], inputs.into()), expected(&edges)) {
            (Ok(graph), Some(order)) => {
                let built: Vec<String> = graph.instances().map(|instance| instance.name.to_string()).collect();
                prop_assert_eq!(built, order.into_iter().map(name).collect::<Vec<_>>());
                for (at, from) in edges.iter().enumerate() {
                    let upstream: BTreeSet<String> = graph.upstream(&name(at)).map(ToString::to_string).collect();
                    prop_assert_eq!(upstream, from.iter().map(|from| name(*from)).collect::<BTreeSet<_>>());
                }
            }
            (Err(Error::Cycle { path }), None) => {
                let at = |shown: &Name| (0..edges.len()).find(|at| *shown == name(*at).as_str()).unwrap();
                let path: Vec<usize> = path.iter().map(at).collect();
                prop_assert!(path.len() >= 2);
                prop_assert_eq!(path.first(), path.last());
                let members: BTreeSet<_> = path[1..].iter().collect();
                prop_assert_eq!(members.len(), path.len() - 1, "a member shows once: {:?}", path);
                for step in path.windows(2) {
                    prop_assert!(edges[step[1]].contains(&step[0]), "{:?} in {:?}", step, edges);
                }
            }
            (built, order) => prop_assert!(false, "{:?} for {:?}", built, order),
        }
    }
}
