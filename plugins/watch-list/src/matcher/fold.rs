//! Case folding: the form in which terms and texts are compared.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

const DOT_ABOVE: char = '\u{307}';

/// Folds a text: two texts that differ only in case, encoding and spacing have the same folded form.
///
/// The text is decomposed, and each character is converted to lower, to upper and to lower case again. These
/// three steps unify ß with ss, the two small sigmas, and ı with i. Then the text is composed again. A dot
/// above an i is dropped, because İ decomposes to it. Every run of white space becomes one space.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    if text.is_ascii() {
        for c in text.chars() {
            push(&mut folded, c.to_ascii_lowercase());
        }
        return folded;
    }
    for c in text.nfd() {
        for c in c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase) {
            push(&mut folded, c);
        }
    }
    folded.nfc().collect()
}

fn push(folded: &mut String, c: char) {
    if c == DOT_ABOVE && folded.ends_with('i') {
        return;
    }
    if !c.is_whitespace() {
        folded.push(c);
    } else if !folded.ends_with(' ') {
        folded.push(' ');
    }
}

/// Whether this character of a folded text continues a word.
pub(super) fn is_word_char(c: char) -> bool {
    (c.is_alphanumeric() || c == '_' || is_combining_mark(c)) && !is_unspaced(c)
}

/// Whether the character belongs to a script that writes words without spaces between them.
fn is_unspaced(c: char) -> bool {
    matches!(
        c,
        '\u{0E00}'..='\u{0EFF}' // Thai, Lao
            | '\u{1000}'..='\u{109F}' // Myanmar
            | '\u{1780}'..='\u{17FF}' // Khmer
            | '\u{3005}'..='\u{3007}' // ideographic marks and zero
            | '\u{3040}'..='\u{30FF}' // Hiragana, Katakana
            | '\u{31F0}'..='\u{31FF}' // Katakana, phonetic extensions
            | '\u{3400}'..='\u{4DBF}' // Han, extension A
            | '\u{4E00}'..='\u{9FFF}' // Han
            | '\u{F900}'..='\u{FAFF}' // Han, compatibility
            | '\u{FF66}'..='\u{FF9F}' // Katakana, half width
            | '\u{20000}'..='\u{3FFFF}' // Han, further extensions
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_that_differ_only_in_case_fold_alike() {
        for alike in [
            &["strasse", "STRASSE", "straße", "STRAẞE"][..],
            &["οδος", "οδοσ", "ΟΔΟΣ"],
            &["istanbul", "İstanbul", "ıstanbul", "ISTANBUL", "I\u{307}stanbul"],
            &["café", "CAFÉ", "cafe\u{301}", "CAFE\u{301}"],
            &["ﬁnish", "finish", "FINISH"],
            &["10 kelvin k", "10\u{a0}Kelvin\t\n\u{212A}"],
            &["ᾳ", "ᾼ", "αι"],
        ] {
            for other in alike {
                assert_eq!(fold(other), fold(alike[0]), "{other:?}");
            }
        }
    }

    #[test]
    fn different_letters_stay_different() {
        for (one, other) in [("cafe", "café"), ("o", "ö"), ("a b", "ab"), ("и", "й"), ("j", "ǰ")] {
            assert_ne!(fold(one), fold(other));
        }
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,20}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn the_ascii_path_gives_the_same_result(text in "[ -~\\t\\n]{0,30}") {
            let long = fold(&format!("{text}é"));
            prop_assert_eq!(format!("{}é", fold(&text)), long);
        }
    }
}
