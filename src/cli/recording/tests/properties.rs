//! Properties: what programs write is read, and nothing panics.

use std::fmt::Write;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn clock(ms: u64, point: char) -> String {
    let (hours, minutes, seconds, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A transcript as a program writes it.
fn written(said: &[Utterance], head: &str, point: char, text: impl Fn(&str, &str) -> String) -> String {
    let mut out = head.to_owned();
    for (n, said) in said.iter().enumerate() {
        let (start, end) = (clock(said.start_ms, point), clock(said.end_ms, point));
        let text = text(said.name.as_deref().unwrap(), &said.text);
        write!(out, "{}\n{start} --> {end}\n{text}\n\n", n + 1).unwrap();
    }
    out
}

prop_compose! {
    fn utterances(name: &'static str, text: &'static str)(
        said in vec((name, text, 0..10_000_000_u64, 0..100_000_u64), 1..20),
    ) -> Vec<Utterance> {
        let said = said.into_iter().map(|(name, text, start_ms, length)| Utterance {
            name: Some(name.trim().to_owned()),
            text: text.trim().to_owned(),
            start_ms,
            end_ms: start_ms + length,
        });
        // A name does not begin with a turn mark or a bracket, and is no word that sentences begin with.
        let is_other = |name: &str| {
            name.starts_with(['-', '–', '—', '>', '»', '[', '(', '【', '（', '［'])
                || name.contains('：')
                || name.split_whitespace().count() > 2
                || speakers::is_discourse(name)
        };
        said.filter(|said| !said.text.is_empty() && said.name.as_deref().is_some_and(|name| !name.is_empty() && !is_other(name)))
            .collect()
    }
}

proptest! {
    /// Any text of any speaker, as Teams writes it.
    #[test]
    fn what_teams_writes_is_read(said in utterances("\\PC{1,20}", "\\PC{1,60}")) {
        let one_space = |name: &str| name.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let said = said.into_iter().map(|said| Utterance { name: said.name.as_deref().map(one_space), ..said });
        let said: Vec<_> = said.collect();
        prop_assume!(!said.is_empty());
        let text = written(&said, "WEBVTT\n\n", '.', |name, text| {
            format!("<v {}>{}</v>", escaped(name), escaped(text))
        });
        prop_assert_eq!(heard(text, STOP), said);
    }

    /// Any text without a colon, of a speaker without a colon in the name, as Zoom writes it. The tests of
    /// `speakers` have properties with colons.
    #[test]
    fn what_zoom_writes_is_read(said in utterances("[\\PC&&[^:]]{1,20}", "\\PC{1,60}")) {
        let said: Vec<_> = said.into_iter().filter(|said| !said.text.contains([':', '：'])).collect();
        prop_assume!(!said.is_empty());
        let text = written(&said, "WEBVTT\n\n", '.', |name, text| escaped(&format!("{name}: {text}")));
        prop_assert_eq!(heard(text, STOP), said);
    }

    /// Any text that SubRip can hold: it cannot escape its own marks.
    #[test]
    fn what_subrip_holds_is_read(said in utterances("[\\PC&&[^:<{]]{1,20}", "[\\PC&&[^:<{]]{1,60}")) {
        let said: Vec<_> = said.into_iter().filter(|said| !said.text.contains("-->")).collect();
        prop_assume!(!said.is_empty());
        let text = written(&said, "", ',', |name, text| format!("{name}: {text}"));
        prop_assert_eq!(heard(text, STOP), said);
    }

    /// No text causes a panic, and each recording that passes the check can be played.
    #[test]
    fn nothing_panics(
        parts in vec(select(vec![
            "WEBVTT", "\n", "\n", "\r", "\n\n", "1", "00:01.000", "00:00:02,000", " --> ", "-->", "->", "<v Ada>",
            "</v>", "<", ">", "&", "&amp;", "&#", ";", "{\\an8}", "{", "Ada: ", ":", " ", "x", "é", "😀", "\u{200f}",
            "\u{feff}", "NOTE", "/", "\"", "00:01.000 --> 00:02.000\n", "99999999999999999999:00:00.000", "\0",
        ]), 0..60),
        limit in proptest::option::of(1..5_u64),
        bytes in vec(any::<u8>(), 0..8),
        at in any::<prop::sample::Index>(),
    ) {
        let mut text = parts.concat().into_bytes();
        let at = at.index(text.len() + 1);
        text.splice(at..at, bytes);
        for options in [STOP, SKIP] {
            let options = Options { limit, ..options };
            if let Ok(recording) = recording(&text, options) {
                let played: Result<Vec<_>, _> = recording.play().unwrap().collect();
                prop_assert!(played.unwrap().len() as u64 <= recording.len());
            }
        }
    }
}
