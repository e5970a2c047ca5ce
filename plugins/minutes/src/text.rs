//! Counts and splits words, and cleans text for display.
//!
//! Prompts and the state are bounded in words, a unit that people can imagine. For such a bound to limit the
//! size, a word must have a maximum: 16 characters, in any script and however long a run of characters is.

/// The most characters of one word; a longer run without white space counts as several words.
const WORD_CHARS: usize = 16;

/// The characters of one word in scripts that write without spaces.
const UNSPACED_WORD_CHARS: usize = 2;

/// Counts the words of a text.
///
/// White space ends a word. Longer runs count as one word for each 16 characters. In scripts without spaces
/// (Chinese, Japanese, Thai …), two characters count as one word.
pub(crate) fn words(text: &str) -> usize {
    text.split_whitespace().map(|run| run.chars().fold(CharRun::default(), CharRun::with).words()).sum()
}

/// Splits a text into its first words, at most `max`, and the rest.
///
/// The split is between words, unless the first word alone is too long. The first part has at least one
/// character if `max` is above 0.
pub(crate) fn split(text: &str, max: usize) -> (&str, &str) {
    let (mut before, mut run, mut run_start) = (0, CharRun::default(), 0);
    for (at, c) in text.char_indices() {
        if c.is_whitespace() {
            before += run.words();
            run = CharRun::default();
            run_start = at + c.len_utf8();
            continue;
        }
        run = run.with(c);
        if before + run.words() > max {
            let cut = if text[..run_start].trim_start().is_empty() { at } else { run_start };
            return (text[..cut].trim_end(), &text[cut..]);
        }
    }
    (text, "")
}

/// Shortens a text to at most `max` words, and marks it if anything was cut off.
pub(crate) fn truncate(text: &str, max: usize) -> String {
    match split(text, max) {
        (all, "") => all.to_owned(),
        (beginning, _) => format!("{beginning} […]"),
    }
}

/// Puts a text on one line: each run of white space becomes one space, and characters that spoil the display
/// are removed.
pub(crate) fn line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for run in text.split_whitespace() {
        let before = line.len();
        line.extend(run.chars().filter(|c| !spoils_display(*c)));
        if before > 0 && line.len() > before {
            line.insert(before, ' ');
        }
    }
    line
}

/// Cleans each line of a text with [`line`]. Keeps single blank lines, but none at the ends.
pub(crate) fn block(text: &str) -> String {
    let mut block = String::with_capacity(text.len());
    let mut blank = false;
    for line in text.lines().map(line) {
        if line.is_empty() {
            blank = !block.is_empty();
            continue;
        }
        if !block.is_empty() {
            block.push_str(if blank { "\n\n" } else { "\n" });
        }
        blank = false;
        block.push_str(&line);
    }
    block
}

/// The characters of a run without white space, counted by kind of script.
#[derive(Clone, Copy, Default)]
struct CharRun {
    spaced: usize,
    unspaced: usize,
}

impl CharRun {
    fn with(mut self, c: char) -> Self {
        if is_unspaced(c) {
            self.unspaced += 1;
        } else {
            self.spaced += 1;
        }
        self
    }

    fn words(self) -> usize {
        self.spaced.div_ceil(WORD_CHARS) + self.unspaced.div_ceil(UNSPACED_WORD_CHARS)
    }
}

/// Whether the character belongs to a script that writes words without spaces between them.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}' // Thai, Lao
            | '\u{1000}'..='\u{109F}' // Burmese
            | '\u{1780}'..='\u{17FF}' // Khmer
            | '\u{3001}'..='\u{30FF}' // CJK punctuation, Hiragana, Katakana
            | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' // Han
            | '\u{20000}'..='\u{3FFFF}'
            | '\u{FF00}'..='\u{FFEF}') // full width
}

/// Whether a character is invisible and spoils the display of others: a control character, or one that
/// overrides the direction of all following text. Joiners of letters and emoji, and direction marks, are
/// harmless.
fn spoils_display(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_what_white_space_separates() {
        assert_eq!(words(""), 0);
        assert_eq!(words(" a\u{2003}bc\nd, "), 3);
        assert_eq!(words("characterisation"), 1);
        assert_eq!(words("characterisations"), 2);
        assert_eq!(words("我们明天见。"), 3);
        assert_eq!(words("PR我们"), 2);
        assert_eq!(words(&"x".repeat(1_600)), 100);
    }

    #[test]
    fn a_text_is_split_between_words() {
        assert_eq!(split("one two three", 2), ("one two", "three"));
        assert_eq!(split("one two three", 3), ("one two three", ""));
        assert_eq!(split("one characterisations", 2), ("one", "characterisations"));
        assert_eq!(split("characterisations", 1), ("characterisation", "s"));
        assert_eq!(split("我们明天见", 1), ("我们", "明天见"));
        assert_eq!(split("", 0), ("", ""));
    }

    #[test]
    fn what_is_cut_off_is_marked() {
        assert_eq!(truncate("one two", 2), "one two");
        assert_eq!(truncate("one two three", 2), "one two […]");
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(line("  a\r\n\tb\u{2028}c\u{0} \u{1}  d\u{85}"), "a b c d");
        assert_eq!(line("\u{202E}evil\u{202C} \u{2067}name\u{2069}"), "evil name");
        for kept in ["👩‍👩‍👧 Ana", "דנה", "می‌خواهم", "e\u{301}"] {
            assert_eq!(line(kept), kept);
        }
    }

    #[test]
    fn a_block_keeps_its_lines_and_single_blank_ones() {
        assert_eq!(block("\n\n a  b\r\n- c\n\n \n\nd\u{0}\n\n"), "a b\n- c\n\nd");
    }

    proptest! {
        #[test]
        fn a_split_loses_nothing_and_keeps_its_bound(text in "[a-z我 ]{0,60}", max in 1_usize..12) {
            let text = line(&text);
            let (beginning, rest) = split(&text, max);
            prop_assert!(words(beginning) <= max);
            prop_assert_eq!(text.is_empty(), beginning.is_empty());
            let joined = format!("{beginning}{rest}").replace(' ', "");
            prop_assert_eq!(joined, text.replace(' ', ""));
        }

        #[test]
        fn a_number_of_words_bounds_the_bytes(text in "\\PC{0,80}") {
            let text = line(&text);
            prop_assert!(text.len() <= words(&text) * (WORD_CHARS * 4 + 1));
        }
    }
}
