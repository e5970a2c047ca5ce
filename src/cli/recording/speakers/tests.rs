use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn heard<'a>(lines: impl IntoIterator<Item = &'a str>) -> Speakers {
    let mut speakers = Speakers::default();
    lines.into_iter().for_each(|line| speakers.hear(line));
    speakers
}

/// Who says what, in cues that are all there is.
fn said<'a>(lines: &[&'a str]) -> Vec<(Option<&'a str>, &'a str)> {
    let speakers = heard(lines.iter().copied());
    let split = |line: &'a str| match speakers.name(line) {
        Some((name, length)) => (Some(name), line[length..].trim()),
        None => (None, line),
    };
    lines.iter().map(|line| split(line)).collect()
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
        &["Ада", "ليلى", "\u{200f}דנה", "🦊", "-", "A [x] (y/z)"],
    );
}

#[test]
fn a_name_is_100_characters_long_at_most() {
    let (most, over) = ("é".repeat(100), "é".repeat(101));
    are(&[&format!("{most}: a"), &format!("{over}: a")], &[&most, "-"]);
}

#[test]
fn prose_names_nobody() {
    are(&["One thing: we go.", "So we do.", "Yes."], &["-", "-", "-"]);
    are(&["Ada: we go.", "So we do."], &["Ada", "-"]);
    let mut speakers = heard(["Note: we go"]);
    speakers.hear_known();
    assert_eq!(speakers.name("Note: we go").map(|(name, _)| name), Some("Note"));
    speakers.hear_known();
    assert_eq!(speakers.name("Note: we go"), None, "whom a tag names is among all");
}

#[test]
fn a_name_may_hold_colons() {
    let [grace, linus] = ["Ops: Grace", "Ops: Linus"];
    are(&["Ops: Grace: a", "Ops: Linus: b", "Ops: Grace: c", "Ops: Linus: d"], &[grace, linus, grace, linus]);
    // Linus says one thing only, and Grace says something with a colon.
    are(
        &["Ops: Grace: a", "Ops: Linus: b", "Ops: Grace: c: d", "Ops: Grace: e"],
        &[grace, linus, grace, grace],
    );
    let twice = "a: b: c";
    are(&["a: b: c: x", "a: b: c: y", "Bo: z"], &[twice, twice, "Bo"]);
    are(&["Ana [UX: web]: x", "Ana [UX: web]: y"], &["Ana [UX: web]", "Ana [UX: web]"]);
    // Nothing said but a name.
    are(&["Ops: Grace: a", "Ops: Grace:", "Ops: Grace: b"], &[grace, grace, grace]);
}

#[test]
fn what_is_said_may_hold_colons() {
    are(&["Ada: a", "Ada: Note: we go", "Ada: Note: we stay"], &["Ada", "Ada", "Ada"]);
    are(&["Ada: Note: we go"], &["Ada"]);
    are(&["Ada: Note: we go", "Ada: Well: we stay"], &["Ada", "Ada"]);
    // Once somebody is called just so, the longer ones are what is said.
    are(&["Ops: Grace: a", "Ops: Grace: b", "Ops: we are live"], &["Ops", "Ops", "Ops"]);
}

#[test]
fn memory_is_bounded() {
    let mut speakers = heard(["Ops: Grace: a", "Ops: Grace: b"]);
    assert_eq!(speakers.name("Ops: Grace: c").unwrap().0, "Ops: Grace");
    let mut most = 0;
    for n in 0..50_000 {
        speakers.hear(&format!("{n} {}: a", "😀".repeat(90)));
        most = most.max(speakers.footprint());
    }
    assert!((1 << 20..8 << 20).contains(&most), "{most}");
    assert_eq!(speakers.footprint(), 0);
    assert_eq!(speakers.name("Ops: Grace: c").unwrap().0, "Ops", "the first colon counts");
}

proptest! {
    /// People who are called so, and speak at least twice, are found, whatever they say, as long as not every cue of somebody's
    /// begins with a colon's words.
    #[test]
    fn names_come_back(
        names in vec("[\\PC&&[^:]]{1,12}(: [\\PC&&[^:]]{1,12}){0,2}", 1..6),
        sayings in vec("[\\PC&&[^:]]{0,12}(: [\\PC&&[^:]]{0,12})?", 2..20),
    ) {
        let names: Vec<_> = names.iter().map(|name| name.trim().to_owned()).collect();
        // One that begins like another is for the tables above: it depends on who says what.
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
        let speakers = heard(lines.iter().map(|(_, line)| line.as_str()));
        for (name, line) in &lines {
            let (found, length) = speakers.name(line).unwrap();
            prop_assert_eq!(found, name.as_str());
            prop_assert!(line[length..].len() + length == line.len());
        }
    }

    /// Any lines are taken, and a name is what a line begins with, up to a colon.
    #[test]
    fn a_name_is_a_beginning(
        lines in vec(vec(select(vec!["a", "b", ":", ": ", " ", "é", "😀", "\u{200f}"]), 0..30), 0..30),
    ) {
        let lines: Vec<_> = lines.iter().map(|parts| parts.concat()).collect();
        let speakers = heard(lines.iter().map(String::as_str));
        for line in &lines {
            if let Some((name, length)) = speakers.name(line) {
                prop_assert_eq!(line[..length].strip_suffix(':').map(str::trim), Some(name));
                prop_assert!(!name.is_empty() && name.chars().count() <= 100);
            }
        }
    }
}
