//! Reports when somebody mentions one of a list of terms.
//!
//! The plugin takes `transcription` (final ones only) and `chat`. For each packet that mentions a term it
//! puts out [`Mentions`]: the terms with their counts, in the order and spelling of the configuration, the
//! speaker, and the text.
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
//! * **Any case.** The comparison ignores case in every script: `STRASSE`, `Straße` and `straße` are equal,
//!   so are `ΟΔΟΣ` and `οδος` with either sigma, and the four Turkish i's (`i`, `İ`, `ı`, `I`) are one
//!   letter. An accent is part of its letter, however it is encoded: `cafe` doesn't match `café`, and `café`
//!   matches composed and decomposed.
//! * **Whole words.** A term doesn't match inside a longer word: `plan` is not found in `planet` or `plan_b`,
//!   but in `plan's` and `re-plan`. The rule applies at each end of the term that is a letter, digit, `_` or
//!   accent; `C++` is found in `C++17`. It doesn't apply to scripts that write words without spaces (Chinese,
//!   Japanese, Thai, Lao, Burmese, Khmer).
//! * **White space** of any kind and length counts as one space: a phrase matches across a line break.
//! * **Every match counts.** Terms may overlap each other (`action item` and `item`) and themselves.
//!
//! The plugin rejects a configuration in which two terms are equal in this sense, a term is blank, or the
//! list is empty: each is a mistake that would otherwise go unnoticed.

mod matcher;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use teammy_kernel::{
    Cx, Error, Hooks, InCallPlugin, Json, Receive, StartupCx,
    data::{Chat, Transcription},
};

use matcher::Matcher;

/// The plugin: the terms and their matcher.
#[derive(Debug)]
pub struct WatchList {
    terms: Vec<Arc<str>>,
    matcher: Matcher,
}

/// The plugin's table in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// The words or phrases to watch for, in any case.
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
    /// Phrases by which English speakers announce a task.
    fn default() -> Self {
        Self::new(["action item", "follow up", "deadline", "to do", "next step", "blocker"])
    }
}

/// The mentions in one packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mentions {
    /// The mentioned terms, in the order of the configuration.
    pub hits: Vec<Hit>,
    /// The speaker or author; null if the packet names none.
    pub participant: Option<Arc<str>>,
    /// The text of the packet.
    pub text: String,
}

/// A mentioned term.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hit {
    /// The term, as the configuration spells it.
    pub term: Arc<str>,
    /// The number of mentions, at least 1.
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
    type Scratch = ();
    type Output = Json<Mentions>;
    const KIND: &'static str = "watch-list";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    async fn on_startup(Config { terms }: Config, _: &StartupCx) -> Result<Self, Error> {
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
