//! The plugin's table in the configuration.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use teammy_kernel::Error;

const CHUNK_WORDS: RangeInclusive<u32> = 100..=8_000;
const SUMMARY_WORDS: RangeInclusive<u32> = 50..=1_500;

/// The plugin's table in the configuration.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// The number of words of speech and chat after which the running summary is updated, at most
    /// `chunk_words`. People say about 150 words a minute.
    #[schemars(range(min = 1, max = 8_000))]
    pub every_words: u32,
    /// The most words of the transcript in one prompt, 100 to 8,000. Three words of English take about 4
    /// tokens. The model's context must also have room for the running summary and the answer.
    #[schemars(range(min = 100, max = 8_000))]
    pub chunk_words: u32,
    /// The maximum length of the running summary in words, 50 to 1,500. The prompt states it; a summary of
    /// more than twice this length is cut off.
    #[schemars(range(min = 50, max = 1_500))]
    pub summary_words: u32,
    /// The language of the minutes, as a tag such as `"de"` or `"pt-BR"`. Without it, the language of the
    /// meeting.
    pub language: Option<String>,
    /// The sampling temperature of the model, from 0 (always the likeliest word) to 2.
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
            out_of_range("chunk_words", self.chunk_words, &CHUNK_WORDS)
        } else if !SUMMARY_WORDS.contains(&self.summary_words) {
            out_of_range("summary_words", self.summary_words, &SUMMARY_WORDS)
        } else if self.every_words == 0 {
            "`every_words` is 0; set it to the number of words between two running summaries, such as 800"
                .to_owned()
        } else if self.every_words > self.chunk_words {
            format!(
                "`every_words` is {}, which is more than `chunk_words` ({}), the limit of one prompt; lower \
                 `every_words` or raise `chunk_words`",
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

fn out_of_range(key: &str, value: u32, range: &RangeInclusive<u32>) -> String {
    format!("`{key}` is {value}; choose {} to {}", range.start(), range.end())
}

/// Whether a text has the syntax of a language tag (BCP 47): `de`, `pt-BR`, `zh-Hant-TW`.
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
