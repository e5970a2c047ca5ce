//! The plugin's outputs.

use std::ops::Not;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use teammy_kernel::Timestamp;

/// An output: a running summary during the meeting, or the minutes at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Output {
    /// The running summary of the meeting so far.
    Rolling(Rolling),
    /// The minutes of the whole meeting.
    Final(Box<Final>),
}

/// The running summary of the meeting so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rolling {
    /// The running summary, as plain text of several lines. It replaces the previous one.
    pub summary: String,
    /// How many words of the meeting it covers.
    pub words: u64,
}

/// The minutes of the whole meeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Final {
    /// Whether the minutes are structured and cover everything that was said; true if there are no
    /// `problems`.
    pub complete: bool,
    /// Why the minutes are incomplete. Left out if they are complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// The minutes.
    pub minutes: MeetingMinutes,
    /// The minutes as Markdown, for people.
    pub markdown: String,
}

/// Why minutes are incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Problem {
    /// The model failed, or gave no usable answer: `summary` holds the running summary, and the lists are empty.
    Unstructured,
    /// The model's answer was cut off, and is not used: `summary` holds the running summary, and the lists are empty.
    CutOff,
    /// A budget had too little left for the minutes: `summary` holds the running summary, and the lists are
    /// empty.
    Budget,
    /// A part of the transcript was left out: the model refused it or failed, a budget had too little left
    /// for it, or it was longer than the prompts of one hook.
    LeftOut,
    /// Packets of a volatile source were lost before they reached the plugin.
    Lost,
}

/// Minutes of a meeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MeetingMinutes {
    /// The meeting's title, else a title by the model; null if there is neither.
    pub title: Option<String>,
    /// When the meeting started; null if unknown.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started_at: Option<Timestamp>,
    /// When the meeting ended.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub ended_at: Timestamp,
    /// The attendees, in the order in which they appeared.
    pub attendees: Vec<String>,
    /// Whether there were more attendees than `attendees` holds. Left out if false.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub more_attendees: bool,
    /// What the meeting was about, in one or more lines.
    pub summary: String,
    /// The decisions.
    pub decisions: Vec<String>,
    /// The tasks that participants took on.
    pub action_items: Vec<ActionItem>,
    /// The questions that were not answered.
    pub open_questions: Vec<String>,
    /// The language of the minutes, as a tag such as `de`; null if unknown.
    pub language: Option<String>,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActionItem {
    /// What to do.
    pub task: String,
    /// Who does it; null if nobody was named.
    pub owner: Option<String>,
    /// When it is due, in the words of the meeting; null if no time was named.
    pub due: Option<String>,
    /// When it is due, as a date; null unless the model is sure of it.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub due_date: Option<Date>,
}
