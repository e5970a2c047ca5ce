//! The plugin's table in the configuration.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use teammy_kernel::Error;

const SILENCE_MS: RangeInclusive<u32> = 200..=3_000;
const MAX_SECONDS: RangeInclusive<u32> = 5..=60;
const MIN_SPEECH_MS: RangeInclusive<u32> = 0..=2_000;
const MAX_HINT_CHARS: usize = 1_000;

/// The plugin's table in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// How long somebody is silent before what was said is transcribed, in milliseconds: 600 by default, 200
    /// to 3000. Less gives the text sooner, and cuts more sentences in two.
    #[schemars(range(min = 200, max = 3_000))]
    pub silence_ms: u32,
    /// The longest stretch of sound that is sent to the model, in seconds: 20 by default, 5 to 60. Longer
    /// speech is cut where it is quietest near the end.
    #[schemars(range(min = 5, max = 60))]
    pub max_seconds: u32,
    /// The least speech that is worth a request, in milliseconds: 250 by default, 2000 at most. Less, such as
    /// a cough, is dropped.
    #[schemars(range(max = 2_000))]
    pub min_speech_ms: u32,
    /// The language that is spoken, by its code of ISO 639, such as `"en"`. Without it, the model finds out
    /// each time.
    pub language: Option<String>,
    /// Words that the model may hear, such as names, so that it spells them so; at most 1000 characters.
    pub hint: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { silence_ms: 600, max_seconds: 20, min_speech_ms: 250, language: None, hint: None }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let out_of_range = [
            ("silence_ms", self.silence_ms, SILENCE_MS),
            ("max_seconds", self.max_seconds, MAX_SECONDS),
            ("min_speech_ms", self.min_speech_ms, MIN_SPEECH_MS),
        ]
        .into_iter()
        .find(|(_, value, range)| !range.contains(value));
        let problem = if let Some((key, value, range)) = out_of_range {
            format!("`{key}` is {value}; choose {} to {}", range.start(), range.end())
        } else if let Some(language) = self.language.as_ref().filter(|code| !is_language_code(code)) {
            format!("`language` is {language:?}; give a code of ISO 639, such as \"en\"")
        } else if let Some(chars) =
            self.hint.as_ref().map(|hint| hint.chars().count()).filter(|chars| *chars > MAX_HINT_CHARS)
        {
            format!("`hint` has {chars} characters; give at most {MAX_HINT_CHARS}")
        } else {
            return Ok(());
        };
        Err(Error::reject(problem))
    }
}

/// Whether a text has the form of a language's code: two or three small letters.
pub(crate) fn is_language_code(text: &str) -> bool {
    (2..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        let is = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check().map_err(|error| error.to_string())
        };
        assert_eq!(is(|_| ()), Ok(()));
        assert_eq!(is(|config| config.min_speech_ms = 0), Ok(()));
        assert_eq!(is(|config| config.language = Some("gsw".to_owned())), Ok(()));
        for (wrong, says) in [
            (is(|config| config.silence_ms = 199), "`silence_ms` is 199; choose 200 to 3000"),
            (is(|config| config.max_seconds = 61), "`max_seconds` is 61; choose 5 to 60"),
            (is(|config| config.min_speech_ms = 2_001), "`min_speech_ms` is 2001; choose 0 to 2000"),
            (
                is(|config| config.language = Some("English".to_owned())),
                "`language` is \"English\"; give a code of ISO 639, such as \"en\"",
            ),
            (
                is(|config| config.hint = Some("é".repeat(1_001))),
                "`hint` has 1001 characters; give at most 1000",
            ),
        ] {
            assert_eq!(wrong, Err(says.to_owned()));
        }
    }
}
