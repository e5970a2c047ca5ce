//! What a label is: a name, an unknown speaker, a sound, a heading.

use super::{
    syntax::{LONGEST, ends_sentence, only_bracketed, without_brackets},
    words::{is_discourse, is_sound, is_speaker_word},
};

/// The words of a label, without remarks such as `(she/her)`.
fn words(label: &str) -> impl Iterator<Item = &str> {
    without_brackets(label).split_whitespace().filter(|word| !word.starts_with(['(', '[']))
}

fn starts_lowercase(word: &str) -> bool {
    word.chars().find(|c| c.is_alphanumeric()).is_none_or(char::is_lowercase)
}

/// Whether a label looks like a name: one to five words, of which the first and the last do not begin with a
/// small letter (where the script has small letters), and which is no word that sentences begin with.
pub(in crate::cli::recording) fn is_name_like(label: &str) -> bool {
    let label = without_brackets(label);
    let words: Vec<&str> = words(label).collect();
    (1..=5).contains(&words.len())
        && label.chars().count() <= 60
        && label.contains(char::is_alphabetic)
        && !label.ends_with(['?', '!', ',', ';', '…'])
        && ![words.first(), words.last()].into_iter().flatten().any(|word| starts_lowercase(word))
        && !is_discourse(label)
}

/// Whether a line can hardly be anything but a person's name: two to four words, each with a large letter and
/// small ones after it; or an e-mail address.
pub(in crate::cli::recording) fn is_persons_name(line: &str) -> bool {
    let is_capitalised = |word: &str| {
        let mut letters = word.chars().filter(|c| c.is_alphabetic());
        letters.next().is_some_and(char::is_uppercase) && letters.next().is_some_and(char::is_lowercase)
    };
    let count = words(line).count();
    let is_address = count == 1 && line.contains('@') && line.contains('.');
    is_address || (2..=4).contains(&count) && words(line).all(is_capitalised) && !ends_sentence(line)
}

/// Whether a label that comes back is more likely a name than the start of a sentence: at most three words,
/// and only one where it begins with a small letter, as user names do.
pub(super) fn may_come_back(label: &str) -> bool {
    let mut words = words(label);
    let Some(first) = words.next() else { return false };
    let more = words.count();
    without_brackets(label).contains(char::is_alphabetic)
        && !is_discourse(label)
        && if starts_lowercase(first) { more == 0 } else { more <= 2 }
}

/// A label that is not anybody's own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generic {
    /// A speaker whose name a program or typist does not know: `Speaker 1`, `SPEAKER_00`, `spk2`,
    /// `Speaker A`, `Interviewer`.
    Speaker,
    /// Anything else with a number, such as a chapter or a step.
    Numbered,
}

/// Which kind of generic label this is; `None` for any other label.
pub(super) fn generic(label: &str) -> Option<Generic> {
    let label = without_brackets(label);
    let number = label.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = label.len() - number.len();
    let word = number.trim_end_matches([' ', '_', '-', '#', '.']);
    if (1..=3).contains(&digits) && !word.is_empty() {
        return Some(if is_speaker_word(word) { Generic::Speaker } else { Generic::Numbered });
    }
    let lettered = label.rsplit_once([' ', '_']).filter(|(_, letter)| letter.chars().count() == 1);
    let word = lettered.map_or(label, |(word, _)| word);
    let is_short = word.split_whitespace().count() <= 2;
    (is_short && word.split_whitespace().last().is_some_and(is_speaker_word)).then_some(Generic::Speaker)
}

/// Whether a line is a sound in brackets, or notes, and nothing else.
pub(super) fn is_only_sound(line: &str) -> bool {
    only_bracketed(line).is_some_and(is_sound)
        || line.contains('♪') && line.chars().all(|c| c == '♪' || c.is_whitespace())
}

/// The name in a cue's identifier, and whether its form leaves no doubt that it is one. Programs put a number
/// before it; Webex also quotes the name, and puts a number in parentheses after it:
/// `12 "Ada Lovelace" (3735928559)`.
pub(super) fn name_in_identifier(identifier: &str) -> Option<(&str, bool)> {
    let identifier = identifier.trim();
    let name = identifier.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_numbered = name.len() < identifier.len();
    let name = if is_numbered { name.trim_start_matches([' ', '\t', '.', ':', ')', '-', '_']) } else { name };
    let without_number = name.strip_suffix(')').and_then(|name| name.rsplit_once('('));
    let without_number =
        without_number.filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
    let name = without_number.map_or(name, |(name, _)| name).trim();
    let unquoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    let is_certain = is_numbered && unquoted.is_some();
    let name = unquoted.unwrap_or(name).trim();
    let fits = name.chars().count() <= LONGEST && name.contains(char::is_alphabetic);
    (fits && (is_certain || is_name_like(name))).then_some((name, is_certain))
}

#[cfg(test)]
mod tests {
    use super::{super::words::is_sound, *};

    #[test]
    fn names_look_like_names() {
        for name in [
            "Ada",
            "Nadia Berg",
            "Speaker 1",
            "SPEAKER_00",
            "Ada (she/her)",
            "田中",
            "Ludwig van Beethoven",
            "3M",
            "[Ada]",
            "O'Neil",
            "Dr. Who",
            "A",
        ] {
            assert!(is_name_like(name), "{name}");
        }
        for other in [
            "this is the plan",
            "Then we",
            "Why?",
            "",
            "…",
            "One of the things I like about May",
            "so",
            "This is",
            "Note",
            "Tomorrow",
        ] {
            assert!(!is_name_like(other), "{other}");
        }
    }

    #[test]
    fn unknown_speakers_are_told_from_chapters() {
        for unknown in [
            "Speaker 1",
            "SPEAKER_00",
            "spk2",
            "Speaker A",
            "[speaker 3]",
            "说话人1",
            "Sprecher 2",
            "Interviewer",
            "Male speaker",
        ] {
            assert_eq!(generic(unknown), Some(Generic::Speaker), "{unknown}");
        }
        for chapter in ["Lesson 1", "Step 12", "Episode 3"] {
            assert_eq!(generic(chapter), Some(Generic::Numbered), "{chapter}");
        }
        for other in ["Ada", "Ada B", "12", "Windows 2000", "one of the speakers"] {
            assert_eq!(generic(other), None, "{other}");
        }
    }

    #[test]
    fn sounds_are_recognised_by_their_words() {
        for sound in
            ["Music", "upbeat music", "Musique", "DOOR OPENS", "audience laughs", "BLANK_AUDIO", "Applaus"]
        {
            assert!(is_sound(sound), "{sound}");
        }
        assert!(
            is_only_sound("[Music]")
                && is_only_sound("♪ ♪")
                && !is_only_sound("[Music] so")
                && !is_only_sound("♪ la ♪")
        );
        assert!(!is_sound("Ada") && !is_sound("Speaker 1"));
    }

    #[test]
    fn identifiers_may_hold_names() {
        assert_eq!(name_in_identifier("Nadia Berg"), Some(("Nadia Berg", false)));
        assert_eq!(name_in_identifier("12 \"nadia\" (3735928559)"), Some(("nadia", true)));
        assert_eq!(name_in_identifier("3 - Nadia"), Some(("Nadia", false)));
        assert_eq!(name_in_identifier("Nadia (7)"), Some(("Nadia", false)));
        for other in
            ["1", "0c6e5b86-4f4f-4d2c-8a54-2fdd0ddd0b1e/12-0", "intro", "a-b/3-0", "", "1 - title slide"]
        {
            assert_eq!(name_in_identifier(other), None, "{other}");
        }
    }
}
