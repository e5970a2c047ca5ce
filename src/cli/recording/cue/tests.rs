use super::*;

const LIMIT: Size = Size::from_bytes(1024);

/// The cues of a text as `line start-end text`, and what is broken as `line: problem`.
fn found(mut cues: Cues, text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |found: Found| {
        all.push(match found {
            Ok(Cue { line, times: Times { start_ms, end_ms }, text, .. }) => {
                format!("{line} {start_ms}-{end_ms} {}", text.trim_end().replace('\n', "|"))
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
        // Of a problem the start is enough.
        let is_problem = found.contains(": ");
        let same = if is_problem { found.starts_with(expected) } else { found == expected };
        assert!(same, "{text}\n{found} is not {expected}");
    }
}

const A: &str = "00:01.000 --> 00:02.000";
const B: &str = "00:00:03,000 --> 00:00:04,000";

#[test]
fn cues_stand_in_blocks() {
    are(&format!("1\n{A}\none\ntwo\n\n2\n{B}\nthree\n"), &["2 1000-2000 one|two", "7 3000-4000 three"]);
    are(&format!("{A}\n\n{B}\none"), &["1 1000-2000 ", "3 3000-4000 one"]);
    are(&format!("{A} align:start\n a --> b \n \t\n{B}\n"), &["1 1000-2000  a --> b", "4 3000-4000 "]);
    are("", &[]);
    are("\n\n", &[]);
}

#[test]
fn a_blank_line_may_be_missing() {
    are(&format!("{A}\none\n{B}\ntwo"), &["1 1000-2000 one", "3 3000-4000 two"]);
    // An identifier is no speech, if the cue has one of that kind; and who counts has none.
    are(&format!("1\n{A}\none\n2\n{B}\ntwo\n3"), &["2 1000-2000 one", "5 3000-4000 two|3"]);
    are(&format!("{A}\none\n2\n{B}\ntwo"), &["1 1000-2000 one|2", "4 3000-4000 two"]);
    are(&format!("a-b/12-0\n{A}\none\na-b/13-0\n{B}\ntwo"), &["2 1000-2000 one", "5 3000-4000 two"]);
    are(&format!("a-b/12-0\n{A}\nand/or\n{B}\ntwo"), &["2 1000-2000 and/or", "4 3000-4000 two"]);
    are(
        &format!("1\n{A}\none\n2\n00:09 --> x\ntwo\n3\n{B}\nthree\n4\n{A}\nfour"),
        &["2 1000-2000 one", "5: a cue's time is \"00:09\"", "8 3000-4000 three", "11 1000-2000 four"],
    );
    are(&format!("1\n{A}\n2\n{B}\n3\n{A}\n"), &["2 1000-2000 ", "4 3000-4000 ", "6 1000-2000 "]);
}

#[test]
fn comments_and_styles_are_passed_over() {
    let passages = "NOTE\nx\n\nNOTE about: x\nTOO LONG\n\nSTYLE\n::cue { color: red }\n\nREGION \nid:x\n\n";
    are(&format!("{passages}{A}\none"), &["13 1000-2000 one"]);
    are(&format!("NOTE\n{A}\none"), &["2 1000-2000 one"]);
    are(&format!("NOTES\n{A}\none\n\nSTYLED\nx"), &["2 1000-2000 one", "5: expected a cue's times"]);
    let header = |text: &str| found(Cues::behind_header(40, LIMIT), text);
    assert_eq!(header(&format!("Kind: captions\nLanguage: en\n\n{A}\none")), ["4 1000-2000 one"]);
    assert_eq!(header(&format!("X-MAP=1\n1\n{A}\none\n2\n{B}\n")), ["3 1000-2000 one", "6 3000-4000 "]);
    assert_eq!(header("Kind: captions"), [""; 0]);
    assert!(header("TOO LONG\nx")[0].starts_with("1: the line is longer"));
}

#[test]
fn what_is_broken_leaves_the_rest() {
    are(
        &format!("1\n00:00:99.000 --> 00:02:00.000\none\n\n{B}\ntwo"),
        &["2: a cue's time is \"00:00:99.000\", but takes hours", "5 3000-4000 two"],
    );
    are(
        &format!("{A}\none\n00:02.000 --> 00:01.000\ntwo\nthree\n{B}\nfour"),
        &["1 1000-2000 one", "3: the cue ends before it begins", "6 3000-4000 four"],
    );
    are(&format!("1\n00:01 -> 00:02\none\n\n{B}\ntwo"), &["2: expected a cue's times", "5 3000-4000 two"]);
    are("00:01 -> 00:02\none", &["1: expected a cue's times"]);
    are(
        &format!("{A}\none\n\ntwo\nthree\n\nfour"),
        &["1 1000-2000 one", "4: expected a cue's times", "7: expected a cue's times"],
    );
}

#[test]
fn what_is_too_long_is_not_kept() {
    let long = "x".repeat(20);
    are(
        &format!("{A}\n{long}\n{long}\n{long}\n\n{B}\ntwo"),
        &[
            "1: the cue's text is longer than any packet of the limit's size, 1KiB (limits.packet_bytes)",
            "6 3000-4000 two",
        ],
    );
    are(&format!("{A}\none\nTOO LONG\nTOO LONG\n\n{B}\ntwo"), &["3: the line is longer", "6 3000-4000 two"]);
    are(
        &format!("TOO LONG\n{A}\none\n\nx\nTOO LONG"),
        &["1: the line is longer", "2 1000-2000 one", "6: the line is longer"],
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
