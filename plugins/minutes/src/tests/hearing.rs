//! Which packets reach the state, under which names.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_not_final_is_not_heard() {
    let llm = ScriptedLlm::default();
    let mut meeting = meeting(json!({"every_words": 1}), &llm).await;
    let mut partial = Transcription::new("good mor", 0, 900);
    partial.is_final = false;
    let partial = Publish::json("transcription", &partial).unwrap().participant("Ada");
    assert!(meeting.receive(partial).await.unwrap().is_none());
    assert_eq!(meeting.state(), State::default());
    assert!(meeting.end().await.unwrap().is_none());
    assert_eq!(llm.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_says_what_is_not_mixed_up() {
    let llm = obedient();
    let mut meeting = meeting(json!({"every_words": 2}), &llm).await;
    let mut partial = Transcription::new("not yet", 0, 900);
    partial.is_final = false;
    let partial = Publish::json("transcription", &partial).unwrap().participant("Eve");
    let broken = Publish::text("transcription", "no JSON").unwrap().participant("Mallory");
    meeting.receive(partial).await.unwrap();
    meeting.receive(said("Ada", "one")).await.unwrap();
    assert!(meeting.receive(broken).await.unwrap_err().is_reject());
    meeting.receive(said("Bo", "two")).await.unwrap();
    assert!(shown(&llm.requests()[0]).contains("<transcript>\nAda: one\nBo: two\n</transcript>"));
    assert_eq!(attendees(&meeting), ["Ada", "Bo"]);
}

#[tokio::test(start_paused = true)]
async fn a_private_message_is_not_kept_at_all() {
    let llm = ScriptedLlm::default();
    let mut meeting = meeting(json!({"every_words": 1}), &llm).await;
    let mut private = Chat::new("between us");
    private.to = Some("Bo".into());
    assert!(meeting.receive(written("Ada", &private)).await.unwrap().is_none());
    assert_eq!(meeting.state(), State::default());
    assert!(meeting.end().await.unwrap().is_none());
    assert_eq!(llm.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn attendees_are_all_who_were_there() {
    let llm = obedient();
    let mut meeting = meeting(json!({}), &llm).await;
    let renamed = |to: &str| ParticipantEvent::Renamed { to: to.into() };
    meeting.receive(happened("Guest 1", &ParticipantEvent::Joined)).await.unwrap();
    meeting.receive(happened("Silent *Sam*", &ParticipantEvent::Joined)).await.unwrap();
    meeting.receive(said("Guest 1", "hello")).await.unwrap();
    meeting.receive(happened("Guest 1", &renamed("Ada"))).await.unwrap();
    meeting.receive(happened("Silent *Sam*", &ParticipantEvent::Left)).await.unwrap();
    meeting.receive(said("Bo", "hi")).await.unwrap();
    meeting.receive(happened("Bo (phone)", &renamed("Bo"))).await.unwrap();
    meeting.receive(written("Cy", &Chat::new("here too"))).await.unwrap();
    let nobody = Publish::json("transcription", &Transcription::new("who is this", 0, 0)).unwrap();
    meeting.receive(nobody).await.unwrap();

    let output = minutes(&meeting.end().await.unwrap().unwrap());
    assert_eq!(output.minutes.attendees, ["Ada", "Silent *Sam*", "Bo", "Cy"]);
    assert!(
        output.markdown.contains("\n**Attendees:** Ada, Silent \\*Sam\\*, Bo, Cy\n"),
        "{}",
        output.markdown
    );
    let requests = llm.requests();
    assert!(shown(&requests[0]).contains("Guest 1: hello\n[Guest 1 is now called Ada]\nBo: hi\n"));
    assert!(shown(&requests[0]).contains("\nUnknown: who is this\n"));
    assert!(shown(&requests[1]).contains("\nAttendees: Ada, Silent *Sam*, Bo, Cy\n"));
}

#[tokio::test(start_paused = true)]
async fn lost_packets_are_told() {
    let llm = obedient();
    let mut meeting = meeting(json!({}), &llm).await;
    meeting.receive(said("Ada", "one")).await.unwrap();
    meeting.lose(3);
    let mut partial = Transcription::new("tw", 0, 900);
    partial.is_final = false;
    meeting.receive(Publish::json("transcription", &partial).unwrap().participant("Ada")).await.unwrap();
    meeting.receive(said("Ada", "two")).await.unwrap();
    let output = minutes(&meeting.end().await.unwrap().unwrap());
    assert_eq!((output.complete, output.problems), (false, vec![Problem::Lost]));
    assert!(
        shown(&llm.requests()[0])
            .contains("Ada: one\n[a part of the transcript is missing here]\nAda: two\n")
    );
}

#[tokio::test(start_paused = true)]
async fn packets_lost_before_the_end_are_told_too() {
    let mut meeting = meeting(json!({}), &obedient()).await;
    meeting.receive(said("Ada", "one")).await.unwrap();
    meeting.lose(1);
    let output = minutes(&meeting.end().await.unwrap().unwrap());
    assert_eq!((output.complete, output.problems), (false, vec![Problem::Lost]));
}

#[tokio::test(start_paused = true)]
async fn a_state_is_read_back_as_it_was_written() {
    let llm = obedient();
    let mut meeting = meeting(json!({"every_words": 2}), &llm).await;
    let at: Timestamp = "2026-03-02T09:00:00Z".parse().unwrap();
    meeting.receive(said("Ada", "one two").timestamp(at)).await.unwrap();
    meeting.receive(said("Bo", "\"three\"")).await.unwrap();
    meeting.receive(happened("Bo", &ParticipantEvent::Renamed { to: "Boris".into() })).await.unwrap();
    assert_eq!(
        meeting.state_json(),
        r#"{"since":"2026-03-02T09:00:00Z","until":"2026-03-02T09:00:00Z","attendees":{"names":["Ada","Boris"],"former_names":{"recent":{"Bo":"Boris"}}},"pending":[{"by":"Bo","text":"\"three\""},{"text":"Bo is now called Boris"}],"words":3,"left_out":0,"lost":0}"#
    );
    assert_eq!(notes(&meeting), "The notes.");
    let state = meeting.state();
    meeting.restart().await.unwrap();
    assert_eq!(meeting.state(), state);
}

#[tokio::test(start_paused = true)]
async fn who_is_renamed_is_one_person_also_in_what_comes_late() {
    let mut meeting = meeting(json!({}), &obedient()).await;
    meeting.receive(said("iPhone (2)", "one")).await.unwrap();
    meeting.receive(happened("iPhone (2)", &ParticipantEvent::Renamed { to: "Olu".into() })).await.unwrap();
    meeting.receive(said("iPhone (2)", "two")).await.unwrap();
    assert_eq!(attendees(&meeting), ["Olu"]);
    // A new participant joins under the former name.
    meeting.receive(happened("iPhone (2)", &ParticipantEvent::Joined)).await.unwrap();
    assert_eq!(attendees(&meeting), ["Olu", "iPhone (2)"]);
}

#[test]
fn a_state_of_an_older_version_is_read() {
    assert_eq!(serde_json::from_str::<State>("{}").unwrap(), State::default());
    let state: State =
        serde_json::from_str(r#"{"notes":"So far.","words":7,"attendees":{},"later":1}"#).unwrap();
    assert_eq!(state, State { notes: "So far.".into(), words: 7, ..State::default() });
}

#[tokio::test(start_paused = true)]
async fn data_of_a_wrong_type_is_rejected_and_changes_nothing() {
    let mut meeting = PluginTest::<Minutes>::start_default().await.unwrap();
    let chat = Publish::json("chat", &json!({"words": "hello"})).unwrap();
    let texts = ["transcription", "participant"].map(|source| Publish::text(source, "hello").unwrap());
    for wrong in texts.into_iter().chain([chat]) {
        assert!(meeting.receive(wrong).await.unwrap_err().is_reject());
    }
    assert_eq!(meeting.state(), State::default());
}
