//! Plugins in Python, as an operator has them: installed, listed, replayed, changed, broken.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::{Place, said};

const PLUGIN: &str = "
from teammy.api.plugin import DataPacket, InCallPlugin, InCallPluginMetadata, PluginConfig

class Echo(InCallPlugin):
    @classmethod
    async def get_metadata(cls):
        return InCallPluginMetadata(name='echo', version='1.0.0', sources=['transcription'], config=PluginConfig())
    @classmethod
    async def on_install(cls): pass
    @classmethod
    async def on_startup(cls, config): pass
    @classmethod
    async def get_data_receive_hooks(cls): return {'transcription': on_transcription}
    @classmethod
    async def on_meeting_start(cls, info, engine): pass
    @classmethod
    async def on_meeting_end(cls, info, engine): pass
    @classmethod
    async def on_shutdown(cls, engine): pass

async def on_transcription(packet, engine):
    print('heard')
    return 'ECHO'
";

/// A place with a plugin; none without a Python that can run it.
fn place(plugin: &str) -> Option<Place> {
    let check = "import sys; sys.exit(sys.version_info < (3, 10))";
    if !Command::new("python3").args(["-c", check]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no python3 of version 3.10 or later");
        return None;
    }
    let place = Place::new();
    place.file("m.jsonl", format!("{}{}", said(1, "hello"), said(2, "bye")));
    fs::create_dir_all(place.path().join("echo/src/plugin")).unwrap();
    place.file("echo/src/plugin/__init__.py", plugin);
    place.file(
        "teammy.toml",
        "[[plugin]]\nname = \"parrot\"\nkind = \"python\"\nconfig = { path = \"echo\", python = \"python3\" }\n",
    );
    Some(place)
}

fn outputs(place: &Place) -> Vec<Value> {
    let ran =
        place.run(&["replay", "m.jsonl", "--db", "mem://", "--json", "--plugins", "parrot"]).ends_with(0);
    ran.of_source("parrot").iter().map(|output| output["payload_text"].clone()).collect()
}

#[test]
fn a_plugin_is_installed_listed_and_replayed() {
    let Some(place) = place(PLUGIN) else { return };
    let ran = place.run(&["plugins"]).ends_with(2);
    assert!(ran.stderr.contains("run `teammy install` with this configuration"), "{ran:#?}");

    let ran = place.run(&["install"]).ends_with(0);
    assert!(ran.stdout.contains("installed python/parrot 1.0.0\n"), "{ran:#?}");
    let listed = place.run(&["plugins", "--json"]).ends_with(0).lines();
    let instance = listed.iter().find(|line| line["name"] == "parrot").unwrap();
    assert_eq!(
        (&instance["kind"], &instance["sources"]),
        (&json!("python"), &json!({"transcription": "transcription"}))
    );
    assert_eq!(outputs(&place).len(), 2);

    let ran = place.run(&["replay", "m.jsonl", "--db", "mem://", "-v"]).ends_with(0);
    assert!(ran.stderr.contains("heard") && !ran.stderr.contains("prepared"), "{ran:#?}");
}

#[test]
fn a_plugin_that_changes_is_prepared_anew() {
    let Some(place) = place(PLUGIN) else { return };
    assert_eq!(outputs(&place)[0], "ECHO");
    place.file("echo/src/plugin/__init__.py", PLUGIN.replace("'ECHO'", "'OTHER'").replace("1.0.0", "2.0.0"));
    assert_eq!(outputs(&place)[0], "OTHER");
    let ran = place.run(&["install", "--json"]).ends_with(0).lines();
    let installed = ran.iter().find(|line| line["kind"] == "python/parrot").unwrap();
    assert_eq!(installed["version"], "2.0.0");
}

#[test]
fn a_broken_plugin_is_said_and_does_not_concern_others() {
    let Some(place) = place("import no_such_module") else { return };
    let ran = place.run(&["install"]).ends_with(1);
    assert!(ran.stderr.contains("no_such_module") && ran.stderr.contains("python/parrot"), "{ran:#?}");
    let table = fs::read_to_string(place.path().join("teammy.toml")).unwrap();
    place.file("teammy.toml", table + "[[plugin]]\nname = \"talk-time\"\n");
    place.run(&["replay", "m.jsonl", "--db", "mem://", "--plugins", "talk-time"]).ends_with(0);
    let ran = place.run(&["replay", "m.jsonl", "--db", "mem://"]).ends_with(1);
    assert!(ran.stderr.contains("no_such_module"), "{ran:#?}");
}

#[test]
fn a_new_plugin_is_written_once() {
    let place = Place::new();
    let ran = place.run(&["new", "python", "word-count"]).ends_with(0);
    assert!(ran.stdout.contains("word-count/README.md"), "{ran:#?}");
    let plugin = fs::read_to_string(place.path().join("word-count/src/plugin/__init__.py")).unwrap();
    assert!(plugin.contains("class WordCount(InCallPlugin)"));
    let again = place.run(&["new", "rust", "word-count"]).ends_with(2);
    assert!(again.stderr.contains("word-count is there already"), "{again:#?}");
    place.run(&["new", "rust", "word-count", "--out", "other", "--sources", "/teammy"]).ends_with(0);
    let manifest = fs::read_to_string(place.path().join("other/Cargo.toml")).unwrap();
    assert!(manifest.contains("teammy-kernel = { path = \"/teammy/kernel\" }"), "{manifest}");
    let refused = place.run(&["new", "rust", "Word Count"]).ends_with(2);
    assert!(refused.stderr.contains("lower-case letters"), "{refused:#?}");
}
