//! What a line, or a cue's identifier, may begin with that says who speaks.

/// The longest name, in characters.
pub(super) const LONGEST: usize = 100;

/// Words of what captions write in brackets that is heard and not said by anybody, in the languages in which
/// programs caption by themselves. What stands alone in a cue as often as not is a sound in any language.
const SOUNDS: [&str; 73] = [
    "applause",
    "applauds",
    "applaus",
    "applaudissements",
    "aplausos",
    "applausi",
    "аплодисменты",
    "拍手",
    "박수",
    "audio",
    "barking",
    "beep",
    "beeping",
    "blank_audio",
    "breathing",
    "chatter",
    "cheering",
    "cheers",
    "chuckles",
    "clapping",
    "coughs",
    "coughing",
    "cries",
    "crosstalk",
    "crying",
    "door",
    "doorbell",
    "footsteps",
    "foreign",
    "gasps",
    "gelächter",
    "giggles",
    "groans",
    "grunts",
    "inaudible",
    "lachen",
    "laughing",
    "laughs",
    "laughter",
    "muziek",
    "music",
    "musica",
    "musik",
    "musique",
    "muzyka",
    "música",
    "музыка",
    "音楽",
    "音乐",
    "음악",
    "noise",
    "pause",
    "phone",
    "rires",
    "ringing",
    "risas",
    "risate",
    "risos",
    "screams",
    "shouting",
    "sighs",
    "silence",
    "singing",
    "siren",
    "sniffs",
    "sobbing",
    "speaking",
    "static",
    "thunder",
    "unintelligible",
    "whistles",
    "whispers",
    "笑声",
];

/// Words that sentences and headings begin with before a colon, and people aren't called by.
const DISCOURSE: [&str; 44] = [
    "note",
    "notes",
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "finally",
    "last",
    "next",
    "now",
    "then",
    "so",
    "also",
    "remember",
    "example",
    "tip",
    "warning",
    "important",
    "fact",
    "question",
    "answer",
    "result",
    "conclusion",
    "summary",
    "agenda",
    "update",
    "today",
    "tomorrow",
    "tonight",
    "yesterday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "ps",
    "fyi",
    "re",
    "subject",
    "action",
    "reminder",
];

/// What programs and typists call somebody whose name they don't know, in several languages: before a number,
/// or as the last word.
const STAND_INS: [&str; 46] = [
    "speaker",
    "spk",
    "spkr",
    "sp",
    "participant",
    "person",
    "guest",
    "host",
    "interviewer",
    "interviewee",
    "moderator",
    "panelist",
    "voice",
    "caller",
    "user",
    "agent",
    "student",
    "teacher",
    "respondent",
    "narrator",
    "operator",
    "reporter",
    "announcer",
    "man",
    "woman",
    "male",
    "female",
    "member",
    "audience",
    "all",
    "both",
    "unknown",
    "sprecher",
    "sprecherin",
    "teilnehmer",
    "locuteur",
    "intervenant",
    "hablante",
    "orador",
    "falante",
    "parlante",
    "relatore",
    "spreker",
    "talare",
    "спикер",
    "说话人",
];

/// Where a name may end in a line: the places of its colons that white space, the line's end or a script
/// without spaces follows, and of full-width ones.
pub(super) fn ends(line: &str) -> impl Iterator<Item = usize> {
    let from = unmarked(line);
    let colons = line.char_indices().take(LONGEST + 1).filter(|(_, c)| matches!(*c, ':' | FULL_WIDTH));
    colons.filter_map(move |(at, colon)| {
        let behind = line[at + colon.len_utf8()..].chars().next();
        // Scripts without spaces have a colon of their own, or none behind one.
        let ends = colon == FULL_WIDTH || behind.is_none_or(|c| c.is_whitespace() || is_unspaced(c));
        (ends && at > from && !line[from..at].trim().is_empty()).then_some(at)
    })
}

const FULL_WIDTH: char = '：';

/// Whether a script has no spaces between words.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// Where what is said begins behind a name that ends at a colon.
pub(super) fn behind(line: &str, end: usize) -> usize {
    end + line[end..].chars().next().map_or(0, char::len_utf8)
}

/// Whether a line begins a turn without saying whose: live captions put angles before each.
pub(super) fn is_change(line: &str) -> bool {
    line.starts_with(">>")
}

/// Whether a line ends a sentence.
pub(super) fn ends_sentence(line: &str) -> bool {
    let line =
        line.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '”' | '’' | '\'' | ')' | '»'));
    line.ends_with(['.', '?', '!', '…', '。', '？', '！', '♪', ']'])
}

/// The label that ends at a place in a line, without the mark before it.
pub(super) fn up_to(line: &str, end: usize) -> &str {
    line[unmarked(line)..end].trim()
}

/// How many bytes of a line are the mark before a turn: a dash, as subtitles have it, or angles, as live
/// captions do.
fn unmarked(line: &str) -> usize {
    let is_mark = |c: char| matches!(c, '-' | '–' | '—' | '>' | '»');
    let rest = line.trim_start_matches(is_mark).trim_start();
    if rest.is_empty() || rest.starts_with(':') { 0 } else { line.len() - rest.len() }
}

/// What stands in brackets at a line's start, and where what is said begins behind them.
pub(super) fn bracketed(line: &str, [opens, closes]: [char; 2]) -> Option<(&str, usize)> {
    let inside = line[unmarked(line)..].strip_prefix(opens)?;
    let (end, _) = inside.char_indices().take(LONGEST + 1).find(|(_, c)| [opens, closes].contains(c))?;
    let behind = inside[end..].strip_prefix(closes)?;
    let label = inside[..end].trim();
    let said = behind.strip_prefix(':').unwrap_or(behind).trim_start();
    label.contains(char::is_alphabetic).then(|| (label, line.len() - said.len()))
}

/// Whether a line may be a name and nothing else.
pub(super) fn may_be_alone(line: &str) -> bool {
    let in_brackets = |pair: &[char; 2]| bracketed(line, *pair).is_some_and(|(_, said)| said == line.len());
    ends(line).last().is_some_and(|end| line[behind(line, end)..].trim().is_empty())
        || super::BRACKETS.iter().any(in_brackets)
}

/// Whether a line is a sound in brackets, or notes, and nothing else.
pub(super) fn is_sound_alone(line: &str) -> bool {
    let in_brackets = |pair: &[char; 2]| {
        bracketed(line, *pair).is_some_and(|(label, said)| said == line.len() && is_sound(label))
    };
    super::BRACKETS.iter().any(in_brackets)
        || line.contains('♪') && line.chars().all(|c| c == '♪' || c.is_whitespace())
}

/// Whether a line may begin with a name.
pub(super) fn may_begin(line: &str) -> bool {
    ends(line).next().is_some() || super::BRACKETS.iter().any(|pair| bracketed(line, *pair).is_some())
}

/// The name in a cue's identifier, and whether its form leaves no doubt. Programs put a number before it, and
/// Webex also quotes, and a number in parentheses behind it: `12 "Ada Lovelace" (3735928559)`.
pub(super) fn identified(identifier: &str) -> Option<(&str, bool)> {
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

/// A label without brackets around it.
pub(super) fn bare(label: &str) -> &str {
    super::BRACKETS
        .into_iter()
        .find_map(|[opens, closes]| {
            let inside = label.strip_prefix(opens)?.strip_suffix(closes)?.trim();
            (!inside.is_empty() && !inside.contains([opens, closes])).then_some(inside)
        })
        .unwrap_or(label)
}

/// The words of a label that count, without remarks such as `(she/her)`.
fn words(label: &str) -> impl Iterator<Item = &str> {
    bare(label).split_whitespace().filter(|word| !word.starts_with(['(', '[']))
}

fn begins_small(word: &str) -> bool {
    word.chars().find(|c| c.is_alphanumeric()).is_none_or(char::is_lowercase)
}

/// Whether a label looks like a name: a few words, of which the first and the last don't begin with a small
/// letter, where the script has small letters, and none that sentences begin with.
pub(in crate::cli::recording) fn is_name_like(label: &str) -> bool {
    let label = bare(label);
    let words: Vec<&str> = words(label).collect();
    (1..=5).contains(&words.len())
        && label.chars().count() <= 60
        && label.contains(char::is_alphabetic)
        && !label.ends_with(['?', '!', ',', ';', '…'])
        && ![words.first(), words.last()].into_iter().flatten().any(|word| begins_small(word))
        && !is_discourse(label)
}

/// Whether a line is hardly anything but a person's name: two to four words, each with a large letter and
/// small ones behind it; or an address.
pub(in crate::cli::recording) fn is_persons_name(line: &str) -> bool {
    let is_capitalised = |word: &str| {
        let mut letters = word.chars().filter(|c| c.is_alphabetic());
        letters.next().is_some_and(char::is_uppercase) && letters.next().is_some_and(char::is_lowercase)
    };
    let count = words(line).count();
    let is_address = count == 1 && line.contains('@') && line.contains('.');
    is_address || (2..=4).contains(&count) && words(line).all(is_capitalised) && !ends_sentence(line)
}

/// Whether a label that comes back is more likely somebody than words that sentences begin with: few words,
/// and one only where it begins with a small letter, as names of users do.
pub(super) fn may_come_back(label: &str) -> bool {
    let mut words = words(label);
    let Some(first) = words.next() else { return false };
    let more = words.count();
    bare(label).contains(char::is_alphabetic)
        && !is_discourse(label)
        && if begins_small(first) { more == 0 } else { more <= 2 }
}

/// Whether sentences begin so, and nobody is called so.
pub(in crate::cli::recording) fn is_discourse(label: &str) -> bool {
    let label = label.to_lowercase();
    DISCOURSE.contains(&label.trim())
}

/// What kind of label it is that names nobody by name, if it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nameless {
    /// Somebody whom a program or typist doesn't know: `Speaker 1`, `SPEAKER_00`, `spk2`, `Speaker A`,
    /// `Interviewer`.
    StandIn,
    /// Anything else with a number, such as a chapter or a step.
    Numbered,
}

/// Whether a label names nobody by name.
pub(super) fn nameless(label: &str) -> Option<Nameless> {
    let label = bare(label);
    let is_stand_in = |word: &str| STAND_INS.contains(&word.to_lowercase().as_str());
    let number = label.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = label.len() - number.len();
    let word = number.trim_end_matches([' ', '_', '-', '#', '.']);
    if (1..=3).contains(&digits) && !word.is_empty() {
        return Some(if is_stand_in(word) { Nameless::StandIn } else { Nameless::Numbered });
    }
    let lettered = label.rsplit_once([' ', '_']).filter(|(_, letter)| letter.chars().count() == 1);
    let word = lettered.map_or(label, |(word, _)| word);
    let is_short = word.split_whitespace().count() <= 2;
    (is_short && word.split_whitespace().last().is_some_and(is_stand_in)).then_some(Nameless::StandIn)
}

/// Whether a label in brackets is a sound.
pub(super) fn is_sound(label: &str) -> bool {
    label.to_lowercase().split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| SOUNDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn stand_ins_are_told_from_chapters() {
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
            assert_eq!(nameless(unknown), Some(Nameless::StandIn), "{unknown}");
        }
        for chapter in ["Lesson 1", "Step 12", "Episode 3"] {
            assert_eq!(nameless(chapter), Some(Nameless::Numbered), "{chapter}");
        }
        for other in ["Ada", "Ada B", "12", "Windows 2000", "one of the speakers"] {
            assert_eq!(nameless(other), None, "{other}");
        }
    }

    #[test]
    fn sounds_are_told_by_their_words() {
        for sound in
            ["Music", "upbeat music", "Musique", "DOOR OPENS", "audience laughs", "BLANK_AUDIO", "Applaus"]
        {
            assert!(is_sound(sound), "{sound}");
        }
        assert!(
            is_sound_alone("[Music]")
                && is_sound_alone("♪ ♪")
                && !is_sound_alone("[Music] so")
                && !is_sound_alone("♪ la ♪")
        );
        assert!(!is_sound("Ada") && !is_sound("Speaker 1"));
    }

    #[test]
    fn brackets_hold_a_label() {
        let square = |line| bracketed(line, ['[', ']']).map(|(label, said)| (label, &line[said..]));
        assert_eq!(square("[Ada] one"), Some(("Ada", "one")));
        assert_eq!(square("[ Speaker 1 ]: one [x]"), Some(("Speaker 1", "one [x]")));
        assert_eq!(square("- [Ada] one"), Some(("Ada", "one")));
        assert_eq!(square("[Ada]"), Some(("Ada", "")));
        for none in ["[00:01:02] one", "[] one", "[a [b] c] d", "Ada [x] one", "[Ada", "(Ada) one"] {
            assert_eq!(square(none), None, "{none}");
        }
    }

    #[test]
    fn identifiers_may_hold_names() {
        assert_eq!(identified("Nadia Berg"), Some(("Nadia Berg", false)));
        assert_eq!(identified("12 \"nadia\" (3735928559)"), Some(("nadia", true)));
        assert_eq!(identified("3 - Nadia"), Some(("Nadia", false)));
        assert_eq!(identified("Nadia (7)"), Some(("Nadia", false)));
        for other in
            ["1", "0c6e5b86-4f4f-4d2c-8a54-2fdd0ddd0b1e/12-0", "intro", "a-b/3-0", "", "1 - title slide"]
        {
            assert_eq!(identified(other), None, "{other}");
        }
    }
}
