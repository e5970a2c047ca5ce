//! What the model answers, and how it is read.
//!
//! Much is forgiven: prose around the JSON, lists that are missing or null, a task without its form. What the
//! model puts where it knows nothing ("none", "n/a", or what the form says there) is nothing, so that minutes
//! say only what was said.

use jiff::civil::Date;
use serde::Deserialize;
use teammy_kernel::{AnswerError, parse_answer};

use crate::{config::is_language_tag, form, output::ActionItem, text};

/// The longest answer, in bytes; minutes of many hours are a tenth of it. It bounds what is put out.
const MAX_BYTES: usize = 64 * 1024;

/// The longest title, in words.
const TITLE_WORDS: usize = 30;

/// What models say for "not said".
const NOTHING: [&str; 10] =
    ["-", "n/a", "nobody", "none", "not specified", "null", "tbd", "unassigned", "unknown", "unspecified"];

/// Why an answer is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("the answer is empty")]
    Empty,
    #[error("the answer is of {bytes} bytes; the limit is {MAX_BYTES}")]
    TooLong { bytes: usize },
    #[error(transparent)]
    Json(#[from] AnswerError),
    #[error("the answer's summary is missing")]
    NoSummary,
}

/// The minutes, as far as the model makes them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) title: Option<String>,
    pub(crate) summary: String,
    pub(crate) decisions: Vec<String>,
    pub(crate) action_items: Vec<ActionItem>,
    pub(crate) open_questions: Vec<String>,
    pub(crate) language: Option<String>,
}

#[derive(Deserialize)]
struct Raw {
    title: Option<String>,
    summary: String,
    decisions: Option<Vec<String>>,
    action_items: Option<Vec<RawItem>>,
    open_questions: Option<Vec<String>>,
    language: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawItem {
    Whole { task: String, owner: Option<String>, due: Option<String>, due_date: Option<String> },
    Task(String),
}

/// The notes in an answer, at most so many words of them: without thoughts, copied tags, and repetitions.
pub(crate) fn notes(answer: &str, max_words: usize) -> Result<String, Unusable> {
    // A model that thinks aloud marks where it is done; the beginning of it some servers keep to themselves.
    let notes = match answer.rsplit_once("</think>") {
        Some((_, notes)) => notes,
        None if answer.trim_start().starts_with("<think>") => "",
        None => answer,
    };
    let mut lines: Vec<_> = notes.lines().filter(|line| !form::is_tag(line)).collect();
    // Small models get caught in a line and say it until they have no more room.
    lines.dedup();
    let notes = text::block(&lines.join("\n"));
    if notes.is_empty() { Err(Unusable::Empty) } else { Ok(text::cut(&notes, max_words)) }
}

impl Answer {
    /// Reads the minutes in an answer.
    pub(crate) fn read(answer: &str) -> Result<Self, Unusable> {
        if answer.trim().is_empty() {
            return Err(Unusable::Empty);
        }
        if answer.len() > MAX_BYTES {
            return Err(Unusable::TooLong { bytes: answer.len() });
        }
        let raw: Raw = parse_answer(answer)?;
        let summary = text::block(&raw.summary);
        if summary.is_empty() || form::is_of_the_form(&summary) {
            return Err(Unusable::NoSummary);
        }
        Ok(Self {
            title: said(raw.title).map(|title| text::cut(&title, TITLE_WORDS)),
            summary,
            decisions: list(raw.decisions),
            action_items: raw.action_items.into_iter().flatten().filter_map(RawItem::item).collect(),
            open_questions: list(raw.open_questions),
            language: raw.language.filter(|tag| is_language_tag(tag)),
        })
    }
}

impl RawItem {
    fn item(self) -> Option<ActionItem> {
        let (task, owner, due, due_date) = match self {
            Self::Whole { task, owner, due, due_date } => (task, owner, due, due_date),
            Self::Task(task) => (task, None, None, None),
        };
        let due_date = due_date.as_deref().and_then(date);
        Some(ActionItem { task: said(Some(task))?, owner: said(owner), due: said(due), due_date })
    }
}

fn list(lines: Option<Vec<String>>) -> Vec<String> {
    lines.into_iter().flatten().filter_map(|line| said(Some(line))).collect()
}

/// A text on one line, if it says something.
fn said(text: Option<String>) -> Option<String> {
    let line = text::line(&text?);
    let bare = line.trim_end_matches('.');
    let is_nothing = bare.is_empty()
        || NOTHING.iter().any(|nothing| bare.eq_ignore_ascii_case(nothing))
        || form::is_of_the_form(bare);
    (!is_nothing).then_some(line)
}

/// A date of the form `YYYY-MM-DD` that is in the calendar.
fn date(text: &str) -> Option<Date> {
    let bytes = text.trim().as_bytes();
    let form = bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if form { text.trim().parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
