mod large;

use serde_json::{Value, json};
use teammy_kernel::{
    Publish, Timestamp,
    data::{Chat, ParticipantEvent},
    testing::{self, PluginTest},
};

use super::*;

fn said(by: &str, text: &str, start_ms: u64, end_ms: u64) -> Publish {
    Publish::json("transcription", &Transcription::new(text, start_ms, end_ms)).unwrap().participant(by)
}

fn by_nobody(text: &str) -> Publish {
    Publish::json("transcription", &Transcription::new(text, 0, 500)).unwrap()
}

async fn meeting(every: u64) -> PluginTest<TalkTime> {
    PluginTest::start_with(Config { every }).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_table_is_of_the_documented_shape() {
    let mut meeting = meeting(3).await;
    assert!(meeting.receive(said("Bo", "good morning", 0, 1200)).await.unwrap().is_none());
    assert!(meeting.receive(said("Ada", "morning  to\u{2003}you\n", 1200, 1300)).await.unwrap().is_none());
    let output = meeting.receive(said("Bo", "", 1300, 1500)).await.unwrap().unwrap();
    assert_eq!(
        testing::json::<Value>(&output),
        json!({
            "participants": [
                {"name": "Ada", "turns": 1, "words": 3, "seconds": 0.1},
                {"name": "Bo", "turns": 2, "words": 2, "seconds": 1.4},
            ],
            "turns": 3,
            "words": 5,
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_table_comes_every_so_many_turns_and_at_the_end() {
    let mut meeting = PluginTest::<TalkTime>::start_default().await.unwrap();
    for _ in 0..40 {
        meeting.receive(said("Ada", "yes", 0, 100)).await.unwrap();
    }
    let turns = |meeting: &PluginTest<TalkTime>| -> Vec<u64> {
        meeting.outputs().iter().map(|packet| testing::json::<Table>(packet).turns).collect()
    };
    assert_eq!(turns(&meeting), [20, 40]);
    meeting.end().await.unwrap();
    assert_eq!(turns(&meeting), [20, 40, 40]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_meeting_ends_with_an_empty_table() {
    let mut meeting = meeting(1).await;
    let output = meeting.end().await.unwrap().unwrap();
    assert_eq!(testing::json::<Value>(&output), json!({"participants": [], "turns": 0, "words": 0}));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_final_does_not_count() {
    let mut meeting = meeting(1).await;
    let mut partial = Transcription::new("good mor", 0, 900);
    partial.is_final = false;
    let partial = Publish::json("transcription", &partial).unwrap().participant("Ada");
    assert!(meeting.receive(partial).await.unwrap().is_none());
    assert_eq!(meeting.state(), State::default());
}

#[tokio::test(start_paused = true)]
async fn packets_without_a_participant_are_apart_from_one_called_unknown() {
    let mut meeting = meeting(3).await;
    meeting.receive(by_nobody("who is this")).await.unwrap();
    meeting.receive(said(UNNAMED, "it is me", 0, 500)).await.unwrap();
    let output = meeting.receive(by_nobody("")).await.unwrap().unwrap();
    assert_eq!(
        testing::json::<Value>(&output)["participants"],
        json!([
            {"name": "unknown", "turns": 1, "words": 3, "seconds": 0.5},
            {"name": "unknown", "turns": 2, "words": 3, "seconds": 1.0, "unnamed": true},
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn many_short_turns_add_up_exactly() {
    let mut meeting = meeting(1_000).await;
    for _ in 0..1_000 {
        meeting.receive(said("Ada", "a", 0, 100)).await.unwrap();
    }
    let table: Table = testing::json(&meeting.outputs()[0]);
    assert_eq!(table.participants[0].seconds.to_string(), "100");
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_after_a_restart() {
    let mut meeting = meeting(2).await;
    meeting.receive(said("Ada", "one two", 0, 100)).await.unwrap();
    meeting.restart().await.unwrap();
    let output = meeting.receive(said("Ada", "three", 100, 200)).await.unwrap().unwrap();
    assert_eq!(testing::json::<Table>(&output).words, 3);
    assert_eq!(meeting.state_json(), r#"{"turns":2,"named":{"Ada":{"turns":2,"words":3,"ms":200}}}"#);
}

#[tokio::test(start_paused = true)]
async fn data_of_a_wrong_type_is_rejected_and_changes_nothing() {
    let mut meeting = meeting(1).await;
    let error = meeting.receive(Publish::text("transcription", "hello").unwrap()).await.unwrap_err();
    assert!(error.is_reject());
    let no_text = Publish::json("transcription", &json!({"words": "hello"})).unwrap();
    assert!(meeting.receive(no_text).await.unwrap_err().is_reject());
    assert_eq!(meeting.state(), State::default());
}

#[tokio::test(start_paused = true)]
async fn a_period_of_zero_and_unknown_keys_are_refused() {
    let error = PluginTest::<TalkTime>::start_with(json!({"every": 0})).await.unwrap_err();
    assert!(error.to_string().starts_with("`every` is 0"), "{error}");
    let error = PluginTest::<TalkTime>::start_with(json!({"evry": 5})).await.unwrap_err();
    assert!(error.to_string().contains("unknown field `evry`, expected `every`"), "{error}");
}

/// The shipped samples decode as their data types, and the totals match the files.
#[tokio::test(start_paused = true)]
async fn the_samples_add_up() {
    for (name, turns) in [("standup", 47), ("interview", 26)] {
        let path = format!("{}/../../samples/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let lines = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut meeting = meeting(1_000).await;
        let (mut words, mut last) = (0, None);
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let source = line["source"].as_str().unwrap();
            let at: Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
            assert!(last.replace(at) <= Some(at), "{name}: {at} comes too late");
            let packet = Publish::json(source, &line["payload"]).unwrap().timestamp(at);
            let packet = packet.participant(line["participant"].as_str().unwrap());
            let data = line["payload"].clone();
            match source {
                "transcription" => {
                    words += data["text"].as_str().unwrap().split_whitespace().count() as u64;
                    meeting.receive(packet).await.unwrap();
                }
                "chat" => drop(serde_json::from_value::<Chat>(data).unwrap()),
                _ => drop(serde_json::from_value::<ParticipantEvent>(data).unwrap()),
            }
        }
        let table: Table = testing::json(&meeting.end().await.unwrap().unwrap());
        assert_eq!((table.turns, table.words), (turns, words), "{name}");
        assert!(table.participants.iter().all(|row| !row.unnamed && row.seconds > 0.0));
    }
}

fn happened(by: &str, event: &ParticipantEvent) -> Publish {
    Publish::json("participant", event).unwrap().participant(by)
}

#[tokio::test(start_paused = true)]
async fn who_is_renamed_is_one_person() {
    let mut meeting = meeting(100).await;
    let renamed = |from: &str, to: &str| happened(from, &ParticipantEvent::Renamed { to: to.into() });
    meeting.receive(said("iPhone (2)", "hello there all", 0, 1000)).await.unwrap();
    meeting.receive(renamed("iPhone (2)", "Olu")).await.unwrap();
    meeting.receive(said("Olu", "now with my name", 0, 1000)).await.unwrap();
    // A late transcription still has the former name.
    meeting.receive(said("iPhone (2)", "late", 0, 500)).await.unwrap();
    meeting.receive(renamed("Olu", " Ol\u{301}u ")).await.unwrap();
    meeting.receive(said("iPhone (2)", "later", 0, 500)).await.unwrap();
    // A new participant joins under the former name.
    meeting.receive(happened("Olu", &ParticipantEvent::Joined)).await.unwrap();
    meeting.receive(said("Olu", "me", 0, 100)).await.unwrap();
    let output = meeting.end().await.unwrap().unwrap();
    assert_eq!(
        testing::json::<Value>(&output)["participants"],
        json!([
            {"name": "Oĺu", "turns": 4, "words": 9, "seconds": 3.0},
            {"name": "Olu", "turns": 1, "words": 1, "seconds": 0.1},
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn names_alike_are_one_and_blanks_are_nobody() {
    let mut meeting = meeting(100).await;
    for name in ["José", "Jose\u{301}", "Ada ", "Ada", "", " "] {
        meeting.receive(said(name, "one", 0, 500)).await.unwrap();
    }
    let output = meeting.end().await.unwrap().unwrap();
    assert_eq!(
        testing::json::<Value>(&output)["participants"],
        json!([
            {"name": "Ada", "turns": 2, "words": 2, "seconds": 1.0},
            {"name": "José", "turns": 2, "words": 2, "seconds": 1.0},
            {"name": "unknown", "turns": 2, "words": 2, "seconds": 1.0, "unnamed": true},
        ])
    );
}
