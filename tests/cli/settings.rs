//! `teammy plugins` and `teammy config`.

use serde_json::{Value, json};

use crate::{Place, Ran};

fn setting(ran: &Ran, key: &str) -> (Value, Value) {
    let lines = ran.lines();
    let line = lines.iter().find(|line| line["key"] == key).unwrap_or_else(|| panic!("no {key}: {ran:#?}"));
    assert_eq!(line["type"], "setting");
    (line["value"].clone(), line["origin"].clone())
}

#[test]
fn every_setting_says_where_it_comes_from() {
    let place = Place::new();
    place.file("teammy.toml", "[hooks]\ntries = 5\n[database]\nusername = \"me\"\n");
    let mut command = place.teammy(&["config", "--json", "-v"]);
    let ran = Ran::of(command.env("TEAMMY_DATABASE__PASSWORD", "hunter2")).ends_with(0);
    assert_eq!(setting(&ran, "hooks.tries"), (json!("5"), json!("teammy.toml")));
    assert_eq!(setting(&ran, "hooks.backoff").1, "default");
    assert_eq!(setting(&ran, "log.filter").1, "--verbose");
    let (value, origin) = setting(&ran, "database.password");
    assert_eq!(value, "\"********\"");
    assert_eq!(origin, "environment variable TEAMMY_DATABASE__PASSWORD");

    let mut command = place.teammy(&["config"]);
    let shown = Ran::of(command.env("TEAMMY_DATABASE__PASSWORD", "hunter2")).ends_with(0);
    assert!(shown.stdout.contains("hooks.tries"), "{shown:#?}");
    for text in [&ran.stdout, &ran.stderr, &shown.stdout, &shown.stderr] {
        assert!(!text.contains("hunter2"), "a secret is shown: {text}");
    }
}

#[test]
fn what_kubernetes_sets_for_a_service_is_warned_of_once() {
    let place = Place::new();
    let run = |name: &str, value: &str| {
        let mut command = place.teammy(&["plugins", "--json"]);
        command.envs([("TEAMMY_SERVICE_HOST", "10.0.0.11"), ("TEAMMY_PORT_80_TCP_ADDR", "10.0.0.11")]);
        Ran::of(command.env("TEAMMY_PORT", "tcp://10.0.0.11:80").env(name, value))
    };
    let ran = run("TEAMMY_CHAT_SERVICE_HOST", "10.0.0.12").ends_with(0);
    assert!(!ran.lines().is_empty(), "{ran:#?}");
    let warnings: Vec<_> = ran.stderr.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 2, "one for each service: {ran:#?}");
    let ours = warnings.iter().find(|line| line.contains("its service teammy;")).unwrap();
    for name in ["TEAMMY_PORT,", "TEAMMY_PORT_80_TCP_ADDR", "TEAMMY_SERVICE_HOST"] {
        assert!(ours.contains(name), "{ours}");
    }
    let ran = run("TEAMMY_LOG__FILTER", "error").ends_with(0);
    assert_eq!(ran.stderr, "");
    let ran = run("TEAMMY_DELIVERY__BACKLOG_BYTE", "1MiB").ends_with(2);
    assert!(ran.stderr.contains("did you mean TEAMMY_DELIVERY__BACKLOG_BYTES?"), "{ran:#?}");
}

#[test]
fn plugins_are_shown_with_schemas_and_instances() {
    let place = Place::new();
    place.file(
        "teammy.toml",
        "[[source]]\nname = \"captions\"\n[[plugin]]\nname = \"talk\"\nkind = \"talk-time\"\n\
         output = \"volatile\"\nsources = { transcription = \"captions\" }",
    );
    let ran = place.run(&["plugins", "--json"]).ends_with(0);
    let lines = ran.lines();
    let talk_time =
        lines.iter().find(|line| line["kind"] == "talk-time" && line["type"] == "plugin").unwrap();
    assert_eq!(talk_time["in_build"], true);
    assert_eq!(talk_time["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(talk_time["sources"], json!(["transcription", "participant"]));
    assert_eq!(talk_time["output"], "durable");
    assert!(talk_time["config_schema"]["properties"]["every"].is_object(), "{talk_time}");
    assert!(talk_time["output_schema"]["properties"]["participants"].is_object(), "{talk_time}");
    assert!(lines.iter().any(|line| line["kind"] == "watch-list"));
    let instances: Vec<_> = lines.iter().filter(|line| line["type"] == "instance").collect();
    assert_eq!(
        instances,
        [&json!({
            "type": "instance", "name": "talk", "kind": "talk-time",
            "sources": {"transcription": "captions", "participant": "participant"}, "output": "volatile",
        })]
    );

    let shown = place.run(&["plugins"]).ends_with(0);
    assert!(shown.stdout.contains("captions as transcription"), "{shown:#?}");
}

#[test]
fn a_sources_schema_is_compared_with_what_hooks_take() {
    let place = Place::new();
    place.file(
        "teammy.toml",
        "[[source]]\nname = \"captions\"\nschema = \"captions.json\"\n[[plugin]]\nname = \"talk-time\"\n\
         sources = { transcription = \"captions\" }",
    );
    place.file("captions.jsonl", crate::said(0, "so it is").replace("transcription", "captions"));
    let replay = |schema: &str, code: i32, says: &str| {
        place.file("captions.json", schema);
        let ran = place.run(&["replay", "captions.jsonl"]).ends_with(code);
        assert!(ran.stderr.contains(says), "should say {says:?}: {ran:#?}");
    };
    let fields = |required: &str| {
        format!(
            r#"{{"title": "Caption", "type": "object", "properties": {{"text": {{"type": "string"}},
            "start_ms": {{"type": "number"}}, "end_ms": {{"type": "number"}}}}, "required": [{required}]}}"#
        )
    };
    replay(&fields(r#""text""#), 0, "1 packet");
    replay(
        &fields(""),
        2,
        "instance talk-time takes the source captions as transcription, which its hook reads as Json<Transcription>, \
         but captions carries Caption (it does not take {}: \"text\" is a required property)",
    );
    replay(
        r#"{"type": "strin"}"#,
        2,
        "the schema of [[source]] \"captions\" cannot be used: it is not a JSON Schema",
    );
    replay("{", 2, "captions.json: EOF while parsing");
    std::fs::remove_file(place.path().join("captions.json")).unwrap();
    let ran = place.run(&["plugins"]).ends_with(2);
    assert!(ran.stderr.contains("captions.json: No such file"), "{ran:#?}");
}

#[test]
fn plugins_are_shown_even_where_the_configuration_names_others() {
    let place = Place::new();
    place.file("teammy.toml", "[[plugin]]\nname = \"talk-tiem\"\n");
    let ran = place.run(&["plugins"]).ends_with(2);
    assert!(ran.stdout.contains("talk-time"), "{ran:#?}");
    assert!(ran.stderr.contains("did you mean talk-time?"), "{ran:#?}");
}

#[test]
fn the_reference_in_the_documents_is_the_programs() {
    let place = Place::new();
    // The reference does not depend on the configuration, which has a mistake.
    place.file("teammy.toml", "[hooks]\ntrys = 5");
    let ran = place.run(&["config", "--reference"]).ends_with(0);
    let page = std::fs::read_to_string(crate::repository("docs/configuration.md")).unwrap();
    let bundle = teammy::plugins::bundle();
    if bundle.len() == bundle.known().len() {
        let anew = "a setting or a plugin has changed: write the page again with \
                    `cargo run -- config --reference > docs/configuration.md`";
        assert!(ran.stdout == page, "{anew}");
    } else {
        eprintln!("skipped: the page has every plugin, and this build leaves some out");
    }
    for part in
        ["## `[hooks]`", "`TEAMMY_HOOKS__TRIES`", "## `[[llm.model]]`", "## `minutes`", "`every_words`"]
    {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn completions_have_every_command_with_any_configuration() {
    let place = Place::new();
    place.file("teammy.toml", "[hooks]\ntrys = 5");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = place.run(&["completions", shell]).ends_with(0);
        for word in ["replay", "history", "install", "keep-going"] {
            assert!(ran.stdout.contains(word), "{shell}: no {word}");
        }
    }
    let ran = place.run(&["completions", "tcsh"]).ends_with(2);
    assert!(ran.stderr.contains("possible values: bash"), "{ran:#?}");
}

#[test]
fn every_command_shows_examples() {
    let place = Place::new();
    let help = place.run(&["--help"]).ends_with(0);
    assert!(help.stdout.contains("Examples:\n"), "{help:#?}");
    for command in ["replay", "history", "plugins", "config", "install", "completions"] {
        assert!(help.stdout.contains(command), "{help:#?}");
        let help = place.run(&[command, "--help"]).ends_with(0);
        let examples = help.stdout.split_once("Examples:\n").unwrap_or_else(|| panic!("{help:#?}")).1;
        assert!(examples.contains(&format!("teammy {command}")), "{help:#?}");
    }
}
