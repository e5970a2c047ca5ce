//! The plugin's output, and the order of its rows.

use std::{cmp::Ordering, ops::Not, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tally::Tally;

/// The name shown in the row of packets without a participant.
pub const UNNAMED: &str = "unknown";

/// The most participants in a table during the meeting.
pub const MAX_ROWS: usize = 100;

/// The most participants in the last table. With long names, it stays below the size limit of packets.
pub const MAX_LAST_ROWS: usize = 1_000;

/// How much each participant talked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Table {
    /// A row for each participant, ordered by most words first, then by name: at most 100 during the meeting,
    /// and 1,000 in the last table, not counting the row of packets without a participant.
    pub participants: Vec<Row>,
    /// The turns of all participants.
    pub turns: u64,
    /// The words of all participants.
    pub words: u64,
    /// The participants without a row. Left out if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<Others>,
}

/// How much one participant talked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// The participant's name.
    pub name: String,
    /// The number of final transcriptions.
    pub turns: u64,
    /// The number of words in them.
    pub words: u64,
    /// Their total duration in seconds.
    pub seconds: f64,
    /// Whether this row counts the packets that name no participant. Left out if false.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub unnamed: bool,
}

/// How much the participants without a row talked, together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Others {
    /// The number of these participants.
    pub participants: u64,
    /// The number of final transcriptions.
    pub turns: u64,
    /// The number of words in them.
    pub words: u64,
    /// Their total duration in seconds.
    pub seconds: f64,
}

/// What a table is made of.
pub(crate) struct Counts<'a> {
    /// Participants, among them all that can get a row.
    pub(crate) named: Vec<(Arc<str>, Tally)>,
    /// The number of all participants, and what they said together.
    pub(crate) all: (u64, Tally),
    pub(crate) unnamed: Option<&'a Tally>,
    pub(crate) turns: u64,
}

/// Orders participants by most words first, then by name.
pub(crate) fn by_words(a: &(Arc<str>, Tally), b: &(Arc<str>, Tally)) -> Ordering {
    b.1.words.cmp(&a.1.words).then_with(|| a.0.cmp(&b.0))
}

impl Row {
    fn new(name: &str, tally: &Tally, unnamed: bool) -> Self {
        let Tally { turns, words, .. } = *tally;
        Self { name: name.to_owned(), turns, words, seconds: tally.seconds(), unnamed }
    }
}

impl Counts<'_> {
    /// The table with at most so many rows.
    pub(crate) fn table(mut self, max_rows: usize) -> Table {
        self.named.sort_unstable_by(by_words);
        self.named.truncate(max_rows);
        let (mut participants, mut rest) = self.all;
        let words = self.unnamed.map_or(0, |tally| tally.words).saturating_add(rest.words);
        for (_, tally) in &self.named {
            participants = participants.saturating_sub(1);
            rest.subtract(tally);
        }
        let others = (participants > 0).then(|| Others {
            participants,
            turns: rest.turns,
            words: rest.words,
            seconds: rest.seconds(),
        });
        let mut rows: Vec<Row> =
            self.named.iter().map(|(name, tally)| Row::new(name, tally, false)).collect();
        if let Some(tally) = self.unnamed {
            let row = Row::new(UNNAMED, tally, true);
            let before = |other: &Row| (row.words, other.name.as_str()) <= (other.words, UNNAMED);
            rows.insert(rows.partition_point(before), row);
        }
        Table { participants: rows, turns: self.turns, words, others }
    }
}
