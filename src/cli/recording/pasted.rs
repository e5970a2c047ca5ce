//! Transcripts as text: what people paste from a document, or save of what a program printed.
//!
//! They look like a transcript to whoever has them, and cannot be read: where a name, a time and what is said
//! stand differs from program to program, and from one version to the next. So they are refused with a word
//! on what they look like, rather than as a packet that is no JSON, or, worse, read as cues in which
//! everybody says their own name.

use super::{
    cue::{Cue, Span, Voice},
    speakers::{is_name_like, is_persons_name},
};

/// Whether a text's first two lines look like a transcript as text: one has a time of day or a place in a
/// recording, or both have a name and a colon.
pub(super) fn are_talk(first: &str, second: &str) -> bool {
    let has_clock = |line: &str| !is_json(line) && line.split_whitespace().any(is_clock);
    has_clock(first) || has_clock(second) || begins_with_a_name(first) && begins_with_a_name(second)
}

fn is_json(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with(['{', '"']) || line.starts_with("[{") || line.starts_with("[\"")
}

/// Whether a word is a time, whatever is around it: `0:05`, `[00:01:02]`, `(10:30)`, `00:00:01.000`.
fn is_clock(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_ascii_digit());
    let parts: Vec<&str> = word.split(':').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let Some((last, before)) = parts.split_last() else { return false };
    let seconds = last.split(['.', ',']).next().unwrap_or_default();
    (1..=2).contains(&before.len())
        && before.iter().all(|part| part.len() <= 2 && is_number(part))
        && seconds.len() == 2
        && is_number(&seconds)
}

fn begins_with_a_name(line: &str) -> bool {
    line.split_once(':')
        .is_some_and(|(name, said)| said.starts_with(char::is_whitespace) && is_name_like(name))
}

/// What the cues of a file look like together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shape {
    cues: u64,
    /// Those without a header before them and an identifier above, whose first line of several looks like a
    /// name; a person's own, where times aren't in the short form of Teams' document.
    named_above: u64,
}

impl Shape {
    /// Adds a cue.
    pub(super) fn see(&mut self, cue: &Cue, spans: &[Span]) {
        let [Span { voice: Voice::Untold, lines }] = spans else {
            self.cues += u64::from(!spans.is_empty());
            return;
        };
        self.cues += 1;
        let has_short_times = cue.times.start.has_short_fields;
        let may_be_name = if has_short_times { is_name_like } else { is_persons_name };
        let is_name_above = lines.len() >= 2 && !lines[0].ends_with(['.', ':']) && may_be_name(&lines[0]);
        self.named_above += u64::from(!cue.is_headed && cue.identifier.is_none() && is_name_above);
    }

    /// Whether it looks like a Teams transcript that was pasted from its document: above what is said there
    /// is a name in most cues (some name nobody), and there is no header anywhere, no number and no
    /// colon.
    pub(super) fn is_pasted(&self) -> bool {
        self.cues >= 2 && self.named_above * 5 >= self.cues * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talk_is_told_from_other_text() {
        for line in [
            "0:05",
            "Nadia Berg   0:05",
            "[00:01:02] Nadia: we open",
            "10:30 Nadia: hello",
            "(10:30 AM) hello",
            "00:00:01.000 --> soon",
            "[00:00:00.000 --> 00:00:05.420]   So tell me",
        ] {
            assert!(are_talk(line, "") && are_talk("hello", line), "{line}");
        }
        assert!(are_talk("Nadia Berg: hello", "Speaker 1: hello"));
        for line in [
            "hello",
            "Dear all,",
            "{\"at\": \"10:30 so\"}",
            "[\"10:30\"]",
            "7",
            "http://x",
            "a:b",
            "Subject: we go",
            "1:5",
            "",
        ] {
            assert!(!are_talk(line, "so"), "{line}");
        }
    }
}
