use proptest::prelude::*;

use super::*;

fn counts(terms: &[&str], text: &str) -> Vec<u64> {
    let terms: Vec<String> = terms.iter().map(|term| (*term).to_owned()).collect();
    Matcher::new(&terms).unwrap().count(text)
}

fn refused(terms: &[&str]) -> String {
    let terms: Vec<String> = terms.iter().map(|term| (*term).to_owned()).collect();
    Matcher::new(&terms).unwrap_err().to_string()
}

#[test]
fn mentions_are_whole_words_in_any_case() {
    for (term, text, count) in [
        ("plan", "The PLAN: plan, plan's re-plan", 4),
        ("plan", "planet plan_b plan2 replan", 0),
        ("action item", "Action\n  ITEM one; action items; action-item", 1),
        ("c++", "C++ and c++17, not abc++", 2),
        ("#42", "see #42 and #421 and x#42", 2),
        ("cafe", "café cafe\u{301} CAFÉ cafe", 1),
        ("CAFÉ", "café cafe\u{301} cafe", 2),
        ("x", "x\u{304} x", 1),
        ("straße", "STRASSE, Straße, Strassen", 2),
        ("οδός", "ΟΔΌΣ", 1),
        ("istanbul", "İstanbul, ISTANBUL", 2),
        ("締切", "締切は明日、締切", 2),
        ("api", "API設計、apis", 1),
        ("กำหนด", "วันกำหนดส่ง", 1),
        ("משימה", "יש משימה, משימות", 1),
        ("🚀", "🚀🚀 x🚀", 3),
        (" padded  term ", "a padded term.", 1),
        ("deadline", "", 0),
    ] {
        assert_eq!(counts(&[term], text), [count], "{term:?} in {text:?}");
    }
}

#[test]
fn overlapping_terms_are_all_counted() {
    let terms = ["item", "action item", "action", "item one"];
    assert_eq!(counts(&terms, "the action item one"), [1, 1, 1, 1]);
    assert_eq!(counts(&["la la"], "la la la"), [2]);
}

#[test]
fn lists_that_make_no_sense_are_refused() {
    assert!(refused(&[]).starts_with("`terms` is empty"));
    assert_eq!(refused(&["a", " \u{a0}"]), "`terms` holds a blank term at position 2; remove it");
    let said = refused(&["Straße", "a", "STRASSE"]);
    assert!(said.starts_with("`terms` holds \"Straße\" and \"STRASSE\""), "{said}");
    assert!(refused(&["action item", "Action  item "]).contains("differ only in case or spacing"));
}

/// Generates texts from few different pieces, so that terms occur often.
fn pieces(max: usize) -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "B", "ab", " ", " ", "\t", "ß", "ss", "É", "e\u{301}", "e", "\u{301}", "İ", "i", "ς", "Σ", "'",
        "+", "_", "1", "日", "\u{304}", ".",
    ]);
    prop::collection::vec(piece, 1..=max).prop_map(|pieces| pieces.concat())
}

/// Counts a term as `Matcher::count` does, by comparing it at every position.
fn naive(term: &str, text: &str) -> u64 {
    let term: Vec<char> = fold(term.trim()).chars().collect();
    let text: Vec<char> = fold(text).chars().collect();
    let goes_on = |a: Option<&char>, b: Option<&char>| {
        a.copied().is_some_and(is_word_char) && b.copied().is_some_and(is_word_char)
    };
    let mut count = 0;
    for start in 0..text.len() {
        let end = start + term.len();
        if text.get(start..end) == Some(&term[..])
            && !(start > 0 && goes_on(text.get(start - 1), term.first()))
            && !goes_on(term.last(), text.get(end))
        {
            count += 1;
        }
    }
    count
}

proptest! {
    #[test]
    fn it_finds_what_a_naive_search_finds(
        terms in prop::collection::vec(pieces(3), 1..5),
        text in pieces(40),
    ) {
        let mut distinct: Vec<String> = Vec::new();
        for term in terms {
            let form = fold(term.trim());
            if !form.is_empty() && distinct.iter().all(|other| fold(other.trim()) != form) {
                distinct.push(term);
            }
        }
        prop_assume!(!distinct.is_empty());
        let expected: Vec<u64> = distinct.iter().map(|term| naive(term, &text)).collect();
        prop_assert_eq!(Matcher::new(&distinct).unwrap().count(&text), expected);
    }

    #[test]
    fn no_list_and_no_text_cause_a_panic(terms in prop::collection::vec("\\PC{0,4}", 0..4), text in "\\PC{0,40}") {
        if let Ok(matcher) = Matcher::new(&terms) {
            prop_assert_eq!(matcher.count(&text).len(), terms.len());
        }
    }
}
