//! Says when one of a list of terms is mentioned.
//!
//! The plugin takes `transcription` (what is final) and `chat`, and puts out [`Mentions`] for each packet
//! that mentions a term: which terms how often, in the order of the configuration and spelled as there, who
//! said it, and the text.
//!
//! ```toml
//! [[plugin]]
//! name = "watch-list"
//! kind = "watch-list"
//! config = { terms = ["deadline", "action item", "C++"] }
//! ```
//!
//! ```json
//! {"hits":[{"term":"deadline","count":1}],"participant":"Ada","text":"The deadline is Friday."}
//! ```
//!
//! # What counts as a mention
//! * **Any case.** Letters are compared without case in every script: `STRASSE`, `Straße` and `straße` are
//!   one, so are `ΟΔΟΣ` and `οδος` with either sigma, and the four Turkish i's (`i`, `İ`, `ı`, `I`) are one
//!   letter. An accent is part of its letter, however it is encoded: `cafe` is not in `café`, and `café` is
//!   found composed or decomposed.
//! * **Whole words.** A term doesn't count inside a longer word: `plan` is not in `planet` or `plan_b`, but
//!   in `plan's` and `re-plan`. This holds at an end of the term that is a letter, digit, `_` or accent;
//!   `C++` is found in `C++17`. Scripts that write words without spaces between them (Chinese, Japanese,
//!   Thai, Lao, Burmese, Khmer) have no such rule.
//! * **White space** of any kind and length is one space: a phrase is found across a line's end.
//! * **All** of them: terms may overlap each other (`action item` and `item`) and themselves, and each
//!   mention counts.
//!
//! Terms that are the same in this sense are refused, as is an empty term or a list without terms: each is a
//! mistake that would otherwise go unnoticed.

mod matcher;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use teammy_kernel::{
    Cx, Error, Hooks, InCallPlugin, Json, Receive,
    data::{Chat, Transcription},
};

use matcher::Matcher;

/// The plugin: its terms, prepared for matching.
#[derive(Debug)]
pub struct WatchList {
    terms: Vec<Arc<str>>,
    matcher: Matcher,
}

/// The table of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// What to watch for: words or phrases, in any case.
    #[schemars(length(min = 1))]
    pub terms: Vec<String>,
}

impl Config {
    /// A configuration with these terms.
    pub fn new(terms: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { terms: terms.into_iter().map(Into::into).collect() }
    }
}

impl Default for Config {
    /// Phrases by which English speakers announce that something is to be done.
    fn default() -> Self {
        Self::new(["action item", "follow up", "deadline", "to do", "next step", "blocker"])
    }
}

/// A packet that mentions terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mentions {
    /// The terms that it mentions, in the order of the configuration.
    pub hits: Vec<Hit>,
    /// Who said or wrote it; null where the packet doesn't say.
    pub participant: Option<Arc<str>>,
    /// What was said or written.
    pub text: String,
}

/// A term that is mentioned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hit {
    /// The term, as the configuration spells it.
    pub term: Arc<str>,
    /// How often; at least once.
    pub count: u64,
}

impl WatchList {
    fn mentions(&self, text: String, cx: &Cx<'_, Self>) -> Option<Json<Mentions>> {
        let counts = self.matcher.count(&text);
        let hits: Vec<Hit> = self
            .terms
            .iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .map(|(term, count)| Hit { term: term.clone(), count })
            .collect();
        let participant = cx.packet().participant.clone();
        (!hits.is_empty()).then_some(Json(Mentions { hits, participant, text }))
    }
}

impl InCallPlugin for WatchList {
    type Config = Config;
    type State = ();
    type Output = Json<Mentions>;
    const KIND: &'static str = "watch-list";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    async fn on_startup(Config { terms }: Config) -> Result<Self, Error> {
        let matcher = Matcher::new(&terms).map_err(Error::reject)?;
        Ok(Self { terms: terms.into_iter().map(Into::into).collect(), matcher })
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Transcription>>("transcription").on::<Json<Chat>>("chat")
    }
}

impl Receive<Json<Transcription>> for WatchList {
    async fn receive(
        &self,
        Json(said): Json<Transcription>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Mentions>>, Error> {
        if !said.is_final {
            return Ok(None);
        }
        Ok(self.mentions(said.text, cx))
    }
}

impl Receive<Json<Chat>> for WatchList {
    async fn receive(
        &self,
        Json(chat): Json<Chat>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Mentions>>, Error> {
        Ok(self.mentions(chat.text, cx))
    }
}

#[cfg(test)]
mod tests;
