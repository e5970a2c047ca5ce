//! What the plugin puts out.

use std::ops::Not;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use teammy_kernel::Timestamp;

/// What the plugin puts out: a running summary now and then, the minutes at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Output {
    /// The meeting so far.
    Rolling(Rolling),
    /// The whole meeting.
    Final(Box<Final>),
}

/// The meeting so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rolling {
    /// The running summary, as plain text of several lines. It takes the place of the one before.
    pub summary: String,
    /// How many words of the meeting it is made of.
    pub words: u64,
}

/// The whole meeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Final {
    /// Whether all that was said has gone into the minutes, and they have their form: that there are no
    /// `problems`.
    pub complete: bool,
    /// Why they are not complete. Left out where they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// The minutes.
    pub minutes: MeetingMinutes,
    /// The same as Markdown, for people.
    pub markdown: String,
}

/// Why minutes are not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Problem {
    /// The model gave no answer that could be used: `summary` holds the running summary, and the lists are
    /// empty.
    Unstructured,
    /// A part of what was said was left out: the model would not take it, or it was more than it could be
    /// asked at once.
    LeftOut,
    /// Packets were lost on the way to the plugin, from a source that is not kept.
    Lost,
}

/// Minutes of a meeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MeetingMinutes {
    /// What people call the meeting, else what the model calls it; null where neither says.
    pub title: Option<String>,
    /// When it began; null where nothing is known.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub ended_at: Timestamp,
    /// Who was there, in the order of appearance.
    pub attendees: Vec<String>,
    /// Whether there were more than `attendees` holds. Left out where there were not.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub more_attendees: bool,
    /// What it was about; one line, or several.
    pub summary: String,
    /// What was decided.
    pub decisions: Vec<String>,
    /// What somebody is to do.
    pub action_items: Vec<ActionItem>,
    /// What was asked and not answered.
    pub open_questions: Vec<String>,
    /// The language they are written in, as a tag such as `de`; null where nobody says.
    pub language: Option<String>,
}

/// Something that is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActionItem {
    /// What is to be done.
    pub task: String,
    /// Who does it; null where nobody was named.
    pub owner: Option<String>,
    /// By when, in the words of the meeting; null where no time was named.
    pub due: Option<String>,
    /// The same as a date, where the model is sure of it.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub due_date: Option<Date>,
}
