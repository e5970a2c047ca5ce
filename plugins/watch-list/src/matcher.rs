//! Counts whole terms in a text, in any case.
//!
//! Terms and texts are case-folded ([`fold`]) before the comparison. Only counts leave this module, so no
//! position in a folded text is ever mapped back to the original.

mod fold;

use aho_corasick::AhoCorasick;

use fold::{fold, is_word_char};

/// Why a list of terms is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("`terms` is empty; name at least one word or phrase to watch for")]
    NoTerms,
    #[error("`terms` holds a blank term at position {position}; remove it")]
    BlankTerm {
        /// The position in the list, from 1.
        position: usize,
    },
    #[error("`terms` holds {first:?} and {second:?}, which differ only in case or spacing; remove one")]
    DuplicateTerm { first: String, second: String },
    #[error("`terms` is too large to search for; remove some of them")]
    TooLarge(#[source] aho_corasick::BuildError),
}

/// A search automaton for a list of terms.
#[derive(Debug)]
pub(crate) struct Matcher {
    automaton: AhoCorasick,
    boundaries: Vec<WordBoundaries>,
}

/// The ends of a term at which a match must also be the end of a word.
#[derive(Debug)]
struct WordBoundaries {
    start: bool,
    end: bool,
}

impl Matcher {
    pub(crate) fn new(terms: &[String]) -> Result<Self, Error> {
        if terms.is_empty() {
            return Err(Error::NoTerms);
        }
        let mut folded: Vec<String> = Vec::with_capacity(terms.len());
        let mut seen = std::collections::HashMap::with_capacity(terms.len());
        for (index, term) in terms.iter().enumerate() {
            let form = fold(term.trim());
            if form.is_empty() {
                return Err(Error::BlankTerm { position: index + 1 });
            }
            if let Some(first) = seen.insert(form.clone(), term) {
                return Err(Error::DuplicateTerm { first: first.clone(), second: term.clone() });
            }
            folded.push(form);
        }
        let automaton = AhoCorasick::new(&folded).map_err(Error::TooLarge)?;
        let boundaries = folded
            .iter()
            .map(|term| WordBoundaries {
                start: term.chars().next().is_some_and(is_word_char),
                end: term.chars().next_back().is_some_and(is_word_char),
            })
            .collect();
        Ok(Self { automaton, boundaries })
    }

    /// Returns how often the text mentions each term, in the order of the terms.
    pub(crate) fn count(&self, text: &str) -> Vec<u64> {
        let text = fold(text);
        let mut counts = vec![0; self.boundaries.len()];
        for found in self.automaton.find_overlapping_iter(&text) {
            let index = found.pattern().as_usize();
            let boundaries = &self.boundaries[index];
            let before = text[..found.start()].chars().next_back();
            let after = text[found.end()..].chars().next();
            let splits_word = |required, beside: Option<char>| required && beside.is_some_and(is_word_char);
            if !splits_word(boundaries.start, before) && !splits_word(boundaries.end, after) {
                counts[index] += 1;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests;
