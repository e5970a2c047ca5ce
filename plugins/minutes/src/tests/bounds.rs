//! Prompts, requests and the state are bounded, whatever the transcript.

use super::*;

const CHUNK: usize = 2_000;
const NOTES: usize = 2 * 400;
/// The instructions, the attendees and an unusable answer that the prompt repeats.
const REST: usize = 800;

/// Counts the words of the largest prompt.
fn largest(llm: &ScriptedLlm) -> usize {
    let size =
        |request: &LlmRequest| request.messages.iter().map(|message| text::words(&message.content)).sum();
    llm.requests().iter().map(size).max().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_long_monologue_is_folded_in_parts_and_nothing_is_left_out() {
    let llm = ScriptedLlm::default().when(is_fast, words(5_000)).when(|request| !is_fast(request), MINUTES);
    let mut meeting = meeting(json!({}), &llm).await;
    let outputs = meeting.receive_batch((0..5_000).map(|_| said("Ada", &words(20)))).await.unwrap();
    assert_eq!(meeting.state().words, 100_000);
    assert!(outputs.iter().map(|output| rolling(output).words).is_sorted());
    let output = minutes(&meeting.end().await.unwrap().unwrap());
    assert!(output.complete);
    assert_eq!(meeting.state().words_noted(meeting.state().pending.words()), 100_000);
    assert!(largest(&llm) <= CHUNK + NOTES + REST, "{}", largest(&llm));
    // A prompt for each 800 words, and the minutes.
    assert_eq!(llm.requests().len(), 125 + 1);
}

#[tokio::test(start_paused = true)]
async fn a_monologue_in_one_packet_is_asked_three_times_and_the_rest_is_left_out() {
    let llm = obedient();
    let mut meeting = meeting(json!({}), &llm).await;
    let text: Vec<String> = (0..100_000).map(|index| format!("w{index}")).collect();
    let output = meeting.receive(said("Ada", &text.join(" "))).await.unwrap().unwrap();
    assert_eq!(models(&llm), [Model::Fast; 3]);
    assert!(shown(&llm.requests()[0]).contains("\nAda: w0 w1 "));
    assert_eq!(rolling(&output).words, 3 * (CHUNK as u64 - 1));
    let state = meeting.state();
    assert!((CHUNK - 10..=CHUNK).contains(&state.pending.size()), "{}", state.pending.size());

    let output = minutes(&meeting.end().await.unwrap().unwrap());
    assert_eq!(output.problems, [Problem::LeftOut]);
    assert_eq!(models(&llm)[3..], [Model::Fast, Model::Default]);
    let last = &llm.requests()[3];
    assert!(
        shown(last).contains("[a part of the transcript is missing here]\nAda: w98"),
        "{:.200}",
        shown(last)
    );
    assert!(shown(last).contains(" w99999\n"));
    assert!(largest(&llm) <= CHUNK + NOTES + REST, "{}", largest(&llm));
}

#[tokio::test(start_paused = true)]
async fn text_without_spaces_has_the_same_bound() {
    for text in ["我们明天见".repeat(20_000), "x".repeat(300_000)] {
        let llm = obedient();
        let mut meeting = meeting(json!({}), &llm).await;
        meeting.receive(said("李", &text)).await.unwrap();
        meeting.end().await.unwrap();
        assert!(largest(&llm) <= CHUNK + NOTES + REST, "{}", largest(&llm));
        let bytes = llm.requests().iter().map(|request| shown(request).len()).max().unwrap();
        assert!(bytes < 64 * 1024, "{bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn long_names_make_it_due_before_they_fill_a_prompt() {
    let llm = obedient();
    let mut meeting = meeting(json!({"every_words": 100, "chunk_words": 100}), &llm).await;
    for index in 0..50 {
        meeting.receive(said(&format!("Doctor Somebody of the Department {index}"), "yes")).await.unwrap();
    }
    assert!(!llm.requests().is_empty());
    assert!(meeting.state().pending.size() <= 100);
    let output = minutes(&meeting.end().await.unwrap().unwrap());
    assert!(output.complete);
}

#[tokio::test(start_paused = true)]
async fn notes_that_are_too_long_are_cut_with_a_mark() {
    let llm = ScriptedLlm::default().when(is_fast, words(101)).when(|request| !is_fast(request), "Sorry.");
    let mut meeting = meeting(json!({"every_words": 1, "summary_words": 50}), &llm).await;
    let output = meeting.receive(said("Ada", "hello")).await.unwrap().unwrap();
    assert_eq!(rolling(&output).summary, format!("{} […]", words(100)));
    assert!(told(&llm.requests()[0]).contains("at most 50 words"));
    let output = minutes(&meeting.end().await.unwrap().unwrap());
    assert_eq!(output.minutes.summary, format!("{} […]", words(100)));
}

#[tokio::test(start_paused = true)]
async fn the_largest_state_can_be_stored() {
    let wide = "🙂".repeat(16);
    let sentence = |words: usize| vec![wide.as_str(); words].join(" ");
    let llm = ScriptedLlm::default().when(is_fast, sentence(4_000));
    let config = json!({"every_words": 8_000, "chunk_words": 8_000, "summary_words": 1_500});
    let mut meeting = meeting(config, &llm).await;
    for index in 0..300 {
        let name = format!("{index} {}", "🙂".repeat(100));
        meeting.receive(happened(&name, &ParticipantEvent::Joined)).await.unwrap();
    }
    // A packet is at most 1 MiB, so this takes several.
    for _ in 0..3 {
        meeting.receive(said("Ada", &sentence(4_000))).await.unwrap();
    }
    meeting.receive(said("Ada", &sentence(3_990))).await.unwrap();
    let state = meeting.state();
    assert!(state.pending.size() > 7_900 && state.attendees.more);
    let notes: String = meeting.value("notes").unwrap();
    assert_eq!((text::words(&notes), attendees(&meeting).len()), (3_001, 200));
    assert!(meeting.state_json().len() < 32 * 1024, "{}", meeting.state_json().len());
}

#[tokio::test(start_paused = true)]
async fn a_prompt_names_some_attendees_and_the_minutes_all() {
    let llm = obedient();
    let mut meeting = meeting(json!({}), &llm).await;
    for index in 0..60 {
        meeting.receive(happened(&format!("P{index}"), &ParticipantEvent::Joined)).await.unwrap();
    }
    meeting.receive(said("P0", "hello")).await.unwrap();
    let output = minutes(&meeting.end().await.unwrap().unwrap());
    let request = &llm.requests()[1];
    assert!(shown(request).contains("P48, P49\n"), "{}", shown(request));
    assert_eq!((output.minutes.attendees.len(), output.minutes.more_attendees), (60, false));
}

#[tokio::test(start_paused = true)]
async fn remarks_alone_neither_ask_nor_pile_up() {
    let llm = ScriptedLlm::default();
    let mut meeting = meeting(json!({"every_words": 1, "chunk_words": 100}), &llm).await;
    for index in 0..200 {
        let renamed = ParticipantEvent::Renamed { to: format!("Guest {index}") };
        meeting.receive(happened("Guest", &renamed)).await.unwrap();
    }
    assert!(meeting.state().pending.size() <= 100);
    assert_eq!(meeting.state().left_out, 0);
    assert!(meeting.end().await.unwrap().is_none());
    assert_eq!(llm.requests().len(), 0);
}
