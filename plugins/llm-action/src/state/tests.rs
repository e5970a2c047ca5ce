use proptest::prelude::*;

use super::*;

fn search(query: impl Into<String>) -> ActionCall {
    ActionCall { action: "web-search".into(), parameters: BTreeMap::from([("query".into(), query.into())]) }
}

#[test]
fn the_context_ends_with_what_was_said_last_and_begins_with_a_word() {
    let long = format!("{} on", "x".repeat(2 * WORD_CHARS));
    let cjk = "会議".repeat(30);
    for (text, chars, cut) in [
        ("one two", 7, "one two"),
        ("one two", 6, "two"),
        ("one two", 4, "two"),
        ("one two", 3, "two"),
        ("one two", 2, "wo"),
        ("one two", 0, ""),
        ("", 5, ""),
        ("Ada: né 🙂\nBo: ja", 7, "Bo: ja"),
        ("Ada: né 🙂\nBo: ja", 8, "🙂\nBo: ja"),
        (&long, WORD_CHARS + 5, &long[long.len() - WORD_CHARS - 5..]),
        (&long, WORD_CHARS + 1, "on"),
        (&cjk, 45, &cjk[45..]),
    ] {
        assert_eq!(last_words(text, chars), cut, "{chars} of {text}");
    }
}

#[test]
fn what_means_the_same_is_detected_once() {
    let mut state = State::default();
    assert_eq!(
        state.add_new(vec![search("High Tide"), search("high tide"), search("low tide")]),
        [search("High Tide"), search("low tide")]
    );
    for same in ["High Tide", "HIGH\u{a0}TIDE", "  high \n tide ", "Low tide"] {
        assert_eq!(state.add_new(vec![search(same)]), [], "{same}");
    }
    let other = |action: &str, name: &str| ActionCall {
        action: action.into(),
        parameters: BTreeMap::from([(name.into(), "high tide".to_owned())]),
    };
    for different in [search("hightide"), other("image-search", "query"), other("web-search", "topic")] {
        assert_eq!(state.add_new(vec![different.clone()]), [different]);
    }
    assert_eq!(state.detected().count(), 5);
}

#[test]
fn only_the_newest_are_remembered() {
    let mut state = State::default();
    for number in 0..=MAX_REMEMBERED {
        state.add_new(vec![search(number.to_string())]);
    }
    assert_eq!(state.detected().count(), MAX_REMEMBERED);
    assert_eq!(state.add_new(vec![search(MAX_REMEMBERED.to_string()), search("1")]), []);
    assert_eq!(state.add_new(vec![search("0")]), [search("0")], "the oldest was dropped");
}

#[test]
fn long_calls_push_out_more_than_one() {
    let mut state = State::default();
    let chars = |state: &State| state.detected().map(ActionCall::chars).sum::<usize>();
    for letter in ["a", "b", "c", "d", "e", "f", "g"] {
        state.add_new(vec![search(letter.repeat(3_985))]);
    }
    assert_eq!((state.detected().count(), chars(&state)), (5, MAX_REMEMBERED_CHARS));
    state.add_new(vec![search("h")]);
    assert_eq!(state.detected().count(), 5);
    // The newest stays even if it alone is too long; else it would be detected again and again.
    let long = search("i".repeat(MAX_REMEMBERED_CHARS));
    state.add_new(vec![long.clone()]);
    assert!(state.detected().eq([&long]));
}

#[test]
fn an_answer_adds_a_limited_number_of_new_calls() {
    let mut state = State::default();
    let calls: Vec<_> = (0..MAX_NEW_ACTIONS + 5).map(|number| search(number.to_string())).collect();
    assert_eq!(state.add_new(calls.clone()), calls[..MAX_NEW_ACTIONS]);
    assert_eq!(
        state.add_new(calls.clone()),
        calls[MAX_NEW_ACTIONS..],
        "calls that were cut off were not remembered"
    );
}

#[test]
fn an_older_state_is_read() {
    assert_eq!(serde_json::from_str::<State>("{}").unwrap(), State::default());
    let state: State =
        serde_json::from_str(r#"{"detected":[{"action":"stop"}],"of_a_later_version":1}"#).unwrap();
    assert!(state.detected().eq([&ActionCall { action: "stop".into(), parameters: BTreeMap::new() }]));
}

/// Adds lines to the context.
fn say(state: &mut State, lines: &[String], chars: usize) {
    for text in lines {
        state.add_new_line(NewLine { text: text.clone(), by: None });
    }
    state.take_new_lines_into_context(chars);
}

proptest! {
    #[test]
    fn the_context_is_the_end_of_what_was_said(
        lines in prop::collection::vec("[a-z é🙂会]{0,30}", 0..20),
        chars in 0_usize..200,
        at_once in any::<bool>(),
    ) {
        let mut state = State::default();
        if at_once {
            say(&mut state, &lines, chars);
        } else {
            for line in &lines {
                say(&mut state, std::slice::from_ref(line), chars);
            }
        }
        let context = state.context();
        prop_assert!(context.chars().count() <= chars);
        prop_assert!(lines.join("\n").ends_with(context));
    }

    #[test]
    fn the_cut_takes_no_more_than_a_word(text in "[a-z é🙂会\n]{0,300}", chars in 0_usize..200) {
        let (whole, cut) = (text.chars().count(), last_words(&text, chars));
        prop_assert!(text.ends_with(cut));
        if whole <= chars {
            prop_assert_eq!(cut, &text);
        } else {
            prop_assert!(!cut.starts_with(char::is_whitespace));
            let lost: String = text.chars().skip(whole - chars).take(chars - cut.chars().count()).collect();
            prop_assert!(lost.split_whitespace().count() <= 1, "{lost:?}");
        }
    }

    #[test]
    fn it_survives_its_json(words in prop::collection::vec(any::<String>(), 0..5)) {
        let mut state = State::default();
        say(&mut state, &words, 50);
        state.add_new(words.into_iter().map(search).collect());
        let json = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state);
    }
}
