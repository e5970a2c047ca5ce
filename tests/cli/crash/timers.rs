//! A process that dies after and before each commit of a meeting with timers: each fires once.

use serde_json::json;

use super::{End, Kill, KillPoint, Played, run};
use crate::{
    Place,
    llm::server::{CannedAnswer, FakeServer, ReceivedRequest},
    said,
};

/// `llm-action` asks by wakes. The model answers by what it is asked, so a wake that comes twice, late or never is another
/// output.
fn settings(server: &FakeServer) -> String {
    let url = server.base_url();
    format!("[[plugin]]\nname = \"llm-action\"\n[[llm.model]]\nname = \"big\"\nbase_url = \"{url}\"\n")
}

#[test]
fn a_process_that_dies_around_each_commit_fires_each_timer_once() {
    let server = FakeServer::start(|asked: &ReceivedRequest| {
        let words = asked.body["messages"][1]["content"].as_str().unwrap();
        let new = words.rsplit_once("\"new\"").unwrap().1;
        CannedAnswer::text(json!([{"action": "web-search", "parameters": {"query": new}}]).to_string())
    });
    let place = Place::new();
    let lines: String = (0..6).map(|second| said(second, &format!("What is {second}?"))).collect();
    let file = place.path().join(place.file("timers.jsonl", lines));
    let played = Played::with(&file, &settings(&server));
    let undisturbed = played.undisturbed();
    let mut kills = 0;
    for point in [KillPoint::CommitBefore, KillPoint::CommitAfter] {
        for passage in 1.. {
            println!("{point}:{passage}");
            if played.run(Kill::At(point, passage)) == End::Done {
                std::fs::remove_dir_all(played.place.path().join("db")).unwrap();
                break;
            }
            kills += 1;
            played.finish_and_compare(&undisturbed);
        }
    }
    println!("{kills} kills");
    assert!(kills >= 6, "{kills}: the meeting has more commits than that");
    // Three wakes ask once each in an undisturbed run, the last of them at the end.
    let asked = server.asked().len();
    assert_eq!(run(&mut played.replay("surrealkv://again", "max"), Kill::Never), End::Done);
    assert_eq!(server.asked().len() - asked, 3);
}
