use proptest::prelude::*;

use super::*;

fn spoken(lines: &[(&str, &str)]) -> Transcript {
    let mut transcript = Transcript::default();
    for (by, text) in lines {
        transcript.add_message(Some(by), Medium::Speech, text);
    }
    transcript
}

#[test]
fn a_line_says_who_and_what() {
    let mut transcript = spoken(&[("Ada", "good\nmorning"), ("Ada", "all"), ("Bo", "hi")]);
    transcript.add_message(Some("Bo"), Medium::Chat, "a link");
    transcript.add_message(None, Medium::Speech, "who is this");
    transcript.add_remark("Bo is now called Boris");
    assert_eq!((transcript.words(), transcript.size()), (9, 19));
    let part = transcript.take_oldest(100);
    assert_eq!(
        part.text,
        "Ada: good morning all\nBo: hi\nBo (chat): a link\nUnknown: who is this\n[Bo is now called Boris]\n"
    );
    assert_eq!((part.words, transcript), (9, Transcript::default()));
}

#[test]
fn nothing_said_is_no_line() {
    let mut transcript = Transcript::default();
    assert_eq!(transcript.add_message(Some("Ada"), Medium::Speech, " \n\u{0}"), 0);
    assert_eq!(transcript, Transcript::default());
}

#[test]
fn what_is_too_long_is_taken_in_parts() {
    let mut transcript = spoken(&[("Ada", "a b"), ("Bo", "c d e f")]);
    assert_eq!(transcript.take_oldest(6), Excerpt { text: "Ada: a b\nBo: c d\n".into(), words: 4 });
    assert_eq!(transcript.take_oldest(4), Excerpt { text: "Bo: e f\n".into(), words: 2 });
    assert_eq!(transcript.take_oldest(4), Excerpt::default());
}

#[test]
fn a_name_alone_is_not_taken() {
    let mut transcript = spoken(&[("Ada", "a"), ("Dr Bo", "b")]);
    assert_eq!(transcript.take_oldest(4).text, "Ada: a\n");
    assert_eq!(transcript.take_oldest(3).text, "Dr Bo: b\n");
    // With its colon, the name counts as one more word.
    let mut transcript = spoken(&[("Ada_Lovelace_Esq", "a b")]);
    assert_eq!(transcript.take_oldest(3).text, "Ada_Lovelace_Esq: a\n");
}

#[test]
fn the_oldest_is_left_out_and_a_remark_says_so() {
    let mut transcript = spoken(&[("Ada", "a b"), ("Bo", &"c ".repeat(30))]);
    assert_eq!(transcript.drop_oldest(34), 0);
    assert_eq!(transcript.drop_oldest(20), 2 + 30 - 10);
    let kept = transcript.take_oldest(20).text;
    assert_eq!(kept, format!("[{MISSING}]\nBo:{}\n", " c".repeat(10)));
}

#[test]
fn names_are_one_line_and_not_endless() {
    assert_eq!(clean_name(" Ada\nLovelace "), Some("Ada Lovelace".to_owned()));
    assert_eq!(clean_name("\u{202E}\u{0} "), None);
    assert_eq!(clean_name(&"é".repeat(80)), Some("é".repeat(80)));
    assert_eq!(clean_name(&"é".repeat(81)), Some(format!("{}…", "é".repeat(80))));
}

proptest! {
    #[test]
    fn parts_have_their_size_and_lose_nothing(
        said in prop::collection::vec(("[AB]( [a-d]{1,20}){0,3}", "[ac我]{0,40}( [ac我]{1,40}){0,9}"), 0..8),
        size in 20_usize..60,
    ) {
        let said: Vec<(&str, &str)> = said.iter().map(|(by, text)| (by.as_str(), text.as_str())).collect();
        let mut transcript = spoken(&said);
        let mut taken = String::new();
        while transcript.words() > 0 {
            let part = transcript.take_oldest(size);
            prop_assert!(part.words > 0);
            prop_assert!(text::words(&part.text) <= size);
            taken.extend(part.text.lines().map(|line| line.split_once(": ").unwrap().1));
        }
        let letters = |text: &str| text.split_whitespace().collect::<String>();
        let all: String = said.iter().map(|(_, text)| letters(text)).collect();
        prop_assert_eq!(letters(&taken), all);
    }

    #[test]
    fn what_is_kept_has_its_size_and_is_the_newest(
        said in prop::collection::vec(("[AB]( [a-d]{1,20}){0,3}", "[ac我]{0,40}( [ac我]{1,40}){0,9}"), 0..8),
        size in 20_usize..60,
    ) {
        let said: Vec<(&str, &str)> = said.iter().map(|(by, text)| (by.as_str(), text.as_str())).collect();
        let mut transcript = spoken(&said);
        let (fits, before) = (transcript.size() <= size, transcript.words());
        let dropped = transcript.drop_oldest(size);
        prop_assert!(transcript.size() <= size);
        prop_assert!(transcript.words() + dropped >= before);
        prop_assert_eq!(fits, dropped == 0 && transcript.lines.front().is_none_or(|line| line.by.is_some()));
        let letters = |text: &str| text.split_whitespace().collect::<String>();
        let all: String = said.iter().map(|(_, text)| letters(text)).collect();
        let kept: String = transcript.lines.iter().filter(|line| line.by.is_some()).map(|line| letters(&line.text)).collect();
        prop_assert!(all.ends_with(&kept));
    }
}
