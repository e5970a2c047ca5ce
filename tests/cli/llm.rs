//! Plugins that ask a language model: with a server whose answers a test scripts, and without one.

use serde_json::{Value, json};

use crate::{Place, Ran, said};

#[path = "../../actors/llm/src/openai/tests/server.rs"]
pub(crate) mod server;

use server::{CannedAnswer, FakeServer, ReceivedRequest};

/// A configuration with two models on a server, a question for each packet, and a key in `MODEL_KEY`.
fn settings(server: &FakeServer) -> String {
    let url = server.base_url();
    format!(
        "[hooks]\nbackoff = \"1ms\"\n[llm]\nfast = \"small\"\n\
         [[llm.model]]\nname = \"big\"\nbase_url = \"{url}\"\napi_key_env = \"MODEL_KEY\"\n\
         [[llm.model]]\nname = \"small\"\nbase_url = \"{url}\"\n\
         [[plugin]]\nname = \"llm-action\"\nconfig = {{ gather_seconds = 0 }}\n"
    )
}

fn place(server: &FakeServer, texts: &[&str]) -> Place {
    let place = Place::new();
    place.file("teammy.toml", settings(server));
    let lines: String = (1..).zip(texts).map(|(second, text)| said(second, text)).collect();
    place.file("m.jsonl", lines);
    place
}

fn replay(place: &Place, plugins: &str) -> Ran {
    run(place, &["replay", "m.jsonl", "--json", "--plugins", plugins])
}

fn run(place: &Place, arguments: &[&str]) -> Ran {
    let mut command = place.teammy(arguments);
    // The client must not use a proxy from the environment: nothing listens at this one.
    let proxy = "http://127.0.0.1:1";
    Ran::of(command.env("MODEL_KEY", "sk-hunter2").env("HTTP_PROXY", proxy).env("http_proxy", proxy))
}

/// All messages of a request in one text.
fn question(asked: &ReceivedRequest) -> String {
    let messages = asked.body["messages"].as_array().unwrap();
    messages.iter().filter_map(|message| message["content"].as_str()).collect::<Vec<_>>().join("\n")
}

fn search(query: &str) -> String {
    json!([{"action": "web-search", "parameters": {"query": query}}]).to_string()
}

#[test]
fn actions_are_detected_once_whatever_the_model_wraps_them_in() {
    let server = FakeServer::start(|asked: &ReceivedRequest| {
        // The newest words are the last in the question.
        let question = question(asked);
        let (_, new) = question.rsplit_once("\"new\"").unwrap();
        CannedAnswer::text(match new {
            new if new.contains("weather") => search("weather in Delft"),
            new if new.contains("say it again") => search("WEATHER  in delft"),
            new if new.contains("trains") => format!("Sure!\n```json\n{}\n```\nDone.", search("trains")),
            _ => "I would rather sing.".to_owned(),
        })
    });
    let place = place(&server, &["How is the weather?", "say it again", "la la la", "And the trains?"]);
    let ran = replay(&place, "llm-action").ends_with(0);
    let outputs = ran.of_source("llm-action");
    let queries: Vec<_> =
        outputs.iter().map(|output| output["payload"][0]["parameters"]["query"].clone()).collect();
    assert_eq!(queries, ["weather in Delft", "trains"], "{ran:#?}");
    let causes: Vec<_> = outputs.iter().map(|output| output["causes"].as_array().unwrap().len()).collect();
    assert_eq!(causes, [1, 1]);
    let summary = &ran.summary()["instances"][0];
    assert_eq!((&summary["errors"], &summary["dead_letters"]), (&json!(0), &json!(0)));

    let asked = server.asked();
    assert_eq!(asked.len(), 5, "one question for each packet, and one more about the song");
    for asked in asked {
        assert_eq!((asked.path.as_str(), &asked.body["model"]), ("/v1/chat/completions", &json!("big")));
        assert_eq!(asked.authorization.as_deref(), Some("Bearer sk-hunter2"));
    }
}

/// Plays four seconds of a meeting at the pace of the original, ten times as fast, and at full speed. The model answers
/// by what it is asked, so another question would be another output.
#[test]
fn every_plugin_gives_the_same_at_any_speed() {
    let server = FakeServer::start(|asked: &ReceivedRequest| {
        let question = question(asked);
        let digest = question.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        CannedAnswer::text(match asked.body["model"] == "small" {
            true => format!("Note {digest}."),
            false if question.contains("\"new\"") => search(&digest.to_string()),
            false => json!({"summary": format!("Summary {digest}.")}).to_string(),
        })
    });
    let place = place(&server, &[]);
    let plugins = "[[plugin]]\nname = \"minutes\"\nconfig = { every_words = 12 }\n\
        [[plugin]]\nname = \"talk-time\"\nconfig = { every = 3 }\n[[plugin]]\nname = \"watch-list\"\n\
        config = { terms = [\"five\"] }\n";
    place
        .file("teammy.toml", settings(&server).replace("gather_seconds = 0", "gather_seconds = 1") + plugins);
    let lines: String = (0..40)
        .map(|tenth| {
            said(0, &format!("packet {tenth} of five"))
                .replace("00:00Z", &format!("00:0{}.{}00Z", tenth / 10, tenth % 10))
        })
        .collect();
    place.file("m.jsonl", lines);
    let play = |speed: &str, update: &[&str]| {
        let options = ["replay", "m.jsonl", "--speed", speed, "--expect", "golden.jsonl"];
        run(&place, &[&options, update].concat()).ends_with(0)
    };
    play("1x", &["--update"]);
    let asked = server.asked().len();
    for speed in ["10x", "max"] {
        play(speed, &[]);
    }
    assert_eq!(server.asked().len(), 3 * asked, "as many questions at each speed");
    let golden = std::fs::read_to_string(place.path().join("golden.jsonl")).unwrap();
    for (plugin, outputs) in [("llm-action", 4), ("minutes", 14), ("talk-time", 14), ("watch-list", 40)] {
        let found = golden.matches(&format!("\"source\":\"{plugin}\"")).count();
        assert_eq!(found, outputs, "{plugin}: {golden}");
    }
}

#[test]
fn minutes_come_at_the_end_as_json_and_markdown() {
    let server = FakeServer::start(|asked: &ReceivedRequest| {
        let minutes = json!({
            "title": "The move",
            "summary": "The move is planned.",
            "decisions": ["We move on Friday."],
            "action_items": [{"task": "Book the van", "owner": "Ada", "due": "Friday", "due_date": "2026-01-09"}],
            "open_questions": ["Who has the key?"],
            "language": "en",
        });
        CannedAnswer::text(match asked.body["model"].as_str().unwrap() {
            "small" => "They plan to move on Friday.".to_owned(),
            _ => format!("```json\n{minutes}\n```"),
        })
    });
    let place = place(&server, &["We move on Friday.", "I book the van.", "Who has the key?"]);
    let ran = replay(&place, "minutes").ends_with(0);
    let outputs = ran.of_source("minutes");
    let [output] = outputs.as_slice() else { panic!("{ran:#?}") };
    let payload = &output["payload"];
    assert_eq!((&payload["kind"], &payload["complete"]), (&json!("final"), &json!(true)));
    assert_eq!(payload["minutes"]["decisions"], json!(["We move on Friday."]));
    assert_eq!(payload["minutes"]["action_items"][0]["owner"], "Ada");
    assert_eq!(payload["minutes"]["attendees"], json!(["Ada"]));
    let markdown = payload["markdown"].as_str().unwrap();
    assert!(markdown.contains("- We move on Friday."), "{markdown}");
    let models: Vec<Value> = server.asked().into_iter().map(|asked| asked.body["model"].clone()).collect();
    assert_eq!(models, ["small", "big"]);
    assert_eq!(server.asked()[0].authorization, None, "a server without a key is sent none");
}

#[test]
fn without_a_model_plugins_that_need_one_are_left_out() {
    let place = Place::new();
    place.file("m.jsonl", said(1, "hello"));
    let ran = place.run(&["replay", "m.jsonl", "--json"]).ends_with(0);
    let names: Vec<_> =
        ran.summary()["instances"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    for (name, takes_part) in
        [("llm-action", false), ("minutes", false), ("talk-time", true), ("watch-list", true)]
    {
        assert_eq!(names.contains(&json!(name)), takes_part, "{name}: {ran:#?}");
    }
    let note = ran.stderr.lines().find_map(|line| line.strip_prefix("note: ")).expect("a note");
    let (left_out, need) = note.split_once(" need ").unwrap();
    let left_out: Vec<_> = left_out.split(", ").collect();
    assert!(left_out.contains(&"llm-action") && left_out.contains(&"minutes"), "{ran:#?}");
    assert!(need.starts_with("a language model and take no part: none is configured"), "{ran:#?}");

    let ran = place.run(&["replay", "m.jsonl", "--plugins", "minutes,talk-time"]).ends_with(2);
    let error =
        "error: plugin instance minutes needs a language model, and none is configured\n  hint: name one in";
    assert!(ran.stderr.starts_with(error), "{ran:#?}");
}

#[test]
fn a_key_that_is_not_set_is_named() {
    let place = Place::new();
    place.file("m.jsonl", said(1, "hello"));
    place.file("teammy.toml", "[[llm.model]]\nname = \"big\"\napi_key_env = \"NO_SUCH_KEY\"\n");
    let ran = place.run(&["replay", "m.jsonl"]).ends_with(2);
    let error = "error: model big needs its API key: the environment variable NO_SUCH_KEY is not set";
    assert!(ran.stderr.contains(error), "{ran:#?}");
    // Plugins that need no model need no key.
    place.run(&["replay", "m.jsonl", "--plugins", "talk-time"]).ends_with(0);
}

#[test]
fn a_model_that_fails_harms_nobody_else_and_no_key_is_shown() {
    let server = FakeServer::start(|asked: &ReceivedRequest| {
        let key = asked.authorization.clone().unwrap_or_default();
        CannedAnswer::Raw(401, json!({"error": {"message": format!("no such key: {key}")}}).to_string())
    });
    let place = place(&server, &["hello", "good bye"]);
    let ran = replay(&place, "llm-action,talk-time").ends_with(3);
    assert_eq!(ran.of_source("talk-time").len(), 1, "{ran:#?}");
    let summary = ran.summary();
    let instances = summary["instances"].as_array().unwrap();
    let llm_action = instances.iter().find(|one| one["name"] == "llm-action").unwrap();
    assert_eq!(llm_action["dead_letters"], 1, "what was said waits for the end, which is given up: {ran:#?}");
    assert_eq!(server.asked().len(), 9, "each of two packets and the end are tried three times");
    assert!(ran.stderr.contains("big: HTTP 401 Unauthorized"), "{ran:#?}");
    assert!(!ran.stderr.contains("hunter2") && !ran.stderr.contains("good bye"), "{ran:#?}");
}
