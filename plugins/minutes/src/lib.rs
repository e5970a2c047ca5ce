//! Minutes of a meeting: a running summary, and at the end what was decided, who does what by when, and what
//! is open.
//!
//! The plugin takes `transcription` (what is final), `chat` (what is written to everybody) and `participant`
//! (who was there). It needs a language model.
//!
//! ```toml
//! [[plugin]]
//! name = "minutes"
//! kind = "minutes"
//! config = { every_words = 800, language = "en" }
//! ```
//!
//! Each instance writes its own minutes, so a meeting with interpreters has them in several languages:
//!
//! ```toml
//! [[plugin]]
//! name = "minutes-de"
//! kind = "minutes"
//! config = { language = "de" }
//! sources = { transcription = "captions-de" }
//! ```
//!
//! # While the meeting goes on
//! Whenever [`every_words`](Config::every_words) have been said, the fast model folds them into the running
//! summary, which keeps decisions, tasks and open questions as notes. It is put out, as it shows those who
//! join late what they missed:
//!
//! ```json
//! {"kind":"rolling","summary":"Release moves to Thursday.\nBo tests the update.","words":812}
//! ```
//!
//! What queues up behind a slow model is one question, unless it is more than
//! [`chunk_words`](Config::chunk_words): then it is asked in parts of that size, at most three in one hook.
//! So every prompt has a bound, whatever comes, and so has the time that a hook takes.
//!
//! # At the end
//! What is left is folded in too, and the default model makes the minutes. They are put out as JSON, and as
//! Markdown with headings in the language of the minutes (English, Dutch, French, German, Italian,
//! Portuguese, Spanish; others get English ones):
//!
//! ```json
//! {"kind":"final","complete":true,
//!  "minutes":{"title":"Release sync","started_at":"2026-03-02T09:00:00Z","ended_at":"2026-03-02T09:25:00Z",
//!   "attendees":["Ada","Bo"],"summary":"The release is ready but for the update's test.",
//!   "decisions":["The release moves to Thursday."],
//!   "action_items":[{"task":"Test the update","owner":"Bo","due":"by Wednesday","due_date":"2026-03-04"}],
//!   "open_questions":["Who writes the announcement?"],"language":"en"},
//!  "markdown":"# Release sync\n\n…"}
//! ```
//!
//! ```markdown
//! # Release sync
//!
//! 2026-03-02, 09:00–09:25 UTC
//!
//! **Attendees:** Ada, Bo
//!
//! ## Summary
//!
//! The release is ready but for the update's test.
//!
//! ## Decisions
//!
//! - The release moves to Thursday.
//!
//! ## Action items
//!
//! - [ ] **Bo**: Test the update (due: by Wednesday, 2026-03-04)
//!
//! ## Open questions
//!
//! - Who writes the announcement?
//! ```
//!
//! A meeting in which nobody said anything has no minutes: the model isn't asked, and nothing is put out. An
//! instance that is taken out of a running meeting leaves the minutes of what it heard.
//!
//! # When the model doesn't do as it is told
//! * **Its answer is of no use**: it is asked once more, with what was wrong. If that doesn't help, the
//!   minutes hold the running summary and empty lists, and say `"complete":false` and
//!   [`"unstructured"`](Problem::Unstructured).
//! * **It refuses** (such as a prompt that is larger than it can read): asking again would not help, and
//!   keeping the text would stand in the way of all that is said later. So that part is [left
//!   out](Problem::LeftOut), and the log has a warning.
//! * **It fails**, or takes longer than a hook may (`hooks.deadline`; raise it for a slow model): what was
//!   heard waits, and the next that is heard asks again. When more waits than one question holds, and at the
//!   end, the hook fails and has changed nothing. The runtime tries again, and if it gives up the packets are
//!   dead letters that can be redriven; what was heard before them waits for the next question.
//!
//! An owner, a time or a date that nobody named is null. A `due_date` is one that the model writes as
//! `YYYY-MM-DD` and that is in the calendar, or null.
//!
//! # What minutes never hold
//! A chat message that is written to somebody is private: it isn't kept, shown to the model or counted.
//! Nothing that is said, asked or answered gets into the log.

mod answer;
mod config;
mod form;
mod markdown;
mod output;
mod prompt;
mod questions;
mod state;
mod text;
mod transcript;

use teammy_kernel::{
    Batch, Cx, Error, Hooks, InCallPlugin, Json, Model, Receive,
    data::{Chat, ParticipantEvent, Transcription},
};

pub use config::Config;
pub use output::{ActionItem, Final, MeetingMinutes, Output, Problem, Rolling};
pub use state::State;

use answer::Answer;
use prompt::About;
use questions::Questions;
use state::count;
use transcript::Way;

/// The most packets that one hook takes: some minutes of talk, and at 250 words each as much as its questions
/// hold.
const BATCH: usize = 32;

/// The plugin; it has no resources, only a configuration.
#[derive(Debug)]
pub struct Minutes {
    config: Config,
}

impl Minutes {
    fn questions(&self, cx: &Cx<'_, Self>) -> Questions {
        let llm = cx.engine().llm().clone();
        Questions::new(llm, self.config.temperature, cx.meeting().id.clone(), cx.instance().clone())
    }

    fn chunk_words(&self) -> usize {
        self.config.chunk_words as usize
    }

    /// Takes what a hook heard, and renews the running summary if enough has been said since.
    async fn take(
        &self,
        cx: &mut Cx<'_, Self>,
        hear: impl FnOnce(&mut State) + Send,
    ) -> Result<Option<Json<Output>>, Error> {
        let mut questions = self.questions(cx);
        let gap = cx.gap();
        let state = cx.state_mut();
        state.miss(gap);
        hear(state);
        let mut renewed = false;
        if state.pending.words() >= self.config.every_words as usize {
            let waiting = state.pending.clone();
            match self.fold(state, &mut questions).await {
                Ok(is_new) => renewed |= is_new,
                Err(error) if waiting.size() <= self.chunk_words() => {
                    questions.warn(error.as_error());
                    state.pending = waiting;
                }
                Err(error) => return Err(error),
            }
        }
        // Names take room as well, and more may have queued up than one question holds.
        while state.pending.size() > self.chunk_words() && state.pending.words() > 0 && questions.left() > 0 {
            renewed |= self.fold(state, &mut questions).await?;
        }
        state.leave_out_beyond(self.chunk_words());
        Ok(renewed.then(|| Json(Output::Rolling(state.rolling()))))
    }

    /// Folds the oldest that is pending into the notes; says whether there are new ones.
    async fn fold(&self, state: &mut State, questions: &mut Questions) -> Result<bool, Error> {
        let part = state.pending.take(self.chunk_words());
        let max_words = 2 * self.config.summary_words as usize;
        let messages = prompt::fold(&self.config, &state.notes, &part.text);
        let notes = questions.ask(Model::Fast, messages, |text| answer::notes(text, max_words)).await?;
        let Some(notes) = notes else {
            state.left_out += count(part.words);
            return Ok(false);
        };
        state.notes = notes;
        Ok(true)
    }
}

impl State {
    fn rolling(&self) -> Rolling {
        Rolling { summary: self.notes.clone(), words: self.words_noted() }
    }

    fn problems(&self, answer: Option<&Answer>) -> Vec<Problem> {
        let problems = [
            (answer.is_none(), Problem::Unstructured),
            (self.left_out > 0, Problem::LeftOut),
            (self.lost > 0, Problem::Lost),
        ];
        problems.into_iter().filter_map(|(is_one, problem)| is_one.then_some(problem)).collect()
    }
}

impl InCallPlugin for Minutes {
    type Config = Config;
    type State = State;
    type Output = Json<Output>;
    const KIND: &'static str = "minutes";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const NEEDS_LLM: bool = true;

    async fn on_startup(config: Config) -> Result<Self, Error> {
        config.check()?;
        Ok(Self { config })
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks
            .on_batch::<Json<Transcription>>("transcription", BATCH)
            .on_batch::<Json<Chat>>("chat", BATCH)
            .on::<Json<ParticipantEvent>>("participant")
    }

    async fn on_meeting_end(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Output>>, Error> {
        if cx.state().words == 0 {
            return Ok(None);
        }
        let mut questions = self.questions(cx);
        let (meeting, ended_at, gap) = (cx.meeting().clone(), cx.packet().timestamp, cx.gap());
        let state = cx.state_mut();
        state.miss(gap);
        if state.pending.words() > 0 {
            self.fold(state, &mut questions).await?;
        }
        // Hooks leave no more than one question holds; one that ran under another configuration may have.
        if state.pending.words() > 0 {
            state.leave_out_beyond(0);
        }
        let started_at = meeting.started_at.or(state.since);
        // Packets may come out of order, and their clock may have been set back.
        let ended_at =
            [Some(ended_at), state.until, started_at].into_iter().flatten().max().unwrap_or(ended_at);
        let title = meeting.title.as_deref().map(text::line).filter(|title| !title.is_empty());
        let about = About { title: title.as_deref(), started_at, attendees: &state.attendees.names };
        let answer = if state.notes.is_empty() {
            None
        } else {
            let messages = prompt::minutes(&self.config, &about, &state.notes);
            questions.ask(Model::Default, messages, Answer::read).await?
        };
        let problems = state.problems(answer.as_ref());
        let answer = answer.unwrap_or_else(|| Answer { summary: state.notes.clone(), ..Answer::default() });
        let minutes = MeetingMinutes {
            title: title.or(answer.title),
            started_at,
            ended_at,
            attendees: state.attendees.names.clone(),
            more_attendees: state.attendees.more,
            summary: answer.summary,
            decisions: answer.decisions,
            action_items: answer.action_items,
            open_questions: answer.open_questions,
            language: self.config.language.clone().or(answer.language),
        };
        let complete = problems.is_empty();
        let markdown = markdown::render(&minutes, complete);
        Ok(Some(Json(Output::Final(Box::new(Final { complete, problems, minutes, markdown })))))
    }
}

impl Receive<Batch<Json<Transcription>>> for Minutes {
    async fn receive(
        &self,
        said: Batch<Json<Transcription>>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Output>>, Error> {
        let packets = cx.packets().to_vec();
        let heard: Vec<_> = packets.into_iter().zip(said).filter(|(_, Json(said))| said.is_final).collect();
        if heard.is_empty() && cx.gap() == 0 {
            return Ok(None);
        }
        self.take(cx, |state| {
            for (packet, Json(said)) in &heard {
                state.hear(packet, Way::Speech, &said.text);
            }
        })
        .await
    }
}

impl Receive<Batch<Json<Chat>>> for Minutes {
    async fn receive(
        &self,
        written: Batch<Json<Chat>>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Output>>, Error> {
        let packets = cx.packets().to_vec();
        let heard: Vec<_> =
            packets.into_iter().zip(written).filter(|(_, Json(chat))| chat.to.is_none()).collect();
        if heard.is_empty() && cx.gap() == 0 {
            return Ok(None);
        }
        self.take(cx, |state| {
            for (packet, Json(chat)) in &heard {
                state.hear(packet, Way::Chat, &chat.text);
            }
        })
        .await
    }
}

impl Receive<Json<ParticipantEvent>> for Minutes {
    async fn receive(
        &self,
        Json(event): Json<ParticipantEvent>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Output>>, Error> {
        let packets = cx.packets().to_vec();
        self.take(cx, |state| state.notice(&packets[0], event)).await
    }
}

#[cfg(test)]
mod tests;
