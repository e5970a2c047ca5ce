//! Where labels stand: at a line's start before a colon, in brackets there, or in a cue's identifier.

/// The brackets that names stand in.
const BRACKETS: [[char; 2]; 5] = [['[', ']'], ['(', ')'], ['【', '】'], ['（', '）'], ['［', '］']];

/// The longest label, in characters.
pub(super) const LONGEST: usize = 100;

const FULL_WIDTH_COLON: char = '：';

/// How a transcript writes its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LabelStyle {
    Colon,
    Brackets([char; 2]),
    Identifier,
}

impl LabelStyle {
    pub(super) const ALL: [Self; 2 + BRACKETS.len()] = [
        Self::Colon,
        Self::Brackets(BRACKETS[0]),
        Self::Brackets(BRACKETS[1]),
        Self::Brackets(BRACKETS[2]),
        Self::Brackets(BRACKETS[3]),
        Self::Brackets(BRACKETS[4]),
        Self::Identifier,
    ];
}

/// The positions of the colons of a line at which a label may end: colons before white space, the line's end
/// or a script without spaces, and full-width colons.
pub(super) fn label_ends(line: &str) -> impl Iterator<Item = usize> {
    let from = mark_length(line);
    let colons = line.char_indices().take(LONGEST + 1).filter(|(_, c)| matches!(*c, ':' | FULL_WIDTH_COLON));
    colons.filter_map(move |(at, colon)| {
        let next = line[at + colon.len_utf8()..].chars().next();
        // Scripts without spaces have a colon of their own, or none after one.
        let ends = colon == FULL_WIDTH_COLON || next.is_none_or(|c| c.is_whitespace() || is_unspaced(c));
        (ends && at > from && !line[from..at].trim().is_empty()).then_some(at)
    })
}

/// Whether a script has no spaces between words.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// The position after the colon at `end`, where speech begins.
pub(super) fn behind_colon(line: &str, end: usize) -> usize {
    end + line[end..].chars().next().map_or(0, char::len_utf8)
}

/// The label that ends at a position, without the turn mark before it.
pub(super) fn label_before(line: &str, end: usize) -> &str {
    line[mark_length(line)..end].trim()
}

/// The length in bytes of the mark before a turn: dashes, as in subtitles, or angles, as in live captions.
fn mark_length(line: &str) -> usize {
    let is_mark = |c: char| matches!(c, '-' | '–' | '—' | '>' | '»');
    let rest = line.trim_start_matches(is_mark).trim_start();
    if rest.is_empty() || rest.starts_with(':') { 0 } else { line.len() - rest.len() }
}

/// The label in brackets at a line's start, and the position after them where speech begins.
pub(super) fn bracketed(line: &str, [opens, closes]: [char; 2]) -> Option<(&str, usize)> {
    let inside = line[mark_length(line)..].strip_prefix(opens)?;
    let (end, _) = inside.char_indices().take(LONGEST + 1).find(|(_, c)| [opens, closes].contains(c))?;
    let behind = inside[end..].strip_prefix(closes)?;
    let label = inside[..end].trim();
    let said = behind.strip_prefix(':').unwrap_or(behind).trim_start();
    label.contains(char::is_alphabetic).then(|| (label, line.len() - said.len()))
}

/// The label in brackets of any kind that is all of a line.
pub(super) fn only_bracketed(line: &str) -> Option<&str> {
    let labels = BRACKETS.iter().filter_map(|pair| bracketed(line, *pair));
    labels.filter(|(_, said)| *said == line.len()).map(|(label, _)| label).next()
}

/// Whether all of a line may be a label.
pub(super) fn may_be_label_only(line: &str) -> bool {
    label_ends(line).last().is_some_and(|end| line[behind_colon(line, end)..].trim().is_empty())
        || only_bracketed(line).is_some()
}

/// Whether a line may begin with a label.
pub(super) fn may_begin_with_label(line: &str) -> bool {
    label_ends(line).next().is_some() || BRACKETS.iter().any(|pair| bracketed(line, *pair).is_some())
}

/// A label without the brackets around it.
pub(super) fn without_brackets(label: &str) -> &str {
    BRACKETS
        .into_iter()
        .find_map(|[opens, closes]| {
            let inside = label.strip_prefix(opens)?.strip_suffix(closes)?.trim();
            (!inside.is_empty() && !inside.contains([opens, closes])).then_some(inside)
        })
        .unwrap_or(label)
}

/// Whether a line begins the turn of an unknown speaker: live captions put angles before each turn.
pub(super) fn is_speaker_change(line: &str) -> bool {
    line.starts_with(">>")
}

/// Whether a line ends a sentence.
pub(super) fn ends_sentence(line: &str) -> bool {
    let line =
        line.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '”' | '’' | '\'' | ')' | '»'));
    line.ends_with(['.', '?', '!', '…', '。', '？', '！', '♪', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
