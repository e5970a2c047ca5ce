use std::{collections::BTreeSet, fs, path::Path};

use super::*;

const MANIFEST_DIR: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the features of this crate's manifest, and those in `default`.
fn features() -> (BTreeSet<String>, BTreeSet<String>) {
    let manifest = read(&Path::new(MANIFEST_DIR).join("Cargo.toml"));
    let section = manifest.split("[features]\n").nth(1).expect("the manifest has features");
    let section = section.split("\n[").next().unwrap_or_default();
    let keys = section.lines().filter_map(|line| line.split_once(" = "));
    let mut features: BTreeSet<String> = keys.map(|(key, _)| key.to_owned()).collect();
    assert!(features.remove("default"), "the manifest has a list of defaults");
    let default = section.split("default = [").nth(1).and_then(|rest| rest.split(']').next());
    let default = default.unwrap_or_default().split('"').skip(1).step_by(2);
    (features, default.map(str::to_owned).collect())
}

/// Fails with all problems at once.
#[track_caller]
fn nothing_wrong(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn a_plugin_has_one_name_everywhere() {
    let bundle = bundle();
    let kinds: BTreeSet<String> = bundle.known().iter().map(|known| known.kind.to_owned()).collect();
    assert_eq!(
        kinds.len(),
        bundle.known().len(),
        "a kind is in the table of plugins/bundle/src/lib.rs twice"
    );

    let plugins = Path::new(MANIFEST_DIR).parent().unwrap();
    let folders = fs::read_dir(plugins).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.path().join("Cargo.toml").exists());
    let mut folders: BTreeSet<String> =
        folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(folders.remove("bundle"));
    let (features, default) = features();

    let mut wrong = Vec::new();
    // A folder that nobody registered may be half made, and is nobody else's concern.
    for name in kinds.iter().chain(&features).chain(&default).collect::<BTreeSet<_>>() {
        let crate_name = format!("teammy_plugin_{}", name.replace('-', "_"));
        for (there, what, place) in [
            (folders.contains(name), format!("the plugin's folder, plugins/{name}"), "plugins/"),
            (
                kinds.contains(name),
                format!("the line `\"{name}\" => {crate_name}::TYPE,`"),
                "the table of plugins/bundle/src/lib.rs",
            ),
            (
                features.contains(name),
                format!("the feature `{name} = [\"dep:teammy-plugin-{name}\"]`"),
                "plugins/bundle/Cargo.toml",
            ),
            (default.contains(name), format!("\"{name}\""), "`default` of plugins/bundle/Cargo.toml"),
        ] {
            if !there {
                wrong.push(format!(
                    "{what} is missing in {place}; add it, or remove {name} from the other places"
                ));
            }
        }
        let manifest = plugins.join(name).join("Cargo.toml");
        let package = format!("name = \"teammy-plugin-{name}\"");
        if folders.contains(name) && !read(&manifest).contains(&package) {
            wrong.push(format!("`{package}` is missing in plugins/{name}/Cargo.toml"));
        }
    }
    nothing_wrong(&wrong);
}

#[test]
fn the_table_is_alphabetical() {
    let bundle = bundle();
    let before = |two: &[KnownKind]| (two[0].kind < two[1].kind, two[0].kind, two[1].kind);
    // Hosts have a list of their own.
    let is_host =
        |kind: &str| bundle.iter().any(|factory| factory.kind() == kind && factory.as_host().is_some());
    let plugins: Vec<KnownKind> =
        bundle.known().iter().filter(|known| !is_host(known.kind)).copied().collect();
    let wrong = plugins.windows(2).map(before).filter(|(right, ..)| !right).map(|(_, first, second)| {
        format!(
            "{second} comes after {first} in the table of plugins/bundle/src/lib.rs; move it before {first}"
        )
    });
    nothing_wrong(&wrong.collect::<Vec<_>>());
}

#[test]
fn factories_are_of_the_kind_that_the_table_says() {
    let bundle = bundle();
    let mut wrong = Vec::new();
    for factory in bundle.iter() {
        let (name, kind) = (factory.name(), factory.kind());
        if name != kind {
            wrong.push(format!(
                "the table names the plugin \"{name}\", but its KIND is \"{kind}\": write KIND = \"{name}\" in \
                 plugins/{name}/src/lib.rs"
            ));
        }
        if let Err(problem) = factory.metadata() {
            wrong.push(format!("the plugin {name} is faulty: {problem}; correct its `hooks`"));
        }
        if let Err(error) = factory.check_config(&serde_json::Value::Null) {
            wrong.push(format!("the plugin {name} must start without a table in the configuration: {error}"));
        }
    }
    for known in bundle.known().iter().filter(|_| cfg!(feature = "default")) {
        if !bundle.iter().any(|factory| factory.name() == known.kind) {
            wrong
                .push(format!("this build has all features of `default`, but not the plugin {}", known.kind));
        }
    }
    nothing_wrong(&wrong);
}
