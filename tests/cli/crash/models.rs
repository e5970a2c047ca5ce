//! A process that dies between a model's answer and the commit of its hook.

use serde_json::json;

use super::{End, Kill, KillPoint, Played, run};
use crate::{
    Place, Ran,
    llm::server::{CannedAnswer, FakeServer},
    said,
};

const PACKETS: u32 = 3;

/// What `teammy usage` counts: calls, and tokens read.
fn counted(played: &Played) -> (u64, u64) {
    let ran = Ran::of(&mut played.place.teammy(&["usage", "--db", "surrealkv://db", "--json"])).ends_with(0);
    let sum = |key: &str| -> u64 {
        ran.stdout
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| line[key].as_u64().or_else(|| line["usage"][key].as_u64()).unwrap())
            .sum()
    };
    (sum("calls"), sum("prompt"))
}

#[test]
fn an_answer_that_is_stored_is_neither_asked_for_again_nor_paid_twice() {
    let server = FakeServer::start(|_| {
        CannedAnswer::text(json!([{"action": "web-search", "parameters": {"query": "trains"}}]).to_string())
    });
    let url = server.base_url();
    let settings = format!(
        "[[plugin]]\nname = \"llm-action\"\nconfig = {{ gather_seconds = 0 }}\n\
         [[llm.model]]\nname = \"big\"\nbase_url = \"{url}\"\n"
    );
    let lines: String = (0..PACKETS).map(|second| said(second, &format!("What is {second}?"))).collect();
    let place = Place::new();
    let file = place.path().join(place.file("asked.jsonl", lines));
    for (point, more) in [(KillPoint::AnswerStored, 0), (KillPoint::ModelAnswered, 1)] {
        for passage in 1..=PACKETS {
            let played = Played::with(&file, &settings);
            let before = server.asked().len();
            let asked = || u32::try_from(server.asked().len() - before).unwrap();
            let replay = || played.replay("surrealkv://db", "max");
            let at = Kill::At(point, passage);
            assert_eq!((run(&mut replay(), at), asked()), (End::Killed, passage), "{point}:{passage}");
            assert_eq!(run(&mut replay(), Kill::Never), End::Done);
            assert_eq!(asked(), PACKETS + more, "{point}:{passage}: what the server saw");
            // An answer that was not stored was paid, and nobody knows.
            let calls = u64::from(PACKETS);
            assert_eq!(counted(&played), (calls, 11 * calls), "{point}:{passage}: what the accounts say");
        }
    }
}
