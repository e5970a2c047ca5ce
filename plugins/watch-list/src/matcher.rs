//! Finding whole terms in a text, in any case.
//!
//! Terms and text are brought to one form ([`fold`]) and compared there, so that nothing has to be mapped
//! back: only counts leave this module.

mod fold;

use aho_corasick::AhoCorasick;

use fold::{fold, is_word_char};

/// Why a list of terms cannot be watched for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("`terms` is empty; name at least one word or phrase to watch for")]
    NoTerms,
    #[error("`terms` holds a blank one in place {place}; take it out")]
    Blank {
        /// Its place in the list, from 1.
        place: usize,
    },
    #[error(
        "`terms` holds {first:?} and {second:?}, which are the same but for case and spacing; take one out"
    )]
    Twice { first: String, second: String },
    #[error("`terms` is too large to search for")]
    TooLarge(#[source] aho_corasick::BuildError),
}

/// A list of terms, prepared for matching.
#[derive(Debug)]
pub(crate) struct Matcher {
    automaton: AhoCorasick,
    terms: Vec<Folded>,
}

/// At which of its ends a term must not go on into a longer word.
#[derive(Debug)]
struct Folded {
    starts_in_word: bool,
    ends_in_word: bool,
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
                return Err(Error::Blank { place: index + 1 });
            }
            if let Some(first) = seen.insert(form.clone(), term) {
                return Err(Error::Twice { first: first.clone(), second: term.clone() });
            }
            folded.push(form);
        }
        let automaton = AhoCorasick::new(&folded).map_err(Error::TooLarge)?;
        let terms = folded
            .iter()
            .map(|term| Folded {
                starts_in_word: term.chars().next().is_some_and(is_word_char),
                ends_in_word: term.chars().next_back().is_some_and(is_word_char),
            })
            .collect();
        Ok(Self { automaton, terms })
    }

    /// How often the text mentions each term, in the terms' order.
    pub(crate) fn count(&self, text: &str) -> Vec<u64> {
        let text = fold(text);
        let mut counts = vec![0; self.terms.len()];
        for found in self.automaton.find_overlapping_iter(&text) {
            let index = found.pattern().as_usize();
            let term = &self.terms[index];
            let before = text[..found.start()].chars().next_back();
            let after = text[found.end()..].chars().next();
            let cut = |in_word: bool, beside: Option<char>| in_word && beside.is_some_and(is_word_char);
            if !cut(term.starts_in_word, before) && !cut(term.ends_in_word, after) {
                counts[index] += 1;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests;
