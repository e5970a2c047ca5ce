//! What a model said of a segment.

use std::time::Duration;

use teammy_kernel::{Spoken, Transcript};

use crate::{config::is_language_code, speaker::Heard};

/// The most characters of one text. Nobody says as much in the longest segment: a model that repeats itself
/// does.
pub(crate) const MAX_CHARS: usize = 4_000;

/// A part of what was said, with times from the segment's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) start: Duration,
    pub(crate) end: Duration,
    pub(crate) text: String,
}

/// The parts of a transcript that have a text. Their times are those of the server, as far as they lie where
/// somebody spoke: a server may count the silence at both ends, or say no times.
pub(crate) fn parts(transcript: &Transcript, heard: &Heard) -> Vec<Part> {
    let speech = &heard.speech;
    let part = |start: Duration, end: Duration, text: &str| {
        let start = start.clamp(speech.start, speech.end);
        let (end, text) = (end.clamp(start, speech.end), cleaned(text));
        (!text.is_empty()).then_some(Part { start, end, text })
    };
    let segments = transcript.segments.iter();
    let parts: Vec<_> = segments.filter_map(|Spoken { start, end, text }| part(*start, *end, text)).collect();
    if !parts.is_empty() {
        return parts;
    }
    let (start, end) = match &*transcript.words {
        [first, .., last] => (first.start, last.end),
        [only] => (only.start, only.end),
        [] => (speech.start, speech.end),
    };
    part(start, end, &transcript.text).into_iter().collect()
}

/// The parts as one.
pub(crate) fn joined(parts: &[Part]) -> Option<Part> {
    let (first, last) = (parts.first()?, parts.last()?);
    let texts: Vec<_> = parts.iter().map(|part| part.text.as_str()).collect();
    Some(Part { start: first.start, end: last.end, text: shortened(texts.join(" ")) })
}

/// The language that a server says, if it says a code: some say a name.
pub(crate) fn language(transcript: &Transcript) -> Option<&str> {
    transcript.language.as_deref().filter(|language| is_language_code(language))
}

/// One line, without control characters.
fn cleaned(text: &str) -> String {
    let words: Vec<_> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    shortened(words.join(" "))
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard() -> Heard {
        let ms = Duration::from_millis;
        Heard { start: jiff::Timestamp::UNIX_EPOCH, samples: vec![0; 32_000], speech: ms(200)..ms(1_800) }
    }

    fn spoken(start: u64, end: u64, text: &str) -> Spoken {
        Spoken { start: Duration::from_millis(start), end: Duration::from_millis(end), text: text.to_owned() }
    }

    fn told(transcript: &Transcript) -> Vec<(u128, u128, String)> {
        let parts = parts(transcript, &heard()).into_iter();
        parts.map(|part| (part.start.as_millis(), part.end.as_millis(), part.text)).collect()
    }

    #[test]
    fn a_text_without_times_has_those_of_the_speech() {
        let mut transcript = Transcript::new(" Good\n\u{0}morning. ");
        assert_eq!(told(&transcript), [(200, 1_800, "Good morning.".to_owned())]);
        transcript.words = vec![spoken(300, 500, "Good"), spoken(600, 900, "morning.")];
        assert_eq!(told(&transcript), [(300, 900, "Good morning.".to_owned())]);
        for empty in ["", " \n", "\u{a0}\u{7}"] {
            assert_eq!(told(&Transcript::new(empty)), []);
        }
    }

    #[test]
    fn times_of_a_server_are_kept_where_somebody_spoke() {
        let mut transcript = Transcript::new("whole");
        transcript.segments = vec![
            spoken(0, 700, "One."),
            spoken(700, 900, "  "),
            spoken(900, 400, "Two."),
            spoken(1_900, 9_000, "Three."),
        ];
        let expected = [(200, 700, "One."), (900, 900, "Two."), (1_800, 1_800, "Three.")];
        assert_eq!(told(&transcript), expected.map(|(start, end, text)| (start, end, text.to_owned())));
        let whole = joined(&parts(&transcript, &heard())).unwrap();
        assert_eq!((whole.text.as_str(), whole.end.as_millis()), ("One. Two. Three.", 1_800));

        transcript.segments = vec![spoken(0, 9, " ")];
        assert_eq!(told(&transcript), [(200, 1_800, "whole".to_owned())]);
    }

    #[test]
    fn a_model_that_goes_on_for_ever_is_cut_off() {
        let told = told(&Transcript::new("ä ".repeat(5_000)));
        assert_eq!(told[0].2.chars().count(), MAX_CHARS);
    }

    #[test]
    fn only_a_code_is_a_language() {
        let mut transcript = Transcript::new("");
        for (says, is) in [(None, None), (Some("de"), Some("de")), (Some("english"), None)] {
            transcript.language = says.map(str::to_owned);
            assert_eq!(language(&transcript), is);
        }
    }
}
