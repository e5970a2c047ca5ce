//! Writes the minutes of a meeting: a running summary, and at the end decisions, action items and open
//! questions.
//!
//! The plugin takes `transcription` (final ones only), `chat` (messages to everybody) and `participant` (for
//! the attendees). It needs a language model.
//!
//! ```toml
//! [[plugin]]
//! name = "minutes"
//! kind = "minutes"
//! config = { every_words = 800, language = "en" }
//! ```
//!
//! Each instance writes its own minutes, so a meeting with interpreters can have minutes in several
//! languages:
//!
//! ```toml
//! [[plugin]]
//! name = "minutes-de"
//! kind = "minutes"
//! config = { language = "de" }
//! sources = { transcription = "captions-de" }
//! ```
//!
//! # During the meeting
//! After every [`every_words`](Config::every_words) words, the fast model folds them into the running
//! summary, which keeps decisions, tasks and open questions as notes. The plugin puts it out; it shows
//! latecomers what they missed:
//!
//! ```json
//! {"kind":"rolling","summary":"Release moves to Thursday.\nBo tests the update.","words":812}
//! ```
//!
//! What a prompt holds depends on the words alone, not on the model's speed: a recording gives the same summaries at any
//! pace. If a packet is large, or the model has failed before, more than [`chunk_words`](Config::chunk_words) is pending;
//! then the plugin splits it into prompts of that size, at most three in one hook. So the size of every prompt and the
//! duration of a hook are bounded, whatever arrives.
//!
//! # At the end
//! The fast model folds in the rest, and the default model writes the minutes. The plugin puts them out as
//! JSON, and as Markdown with headings in the language of the minutes (English, Dutch, French, German,
//! Italian, Portuguese or Spanish, and English for all others):
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
//! If nobody said anything, there are no minutes: the plugin doesn't ask the model and puts out nothing. An
//! instance that is unassigned from a running meeting puts out the minutes of its part of the meeting.
//!
//! # Large meetings
//! The minutes name the first 200 attendees, and say if there were more (`more_attendees`). The cost of a
//! packet doesn't depend on the number of participants or the length of the meeting: the state holds the
//! newest words and up to 32 attendees, and keys hold the running summary, the rest of the pending transcript
//! and a longer list.
//!
//! # When the model misbehaves
//! * **Unusable answer**: the plugin asks once more and tells the model what was wrong. Minutes are unusable
//!   if they are not of their JSON Schema, have no summary or the prompt's placeholder for one, or are too
//!   long. If the second answer is unusable too, the minutes hold the running summary and empty lists, with
//!   `"complete":false` and the problem [`"unstructured"`](Problem::Unstructured).
//! * **An answer that is cut off**, because it reached the server's limit: it is not used. The minutes hold the running
//!   summary, with `"complete":false` and the problem [`"cut-off"`](Problem::CutOff); of a running summary that part is left
//!   out. Allow the model more tokens.
//! * **Refusal** (for example of a prompt that is larger than the model's context): asking again would not
//!   help, and keeping the text would block everything after it. So the plugin [leaves that part
//!   out](Problem::LeftOut) and logs a warning.
//! * **A budget that is used up** (`[[llm.budget]]`): the plugin goes on with what it has, because another
//!   try of the hook would be no different. During the meeting, the text stays pending if the budget begins
//!   anew, up to three prompts of it; if the budget is for the whole meeting, that part is left out. At the
//!   end, the fast model writes the minutes if there is too little for the default model. If there is too
//!   little for both, the minutes hold the running summary, with `"complete":false` and the problem
//!   [`"budget"`](Problem::Budget).
//! * **Failure**, or a request that takes longer than a hook may (`hooks.deadline`; raise it for a slow
//!   model): the text stays pending, and the next packet asks again. If more is pending than one prompt
//!   holds, and at the end of the meeting, the hook fails instead and changes nothing, and the runtime tries
//!   it again. At the last try (`hooks.tries`) the plugin does without the model: the text stays pending, up
//!   to three prompts of it, and the minutes are what an unusable answer leaves.
//!
//! An owner, a time or a date that nobody named is null. A `due_date` is null too unless the model writes it
//! as `YYYY-MM-DD` and it exists in the calendar.
//!
//! # Privacy
//! A chat message to one participant is private: the plugin neither stores nor counts it, and the model
//! never sees it. No text of the meeting, no prompt and no answer gets into the log.

mod answer;
mod attendees;
mod config;
mod format;
mod limited_llm;
mod markdown;
mod output;
mod pending;
mod prompt;
mod state;
mod text;
mod transcript;

use teammy_kernel::{
    Cx, Error, Hooks, InCallPlugin, Json, LlmError, Receive, StartupCx,
    data::{Chat, ParticipantEvent, Transcription},
};

pub use config::Config;
pub use output::{ActionItem, Final, MeetingMinutes, Output, Problem, Rolling};
pub use state::State;

use answer::DraftMinutes;
use limited_llm::LimitedLlm;
use prompt::MeetingFacts;
use state::{Said, read_notes, to_u64, write_notes};
use transcript::{Medium, Transcript};

/// How many prompts' words may be pending after the last try of a hook whose model failed: as many as the next
/// hook can ask for.
const MAX_PENDING_CHUNKS: usize = 3;

/// The plugin; its only resource is its configuration.
#[derive(Debug)]
pub struct Minutes {
    config: Config,
}

impl Minutes {
    fn llm(&self, cx: &Cx<'_, Self>) -> LimitedLlm {
        let llm = cx.engine().llm().clone();
        LimitedLlm::new(llm, self.config.temperature, cx.meeting().id.clone(), cx.instance().clone())
    }

    fn chunk_words(&self) -> usize {
        self.config.chunk_words as usize
    }

    /// Applies a hook's packet to the state, unless it is not for the minutes, and updates the running summary if it is
    /// due.
    async fn update(&self, cx: &mut Cx<'_, Self>, said: Option<Said>) -> Result<Option<Json<Output>>, Error> {
        if said.is_none() && cx.gap() == 0 {
            return Ok(None);
        }
        let mut llm = self.llm(cx);
        let (gap, is_last_attempt) = (cx.gap(), cx.is_last_attempt());
        let datastore = cx.engine().datastore().clone();
        let packet = cx.packets()[0].clone();
        let state = cx.state_mut();
        state.upgrade(&datastore).await?;
        state.record_gap(gap);
        if let Some(said) = said {
            state.apply(&packet, said, &datastore).await?;
        }
        let is_due = state.pending.words() >= self.config.every_words as usize;
        if !is_due && state.pending.size() <= self.chunk_words() {
            state.pending.make_room(&datastore)?;
            return Ok(None);
        }
        let before = state.pending.read(&datastore).await?;
        let mut summary = Summary { notes: read_notes(&datastore).await?, pending: before.clone() };
        let mut updated = false;
        let mut most_pending = self.chunk_words();
        // Names need room too, and more may have queued up than one prompt holds.
        let mut is_next_due = is_due || summary.pending.words() > 0;
        while is_next_due {
            let unfolded = summary.pending.clone();
            match self.fold_oldest(state, &mut summary, &mut llm).await {
                Ok(left_out) => updated |= left_out.is_none(),
                Err(error)
                    if before.size() <= self.chunk_words() || is_last_attempt || begins_anew(&error) =>
                {
                    llm.warn(&error, state);
                    summary.pending = unfolded;
                    most_pending = MAX_PENDING_CHUNKS * self.chunk_words();
                    break;
                }
                Err(error) => return Err(error.into()),
            }
            is_next_due = summary.pending.size() > self.chunk_words()
                && summary.pending.words() > 0
                && llm.requests_left() > 0;
        }
        state.left_out += to_u64(summary.pending.drop_oldest(most_pending));
        if summary.pending == before {
            state.pending.make_room(&datastore)?;
        } else {
            state.pending.replace(summary.pending, &datastore)?;
        }
        if !updated {
            return Ok(None);
        }
        write_notes(&summary.notes, &datastore)?;
        let words = state.words_noted(state.pending.words());
        Ok(Some(Json(Output::Rolling(Rolling { summary: summary.notes, words }))))
    }

    /// Folds the oldest part of the pending transcript into the notes, or leaves it out, if asking for it
    /// again would not help; returns why it is left out.
    ///
    /// # Errors
    /// What may pass: a failure, or a budget that begins anew.
    async fn fold_oldest(
        &self,
        state: &mut State,
        summary: &mut Summary,
        llm: &mut LimitedLlm,
    ) -> Result<Option<Problem>, LlmError> {
        let excerpt = summary.pending.take_oldest(self.chunk_words());
        let max_words = 2 * self.config.summary_words as usize;
        let messages = prompt::notes(&self.config, &summary.notes, &excerpt.text);
        match llm.notes(messages, max_words).await {
            Ok(notes) => {
                summary.notes = notes;
                Ok(None)
            }
            Err(error) if is_lasting(&error) && !begins_anew(&error) => {
                llm.warn(&error, state);
                state.left_out += to_u64(excerpt.words);
                Ok(Some(Problem::of(&error)))
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether the next try of the hook would fail in the same way.
fn is_lasting(error: &LlmError) -> bool {
    matches!(
        error,
        LlmError::Refused(_)
            | LlmError::CutOff { .. }
            | LlmError::Unreadable(_)
            | LlmError::BudgetExceeded { .. }
    )
}

/// Whether a later hook may ask what this one cannot pay.
fn begins_anew(error: &LlmError) -> bool {
    matches!(error, LlmError::BudgetExceeded { resets: Some(_), .. })
}

impl Problem {
    /// Why there are no structured minutes.
    fn of(error: &LlmError) -> Self {
        match error {
            LlmError::CutOff { .. } => Self::CutOff,
            LlmError::BudgetExceeded { .. } => Self::Budget,
            _ => Self::Unstructured,
        }
    }
}

/// The running summary, and what it doesn't cover yet.
struct Summary {
    notes: String,
    pending: Transcript,
}

impl State {
    /// Why the minutes are incomplete, if they are; `unstructured` is why the model wrote none.
    fn problems(&self, unstructured: Option<Problem>) -> Vec<Problem> {
        let left_out = (self.left_out > 0).then_some(Problem::LeftOut);
        let lost = (self.lost > 0).then_some(Problem::Lost);
        [unstructured, left_out, lost].into_iter().flatten().collect()
    }
}

impl InCallPlugin for Minutes {
    type Config = Config;
    type State = State;
    type Scratch = ();
    type Output = Json<Output>;
    const KIND: &'static str = "minutes";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const NEEDS_LLM: bool = true;

    async fn on_startup(config: Config, _: &StartupCx) -> Result<Self, Error> {
        config.check()?;
        Ok(Self { config })
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks
            .on::<Json<Transcription>>("transcription")
            .on::<Json<Chat>>("chat")
            .on::<Json<ParticipantEvent>>("participant")
    }

    async fn on_meeting_end(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Output>>, Error> {
        if cx.state().words == 0 {
            return Ok(None);
        }
        let mut llm = self.llm(cx);
        let is_last_attempt = cx.is_last_attempt();
        let (meeting, ended_at, gap) = (cx.meeting().clone(), cx.packet().timestamp, cx.gap());
        let datastore = cx.engine().datastore().clone();
        let state = cx.state_mut();
        state.upgrade(&datastore).await?;
        state.record_gap(gap);
        let pending = state.pending.read(&datastore).await?;
        let mut summary = Summary { notes: read_notes(&datastore).await?, pending };
        let mut problem = None;
        if summary.pending.words() > 0 {
            let unfolded = summary.pending.clone();
            match self.fold_oldest(state, &mut summary, &mut llm).await {
                Ok(None) => write_notes(&summary.notes, &datastore)?,
                Ok(left_out) => problem = left_out,
                Err(error) if is_last_attempt || begins_anew(&error) => {
                    llm.warn(&error, state);
                    summary.pending = unfolded;
                    problem = Some(Problem::of(&error));
                }
                Err(error) => return Err(error.into()),
            }
        }
        // More than one prompt is pending only if models failed, or if earlier hooks ran with a larger
        // `chunk_words`.
        if summary.pending.words() > 0 {
            state.left_out += to_u64(summary.pending.drop_oldest(0));
        }
        state.pending.replace(summary.pending, &datastore)?;
        let (notes, attendees) = (summary.notes, state.attendees.all(&datastore).await?);
        let started_at = meeting.started_at.or(state.since);
        // Packets may arrive out of order, and a publisher's clock may have been set back.
        let ended_at =
            [Some(ended_at), state.until, started_at].into_iter().flatten().max().unwrap_or(ended_at);
        let title = meeting.title.as_deref().map(text::line).filter(|title| !title.is_empty());
        let facts = MeetingFacts { title: title.as_deref(), started_at, attendees: &attendees };
        let draft = if notes.is_empty() {
            Err(problem.unwrap_or(Problem::Unstructured))
        } else {
            match llm.minutes(prompt::minutes(&self.config, &facts, &notes)).await {
                Ok(draft) => Ok(draft),
                Err(error) if is_last_attempt || is_lasting(&error) => {
                    llm.warn(&error, state);
                    Err(Problem::of(&error))
                }
                Err(error) => return Err(error.into()),
            }
        };
        let problems = state.problems(draft.as_ref().err().copied());
        let draft = draft.unwrap_or_else(|_| DraftMinutes { summary: notes, ..DraftMinutes::default() });
        let minutes = MeetingMinutes {
            title: title.or(draft.title),
            started_at,
            ended_at,
            attendees,
            more_attendees: state.attendees.more,
            summary: draft.summary,
            decisions: draft.decisions,
            action_items: draft.action_items,
            open_questions: draft.open_questions,
            language: self.config.language.clone().or(draft.language),
        };
        let complete = problems.is_empty();
        let markdown = markdown::render(&minutes, complete);
        Ok(Some(Json(Output::Final(Box::new(Final { complete, problems, minutes, markdown })))))
    }
}

impl Receive<Json<Transcription>> for Minutes {
    async fn receive(
        &self,
        Json(said): Json<Transcription>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Output>>, Error> {
        let said = said.is_final.then_some(Said::Message(Medium::Speech, said.text));
        self.update(cx, said).await
    }
}

impl Receive<Json<Chat>> for Minutes {
    async fn receive(
        &self,
        Json(chat): Json<Chat>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Output>>, Error> {
        let written = chat.to.is_none().then_some(Said::Message(Medium::Chat, chat.text));
        self.update(cx, written).await
    }
}

impl Receive<Json<ParticipantEvent>> for Minutes {
    async fn receive(
        &self,
        Json(event): Json<ParticipantEvent>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Output>>, Error> {
        self.update(cx, Some(Said::Event(event))).await
    }
}

#[cfg(test)]
mod tests;
