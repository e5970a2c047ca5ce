//! Meetings of more participants than the state holds.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use teammy_kernel::testing::StoreCost;

use super::*;

fn renamed(from: &str, to: &str) -> Publish {
    happened(from, &ParticipantEvent::Renamed { to: to.into() })
}

fn name(number: u64) -> String {
    format!("Participant {number}")
}

/// The cost of `turns` turns after all participants had one. They take turns evenly, which is the worst case,
/// and every fiftieth packet renames one, who goes on to talk under the former name.
async fn cost(participants: u64, turns: u64) -> (StoreCost, usize) {
    let mut meeting = PluginTest::<TalkTime>::start_default().await.unwrap();
    for number in 0..participants {
        meeting.receive(said(&name(number), "hello", 0, 500)).await.unwrap();
    }
    let before = meeting.store_cost();
    let mut largest = 0;
    for turn in 0..turns {
        let number = turn * 7_919 % participants;
        if turn % 50 == 49 {
            meeting.receive(renamed(&name(number), &format!("Guest {number}"))).await.unwrap();
        } else {
            meeting.receive(said(&name(number), "so we go on", 0, 500)).await.unwrap();
        }
        largest = largest.max(meeting.state_json().len());
    }
    (meeting.store_cost() - before, largest)
}

#[tokio::test(start_paused = true)]
async fn a_turn_costs_the_same_however_many_take_part_and_however_long_it_takes() {
    for (participants, turns) in [(10, 500), (10, 20_000), (1_000, 2_000), (20_000, 2_000)] {
        let (cost, largest) = cost(participants, turns).await;
        let what = format!("{turns} turns of {participants}: {cost:?}");
        assert!(largest < 4_000, "{largest} bytes of state in {what}");
        assert!(cost.bytes_per_hook() < 2_500, "{what}");
        assert!(cost.key_writes < 2 * turns, "{what}");
        // Where a node has read a key before, it reads it from memory; the test kit never does.
        assert!(cost.reads < 2 * turns, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_those_with_most_words_have_a_row() {
    let mut meeting = meeting(1_000_000).await;
    // Number 1,199 has the most words, number 0 the fewest. They talk in another order.
    for number in (0..1_200).map(|number| number * 7 % 1_200) {
        let text = "word ".repeat(usize::try_from(number).unwrap() + 1);
        meeting.receive(said(&name(number), &text, 0, 500)).await.unwrap();
    }
    meeting.receive(by_nobody("a few words by nobody")).await.unwrap();
    let last: Table = testing::json(&meeting.end().await.unwrap().unwrap());
    assert_eq!(last.participants.len(), MAX_LAST_ROWS + 1);
    for (row, number) in last.participants.iter().zip((200..1_200).rev()) {
        assert_eq!((&row.name, row.words), (&name(number), number + 1));
    }
    assert_eq!(last.words, (1..=1_200).sum::<u64>() + 5);
    let others = Others { participants: 200, turns: 200, words: (1..=200).sum(), seconds: 100.0 };
    assert_eq!(last.others, Some(others));
    assert!(last.participants[MAX_LAST_ROWS].unnamed);
}

#[tokio::test(start_paused = true)]
async fn a_table_during_the_meeting_has_the_right_rows_too() {
    let mut meeting = meeting(1).await;
    for number in (0..300).map(|number| number * 7 % 300) {
        let text = "word ".repeat(usize::try_from(number).unwrap() + 1);
        meeting.receive(said(&name(number), &text, 0, 500)).await.unwrap();
    }
    let table: Table = testing::json(meeting.outputs().last().unwrap());
    let names: Vec<_> = table.participants.iter().map(|row| row.name.clone()).collect();
    assert_eq!(names, (200..300).rev().map(name).collect::<Vec<_>>());
    let others = Others { participants: 200, turns: 200, words: (1..=200).sum(), seconds: 100.0 };
    assert_eq!(table.others, Some(others));
    // Two of the first become one. Who is next is only in a key, so a row is missing, and none is wrong.
    for number in 300..340 {
        meeting.receive(said(&name(number), "", 0, 500)).await.unwrap();
    }
    meeting.receive(renamed(&name(299), &name(298))).await.unwrap();
    meeting.receive(said(&name(298), "", 0, 500)).await.unwrap();
    let table: Table = testing::json(meeting.outputs().last().unwrap());
    assert_eq!(table.participants.len(), MAX_ROWS - 1);
    assert_eq!((&table.participants[0].name, table.participants[0].words), (&name(298), 599));
    assert_eq!(table.participants.last().unwrap().name, name(200));
    assert_eq!(table.others.unwrap().participants, 240);
    // The row comes when somebody has more words than anybody who is only in a key.
    meeting.receive(said(&name(199), "and one", 0, 500)).await.unwrap();
    let table: Table = testing::json(meeting.outputs().last().unwrap());
    let last_two: Vec<_> = table.participants[MAX_ROWS - 2..].iter().map(|row| row.words).collect();
    assert_eq!((table.participants.len(), last_two), (MAX_ROWS, vec![202, 201]));
    let last: Table = testing::json(&meeting.end().await.unwrap().unwrap());
    assert_eq!((last.participants.len(), last.others), (339, None));
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_after_a_restart_with_the_participants_in_keys() {
    let mut meeting = meeting(1_000).await;
    for round in 0..3 {
        for number in 0..120 {
            meeting.receive(said(&name(number), "one", 0, 500)).await.unwrap();
        }
        meeting.receive(renamed(&name(round), &format!("Renamed {round}"))).await.unwrap();
        meeting.restart().await.unwrap();
    }
    let last: Table = testing::json(&meeting.end().await.unwrap().unwrap());
    assert_eq!((last.participants.len(), last.turns, last.words), (120, 360, 360));
    assert!(last.participants.iter().all(|row| (row.turns, row.words) == (3, 3)));
}

/// A state as version 0.1 stored it, with all participants and former names.
fn earlier_state(participants: u64) -> String {
    let tally = json!({"turns": 1, "words": 2, "ms": 500});
    let named: BTreeMap<String, Value> =
        (0..participants).map(|number| (name(number), tally.clone())).collect();
    let renamed: BTreeMap<String, String> =
        (0..participants.min(1_000)).map(|number| (format!("Guest {number}"), name(number))).collect();
    json!({"turns": participants + 1, "named": named, "unnamed": tally, "renamed": renamed}).to_string()
}

#[tokio::test(start_paused = true)]
async fn a_state_of_an_earlier_version_is_read() {
    for participants in [3, 40, 5_000] {
        let long = "n".repeat(600);
        let state = earlier_state(participants).replace("Participant 2\"", &format!("{long}\""));
        let builder = PluginTest::<TalkTime>::builder().config(json!({"every": 1_000_000}));
        let mut meeting = builder.state_json(state).start().await.unwrap();
        for number in 0..30 {
            let number = number % participants;
            meeting.receive(said(&format!("Guest {number}"), "more", 0, 500)).await.unwrap();
        }
        assert!(meeting.state_json().len() < 4_000, "{}", meeting.state_json().len());
        let last: Table = testing::json(&meeting.end().await.unwrap().unwrap());
        assert_eq!((last.turns, last.words), (participants + 31, 2 * participants + 32));
        let others = last.others.map_or(0, |others| others.participants);
        // The former name of the participant whose name is cut off may be forgotten.
        let all = last.participants.len() as u64 + others;
        assert!((participants + 1..=participants + 2).contains(&all), "{all}");
        let first = last.participants.iter().find(|row| row.name == name(0)).unwrap();
        assert_eq!(first.turns, 1 + 30 / participants.min(30));
    }
}

#[tokio::test(start_paused = true)]
async fn a_former_name_in_a_state_of_an_earlier_version_can_be_taken() {
    let mut meeting: PluginTest<TalkTime> =
        PluginTest::builder().state_json(earlier_state(3)).start().await.unwrap();
    meeting.receive(happened("Guest 1", &ParticipantEvent::Joined)).await.unwrap();
    for number in 0..3 {
        meeting.receive(said(&format!("Guest {number}"), "one", 0, 500)).await.unwrap();
    }
    let last: Table = testing::json(&meeting.end().await.unwrap().unwrap());
    let named = |name: &str| last.participants.iter().find(|row| row.name == name).unwrap().turns;
    let turns = (named("Participant 0"), named("Participant 1"), named("Guest 1"));
    assert_eq!((turns, last.participants.len()), ((2, 1, 1), 5));
}

#[tokio::test(start_paused = true)]
async fn a_long_name_is_cut_off() {
    let mut meeting = meeting(1_000).await;
    let long = "é".repeat(300);
    meeting.receive(said(&long, "one", 0, 500)).await.unwrap();
    for number in 0..100 {
        meeting.receive(said(&name(number), "", 0, 500)).await.unwrap();
    }
    meeting.receive(said(&long, "two", 0, 500)).await.unwrap();
    let last: Table = testing::json(&meeting.end().await.unwrap().unwrap());
    assert_eq!((last.participants[0].turns, last.participants.len()), (2, 101));
    assert_eq!(last.participants[0].name, format!("{}…", "é".repeat(198)));
}

/// All participants in one map, as the plugin would count with a state of any size.
#[derive(Default)]
struct Model {
    named: BTreeMap<Arc<str>, (u64, u64)>,
    renamed: BTreeMap<Arc<str>, Arc<str>>,
}

impl Model {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Said(by, words) => {
                let by: Arc<str> = name(*by).into();
                let (turns, sum) =
                    self.named.entry(self.renamed.get(&by).unwrap_or(&by).clone()).or_default();
                *turns += 1;
                *sum += words;
            }
            Event::Renamed(from, to) if from != to => {
                let (from, to): (Arc<str>, Arc<str>) = (name(*from).into(), name(*to).into());
                self.renamed.remove(&to);
                self.renamed.values_mut().filter(|now| **now == from).for_each(|now| now.clone_from(&to));
                self.renamed.insert(from.clone(), to.clone());
                if let Some((turns, words)) = self.named.remove(&from) {
                    let both = self.named.entry(to).or_default();
                    *both = (both.0 + turns, both.1 + words);
                }
            }
            Event::Renamed(..) | Event::Restarted => {}
            Event::Joined(by) => drop(self.renamed.remove(name(*by).as_str())),
        }
    }

    fn rows(&self) -> Vec<(String, u64, u64)> {
        let rows = self.named.iter().map(|(name, (turns, words))| (name.to_string(), *turns, *words));
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
        rows
    }
}

#[derive(Debug, Clone)]
enum Event {
    Said(u64, u64),
    Renamed(u64, u64),
    Joined(u64),
    Restarted,
}

fn events(participants: u64) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        30 => (0..participants, 0_u64..30).prop_map(|(by, words)| Event::Said(by, words)),
        3 => (0..participants, 0..participants).prop_map(|(from, to)| Event::Renamed(from, to)),
        1 => (0..participants).prop_map(Event::Joined),
        1 => Just(Event::Restarted),
    ];
    prop::collection::vec(event, 0..400)
}

fn rows(table: &Table) -> Vec<(String, u64, u64)> {
    table.participants.iter().map(|row| (row.name.clone(), row.turns, row.words)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn it_counts_as_if_the_state_held_them_all(events in (2_u64..100).prop_flat_map(events)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let mut meeting = meeting(1).await;
            let mut model = Model::default();
            for event in &events {
                model.apply(event);
                let publish = match event {
                    Event::Said(by, words) => {
                        said(&name(*by), &"word ".repeat(usize::try_from(*words).unwrap()), 0, 500)
                    }
                    Event::Renamed(from, to) => renamed(&name(*from), &name(*to)),
                    Event::Joined(by) => happened(&name(*by), &ParticipantEvent::Joined),
                    Event::Restarted => {
                        meeting.restart().await.unwrap();
                        continue;
                    }
                };
                if let Some(output) = meeting.receive(publish).await.unwrap() {
                    let table: Table = testing::json(&output);
                    prop_assert_eq!(rows(&table), model.rows());
                    prop_assert_eq!(table.others, None);
                }
            }
            let last: Table = testing::json(&meeting.end().await.unwrap().unwrap());
            prop_assert_eq!(rows(&last), model.rows());
            Ok(())
        })?;
    }
}
