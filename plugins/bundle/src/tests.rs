use std::{collections::BTreeSet, fs, path::Path};

use super::*;

const MANIFEST_DIR: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The keys of a manifest's section.
fn keys(manifest: &str, section: &str) -> BTreeSet<String> {
    let lines = manifest.lines().map(str::trim).skip_while(|line| *line != section).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split_once(" = ")).map(|(key, _)| key.to_owned()).collect()
}

#[test]
fn a_plugin_has_one_name_everywhere() {
    let bundle = bundle();
    let known = bundle.known();
    let kinds: BTreeSet<String> = known.iter().map(|known| known.kind.to_owned()).collect();
    assert_eq!(kinds.len(), known.len(), "a kind is in the table twice");

    let plugins = Path::new(MANIFEST_DIR).parent().unwrap();
    let folders = fs::read_dir(plugins).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.path().join("Cargo.toml").exists());
    let mut folders: BTreeSet<String> =
        folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(folders.remove("bundle"));
    assert_eq!(kinds, folders, "kinds and folders");

    let mut features = keys(&read(&Path::new(MANIFEST_DIR).join("Cargo.toml")), "[features]");
    assert!(features.remove("default"));
    assert_eq!(kinds, features, "kinds and features");

    for known in known {
        assert_eq!(known.kind, known.feature);
        let manifest = read(&plugins.join(known.kind).join("Cargo.toml"));
        let package = format!("name = \"teammy-plugin-{}\"", known.kind);
        assert!(manifest.contains(&package), "the manifest of {} has no {package}", known.kind);
    }
}

#[test]
fn factories_are_of_the_kind_that_the_table_says() {
    let bundle = bundle();
    let order: Vec<&str> = bundle.known().iter().map(|known| known.kind).collect();
    let mut built = order.iter();
    for factory in bundle.iter() {
        assert_eq!(factory.kind(), factory.name());
        assert!(built.any(|kind| *kind == factory.kind()), "{} is out of order", factory.kind());
        factory.metadata().unwrap();
        factory.check_config(&serde_json::Value::Null).unwrap();
    }
    #[cfg(all(feature = "llm-action", feature = "minutes", feature = "talk-time", feature = "watch-list"))]
    assert_eq!(bundle.len(), order.len());
}
