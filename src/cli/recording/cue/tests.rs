use super::*;

const LIMIT: Size = Size::from_bytes(1024);

/// The cues of a text as `line start-end text`, and the broken ones as `line: problem`.
fn found(mut cues: Cues, text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |found: CueResult| {
        all.push(match found {
            Ok(Cue { line, times: Times { start, end }, text, .. }) => {
                format!("{line} {}-{} {}", start.seconds, end.seconds, text.trim_end().replace('\n', "|"))
            }
            Err((line, problem)) => format!("{line}: {problem}"),
        });
    };
    for (number, line) in (1..).zip(text.lines()) {
        match line {
            "TOO LONG" => cues.line(number, Err(Problem::TooLong(LIMIT)), &mut add),
            line => cues.line(number, Ok(line), &mut add),
        }
    }
    cues.end(&mut add);
    all
}

#[track_caller]
fn are(text: &str, expected: &[&str]) {
    let found = found(Cues::without_header(40, LIMIT), text);
    assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        // A problem is compared by the start of its message.
        let is_problem = found.contains(": ");
        let same = if is_problem { found.starts_with(expected) } else { found == expected };
        assert!(same, "{text}\n{found} is not {expected}");
    }
}

const A: &str = "00:01.000 --> 00:02.000";
const B: &str = "00:00:03,000 --> 00:00:04,000";

#[test]
fn cues_stand_in_blocks() {
    are(&format!("1\n{A}\none\ntwo\n\n2\n{B}\nthree\n"), &["2 1-2 one|two", "7 3-4 three"]);
    are(&format!("{A}\n\n{B}\none"), &["1 1-2 ", "3 3-4 one"]);
    are(&format!("{A} align:start\n a --> b \n \t\n{B}\n"), &["1 1-2  a --> b", "4 3-4 "]);
    are(
        &format!("{A}\n02:34.567 --> that is it\n- A --> B\n"),
        &["1 1-2 02:34.567 --> that is it|- A --> B"],
    );
    are("", &[]);
    are("\n\n", &[]);
}

#[test]
fn a_blank_line_may_be_missing() {
    are(&format!("{A}\none\n{B}\ntwo"), &["1 1-2 one", "3 3-4 two"]);
    // A line is an identifier, and not speech, if the cue before has one of the same kind. Without
    // identifiers a number is speech.
    are(&format!("1\n{A}\none\n2\n{B}\ntwo\n3"), &["2 1-2 one", "5 3-4 two|3"]);
    are(&format!("{A}\none\n2\n{B}\ntwo"), &["1 1-2 one|2", "4 3-4 two"]);
    are(&format!("a-b/12-0\n{A}\none\na-b/13-0\n{B}\ntwo"), &["2 1-2 one", "5 3-4 two"]);
    are(&format!("a-b/12-0\n{A}\nand/or\n{B}\ntwo"), &["2 1-2 and/or", "4 3-4 two"]);
    are(
        &format!("1\n{A}\none\n2\n00:99 --> 01:00\ntwo\n3\n{B}\nthree\n4\n{A}\nfour"),
        &["2 1-2 one", "5: \"00:99\" is not a cue's time", "8 3-4 three", "11 1-2 four"],
    );
    are(&format!("1\n{A}\n2\n{B}\n3\n{A}\n"), &["2 1-2 ", "4 3-4 ", "6 1-2 "]);
}

#[test]
fn only_an_empty_line_ends_a_cue() {
    are(&format!("{A}\n \none\n \ntwo\n\n{B}\n\t\n"), &["1 1-2  |one| |two", "7 3-4 "]);
    // A block's identifier and its times may have blanks between them.
    are(&format!("1\n \n{A}\none\n \n2\n{B}\ntwo"), &["3 1-2 one", "7 3-4 two"]);
    assert_eq!(found(Cues::without_header(40, LIMIT), &format!("NOTE x\n \ny\n\n{A}\none")), ["5 1-2 one"]);
}

#[test]
fn text_may_follow_an_empty_line() {
    are(&format!("{A}\n\none\ntwo\n\n{B}\n\n\nthree\n"), &["1 1-2 one|two", "6 3-4 three"]);
    are(&format!("{A}\n\none"), &["1 1-2 one"]);
    are(&format!("{A}\n \n\none"), &["1 1-2  |one"]);
    // An identifier and a comment are not such text.
    are(&format!("1\n{A}\n\n2\n{B}\ntwo"), &["2 1-2 ", "5 3-4 two"]);
    are(&format!("{A}\n\nNOTE one\ntwo\n\n{B}\nthree"), &["6 3-4 three"]);
    are(&format!("{A}\n\nThe gate is open.\n{B}\n\ntwo"), &["1 1-2 The gate is open.", "4 3-4 two"]);
    are(&format!("{A}\n\nx-2\n{B}\n\ntwo"), &["1 1-2 ", "4 3-4 two"]);
    // A further header.
    are(&format!("{A}\none\n\nWEBVTT\nX-MAP: 1\n\n{B}\ntwo"), &["1 1-2 one", "7 3-4 two"]);
    // Every line with an empty one after it.
    are(&format!("1\n\n{A}\n\none\n\n\n\n2\n\n{B}\n\ntwo\n\n"), &["3 1-2 one", "11 3-4 two"]);
    // The next empty line ends the cue.
    are(&format!("{A}\n\none\n\ntwo"), &["1 1-2 one", "5: expected a cue's times"]);
    let long = "x".repeat(30);
    are(&format!("{A}\n\n{long}\n{long}\n\n{B}"), &["1: the cue's text is longer", "6 3-4 "]);
}

#[test]
fn words_that_are_left_out_are_counted() {
    let left_out = |text: &str| {
        let mut cues = Cues::without_header(40, LIMIT);
        for (number, line) in (1..).zip(text.lines()) {
            cues.line(number, Ok(line), |_| {});
        }
        cues.end(|_| {});
        cues.skipped_words()
    };
    assert_eq!(left_out(&format!("NOTE a b\nc\n\n{A}\none\n")), 0);
    assert_eq!(left_out(&format!("00:99.000 --> 00:02.000\none two\nthree\n\n{B}\nx")), 3);
    assert_eq!(left_out(&format!("1\n00:99.000 --> 00:02.000\none two\n2\n{B}\nx")), 2, "2 is an identifier");
    assert_eq!(left_out("one two\nthree"), 3);
    assert_eq!(left_out("one two"), 2);
    let long = "x ".repeat(15);
    assert_eq!(left_out(&format!("{A}\n{long}\n{long}\n{long}")), 45);
}

#[test]
fn comments_and_styles_are_passed_over() {
    let passages = "NOTE\nx\n\nNOTE about: x\nTOO LONG\n\nSTYLE\n::cue { color: red }\n\nREGION \nid:x\n\n";
    are(&format!("{passages}{A}\none"), &["13 1-2 one"]);
    are(&format!("NOTE\n{A}\none"), &["2 1-2 one"]);
    are(&format!("NOTES\n{A}\none\n\nSTYLED\nx"), &["2 1-2 one", "5: expected a cue's times"]);
    let header = |text: &str| found(Cues::behind_header(40, LIMIT), text);
    assert_eq!(header(&format!("Kind: captions\nLanguage: en\n\n{A}\none")), ["4 1-2 one"]);
    assert_eq!(header(&format!("X-MAP=1\n1\n{A}\none\n2\n{B}\n")), ["3 1-2 one", "6 3-4 "]);
    assert_eq!(header("Kind: captions"), [""; 0]);
    assert!(header("TOO LONG\nx")[0].starts_with("1: the line is longer"));
}

#[test]
fn what_is_broken_leaves_the_rest() {
    are(
        &format!("1\n00:00:99.000 --> 00:02:00.000\none\n\n{B}\ntwo"),
        &["2: \"00:00:99.000\" is not a cue's time", "5 3-4 two"],
    );
    are(
        &format!("{A}\none\n00:02.000 --> 00:61.000\ntwo\nthree\n{B}\nfour"),
        &["1 1-2 one", "3: \"00:61.000\" is not a cue's time", "6 3-4 four"],
    );
    are(&format!("1\n00:01 -> 00:02\none\n\n{B}\ntwo"), &["2: expected a cue's times", "5 3-4 two"]);
    are("00:01 -> 00:02\none", &["1: expected a cue's times"]);
    are(
        &format!("{A}\none\n\ntwo\nthree\n\nfour"),
        &["1 1-2 one", "4: expected a cue's times", "7: expected a cue's times"],
    );
}

#[test]
fn what_is_too_long_is_not_kept() {
    let long = "x".repeat(20);
    are(
        &format!("{A}\n{long}\n{long}\n{long}\n\n{B}\ntwo"),
        &[
            "1: the cue's text is longer than any packet may be; the limit is 1KiB (limits.packet_bytes)",
            "6 3-4 two",
        ],
    );
    are(&format!("{A}\none\nTOO LONG\nTOO LONG\n\n{B}\ntwo"), &["3: the line is longer", "6 3-4 two"]);
    are(
        &format!("TOO LONG\n{A}\none\n\nx\nTOO LONG"),
        &["1: the line is longer", "2 1-2 one", "6: the line is longer"],
    );
}

#[test]
fn the_header_or_the_times_tell_how_text_is_marked_up() {
    let markup = |mut cues: Cues, times: &str| {
        let mut found = None;
        cues.line(1, Ok(times), |_| {});
        cues.end(|cue| found = Some(cue.unwrap().markup));
        found.unwrap()
    };
    let (headed, bare) = (|| Cues::behind_header(40, LIMIT), || Cues::without_header(40, LIMIT));
    assert_eq!(markup(headed(), B), Markup::WebVtt);
    assert_eq!(markup(bare(), B), Markup::SubRip);
    assert_eq!(markup(bare(), A), Markup::WebVtt);
}
