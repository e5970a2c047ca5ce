//! The plugin's table in the configuration.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use teammy_kernel::Error;

const CHUNK_WORDS: RangeInclusive<u32> = 100..=8_000;
const SUMMARY_WORDS: RangeInclusive<u32> = 50..=1_500;

/// The table of the configuration.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// After how many words of speech and chat to renew the running summary. People say about 150 a minute.
    /// At most `chunk_words`.
    #[schemars(range(min = 1, max = 8_000))]
    pub every_words: u32,
    /// The most words of the transcript that one question to the model holds, 100 to 8,000. English takes
    /// about 4 tokens for 3 words; the running summary and the answer must find room in the model's
    /// context beside them.
    #[schemars(range(min = 100, max = 8_000))]
    pub chunk_words: u32,
    /// How long the running summary may get, in words, 50 to 1,500. The model is told; what is more than
    /// twice as long is cut off.
    #[schemars(range(min = 50, max = 1_500))]
    pub summary_words: u32,
    /// The language to write in, as a tag such as `"de"` or `"pt-BR"`. The meeting's own where not given.
    pub language: Option<String>,
    /// How freely the model chooses its words, from 0 (always the likeliest) to 2.
    #[schemars(range(min = 0.0, max = 2.0))]
    pub temperature: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self { every_words: 800, chunk_words: 2_000, summary_words: 400, language: None, temperature: 0.25 }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let problem = if !CHUNK_WORDS.contains(&self.chunk_words) {
            out_of("chunk_words", self.chunk_words, &CHUNK_WORDS)
        } else if !SUMMARY_WORDS.contains(&self.summary_words) {
            out_of("summary_words", self.summary_words, &SUMMARY_WORDS)
        } else if self.every_words == 0 {
            "`every_words` is 0; say after how many words to renew the running summary, such as 800"
                .to_owned()
        } else if self.every_words > self.chunk_words {
            format!(
                "`every_words` is {}, which is more than one question to the model may hold (`chunk_words` is \
                 {}); lower the one or raise the other",
                self.every_words, self.chunk_words
            )
        } else if !(0.0..=2.0).contains(&self.temperature) {
            format!("`temperature` is {}; choose 0 to 2", self.temperature)
        } else if let Some(language) = self.language.as_ref().filter(|tag| !is_language_tag(tag)) {
            format!("`language` is {language:?}; give a language tag, such as \"de\" or \"pt-BR\"")
        } else {
            return Ok(());
        };
        Err(Error::reject(problem))
    }
}

fn out_of(key: &str, value: u32, range: &RangeInclusive<u32>) -> String {
    format!("`{key}` is {value}; choose {} to {}", range.start(), range.end())
}

/// Whether a text has the form of a language tag (BCP 47): `de`, `pt-BR`, `zh-Hant-TW`.
pub(crate) fn is_language_tag(text: &str) -> bool {
    let mut parts = text.split('-');
    let language = parts.next().unwrap_or_default();
    (2..=3).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_alphabetic())
        && parts.all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
        && text.len() <= 35
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_tags_have_a_form() {
        for good in ["de", "DE", "pt-BR", "zh-Hant-TW", "gsw", "de-CH-1996"] {
            assert!(is_language_tag(good), "{good}");
        }
        for bad in
            ["", "d", "German", "de-", "de_DE", "de DE", "de\n", "d3", "de-abcdefghi", &"de-a".repeat(20)]
        {
            assert!(!is_language_tag(bad), "{bad}");
        }
    }
}
