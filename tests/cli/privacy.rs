//! No words of a meeting on standard error, with any failure and the most verbose log. A marker word is
//! planted in every field of every source, in answers of models and in secrets.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    Place, Ran,
    llm::server::{CannedAnswer, FakeServer, ReceivedRequest},
};

const WORD: &str = "zqmarker";

/// Whether a text holds the marker: as text, or as bytes in decimal or hexadecimal.
fn leaks(text: &str) -> bool {
    let bytes = WORD.as_bytes();
    let decimal = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let lower = text.to_lowercase();
    [WORD, &decimal, &hex].iter().any(|form| lower.contains(*form))
}

#[track_caller]
fn is_discreet(ran: &Ran) {
    for line in ran.stderr.lines() {
        assert!(!leaks(line), "{line}");
    }
}

fn recording() -> String {
    let mut lines = String::new();
    let mut line = |second: u32, source: &str, data: &Value| {
        let at = format!("2026-01-05T09:00:{second:02}Z");
        let packet = json!({"source": source, "timestamp": at, "participant": WORD, "data": data});
        writeln!(lines, "{packet}").unwrap();
    };
    let broken = [
        json!(WORD),
        json!([WORD]),
        json!({WORD: WORD}),
        json!({"text": {WORD: WORD}}),
        json!({"event": WORD}),
    ];
    for (source, fine) in [
        (
            "transcription",
            json!({"text": WORD, "start_ms": 0, "end_ms": 9, "is_final": true, "language": WORD}),
        ),
        ("transcription", json!({"text": "a", "start_ms": WORD, "end_ms": WORD, "is_final": WORD})),
        ("chat", json!({"text": WORD})),
        ("chat", json!({"text": WORD, "to": WORD})),
        ("participant", json!({"event": "joined"})),
        ("participant", json!({"event": "renamed", "to": WORD})),
        ("participant", json!({"event": "renamed", "to": [WORD]})),
    ] {
        line(1, source, &fine);
        for data in &broken {
            line(2, source, data);
        }
    }
    lines
}

/// A configuration with a model that has a secret key, and plugins whose configuration holds the marker.
fn settings(server: &FakeServer) -> String {
    format!(
        "[log]\nfilter = \"trace\"\n[hooks]\nbackoff = \"1ms\"\n[delivery]\nbatch_packets = 1\n\
         [[llm.model]]\nname = \"m\"\nbase_url = \"{}\"\napi_key_env = \"MODEL_KEY\"\n\
         [[plugin]]\nname = \"talk-time\"\n\
         [[plugin]]\nname = \"watch-list\"\nconfig = {{ terms = [\"{WORD}\"] }}\n\
         [[plugin]]\nname = \"minutes\"\nconfig = {{ every_words = 1 }}\n\
         [[plugin]]\nname = \"llm-action\"\n",
        server.base_url()
    )
}

#[test]
fn no_words_of_a_meeting_get_into_the_log() {
    let bodies = [
        (200, format!("{WORD} is no JSON")),
        (200, json!({"choices": WORD}).to_string()),
        (200, json!({"error": {"message": WORD, "type": WORD, "code": WORD}}).to_string()),
        (
            400,
            json!({"error": {"message": WORD, "type": "invalid_request_error", "param": WORD}}).to_string(),
        ),
        (500, WORD.to_owned()),
        (429, json!({"error": {"message": WORD}}).to_string()),
    ];
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let server = FakeServer::start(move |_: &ReceivedRequest| {
        match bodies.get(asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 8) {
            Some((status, body)) => CannedAnswer::Raw(*status, body.clone()),
            None => CannedAnswer::text(WORD),
        }
    });
    let place = Place::new();
    place.file("teammy.toml", settings(&server));
    place.file("m.jsonl", recording());
    let run = |arguments: &[&str]| {
        let mut command = place.teammy(arguments);
        command.env("MODEL_KEY", format!("sk-{WORD}")).env_remove("RUST_BACKTRACE");
        Ran::of(&mut command)
    };
    let database = if cfg!(feature = "surrealdb") { "surrealkv://db" } else { "mem://" };
    let ran = run(&["replay", "m.jsonl", "--db", database, "--json"]).ends_with(3);
    assert!(ran.stderr.contains("packet given up") && ran.stderr.contains("DEBUG"), "{}", ran.stderr.len());
    assert!(server.asked().len() > 8, "the models were asked");
    assert!(leaks(&ran.stdout), "outputs on stdout hold the words");
    is_discreet(&ran);
    if cfg!(feature = "surrealdb") {
        let letters = run(&["dead-letters", "m", "--db", database, "--json"]).ends_with(0);
        let errors: Vec<_> =
            letters.lines().iter().map(|letter| letter["error"].as_str().unwrap().to_owned()).collect();
        assert!(errors.len() > 20, "{errors:?}");
        assert!(!errors.iter().any(|error| leaks(error)), "{errors:?}");
        is_discreet(&letters);
        for arguments in [
            &["resume", "m", "--db", database][..],
            &["history", "m", "--db", database],
            &["dead-letters", "m", "--redrive", "all", "--db", database],
        ] {
            is_discreet(&run(arguments));
        }
    }
    // Messages about a broken recording do not quote it.
    for (line, code) in [
        (format!("{{\"source\":\"chat\",\"timestamp\":\"{WORD}\",\"data\":1}}\n"), 2),
        (
            format!(
                "{{\"source\":\"chat\",\"timestamp\":5,\"participant\":[\"{WORD}\"],\"data\":\"{WORD}\"}}\n"
            ),
            2,
        ),
        (format!("{{\"source\":\"chat\",\"{WORD}\":1}}\n"), 2),
        (format!("{WORD}\n{WORD}: {WORD}\n"), 2),
        (format!("WEBVTT\n\n{WORD}\n\n00:00:01.000 --> 00:00:02.000\n{WORD}\n"), 2),
    ] {
        place.file("x.jsonl", line);
        is_discreet(&run(&["replay", "x.jsonl", "--db", "mem://"]).ends_with(code));
    }
}
