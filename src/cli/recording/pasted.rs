//! Recognises plain-text transcripts: text that was pasted from a document, or that a program printed.
//!
//! They cannot be read: the order of name, time and speech differs between programs, and between versions of
//! one program. Their message says what they look like. Otherwise they would be rejected as packets that are
//! not JSON or, worse, be read as cues in which all speakers say their own names.

use super::{
    cue::{Cue, Span, Voice},
    speakers::{is_name_like, is_persons_name},
};

/// Whether two lines look like a plain-text transcript: one of them has a time, or both begin with a name and
/// a colon.
pub(super) fn are_dialogue(first: &str, second: &str) -> bool {
    let has_clock = |line: &str| !is_json(line) && line.split_whitespace().any(is_clock);
    has_clock(first) || has_clock(second) || begins_with_a_name(first) && begins_with_a_name(second)
}

fn is_json(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with(['{', '"']) || line.starts_with("[{") || line.starts_with("[\"")
}

/// Whether a word is a time, perhaps with punctuation around it: `0:05`, `[00:01:02]`, `(10:30)`,
/// `00:00:01.000`.
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

/// Recognises a Teams transcript that was pasted from its document, by the layout of all cues.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PastedDetector {
    cues: u64,
    /// Cues of several lines of which the first looks like a name, in a file without a header, without an
    /// identifier. Where the times don't have the short fields of Teams' document, it must look like a
    /// person's name.
    named_above: u64,
}

impl PastedDetector {
    /// Adds a cue.
    pub(super) fn add_cue(&mut self, cue: &Cue, spans: &[Span]) {
        let [Span { voice: Voice::Unknown, lines }] = spans else {
            self.cues += u64::from(!spans.is_empty());
            return;
        };
        self.cues += 1;
        let has_short_times = cue.times.start.has_short_fields;
        let may_be_name = if has_short_times { is_name_like } else { is_persons_name };
        let is_name_above = lines.len() >= 2 && !lines[0].ends_with(['.', ':']) && may_be_name(&lines[0]);
        self.named_above += u64::from(!cue.is_headed && cue.identifier.is_none() && is_name_above);
    }

    /// Whether the cues look like such a document: in four of five of them a name without a colon stands
    /// above the speech. The others have no name.
    pub(super) fn is_pasted(&self) -> bool {
        self.cues >= 2 && self.named_above * 5 >= self.cues * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialogue_is_told_from_other_text() {
        for line in [
            "0:05",
            "Nadia Berg   0:05",
            "[00:01:02] Nadia: we open",
            "10:30 Nadia: hello",
            "(10:30 AM) hello",
            "00:00:01.000 --> soon",
            "[00:00:00.000 --> 00:00:05.420]   So tell me",
        ] {
            assert!(are_dialogue(line, "") && are_dialogue("hello", line), "{line}");
        }
        assert!(are_dialogue("Nadia Berg: hello", "Speaker 1: hello"));
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
            assert!(!are_dialogue(line, "so"), "{line}");
        }
    }
}
