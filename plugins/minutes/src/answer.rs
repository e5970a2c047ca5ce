//! Reads the model's answers.
//!
//! The reader is lenient: it accepts lists that are missing or null, and a task that is plain text. Where the
//! model had no value and wrote a filler ("none", "n/a", or the placeholder of the prompt), the result has no
//! value either. The schema requires no more than the reader, so that nothing that can be read is asked for
//! again.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{config::is_language_tag, format, output::ActionItem, text};

/// The most text in the minutes, in bytes: ten times the minutes of a meeting of many hours. Bounds the
/// output's size.
const MAX_BYTES: usize = 64 * 1024;

/// What a text counts at least: the output has it twice, in quotation marks and as an item of a list.
const MIN_BYTES: usize = 16;

/// The longest title, in words.
const TITLE_WORDS: usize = 30;

/// The fillers that models write where they have no value.
const FILLERS: [&str; 10] =
    ["-", "n/a", "nobody", "none", "not specified", "null", "tbd", "unassigned", "unknown", "unspecified"];

/// Why an answer is unusable. The next prompt quotes these messages to the model. Those about minutes have
/// the form of serde's: the kernel passes on no others, as they could quote the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnusableAnswer {
    #[error("the answer is empty")]
    Empty,
    #[error("invalid length {bytes}, expected at most {MAX_BYTES} bytes of text")]
    TooLong { bytes: usize },
    #[error("invalid value: string, expected a summary of what was talked about")]
    NoSummary,
}

/// The parts of the minutes that the model writes.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "RawMinutes")]
#[schemars(with = "RawMinutes", rename = "Minutes", description = "The minutes of a meeting.")]
pub(crate) struct DraftMinutes {
    pub(crate) title: Option<String>,
    pub(crate) summary: String,
    pub(crate) decisions: Vec<String>,
    pub(crate) action_items: Vec<ActionItem>,
    pub(crate) open_questions: Vec<String>,
    pub(crate) language: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(inline)]
struct RawMinutes {
    title: Option<String>,
    summary: String,
    decisions: Option<Vec<String>>,
    #[schemars(with = "Option<Vec<RawTask>>")]
    action_items: Option<Vec<RawActionItem>>,
    open_questions: Option<Vec<String>>,
    language: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "missing field `task` of an action item")]
enum RawActionItem {
    Full(RawTask),
    Text(String),
}

// The form of an action item that the schema names: a plain text has no owner. (The schema would quote a
// `///` comment.)
#[derive(Deserialize, JsonSchema)]
#[schemars(inline)]
struct RawTask {
    task: String,
    owner: Option<String>,
    due: Option<String>,
    due_date: Option<String>,
}

/// Returns the notes in an answer, cut off after `max_words`, without reasoning, copied tags and repeated
/// lines.
pub(crate) fn notes(answer: &str, max_words: usize) -> Result<String, UnusableAnswer> {
    // A reasoning model marks the end of its reasoning. Some servers strip the mark of its beginning.
    let notes = match answer.rsplit_once("</think>") {
        Some((_, notes)) => notes,
        None if answer.trim_start().starts_with("<think>") => "",
        None => answer,
    };
    let mut lines: Vec<_> = notes.lines().filter(|line| !format::is_tag(line)).collect();
    // Small models can repeat a line until they reach their token limit.
    lines.dedup();
    let notes = text::block(&lines.join("\n"));
    if notes.is_empty() { Err(UnusableAnswer::Empty) } else { Ok(text::truncate(&notes, max_words)) }
}

impl TryFrom<RawMinutes> for DraftMinutes {
    type Error = UnusableAnswer;

    fn try_from(raw: RawMinutes) -> Result<Self, UnusableAnswer> {
        let bytes = raw.texts().map(|text| text.len().max(MIN_BYTES)).sum();
        if bytes > MAX_BYTES {
            return Err(UnusableAnswer::TooLong { bytes });
        }
        let summary = text::block(&raw.summary);
        if summary.is_empty() || format::is_placeholder(&summary) {
            return Err(UnusableAnswer::NoSummary);
        }
        Ok(Self {
            title: meaningful_line(raw.title).map(|title| text::truncate(&title, TITLE_WORDS)),
            summary,
            decisions: list(raw.decisions),
            action_items: raw.action_items.into_iter().flatten().filter_map(RawActionItem::item).collect(),
            open_questions: list(raw.open_questions),
            language: raw.language.filter(|tag| is_language_tag(tag)),
        })
    }
}

impl RawMinutes {
    fn texts(&self) -> impl Iterator<Item = &String> {
        let items = self.action_items.iter().flatten().flat_map(RawActionItem::texts);
        let lists = [&self.decisions, &self.open_questions].into_iter().flatten().flatten();
        [Some(&self.summary), self.title.as_ref()].into_iter().flatten().chain(lists).chain(items)
    }
}

impl RawActionItem {
    fn texts(&self) -> impl Iterator<Item = &String> {
        let texts = match self {
            Self::Full(RawTask { task, owner, due, due_date }) => {
                [Some(task), owner.as_ref(), due.as_ref(), due_date.as_ref()]
            }
            Self::Text(task) => [Some(task), None, None, None],
        };
        texts.into_iter().flatten()
    }

    fn item(self) -> Option<ActionItem> {
        let RawTask { task, owner, due, due_date } = match self {
            Self::Full(task) => task,
            Self::Text(task) => RawTask { task, owner: None, due: None, due_date: None },
        };
        let due_date = due_date.as_deref().and_then(date);
        Some(ActionItem {
            task: meaningful_line(Some(task))?,
            owner: meaningful_line(owner),
            due: meaningful_line(due),
            due_date,
        })
    }
}

fn list(lines: Option<Vec<String>>) -> Vec<String> {
    lines.into_iter().flatten().filter_map(|line| meaningful_line(Some(line))).collect()
}

/// Returns the text on one line, unless it is empty, a filler or a placeholder.
fn meaningful_line(text: Option<String>) -> Option<String> {
    let line = text::line(&text?);
    let bare = line.trim_end_matches('.');
    let is_empty = bare.is_empty()
        || FILLERS.iter().any(|filler| bare.eq_ignore_ascii_case(filler))
        || format::is_placeholder(bare);
    (!is_empty).then_some(line)
}

/// Parses a date of the form `YYYY-MM-DD` that exists in the calendar.
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
