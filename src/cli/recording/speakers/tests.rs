mod styles;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn detector<'a>(lines: impl IntoIterator<Item = &'a str>) -> SpeakerDetector {
    let mut speakers = SpeakerDetector::default();
    lines.into_iter().for_each(|line| speakers.add_cue(None, &[line.to_owned()]));
    speakers
}

/// Name and text of each line of a transcript of these cues, before names are carried over.
fn said<'a>(lines: &[&'a str]) -> Vec<(Option<&'a str>, &'a str)> {
    let names = detector(lines.iter().copied()).finish();
    let split = |line: &'a str| match names.name_at_start(line, true) {
        Some((name, length)) => (Some(name), line[length..].trim()),
        None => (None, line),
    };
    lines.iter().map(|line| split(line)).collect()
}

/// The turns of cues with identifiers and lines, as `name: text`.
fn turns(cues: &[(Option<&str>, &[&str])]) -> Vec<String> {
    let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let mut speakers = SpeakerDetector::default();
    for (identifier, lines) in cues {
        speakers.add_cue(*identifier, &owned(lines));
    }
    let (names, mut last) = (speakers.finish(), LastSpeaker::default());
    let turns =
        cues.iter().flat_map(|(identifier, lines)| names.turns(&mut last, *identifier, &owned(lines)));
    turns.map(|Turn { name, text }| format!("{}: {text}", name.as_deref().unwrap_or("-"))).collect()
}

/// Checks the turns of cues of one line.
#[track_caller]
fn speak(lines: &[&str], expected: &[&str]) {
    let cues: Vec<_> = lines.iter().map(std::slice::from_ref).map(|lines| (None, lines)).collect();
    assert_eq!(turns(&cues), expected, "{lines:?}");
}

#[track_caller]
fn are(lines: &[&str], names: &[&str]) {
    let found: Vec<_> = said(lines).into_iter().map(|(name, _)| name.unwrap_or("-")).collect();
    assert_eq!(found, names, "{lines:?}");
}

#[test]
fn a_name_ends_at_a_colon_and_white_space() {
    let lines = ["Ada: one", "Bo :  two: three", "Ada:", "10:30 it is", "well"];
    let expected = [
        (Some("Ada"), "one"),
        (Some("Bo"), "two: three"),
        (Some("Ada"), ""),
        (None, "10:30 it is"),
        (None, "well"),
    ];
    assert_eq!(said(&lines), expected);
    are(&[": a", " : b", "Ada:b c"], &["-", "-", "-"]);
    are(
        &["Ада: да", "ليلى: نعم", "\u{200f}דנה: כן", "🦊: yip", "田中：x", "A [x] (y/z): a"],
        &["Ада", "ليلى", "\u{200f}דנה", "🦊", "田中", "A [x] (y/z)"],
    );
}

#[test]
fn a_name_is_100_characters_long_at_most() {
    let (most, over) = ("É".repeat(100), "É".repeat(101));
    let most_says = |what: &str| format!("{most}: {what}");
    are(&[&most_says("a"), &most_says("b"), &format!("{over}: a")], &[&most, &most, "-"]);
}

#[test]
fn prose_names_nobody() {
    are(&["One thing: we go.", "So we do.", "Yes."], &["-", "-", "-"]);
    are(&["Ada: we go.", "So we do."], &["Ada", "-"]);
    let with_known = |known| {
        let mut speakers = detector(["Ada: we go"]);
        (0..known).for_each(|_| speakers.add_attributed_cue());
        speakers.finish().name_at_start("Ada: we go", true).map(|(name, _)| name)
    };
    assert_eq!(with_known(1), Some("Ada"));
    assert_eq!(with_known(2), None, "whom a tag names is among all");
}

#[test]
fn a_name_may_hold_colons() {
    let [grace, linus] = ["Ops: Grace", "Ops: Linus"];
    are(&["Ops: Grace: a", "Ops: Linus: b", "Ops: Grace: c", "Ops: Linus: d"], &[grace, linus, grace, linus]);
    // Linus speaks once, and Grace says something with a colon.
    are(
        &["Ops: Grace: a", "Ops: Linus: b", "Ops: Grace: c: d", "Ops: Grace: e"],
        &[grace, linus, grace, grace],
    );
    let twice = "a: b: c";
    are(&["a: b: c: x", "a: b: c: y", "Bo: z"], &[twice, twice, "Bo"]);
    are(&["Ana [UX: web]: x", "Ana [UX: web]: y"], &["Ana [UX: web]", "Ana [UX: web]"]);
    // A cue of a name alone.
    are(&["Ops: Grace: a", "Ops: Grace:", "Ops: Grace: b"], &[grace, grace, grace]);
}

#[test]
fn speech_may_hold_colons() {
    are(&["Ada: a", "Ada: Note: we go", "Ada: Note: we stay"], &["Ada", "Ada", "Ada"]);
    are(&["Ada: Note: we go"], &["Ada"]);
    are(&["Ada: Note: we go", "Ada: Well: we stay"], &["Ada", "Ada"]);
    // If the prefix alone is a name, the rest of the longer labels is speech.
    are(&["Ops: Grace: a", "Ops: Grace: b", "Ops: we are live"], &["Ops", "Ops", "Ops"]);
}

#[test]
fn a_name_is_carried_over_where_it_is_written_on_change() {
    let lines = ["Speaker 1: a", "b", "c", "d", "Speaker 2: e", "f"];
    speak(
        &lines,
        &["Speaker 1: a", "Speaker 1: b", "Speaker 1: c", "Speaker 1: d", "Speaker 2: e", "Speaker 2: f"],
    );
    // Names of people, each once; and in more than half of the cues.
    speak(&["Nadia: a", "b", "c", "Olu: d", "e"], &["Nadia: a", "Nadia: b", "Nadia: c", "Olu: d", "Olu: e"]);
    speak(&["Nadia: a", "Olu: b", "c", "Nadia: d"], &["Nadia: a", "Olu: b", "Olu: c", "Nadia: d"]);
    // A paragraph may begin with the same name again.
    speak(
        &["Nadia: a", "b", "Nadia: c", "d", "Olu: e"],
        &["Nadia: a", "Nadia: b", "Nadia: c", "Nadia: d", "Olu: e"],
    );
    speak(
        &["Ada: One.", "Ada: Two.", "three", "four", "Bo: Five.", "six"],
        &["Ada: One.", "Ada: Two.", "Ada: three", "Ada: four", "Bo: Five.", "Bo: six"],
    );
    speak(
        &["김민수: 안녕하세요.", "시작합시다.", "네", "이영희: 좋아요.", "그럼"],
        &["김민수: 안녕하세요.", "김민수: 시작합시다.", "김민수: 네", "이영희: 좋아요.", "이영희: 그럼"],
    );
    speak(
        &["Male speaker: a", "b", "c", "interviewer: d"],
        &["Male speaker: a", "Male speaker: b", "Male speaker: c", "interviewer: d"],
    );
    speak(
        &["Narrator: a", "b", "c", "d", "e"],
        &["Narrator: a", "Narrator: b", "Narrator: c", "Narrator: d", "Narrator: e"],
    );
    // A cue of a name alone begins a turn.
    speak(
        &["Nadia:", "a", "Olu:", "b", "c", "Nadia:", "d", "Olu: e"],
        &["Nadia: a", "Olu: b", "Olu: c", "Nadia: d", "Olu: e"],
    );
    let split: [(_, &[&str]); 3] = [(None, &["Nadia: a", "b"]), (None, &["c"]), (None, &["Olu: d"])];
    assert_eq!(turns(&split), ["Nadia: a b", "Nadia: c", "Olu: d"]);
}

#[test]
fn nobodys_words_stay_nobodys_where_names_are_repeated() {
    speak(
        &["Nadia: a", "Nadia: b", "c", "Olu: d", "Olu: e", "Nadia: f"],
        &["Nadia: a", "Nadia: b", "-: c", "Olu: d", "Olu: e", "Nadia: f"],
    );
}

/// Cues of a transcript with names on change: `turns` turns of these speakers, each with `bare` further cues
/// without a name.
fn on_change(names: &[&str], turns: usize, bare: usize) -> Vec<String> {
    let turn = |n: usize| {
        let first = std::iter::once(format!("{}: turn {n}.", names[n % names.len()]));
        first.chain((0..bare).map(move |m| format!("and so on {n} {m}.")))
    };
    (0..turns).flat_map(turn).collect()
}

/// How many cues each speaker has.
fn counted(lines: &[String]) -> std::collections::BTreeMap<String, usize> {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let cues: Vec<_> = lines.iter().map(std::slice::from_ref).map(|lines| (None, lines)).collect();
    let mut counted = std::collections::BTreeMap::new();
    for turn in turns(&cues) {
        let name = turn.split_once(": ").unwrap().0.to_owned();
        *counted.entry(name).or_default() += 1;
    }
    counted
}

#[track_caller]
fn count_is(lines: &[String], expected: &[(&str, usize)]) {
    let expected = expected.iter().map(|(name, cues)| ((*name).to_owned(), *cues)).collect();
    assert_eq!(counted(lines), expected);
}

#[test]
fn a_first_cue_of_nobody_and_prose_with_colons_cost_no_name() {
    let names = ["Ada Lovelace", "Grace Hopper"];
    let clean = on_change(&names, 60, 4);
    count_is(&clean, &[("Ada Lovelace", 150), ("Grace Hopper", 150)]);
    for title in ["♪ ♪", "Welcome.", "[upbeat music]", "Subtitles by X"] {
        let titled: Vec<String> = std::iter::once(title.to_owned()).chain(clean.clone()).collect();
        count_is(&titled, &[("-", 1), ("Ada Lovelace", 150), ("Grace Hopper", 150)]);
    }
    let mut prose = clean.clone();
    for n in 0..30 {
        prose[10 * n + 3] = "and so the point is: go".to_owned();
        prose[10 * n + 4] = "Note: we stay.".to_owned();
    }
    count_is(&prose, &[("Ada Lovelace", 150), ("Grace Hopper", 150)]);
    // Names of one word with a small letter, and roles of two words.
    for names in [["mbauer", "jdoe"], ["Host", "Audience member"], ["interviewer", "Dr. Who"]] {
        count_is(&on_change(&names, 60, 4), &[(names[0], 150), (names[1], 150)]);
    }
}

#[test]
fn a_paragraph_of_one_cue_ends_nothing() {
    let mut lines = on_change(&["Ada", "Bo"], 40, 2);
    for n in 0..5 {
        lines.splice(24 * n..24 * n, ["Ada: One.".to_owned(), "Ada: Two.".to_owned()]);
    }
    let all = lines.len();
    let counted = counted(&lines);
    assert_eq!(
        (counted.keys().map(String::as_str).collect::<Vec<_>>(), counted.values().sum::<usize>()),
        (vec!["Ada", "Bo"], all)
    );
}

#[test]
fn words_with_a_colon_are_speech_and_never_lost() {
    let ada = |rest: &[&str]| {
        let mut lines: Vec<String> = on_change(&["Ada", "Bo"], 8, 1);
        lines.push("Ada: Three things.".to_owned());
        lines.extend(rest.iter().map(|line| (*line).to_owned()));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let cues: Vec<_> = lines.iter().map(std::slice::from_ref).map(|lines| (None, lines)).collect();
        turns(&cues).split_off(17)
    };
    speak(
        &["Ada: Three things.", "First: ships.", "Second: yards.", "Bo: And?", "Ada: We go."],
        &["Ada: Three things.", "Ada: First: ships.", "Ada: Second: yards.", "Bo: And?", "Ada: We go."],
    );
    assert_eq!(ada(&["First: ships.", "Second: yards."]), ["Ada: First: ships.", "Ada: Second: yards."]);
    assert_eq!(ada(&["is as follows:", "ships."]), ["Ada: is as follows:", "Ada: ships."]);
    assert_eq!(ada(&["So the question is: why?"]), ["Ada: So the question is: why?"]);
    assert_eq!(ada(&["we have two options for", "Monday: stay or go."])[1], "Ada: Monday: stay or go.");
    assert_eq!(ada(&["we meet the rule of", "Thumb: it holds."])[1], "Ada: Thumb: it holds.");
    assert_eq!(ada(&["[Music]", "♪", "we go."]), ["-: [Music]", "-: ♪", "Ada: we go."]);
    assert_eq!(ada(&[">> YES.", "so be it."]), ["-: >> YES.", "-: so be it."]);
    let split: [(_, &[&str]); 2] = [(None, &["Ada: the rule of", "Thumb:"]), (None, &["Bo: yes."])];
    assert_eq!(turns(&split), ["Ada: the rule of Thumb:", "Bo: yes."]);
    let monday: [(_, &[&str]); 2] =
        [(None, &["Ada: two options for", "Tuesday: go."]), (None, &["Bo: yes."])];
    assert_eq!(turns(&monday), ["Ada: two options for Tuesday: go.", "Bo: yes."]);
}

#[test]
fn lectures_are_nobodys() {
    let lecture = |at: &[(usize, &str)]| {
        let mut lines: Vec<String> = (0..300).map(|n| format!("and so on {n}.")).collect();
        for (n, line) in at {
            lines[*n] = (*line).to_owned();
        }
        count_is(&lines, &[("-", 300)]);
    };
    lecture(&[(0, "Lesson 1: Verbs.")]);
    lecture(&[(0, "Question 1: a."), (90, "Question 2: b."), (200, "Question 3: c.")]);
    lecture(&[(0, "The Sea: A History."), (50, "Fact: a."), (100, "Fact: b."), (150, "Fact: c.")]);
    lecture(&[(0, "Note: a."), (10, "Remember: b."), (20, "Note: a."), (30, "Remember: b.")]);
    speak(&["And the rule is: never."], &["-: And the rule is: never."]);
    speak(
        &["My point is this: we go.", "yes", "My rule is this: we stay."],
        &["-: My point is this: we go.", "-: yes", "-: My rule is this: we stay."],
    );
}

#[test]
fn prose_is_carried_over_to_nobody() {
    speak(&["Note: a", "b", "c", "d"], &["-: Note: a", "-: b", "-: c", "-: d"]);
    speak(
        &["a", "One thing: b", "c", "Then: d", "e"],
        &["-: a", "-: One thing: b", "-: c", "-: Then: d", "-: e"],
    );
    speak(
        &["the plan: a", "b", "c", "Today: d", "e"],
        &["-: the plan: a", "-: b", "-: c", "-: Today: d", "-: e"],
    );
}

#[test]
fn a_cue_may_hold_several_turns() {
    let cues: [(_, &[&str]); 3] = [
        (None, &["Nadia: Are the keys here?", "Olu: They are."]),
        (None, &["Nadia: Good."]),
        (None, &["Olu: Yes."]),
    ];
    assert_eq!(turns(&cues), ["Nadia: Are the keys here?", "Olu: They are.", "Nadia: Good.", "Olu: Yes."]);
    let dashes: [(_, &[&str]); 1] = [(None, &["- Nadia: a", "b", "- Olu Adeyemi: c"])];
    assert_eq!(turns(&dashes), ["Nadia: a b", "Olu Adeyemi: c"]);
    let words: [(_, &[&str]); 1] = [(None, &["Nadia: we have", "one thing: this"])];
    assert_eq!(turns(&words), ["Nadia: we have one thing: this"]);
    let ops: [(_, &[&str]); 4] = [
        (None, &["Ops: Grace: a", "Ops: Linus: b"]),
        (None, &["Ops: Linus: c"]),
        (None, &["Ops: Grace: d"]),
        (None, &["Ops: Linus: e"]),
    ];
    assert_eq!(turns(&ops)[..2], ["Ops: Grace: a", "Ops: Linus: b"]);
}

#[test]
fn a_short_transcript_may_be_of_one_speaker() {
    speak(
        &["the data centre team: a", "the data centre team: b"],
        &["the data centre team: a", "the data centre team: b"],
    );
    speak(&["🛜 🌀: a", "🛜 🌀:", "🛜 🌀: b"], &["🛜 🌀: a", "🛜 🌀: b"]);
    // A sentence that occurs once.
    speak(&["what we need is this: a"], &["-: what we need is this: a"]);
}

#[test]
fn memory_is_bounded() {
    let mut speakers = detector(["Ops: Grace: a", "Ops: Grace: b"]);
    assert_eq!(
        detector(["Ops: Grace: a", "Ops: Grace: b"]).finish().name_at_start("Ops: Grace: c", true).unwrap().0,
        "Ops: Grace"
    );
    let mut most = 0;
    for n in 0..50_000 {
        speakers.add_cue(None, &[format!("{n} {}: a", "😀".repeat(90))]);
        most = most.max(speakers.footprint());
    }
    assert!((1 << 20..8 << 20).contains(&most), "{most}");
    assert_eq!(speakers.footprint(), 0);
    assert_eq!(
        speakers.finish().name_at_start("Ops: Grace: c", true).unwrap().0,
        "Ops",
        "the first colon counts"
    );
}

proptest! {
    /// Any name that occurs at least twice is found with any speech, unless every cue of the speaker goes on
    /// to a further colon.
    #[test]
    fn names_come_back(
        names in vec("[\\PC&&[^:]]{1,12}(: [\\PC&&[^:]]{1,12}){0,2}", 1..6),
        sayings in vec("[\\PC&&[^:]]{0,12}(: [\\PC&&[^:]]{0,12})?", 2..20),
    ) {
        let names: Vec<_> = names.iter().map(|name| name.trim().to_owned()).collect();
        // The tables above test turn marks, and words that sentences begin with.
        prop_assume!(names.iter().all(|name| !name.starts_with(['-', '–', '—', '>', '»']) && !is_discourse(name)));
        // The tables above test names with the same beginning, which depend on the other cues.
        let distinct = names.iter().enumerate().all(|(n, name)| {
            let first = |name: &str| name.split(':').next().unwrap_or_default().trim().to_owned();
            !first(name).is_empty() && names[..n].iter().all(|other| first(other) != first(name))
        });
        let whole = names.iter().all(|name| {
            name.split(": ").all(|part| !part.trim().is_empty())
        });
        prop_assume!(distinct && whole);
        let mut lines = Vec::new();
        for name in &names {
            lines.push((name, format!("{name}: plainly")));
            lines.extend(sayings.iter().map(|said| (name, format!("{name}: {said}"))));
        }
        let found = detector(lines.iter().map(|(_, line)| line.as_str())).finish();
        for (name, line) in &lines {
            let (found, length) = found.name_at_start(line, true).unwrap();
            prop_assert_eq!(found, name.as_str());
            prop_assert!(line[length..].len() + length == line.len());
        }
    }

    /// No line causes a panic, and a name is the beginning of its line, up to a colon.
    #[test]
    fn a_name_is_a_beginning(
        lines in vec(vec(select(vec!["a", "b", ":", ": ", " ", "é", "😀", "\u{200f}"]), 0..30), 0..30),
    ) {
        let lines: Vec<_> = lines.iter().map(|parts| parts.concat()).collect();
        let names = detector(lines.iter().map(String::as_str)).finish();
        for line in &lines {
            if let Some((name, length)) = names.name_at_start(line, true) {
                prop_assert_eq!(line[..length].strip_suffix(':').map(str::trim), Some(name));
                prop_assert!(!name.is_empty() && name.chars().count() <= 100);
            }
        }
    }
}
