//! Long and large meetings, of which the state holds only a part.

use teammy_kernel::testing::StoreCost;

use super::*;

fn name(number: u64) -> String {
    format!("Participant {number}")
}

/// The cost of `packets` packets after all participants had one. They take turns evenly, which is the worst
/// case, and every fiftieth packet renames one, who goes on to talk under the former name.
async fn cost(participants: u64, packets: u64) -> (StoreCost, usize) {
    let llm = ScriptedLlm::default().when(is_fast, words(400)).when(|request| !is_fast(request), MINUTES);
    let mut meeting = meeting(json!({}), &llm).await;
    for number in 0..participants {
        meeting.receive(said(&name(number), "hello")).await.unwrap();
    }
    let before = meeting.store_cost();
    let mut largest = 0;
    for packet in 0..packets {
        let number = packet * 7_919 % participants;
        if packet % 50 == 49 {
            let renamed = ParticipantEvent::Renamed { to: format!("Guest {number}") };
            meeting.receive(happened(&name(number), &renamed)).await.unwrap();
        } else {
            meeting.receive(said(&name(number), "what we said about the plan still holds")).await.unwrap();
        }
        largest = largest.max(meeting.state_json().len());
    }
    (meeting.store_cost() - before, largest)
}

#[tokio::test(start_paused = true)]
async fn a_packet_costs_the_same_however_many_take_part_and_however_long_it_takes() {
    for (participants, packets) in [(10, 500), (10, 10_000), (1_000, 2_000), (20_000, 2_000)] {
        let (cost, largest) = cost(participants, packets).await;
        let what = format!("{packets} packets of {participants}: {cost:?}");
        assert!(largest < 4_000, "{largest} bytes of state in {what}");
        assert!(cost.bytes_per_hook() < 2_500, "{what}");
        assert!(cost.key_writes < packets, "{what}");
        assert!(cost.reads < 2 * packets, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_transcript_in_parts_is_quoted_as_a_whole() {
    let llm = obedient();
    let mut meeting = meeting(json!({"every_words": 700}), &llm).await;
    // One speaks so long that the parts are cut in between, and then two take turns.
    let mut expected = String::from("Ada:");
    for number in 0..350 {
        assert!(meeting.receive(said("Ada", &format!("a{number}"))).await.unwrap().is_none());
        expected.extend([" a", &number.to_string()]);
        if number % 60 == 0 {
            meeting.restart().await.unwrap();
        }
    }
    expected.push('\n');
    for number in 0..175 {
        for by in ["Bo", "Cy"] {
            meeting.receive(said(by, &format!("t{number}"))).await.unwrap();
            expected.extend([by, ": t", &number.to_string(), "\n"]);
        }
        if number == 100 {
            assert!(meeting.keys().iter().filter(|key| key.starts_with("transcript/")).count() > 3);
        }
    }
    assert_eq!(rolling(&meeting.outputs()[0]).words, 700);
    let request = &llm.requests()[0];
    assert!(
        shown(request).starts_with(&format!("<transcript>\n{expected}</transcript>\n")),
        "{}",
        shown(request)
    );
    assert!(meeting.keys().iter().all(|key| !key.starts_with("transcript/")), "{:?}", meeting.keys());
}

#[tokio::test(start_paused = true)]
async fn the_size_of_a_transcript_in_parts_is_that_of_the_whole() {
    let mut meeting = meeting(json!({"every_words": 8_000, "chunk_words": 8_000}), &obedient()).await;
    let mut whole = Transcript::default();
    for number in 0..400 {
        let by = ["Ada", "Bo of the Other Department"][number / 3 % 2];
        let text = format!("{number} {}", "characterisations ".repeat(number % 7));
        if number % 41 == 40 {
            meeting.lose(1);
            whole.add_missing_remark();
        }
        meeting.receive(said(by, &text)).await.unwrap();
        whole.add_message(Some(by), Medium::Speech, &text);
        let pending = meeting.state().pending;
        assert_eq!((pending.size(), pending.words()), (whole.size(), whole.words()), "after {number}");
    }
    assert!(meeting.keys().len() > 10);
}

#[tokio::test(start_paused = true)]
async fn while_a_model_fails_the_parts_wait() {
    let mut llm = ScriptedLlm::default();
    for _ in 0..10 {
        llm = llm.fail("overloaded");
    }
    let mut meeting = meeting(json!({"every_words": 500}), &llm).await;
    for number in 0..509 {
        let output = meeting.receive(said("Ada", &format!("a{number}"))).await.unwrap();
        assert!(output.is_none(), "after {number}");
    }
    assert_eq!(llm.requests().len(), 10);
    let llm = llm.reply("The notes.");
    let output = meeting.receive(said("Ada", "last")).await.unwrap().unwrap();
    assert_eq!(rolling(&output).words, 510);
    let request = llm.requests().last().unwrap().clone();
    assert!(shown(&request).contains("Ada: a0 a1 a2 ") && shown(&request).contains(" a507 a508 last\n"));
}

#[tokio::test(start_paused = true)]
async fn many_attendees_are_listed_in_order_up_to_the_limit() {
    for participants in [32, 33, 150, 200, 201, 500] {
        let mut meeting = meeting(json!({}), &obedient()).await;
        for round in 0..3 {
            for number in 0..participants {
                meeting.receive(said(&name(number), "hello")).await.unwrap();
            }
            let renamed = ParticipantEvent::Renamed { to: format!("Guest {round}") };
            meeting.receive(happened(&name(round), &renamed)).await.unwrap();
            meeting.restart().await.unwrap();
        }
        // Somebody takes another one's name, and two are one.
        let renamed = ParticipantEvent::Renamed { to: name(5) };
        meeting.receive(happened(&name(4), &renamed)).await.unwrap();
        let output = minutes(&meeting.end().await.unwrap().unwrap());
        let guests = (0..3).map(|number| format!("Guest {number}"));
        let all: Vec<_> = guests.chain([name(3)]).chain((5..participants.min(200)).map(name)).collect();
        assert_eq!(output.minutes.attendees, all);
        assert_eq!(output.minutes.more_attendees, participants > 200, "{participants}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_of_an_earlier_version_is_taken_over() {
    for (attendees, lines) in [(3, 5), (200, 300)] {
        let names: Vec<_> = (0..attendees).map(name).collect();
        let before: std::collections::BTreeMap<_, _> =
            (0..attendees).map(|number| (format!("iPhone {number}"), name(number))).collect();
        let pending: Vec<_> = (0..lines)
            .map(|line| json!({"by": name(line % attendees), "text": format!("line {line}")}))
            .collect();
        let state = json!({
            "since": "2026-03-02T09:00:00Z", "until": "2026-03-02T09:10:00Z",
            "attendees": {"names": names, "before": before}, "pending": pending,
            "notes": "So far.", "words": 1_000 + 2 * lines, "left_out": 1, "lost": 2,
        });
        let llm = obedient();
        let builder = PluginTest::builder().llm(llm.clone()).state_json(state.to_string());
        let mut meeting: PluginTest<Minutes> = builder.start().await.unwrap();
        meeting.receive(said("iPhone 0", "still here")).await.unwrap();
        assert!(meeting.state_json().len() < 1_500, "{}", meeting.state_json());
        meeting.restart().await.unwrap();
        let output = minutes(&meeting.end().await.unwrap().unwrap());
        assert_eq!(output.minutes.attendees, names);
        assert_eq!(output.problems, [Problem::LeftOut, Problem::Lost]);
        let request = &llm.requests()[0];
        assert!(shown(request).starts_with("<notes>\nSo far.\n</notes>"), "{}", shown(request));
        assert!(shown(request).contains("Participant 0: line 0\nParticipant 1: line 1\n"));
        assert!(shown(request).contains("\nParticipant 0: still here\n"), "{}", shown(request));
        assert_eq!(meeting.state().words, 1_002 + 2 * lines);
    }
}
