//! Which crate may use which, checked against `cargo metadata` and the sources; and inside a crate, that no
//! files know each other in a circle ([`circles`]).
//!
//! These boundaries let the project grow: a plugin's author compiles the kernel and nothing heavy, the rules
//! can be tested without a runtime or a database, and a dependency can be replaced in one module. A boundary
//! that is only written down is broken by the first convenient import, so each boundary is a test here, and
//! each failure says why the boundary exists.

#[path = "edges/circles.rs"]
mod circles;
#[path = "edges/graph.rs"]
mod graph;
#[path = "edges/syntax.rs"]
mod syntax;
#[path = "edges/tokens.rs"]
mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Crates that a build of a plugin, of the kernel or of the client must not compile.
const HEAVY: [&str; 5] = ["figment", "ractor", "ractor_cluster", "surrealdb", "async-openai"];

/// A name that only a few files may use.
struct Confined {
    /// The name as a source writes it, without the `::` that follows.
    name: &'static str,
    /// The folder that the rule checks.
    within: &'static str,
    /// The files, or folders (with a slash at the end), that may use the name.
    places: &'static [&'static str],
    why: &'static str,
}

const CONFINED: [Confined; 11] = [
    Confined {
        name: "opentelemetry",
        within: "",
        places: &["actors/traces/"],
        why: "what is traced does not know who collects it: spans are events of `tracing`",
    },
    Confined {
        name: "surrealdb",
        within: "",
        places: &["actors/surreal/"],
        why: "the database is one store among others, behind a feature; everything else knows the store trait",
    },
    Confined {
        name: "async_openai",
        within: "",
        places: &["actors/llm/src/openai.rs", "actors/llm/src/openai/"],
        why: "a client of one API is one provider among others, behind a feature; plugins know `Llm` alone",
    },
    Confined {
        name: "reqwest",
        within: "",
        places: &[
            "actors/llm/src/openai.rs",
            "actors/llm/src/openai/",
            "actors/llm/examples/",
            "examples/clients/rust/src/http.rs",
        ],
        why: "it is the client under two APIs, that of models and a node's own; the rules of both know no HTTP library",
    },
    Confined {
        name: "axum",
        within: "",
        places: &["actors/service/src/", "examples/http-backend/"],
        why: "HTTP is one way to a node among others; what it does is the runtime's, by `admin` and by handles",
    },
    Confined {
        name: "bincode",
        within: "",
        places: &["kernel/src/wire.rs", "kernel/src/wire/"],
        why: "it is unmaintained; the wire module can replace it under a new version number",
    },
    Confined {
        name: "ractor",
        within: "",
        places: &[
            "actors/runtime/src/",
            "actors/llm/src/",
            "actors/cluster/src/transport/tcp.rs",
            "actors/cluster/src/transport/tcp/",
            "actors/cluster/tests/ends.rs",
        ],
        why: "the kernel's rules run without a runtime, and no actor type shows in the façade",
    },
    Confined {
        name: "ractor_cluster",
        within: "",
        places: &["actors/cluster/src/transport/tcp/", "src/logs.rs"],
        why: "it is one transport among others",
    },
    Confined {
        name: "figment",
        within: "",
        places: &["config/src/"],
        why: "the rest takes a configuration that has been checked, wherever it came from",
    },
    Confined {
        name: "jsonschema",
        within: "",
        places: &[
            "kernel/src/graph/compatibility.rs",
            "kernel/src/graph/compatibility/",
            "kernel/src/engine/llm/ask_tests.rs",
            "actors/llm/src/schema.rs",
            "actors/service/tests/http/description.rs",
        ],
        why: "its comparison of schemas is young and may change: few modules turn its answers into ours",
    },
    Confined {
        name: "Any",
        within: "kernel/",
        places: &["kernel/src/plugin/state.rs", "kernel/src/plugin/resource_map.rs"],
        why: "types are erased in these places alone, so that a cast that fails has few places to be wrong in",
    },
];

/// Which packages of the workspace `from` may use, and why no others; `None` for a package without a rule.
fn may_use(from: &str) -> Option<(&'static [&'static str], &'static str)> {
    Some(match from {
        "teammy" | "teammy-benches" => (&["*"], "it composes all"),
        "teammy-kernel" => (&[], "the contract and the rules stand on nothing"),
        "teammy-config" => (&[], "a configuration is read without knowing who will use it"),
        "teammy-runtime" => (
            &["teammy-kernel", "teammy-config"],
            "the runtime names no plugin, and knows stores and language models by their traits",
        ),
        "teammy-service" => (
            &["teammy-kernel", "teammy-config", "teammy-runtime"],
            "the network API calls the runtime, and the runtime knows no transport",
        ),
        // Its own name, because its tests turn its features on.
        "teammy-cluster" => (
            &["teammy-cluster", "teammy-kernel", "teammy-config", "teammy-runtime"],
            "a cluster places what the runtime runs, and the runtime knows other nodes by a trait",
        ),
        "teammy-surreal" | "teammy-llm" | "teammy-traces" => (
            &["teammy-kernel", "teammy-config"],
            "what the runtime only knows by a trait is built and tested without it",
        ),
        "teammy-client" => (
            &["teammy-kernel"],
            "a program that calls a node over the network knows packets, and compiles nothing that hosts plugins",
        ),
        "teammy-own-program" => {
            (&["teammy", "teammy-plugin-*"], "it stands for a program outside of this repository")
        }
        "teammy-plugins" => (
            &["teammy-kernel", "teammy-plugin-*"],
            "a plugin sees the contract and never the runtime behind it",
        ),
        plugin if plugin.starts_with("teammy-plugin-") => {
            (&["teammy-kernel"], "a plugin sees the contract, and neither the runtime nor its neighbours")
        }
        _ => return None,
    })
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The output of `cargo` with these arguments.
fn cargo(arguments: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let ran = Command::new(program).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(ran.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("cargo prints UTF-8")
}

/// `cargo metadata` with all features, for this platform only, so that packages for other platforms need not
/// be downloaded.
fn metadata() -> Value {
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo names its host");
    let text = cargo(&["metadata", "--format-version=1", "--all-features", "--filter-platform", host]);
    serde_json::from_str(&text).expect("metadata is JSON")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("metadata has a list `{key}`"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("metadata has a text `{key}`"))
}

/// The packages of the workspace by name.
fn members(metadata: &Value) -> BTreeMap<&str, &Value> {
    let ids: BTreeSet<_> = list(metadata, "workspace_members").iter().filter_map(Value::as_str).collect();
    let packages = list(metadata, "packages").iter().filter(|package| ids.contains(text(package, "id")));
    packages.map(|package| (text(package, "name"), package)).collect()
}

/// All crates that are compiled with a package, without its tests: each crate's name, and the path of
/// dependencies to it.
fn compiled_with(metadata: &Value, package: &str) -> BTreeMap<String, String> {
    let names: BTreeMap<_, _> = list(metadata, "packages")
        .iter()
        .map(|package| (text(package, "id"), text(package, "name")))
        .collect();
    let nodes: BTreeMap<_, _> =
        list(&metadata["resolve"], "nodes").iter().map(|node| (text(node, "id"), node)).collect();
    let start =
        nodes.keys().find(|id| names[*id] == package).unwrap_or_else(|| panic!("no package `{package}`"));
    let mut ways = BTreeMap::from([(*start, package.to_owned())]);
    let mut queue = VecDeque::from([*start]);
    while let Some(id) = queue.pop_front() {
        for dependency in list(nodes[id], "deps") {
            let compiled = list(dependency, "dep_kinds").iter().any(|kind| kind["kind"] != "dev");
            let next = text(dependency, "pkg");
            if compiled && !ways.contains_key(next) {
                ways.insert(next, format!("{} → {}", ways[id], names[next]));
                queue.push_back(next);
            }
        }
    }
    ways.into_iter().map(|(id, way)| (names[id].to_owned(), way)).collect()
}

/// Every Rust source of the repository by its path from the root, without `benches`, which may use the crates
/// that it measures.
fn sources() -> BTreeMap<String, String> {
    fn walk(folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).expect("a folder of the repository can be read") {
            let path: PathBuf = entry.expect("its entries too").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !name.starts_with('.') && !["target", "benches"].contains(&name) {
                    walk(&path, found);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root()).expect("the walk began at the root");
                let text =
                    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                found.insert(relative.to_string_lossy().replace('\\', "/"), text);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root(), &mut found);
    assert!(found.contains_key("kernel/src/lib.rs"), "the walk missed the kernel: {:?}", found.keys());
    found
}

/// Whether a line uses a crate by path or by `use`, or, for a name that begins with a capital, a type.
fn uses(name: &str, line: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + name.len()..]);
        if before.ends_with(word) || after.starts_with(word) {
            return false;
        }
        if name.starts_with(char::is_uppercase) {
            return before.ends_with("dyn ") || before.ends_with("any::");
        }
        let imported = before.trim_end().ends_with("use") || before.trim_end().ends_with("extern crate");
        after.starts_with("::") || imported
    })
}

/// Fails with the list of all mistakes.
fn nothing_wrong(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn packages_use_whom_they_may() {
    let metadata = metadata();
    let members = members(&metadata);
    let mut wrong = Vec::new();
    let mut edges = 0;
    for (from, package) in &members {
        let Some((allowed, why)) = may_use(from) else {
            wrong.push(format!(
                "`{from}` has no rule: say in tests/edges.rs what it may use, and why no more"
            ));
            continue;
        };
        for dependency in list(package, "dependencies") {
            let to = text(dependency, "name");
            if !members.contains_key(to) {
                continue;
            }
            edges += 1;
            if !allowed.iter().any(|pattern| matches(pattern, to)) {
                wrong.push(format!("`{from}` uses `{to}` and may use {allowed:?} only: {why}"));
            }
            let testing = list(dependency, "features").iter().any(|feature| feature == "testing");
            if testing && dependency["kind"] != "dev" && *from != "teammy-benches" {
                wrong.push(format!(
                    "`{from}` ships `{to}`'s test kit: ask for `testing` under dev-dependencies"
                ));
            }
        }
    }
    assert!(edges >= 8, "metadata shows {edges} edges between packages: this test looks at the wrong thing");
    nothing_wrong(&wrong);
}

/// How a package turns on the kernel's feature `runtime` outside of its tests; empty if it doesn't.
fn turns_on_the_runtime(package: &Value) -> Vec<String> {
    let name = text(package, "name");
    let mut found = Vec::new();
    for dependency in list(package, "dependencies") {
        let asks = list(dependency, "features").iter().any(|feature| feature == "runtime");
        if dependency["name"] == "teammy-kernel" && dependency["kind"] != "dev" && asks {
            found.push(format!("`{name}` depends on `teammy-kernel` with its feature `runtime`"));
        }
    }
    for (feature, enabled) in package["features"].as_object().expect("metadata has a table `features`") {
        let asks =
            |one: &Value| one.as_str().is_some_and(|one| one.replace('?', "") == "teammy-kernel/runtime");
        if enabled.as_array().is_some_and(|all| all.iter().any(asks)) {
            found.push(format!("feature `{feature}` of `{name}` turns on `teammy-kernel/runtime`"));
        }
    }
    found
}

#[test]
fn a_plugin_and_the_client_do_not_turn_on_the_runtime() {
    let metadata = metadata();
    let members = members(&metadata);
    let light = |name: &&&str| name.starts_with("teammy-plugin") || **name == "teammy-client";
    let plugins: Vec<_> = members.keys().filter(light).collect();
    for expected in ["teammy-plugins", "teammy-plugin-template", "teammy-plugin-minutes", "teammy-client"] {
        assert!(plugins.contains(&&expected), "`{expected}` is not looked at, only {plugins:?}");
    }
    let mut wrong = Vec::new();
    for name in plugins {
        wrong.extend(
            turns_on_the_runtime(members[name]).into_iter().map(|found| {
                format!("{found}: that shows it the log, the store and what drives its own hooks")
            }),
        );
    }
    assert!(
        !turns_on_the_runtime(members["teammy-runtime"]).is_empty(),
        "the runtime doesn't turn on `teammy-kernel/runtime`: this test looks at the wrong thing"
    );
    let kernel = &members["teammy-kernel"]["features"];
    assert_eq!(
        kernel["runtime"],
        serde_json::json!(["dep:fastrand", "dep:jsonschema"]),
        "the kernel's feature `runtime` brings in what compares types and what draws ids of spans, and nothing else"
    );
    assert_eq!(kernel["default"], Value::Null, "a plugin would get the kernel's default features unasked");
    nothing_wrong(&wrong);
}

#[test]
fn a_plugins_author_and_a_client_compile_nothing_heavy() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in members(&metadata).into_keys() {
        let light =
            ["teammy-kernel", "teammy-client"].contains(&package) || package.starts_with("teammy-plugin");
        let compiled = compiled_with(&metadata, package);
        for way in HEAVY.iter().filter_map(|heavy| compiled.get(*heavy)).filter(|_| light) {
            wrong.push(format!(
                "{way}: whoever builds `{package}` would wait for it, and be bound to its versions"
            ));
        }
    }
    let runtime = compiled_with(&metadata, "teammy-runtime");
    assert!(
        runtime.contains_key("ractor"),
        "the walk doesn't find ractor below the runtime: it would find nothing"
    );
    nothing_wrong(&wrong);
}

#[test]
fn the_database_can_be_left_out() {
    let metadata = metadata();
    let members = members(&metadata);
    let runtime = compiled_with(&metadata, "teammy-runtime");
    for heavy in ["surrealdb", "async-openai"] {
        assert!(
            !runtime.contains_key(heavy),
            "the runtime compiles {heavy}: the hot path must build without it"
        );
    }
    assert!(
        compiled_with(&metadata, "teammy-surreal").contains_key("surrealdb"),
        "the walk doesn't find SurrealDB below its store: it would find nothing"
    );
    let facade = |name: &str| {
        let found = list(members["teammy"], "dependencies").iter().find(|one| one["name"] == name);
        found.unwrap_or_else(|| panic!("the façade has {name}")).clone()
    };
    assert_eq!(
        facade("teammy-surreal")["optional"],
        true,
        "`teammy-surreal` isn't optional in `teammy`: its feature `surrealdb` would choose nothing"
    );
    assert_eq!(
        facade("teammy-llm")["uses_default_features"],
        false,
        "`teammy` takes the language models with default features: its own `openai` would choose nothing"
    );
}

#[test]
fn names_stay_where_they_belong() {
    let sources = sources();
    let mut wrong = Vec::new();
    for rule in &CONFINED {
        let mut at_home = false;
        for (path, text) in sources.iter().filter(|(path, _)| path.starts_with(rule.within)) {
            let home = rule.places.iter().any(|place| match place.strip_suffix('/') {
                Some(_) => path.starts_with(place),
                None => path == place,
            });
            for (number, _) in (1..).zip(text.lines()).filter(|(_, line)| uses(rule.name, line)) {
                at_home |= home;
                if !home && path != "tests/edges.rs" {
                    let Confined { name, places, why, .. } = rule;
                    wrong.push(format!(
                        "{path}:{number} names `{name}`, which may stand in {places:?} only: {why}"
                    ));
                }
            }
        }
        if !at_home {
            wrong.push(format!("`{}` is not used in {:?}: has its home moved?", rule.name, rule.places));
        }
    }
    nothing_wrong(&wrong);
}

#[test]
fn a_use_is_told_from_a_mention() {
    for line in [
        "use surrealdb::Surreal;",
        "let x = surrealdb::new();",
        "use surrealdb as db;",
        "extern crate surrealdb;",
    ] {
        assert!(uses("surrealdb", line), "{line}");
    }
    for line in [
        "use my_surrealdb::A;",
        "surrealdb_core::b()",
        r#"feature = "surrealdb""#,
        "// SurrealDB",
        "surrealkv://",
    ] {
        assert!(!uses("surrealdb", line), "{line}");
    }
    assert!(uses("Any", "use std::{any::Any, fmt};") && uses("Any", "Box<dyn Any + Send>"));
    assert!(!uses("Any", "/// Any of them") && !uses("Any", "any::AnyThing"));
}

#[test]
fn one_word_for_a_plugin_everywhere() {
    let metadata = metadata();
    let members = members(&metadata);
    let sources = sources();
    let enables = |package: &str, feature: &str, what: &str| {
        let enabled = members[package]["features"][feature].as_array();
        enabled.is_some_and(|all| all.iter().any(|one| one == what))
    };
    let mut wrong = Vec::new();
    let mut seen = 0;
    // What nobody registered may be half made.
    let registered = members["teammy-plugins"]["features"].as_object().expect("a package has features");
    for name in registered.keys().filter(|name| *name != "default") {
        seen += 1;
        let package = format!("teammy-plugin-{name}");
        if !members.contains_key(package.as_str()) || !root().join("plugins").join(name).is_dir() {
            wrong.push(format!("plugins/{name} should be the package `{package}`"));
        }
        if !enables("teammy-plugins", name, &format!("dep:{package}")) {
            wrong.push(format!("the bundle needs the feature `{name} = [\"dep:{package}\"]`"));
        }
        if !enables("teammy-plugins", "default", name) {
            wrong.push(format!(
                "write \"{name}\" into the list `default` of plugins/bundle/Cargo.toml: a build as it comes has every \
                 plugin"
            ));
        }
        let kind = format!("KIND: &'static str = \"{name}\"");
        // A host's is a constant of its module.
        let kind_of_host = format!("KIND: &str = \"{name}\"");
        let folder = format!("plugins/{name}/src/");
        let says = |text: &str| text.contains(&kind) || text.contains(&kind_of_host);
        if !sources.iter().any(|(path, text)| path.starts_with(&folder) && says(text)) {
            wrong.push(format!("no plugin in {folder} says `{kind}`: folder, feature and kind are one word"));
        }
    }
    if !enables("teammy", "default", "plugins") || !enables("teammy", "plugins", "teammy-plugins/default") {
        wrong.push("the program as it comes should have the bundle's default plugins".to_owned());
    }
    assert!(seen >= 2, "plugins/ holds {seen} plugins: this test looks at the wrong folder");
    nothing_wrong(&wrong);
}

#[test]
fn a_module_is_named_after_itself() {
    let sources = sources();
    let wrong: Vec<_> = sources.keys().filter(|path| path.rsplit('/').next() == Some("mod.rs")).collect();
    assert!(
        wrong.is_empty(),
        "write foo.rs beside foo/, so that an editor's tabs tell files apart: {wrong:?}"
    );
}

/// `cargo run` builds without the tests' dependencies, `cargo test` with them. Cargo compiles a crate again
/// for another set of features, together with all crates that depend on it, which takes minutes for
/// SurrealDB.
#[test]
fn the_program_and_its_tests_share_one_database_build() {
    let metadata = metadata();
    let database = compiled_with(&metadata, "surrealdb");
    let features = |arguments: &[&str]| {
        let text = cargo(&[&["tree", "--prefix=none", "--format={p}\t{f}"], arguments].concat());
        let mut sets = BTreeMap::<String, BTreeSet<String>>::new();
        for line in text.lines() {
            let Some((package, features)) = line.trim_end_matches(" (*)").split_once('\t') else { continue };
            let name = package.split(' ').next().unwrap_or_default();
            if database.contains_key(name) {
                sets.entry(package.to_owned()).or_default().insert(features.to_owned());
            }
        }
        assert!(sets.len() > 100, "{arguments:?} shows little of SurrealDB: {sets:?}");
        sets
    };
    let mut wrong = Vec::new();
    for (lean, full) in [
        (&["--package=teammy", "--edges=normal,build"][..], &["--workspace", "--edges=normal,build,dev"][..]),
        (
            &["--workspace", "--all-features", "--edges=normal,build"][..],
            &["--workspace", "--all-features", "--edges=normal,build,dev"][..],
        ),
    ] {
        let full_sets = features(full);
        for (package, sets) in features(lean) {
            if !sets.is_subset(&full_sets[&package]) {
                let other = &full_sets[&package];
                wrong.push(format!(
                    "`{package}` has features {sets:?} for {lean:?} and {other:?} for {full:?}"
                ));
            }
        }
    }
    if !wrong.is_empty() {
        wrong
            .push("a dev-dependency asks for them; drop it, or ask for the same outside of tests".to_owned());
    }
    nothing_wrong(&wrong);
}
