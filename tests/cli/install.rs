//! `teammy install`, and the installation that a replay does by itself.

use std::fs;

use serde_json::{Value, json};

use crate::{Place, Ran, said};

/// The default path of the manifest, in the home directory of the test's place.
const MANIFEST: &str = ".local/share/teammy/installed.json";

fn manifest(place: &Place) -> Value {
    serde_json::from_str(&fs::read_to_string(place.path().join(MANIFEST)).unwrap()).unwrap()
}

#[test]
fn every_plugin_is_installed_with_its_metadata() {
    let place = Place::new();
    let ran = place.run(&["install"]).ends_with(0);
    assert!(ran.stdout.contains(&format!("installed talk-time {}\n", env!("CARGO_PKG_VERSION"))), "{ran:#?}");
    let written = manifest(&place);
    assert_eq!(
        written["plugins"]["talk-time"]["metadata"]["sources"],
        json!(["transcription", "participant"])
    );
    assert_eq!(written["plugins"]["minutes"]["metadata"]["needs_llm"], true);

    let lines = place.run(&["install", "--json"]).ends_with(0).lines();
    let kinds: Vec<_> =
        lines.iter().filter(|line| line["type"] == "installed").map(|line| &line["kind"]).collect();
    assert_eq!(kinds.len(), written["plugins"].as_object().unwrap().len());
    assert_eq!(lines.last().unwrap()["type"], "manifest");
    assert!(lines.last().unwrap()["path"].as_str().unwrap().ends_with(MANIFEST));
}

#[test]
fn a_replay_installs_what_is_missing_or_of_another_build() {
    let place = Place::new();
    place.file("m.jsonl", said(1, "hello"));
    let replay = || place.run(&["replay", "m.jsonl", "--plugins", "talk-time", "-v"]).ends_with(0);
    let installs = |ran: &Ran| ran.stderr.lines().filter(|line| line.contains("installing")).count();

    let first = replay();
    assert!(installs(&first) == 1 && first.stderr.contains("it was not installed yet"), "{first:#?}");
    let installed = manifest(&place);
    assert_eq!(installed["plugins"].as_object().unwrap().keys().collect::<Vec<_>>(), ["talk-time"]);
    assert_eq!(installs(&replay()), 0);

    let mut old = installed.clone();
    old["plugins"]["talk-time"]["version"] = json!("0.0.1");
    place.file(MANIFEST, old.to_string());
    let again = replay();
    assert!(again.stderr.contains("it was installed by another build"), "{again:#?}");
    assert_eq!(manifest(&place), installed);

    for broken in ["{", r#"{"teammy": "0.0.1", "plugins": {}}"#] {
        place.file(MANIFEST, broken);
        assert_eq!(installs(&replay()), 1);
        assert_eq!(manifest(&place), installed);
    }
}

#[test]
fn a_manifest_that_cannot_be_kept_stops_an_installation_and_no_replay() {
    let place = Place::new();
    place.file("m.jsonl", said(1, "hello"));
    place.file("file", "");
    let run = |arguments: &[&str]| {
        Ran::of(place.teammy(arguments).env("TEAMMY_INSTALL__MANIFEST", "file/installed.json"))
    };
    let ran = run(&["install"]).ends_with(1);
    assert!(
        ran.stderr.contains("error: cannot write the manifest of installed plugins, file/installed.json"),
        "{ran:#?}"
    );
    assert!(ran.stderr.contains("hint: name a file that can be written: install.manifest"), "{ran:#?}");
    let ran = run(&["replay", "m.jsonl", "--plugins", "talk-time", "--json"]).ends_with(0);
    assert!(ran.stderr.contains("plugins are installed again each time"), "{ran:#?}");
    assert_eq!(ran.of_source("talk-time").len(), 1);
}
