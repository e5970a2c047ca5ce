//! What a line, or a cue's identifier, may begin with that says who speaks.

/// The longest name, in characters.
pub(super) const LONGEST: usize = 100;

/// What captions write in brackets that is heard and not said by anybody, in English; other languages are told by what
/// stands alone in a cue.
const SOUNDS: [&str; 18] = [
    "applause",
    "blank_audio",
    "cheering",
    "coughs",
    "crosstalk",
    "foreign",
    "inaudible",
    "laughing",
    "laughs",
    "laughter",
    "music",
    "noise",
    "pause",
    "sighs",
    "silence",
    "unintelligible",
    "background noise",
    "music playing",
];

/// Where a name may end in a line: the places of its colons that white space or the line's end follows.
pub(super) fn ends(line: &str) -> impl Iterator<Item = usize> {
    let from = unmarked(line);
    let colons = line.char_indices().take(LONGEST + 1).filter(|(_, c)| *c == ':').map(|(at, _)| at);
    colons.filter(move |at| {
        let behind = line[at + 1..].chars().next();
        behind.is_none_or(char::is_whitespace) && *at > from && !line[from..*at].trim().is_empty()
    })
}

/// The label that ends at a place in a line, without the mark before it.
pub(super) fn up_to(line: &str, end: usize) -> &str {
    line[unmarked(line)..end].trim()
}

/// How many bytes of a line are the mark before a turn: a dash, as subtitles have it, or angles, as live captions do.
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
    let in_brackets = |pair| bracketed(line, pair).is_some_and(|(_, said)| said == line.len());
    ends(line).last().is_some_and(|end| line[end + 1..].trim().is_empty())
        || in_brackets(super::SQUARE)
        || in_brackets(super::ROUND)
}

/// Whether a line may begin with a name.
pub(super) fn may_begin(line: &str) -> bool {
    ends(line).next().is_some()
        || [super::SQUARE, super::ROUND].iter().any(|pair| bracketed(line, *pair).is_some())
}

/// The name in a cue's identifier, and whether its form leaves no doubt. Programs put a number before it, and Webex also
/// quotes, and a number in parentheses behind it: `12 "Ada Lovelace" (3735928559)`.
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
    [super::SQUARE, super::ROUND]
        .into_iter()
        .find_map(|[opens, closes]| {
            let inside = label.strip_prefix(opens)?.strip_suffix(closes)?.trim();
            (!inside.is_empty() && !inside.contains([opens, closes])).then_some(inside)
        })
        .unwrap_or(label)
}

/// Whether a label looks like a name: a few words, of which the first and the last don't begin with a small letter, where
/// the script has small letters.
pub(in crate::cli::recording) fn is_name_like(label: &str) -> bool {
    let label = bare(label);
    let is_remark = |word: &&str| word.starts_with(['(', '[']);
    let words: Vec<&str> = label.split_whitespace().filter(|word| !is_remark(word)).collect();
    let begins_small = |word: &str| {
        let letter = word.chars().find(|c| c.is_alphanumeric());
        letter.is_none_or(char::is_lowercase)
    };
    is_numbered(label)
        || (1..=5).contains(&words.len())
            && label.chars().count() <= 60
            && label.contains(char::is_alphabetic)
            && !label.ends_with(['?', '!', ',', ';', '…'])
            && ![words.first(), words.last()].into_iter().flatten().any(|word| begins_small(word))
}

/// Whether a label is one that a program gives to whom it doesn't know: `Speaker 1`, `SPEAKER_00`, `spk2`.
pub(super) fn is_numbered(label: &str) -> bool {
    let number = label.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = label.len() - number.len();
    let word = number.trim_end_matches([' ', '_', '-', '#', '.']);
    (1..=3).contains(&digits)
        && !word.is_empty()
        && word.chars().count() <= 20
        && word.chars().all(char::is_alphabetic)
}

/// Whether a label in brackets is a sound.
pub(super) fn is_sound(label: &str) -> bool {
    let label = label.to_lowercase();
    SOUNDS.contains(&label.as_str())
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
            "spk2",
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
        ] {
            assert!(!is_name_like(other), "{other}");
        }
    }

    #[test]
    fn brackets_hold_a_label() {
        let square = |line| bracketed(line, super::super::SQUARE).map(|(label, said)| (label, &line[said..]));
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
