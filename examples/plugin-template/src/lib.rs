//! The open questions of a meeting: a small plugin that uses the whole contract, made to be copied.
//!
//! Copy the crate, give it a name, and delete what you don't need: each part says what goes with it.
//! `docs/plugin-guide.md` walks through it.
//!
//! The plugin takes `transcription` and `chat`. Something said that ends in a question mark is a question: it
//! gets a number and is put out, with what was said just before it. Whoever writes `answered 2` in the chat
//! crosses number 2 out. The list of what is open comes when the plugin begins to take part, every ten
//! minutes, and at the end, there with a summary if the configuration asks for one and a language model
//! answers.
//!
//! ```toml
//! [[plugin]]
//! name = "questions"
//! kind = "template"
//! config = { command = "done", context = 3, summary = true }
//! ```
//!
//! ```json
//! {"event":"asked","question":{"number":1,"by":"Ada","text":"Who has the key?"},"before":["It is locked."]}
//! {"event":"answered","numbers":[1]}
//! {"event":"open","asked":1,"answered":1,"questions":[]}
//! ```

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use teammy_kernel::{
    Batch, Cx, Error, FromPacket, History, Hooks, InCallPlugin, Json, LlmError, LlmMessage, Receive, Tick,
    data::{Chat, Transcription},
};

/// How often the open questions are put out.
const REMINDER: Duration = Duration::from_mins(10);
/// How far before a question its context may lie.
const CONTEXT: Duration = Duration::from_mins(1);
/// The most that [`Config::context`] can be.
const MAX_CONTEXT: usize = 10;
/// The most questions that a list shows (of more, the newest) or that one command crosses out. With what is
/// kept of each text, this keeps an output below the limit on packets.
const LISTED: usize = 100;
/// How much of a text is kept, in characters.
const KEPT: usize = 500;
/// What the keys in the datastore start with.
const PREFIX: &str = "question/";

/// The plugin.
///
/// It holds resources: its configuration, a compiled pattern, a client, a pool. What it knows of a meeting is
/// [`State`].
#[derive(Debug)]
pub struct QuestionLog {
    config: Config,
}

// Nothing to configure? Delete it, and write `type Config = ();`.
/// Its table in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The word in the chat that says, with numbers behind it, which questions were answered.
    pub command: String,
    /// How many pieces of speech of the minute before a question come with it: 0 to 10.
    #[schemars(range(max = 10))]
    pub context: usize,
    /// Whether to have a language model sum up what is open at the end.
    pub summary: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { command: "answered".to_owned(), context: 2, summary: false }
    }
}

// Nothing to remember? Delete it, and write `type State = ();`.
/// What it remembers of one meeting.
///
/// It is written as a whole when it has changed, so keep it small: what grows with the meeting goes into the
/// datastore.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    asked: u32,
    answered: u32,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// Its number in the meeting, from 1.
    pub number: u32,
    /// Who asked, where that is known.
    pub by: Option<String>,
    /// What they said, as far as it is kept.
    pub text: String,
}

// Only text? Write `type Output = String;`. Only watching? Write `type Output = std::convert::Infallible;`.
/// What it puts out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Somebody asked something.
    Asked {
        /// The question.
        question: Question,
        /// What was said just before it, oldest first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        before: Vec<String>,
    },
    /// Somebody crossed questions out.
    Answered {
        /// Their numbers.
        numbers: Vec<u32>,
    },
    /// How things stand.
    Open {
        /// How many questions there were.
        asked: u32,
        /// How many of them were answered.
        answered: u32,
        /// Those that were not, or the newest of them.
        questions: Vec<Question>,
        /// What they are about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<String>,
    },
}

impl InCallPlugin for QuestionLog {
    type Config = Config;
    type State = State;
    type Output = Json<Event>;
    const KIND: &'static str = "template";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    async fn on_startup(config: Config) -> Result<Self, Error> {
        if config.command.is_empty() || config.command.contains(char::is_whitespace) {
            return Err(Error::reject("`command` is not one word; write for example \"answered\""));
        }
        if config.context > MAX_CONTEXT {
            return Err(Error::reject(format!("`context` is {}; the most is {MAX_CONTEXT}", config.context)));
        }
        Ok(Self { config })
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Transcription>>("transcription").on_batch::<Json<Chat>>("chat", 64).every(REMINDER)
    }

    // Nothing to say at first? Delete this method.
    async fn on_meeting_start(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Event>>, Error> {
        Ok(Some(Json(standing(cx, open(cx).await?, None))))
    }

    // Nothing to say at the end? Delete this method.
    async fn on_meeting_end(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Event>>, Error> {
        let questions = open(cx).await?;
        let summary = if self.config.summary { summary(cx, &questions).await? } else { None };
        Ok(Some(Json(standing(cx, questions, summary))))
    }
}

/// One packet at a time: what most plugins need.
impl Receive<Json<Transcription>> for QuestionLog {
    async fn receive(
        &self,
        Json(said): Json<Transcription>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Event>>, Error> {
        if !said.is_final || !said.text.trim_end().ends_with(['?', '？', '؟']) {
            return Ok(None);
        }
        let before = said_before(cx, self.config.context).await?;
        cx.state_mut().asked += 1;
        let question = Question {
            number: cx.state().asked,
            by: cx.packet().participant.as_deref().map(str::to_owned),
            text: kept(&said.text),
        };
        cx.engine().datastore().set(&key(question.number), &question)?;
        Ok(Some(Json(Event::Asked { question, before })))
    }
}

// No such source? Delete this, and its part of `hooks`.
/// What has queued up, in one call: worth it where a call is slow, or where one output for all of it is
/// better.
impl Receive<Batch<Json<Chat>>> for QuestionLog {
    async fn receive(
        &self,
        messages: Batch<Json<Chat>>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Event>>, Error> {
        let mut numbers = Vec::new();
        for number in messages.iter().flat_map(|Json(message)| self.answered(&message.text)) {
            let datastore = cx.engine().datastore();
            if datastore.get::<Question>(&key(number)).await?.is_some() {
                datastore.delete(&key(number))?;
                cx.state_mut().answered += 1;
                numbers.push(number);
            }
        }
        Ok((!numbers.is_empty()).then_some(Json(Event::Answered { numbers })))
    }
}

// No use for it? Delete this, and its part of `hooks`.
/// Once in a while, whatever is said.
impl Receive<Tick> for QuestionLog {
    async fn receive(&self, _: Tick, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Event>>, Error> {
        let questions = open(cx).await?;
        Ok((!questions.is_empty()).then(|| Json(standing(cx, questions, None))))
    }
}

impl QuestionLog {
    /// The numbers in a chat message, if it begins with the command.
    fn answered(&self, message: &str) -> Vec<u32> {
        let mut words = message.split_whitespace();
        let command = words.next().unwrap_or_default();
        if command.to_lowercase() != self.config.command.to_lowercase() {
            return Vec::new();
        }
        let number = |word: &str| word.trim_matches(['#', ',', '.']).parse().ok();
        words.filter_map(number).take(LISTED).collect()
    }
}

/// What was said just before the packet at hand.
///
/// It asks for the packet's own source: the configuration may have mapped `transcription` to another.
async fn said_before(cx: &Cx<'_, QuestionLog>, count: usize) -> Result<Vec<String>, Error> {
    // Room for partial transcriptions: many recognisers send several before each that is final.
    let history = History::of(&cx.packet().source)?.within(CONTEXT).last(20 * count);
    let packets = cx.engine().datastore().stream_history(history).await?;
    let said = packets.iter().filter_map(|packet| Json::<Transcription>::from_packet(packet).ok());
    let texts = said.filter(|Json(said)| said.is_final).map(|Json(said)| kept(&said.text));
    let mut before: Vec<String> = texts.collect();
    before.drain(..before.len().saturating_sub(count));
    Ok(before)
}

/// The open questions, or the newest of them.
async fn open(cx: &Cx<'_, QuestionLog>) -> Result<Vec<Question>, Error> {
    let datastore = cx.engine().datastore();
    let keys = datastore.list(PREFIX).await?;
    let mut questions = Vec::new();
    for key in &keys[keys.len().saturating_sub(LISTED)..] {
        questions.extend(datastore.get::<Question>(key).await?);
    }
    Ok(questions)
}

fn standing(cx: &Cx<'_, QuestionLog>, questions: Vec<Question>, summary: Option<String>) -> Event {
    let State { asked, answered } = *cx.state();
    Event::Open { asked, answered, questions, summary }
}

// No language model? Delete this. Of no use without one? Add `const NEEDS_LLM: bool = true;` beside `KIND`.
/// What the questions are about, in a sentence of the model's.
async fn summary(cx: &Cx<'_, QuestionLog>, questions: &[Question]) -> Result<Option<String>, Error> {
    if questions.is_empty() {
        return Ok(None);
    }
    let texts: Vec<&str> = questions.iter().map(|question| question.text.as_str()).collect();
    let messages = [
        LlmMessage::system("Say in one sentence what these open questions of a meeting are about."),
        LlmMessage::user(texts.join("\n")),
    ];
    match cx.engine().llm().fast_prompt(messages, 0.0).await {
        Ok(answer) => Ok(Some(kept(&answer)).filter(|summary| !summary.is_empty())),
        // Passing trouble: an error that `?` or `into` makes is tried again.
        Err(error @ LlmError::Failed(_)) => Err(error.into()),
        // There is no model, or it refuses: the list is worth having without a summary.
        Err(_) => Ok(None),
    }
}

/// A question's key; with zeros before its number, so that the keys' order is the questions'.
fn key(number: u32) -> String {
    format!("{PREFIX}{number:010}")
}

fn kept(text: &str) -> String {
    text.trim().chars().take(KEPT).collect()
}

#[cfg(test)]
mod tests;
