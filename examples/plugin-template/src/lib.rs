//! Lists the open questions of a meeting: a small plugin that uses the whole contract, made to be copied.
//!
//! Copy the crate, name it, and delete what you don't need: a comment at each optional part says how.
//! `docs/plugin-guide.md` explains every step.
//!
//! The plugin takes `transcription` and `chat`. A transcription that ends in a question mark is a question:
//! the plugin numbers it and puts it out, with the speech just before it. The chat message `answered 2`
//! crosses out question 2. The plugin puts out the list of open questions when it joins the meeting, every
//! ten minutes, and at the end. The last list has a summary if the configuration asks for one and a language
//! model answers.
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
    Batch, Cx, Error, FromPacket, History, Hooks, InCallPlugin, Json, LlmError, LlmMessage, Receive,
    StartupCx, Tick,
    data::{Chat, Transcription},
};

/// The time between two lists of open questions.
const REMINDER: Duration = Duration::from_mins(10);
/// How long before a question its context may begin.
const CONTEXT_WINDOW: Duration = Duration::from_mins(1);
/// The maximum of [`Config::context`].
const MAX_CONTEXT: usize = 10;
/// The most questions in a list (the newest ones), and the most that one command crosses out. Together with
/// [`MAX_CHARS`], this keeps an output below the size limit of packets.
const MAX_LISTED: usize = 100;
/// The most characters of a text; the rest is cut off.
const MAX_CHARS: usize = 500;
/// The prefix of the plugin's keys in the datastore.
const PREFIX: &str = "question/";

/// The plugin.
///
/// It holds resources: its configuration, a compiled pattern, a client, a pool. Data of a meeting is in
/// [`State`].
#[derive(Debug)]
pub struct QuestionLog {
    config: Config,
}

// Nothing to configure? Delete this type, and write `type Config = ();`.
/// The plugin's table in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The chat command that crosses out questions; their numbers follow it.
    pub command: String,
    /// How many transcriptions of the minute before a question are put out with it, 0 to 10.
    #[schemars(range(max = 10))]
    pub context: usize,
    /// Whether a language model summarises the open questions at the end.
    pub summary: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { command: "answered".to_owned(), context: 2, summary: false }
    }
}

// Nothing to remember? Delete this type, and write `type State = ();`.
/// The plugin's state in one meeting.
///
/// Each change stores the whole state, so keep it small: put what grows with the meeting into the datastore.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    asked: u32,
    answered: u32,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// The number of the question in the meeting, from 1.
    pub number: u32,
    /// The participant who asked, if known.
    pub by: Option<String>,
    /// The question itself, truncated if it is long.
    pub text: String,
}

// Only text? Write `type Output = String;`. No output? Write `type Output = std::convert::Infallible;`.
/// The plugin's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Somebody asked a question.
    Asked {
        /// The question.
        question: Question,
        /// The speech just before it, oldest first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        before: Vec<String>,
    },
    /// Somebody crossed questions out.
    Answered {
        /// The numbers of the questions.
        numbers: Vec<u32>,
    },
    /// The list of open questions.
    Open {
        /// How many questions were asked so far.
        asked: u32,
        /// How many of them were answered.
        answered: u32,
        /// The open questions, or the newest of them.
        questions: Vec<Question>,
        /// A summary of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<String>,
    },
}

impl InCallPlugin for QuestionLog {
    type Config = Config;
    type State = State;
    // Something to remember that need not be stored? Name its type here.
    type Scratch = ();
    type Output = Json<Event>;
    const KIND: &'static str = "template";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    async fn on_startup(config: Config, _: &StartupCx) -> Result<Self, Error> {
        if config.command.is_empty() || config.command.contains(char::is_whitespace) {
            return Err(Error::reject("`command` is not one word; write for example \"answered\""));
        }
        if config.context > MAX_CONTEXT {
            return Err(Error::reject(format!("`context` is {}; choose 0 to {MAX_CONTEXT}", config.context)));
        }
        Ok(Self { config })
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Transcription>>("transcription").on_batch::<Json<Chat>>("chat", 64).every(REMINDER)
    }

    // No output at the start? Delete this method.
    async fn on_meeting_start(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Event>>, Error> {
        Ok(Some(Json(open_event(cx, open_questions(cx).await?, None))))
    }

    // No output at the end? Delete this method.
    async fn on_meeting_end(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Event>>, Error> {
        let questions = open_questions(cx).await?;
        let summary = if self.config.summary { summary(cx, &questions).await? } else { None };
        Ok(Some(Json(open_event(cx, questions, summary))))
    }
}

/// Takes one packet at a time, as most plugins do.
impl Receive<Json<Transcription>> for QuestionLog {
    async fn receive(
        &self,
        Json(said): Json<Transcription>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Event>>, Error> {
        if !said.is_final || !said.text.trim_end().ends_with(['?', '？', '؟']) {
            return Ok(None);
        }
        let before = preceding_speech(cx, self.config.context).await?;
        cx.state_mut().asked += 1;
        let question = Question {
            number: cx.state().asked,
            by: cx.packet().participant.as_deref().map(str::to_owned),
            text: truncated(&said.text),
        };
        cx.engine().datastore().set(&key(question.number), &question)?;
        Ok(Some(Json(Event::Asked { question, before })))
    }
}

// No such source? Delete this implementation, and its part of `hooks`.
/// Takes all packets that have queued up in one call: useful if a call is slow, or if one output for all of
/// them is better.
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

// No need for ticks? Delete this implementation, and its part of `hooks`.
/// Runs once in each period, whether packets arrive or not.
impl Receive<Tick> for QuestionLog {
    async fn receive(&self, _: Tick, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Event>>, Error> {
        let questions = open_questions(cx).await?;
        Ok((!questions.is_empty()).then(|| Json(open_event(cx, questions, None))))
    }
}

impl QuestionLog {
    /// Returns the numbers in a chat message that begins with the command.
    fn answered(&self, message: &str) -> Vec<u32> {
        let mut words = message.split_whitespace();
        let command = words.next().unwrap_or_default();
        if command.to_lowercase() != self.config.command.to_lowercase() {
            return Vec::new();
        }
        let number = |word: &str| word.trim_matches(['#', ',', '.']).parse().ok();
        words.filter_map(number).take(MAX_LISTED).collect()
    }
}

/// Returns the speech just before the hook's packet.
///
/// It reads the history of the packet's own source, because the configuration may map `transcription` to
/// another.
async fn preceding_speech(cx: &Cx<'_, QuestionLog>, count: usize) -> Result<Vec<String>, Error> {
    // Read more than `count`: many recognisers send several partial transcriptions before each final one.
    let history = History::of(&cx.packet().source)?.within(CONTEXT_WINDOW).last(20 * count);
    let packets = cx.engine().datastore().stream_history(history).await?;
    let said = packets.iter().filter_map(|packet| Json::<Transcription>::from_packet(packet).ok());
    let texts = said.filter(|Json(said)| said.is_final).map(|Json(said)| truncated(&said.text));
    let mut before: Vec<String> = texts.collect();
    before.drain(..before.len().saturating_sub(count));
    Ok(before)
}

/// Returns the open questions, or the newest of them.
async fn open_questions(cx: &Cx<'_, QuestionLog>) -> Result<Vec<Question>, Error> {
    let entries = cx.engine().datastore().entries::<Question>(PREFIX).await?;
    let too_many = entries.len().saturating_sub(MAX_LISTED);
    Ok(entries.into_iter().skip(too_many).map(|(_, question)| question).collect())
}

fn open_event(cx: &Cx<'_, QuestionLog>, questions: Vec<Question>, summary: Option<String>) -> Event {
    let State { asked, answered } = *cx.state();
    Event::Open { asked, answered, questions, summary }
}

// No language model? Delete this function. Useless without one? Add `const NEEDS_LLM: bool = true;` beside
// `KIND`.
/// Asks the model what the questions are about.
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
        Ok(answer) => Ok(Some(truncated(&answer)).filter(|summary| !summary.is_empty())),
        // A temporary failure: the runtime tries the hook again after an error that `?` or `into` makes.
        Err(error @ LlmError::Failed(_)) if !cx.is_last_attempt() => Err(error.into()),
        // No model, a refusal, or the last try: the list is useful without a summary.
        Err(_) => Ok(None),
    }
}

/// Returns a question's key. Leading zeros give the keys the order of the numbers.
fn key(number: u32) -> String {
    format!("{PREFIX}{number:010}")
}

fn truncated(text: &str) -> String {
    text.trim().chars().take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests;
