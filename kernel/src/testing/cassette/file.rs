//! A recording as a file: one exchange a line, as JSON.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Budgets, Embeddings, LlmError, LlmResponse, Timestamp, Transcript};

/// The environment variable that makes [`Cassette::auto`](super::Cassette::auto) record.
pub(super) const RECORD: &str = "TEAMMY_RECORD";

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CassetteError {
    /// There is no file.
    #[error("there is no recording {}: run the test once with {}=1, and with a model, to record it", .path.display(), RECORD)]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("the recording {} cannot be read", .path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        error: io::Error,
    },
    /// A line is not a recorded exchange.
    #[error("line {line} of the recording {} is not an exchange: {problem}; record it again, with {}=1", .path.display(), RECORD)]
    Malformed {
        /// Where the file is.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// A line: a request, and what came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exchange {
    pub(super) request: Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pieces: Vec<Piece>,
    pub(super) outcome: Outcome,
}

/// A piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Piece {
    /// Milliseconds since the request.
    pub(super) ms: u64,
    pub(super) text: String,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Answer(Value),
    Error(Failure),
    /// Its hook, or its stream, was gone before an answer came.
    Cancelled,
}

/// An error as a line holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Failure {
    NotConfigured,
    Failed { problem: String },
    Refused { problem: String },
    Misconfigured { problem: String },
    CutOff { text: String },
    BudgetExceeded { name: String, resets: Option<Timestamp> },
    Unreadable { problem: String },
}

impl Failure {
    /// Its texts, each of which may quote something.
    pub(super) fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let text = match self {
            Self::NotConfigured => None,
            Self::Failed { problem }
            | Self::Refused { problem }
            | Self::Misconfigured { problem }
            | Self::Unreadable { problem } => Some(problem),
            Self::CutOff { text } => Some(text),
            Self::BudgetExceeded { name, .. } => Some(name),
        };
        text.into_iter()
    }
}

impl From<LlmError> for Failure {
    fn from(error: LlmError) -> Self {
        match error {
            LlmError::NotConfigured => Self::NotConfigured,
            LlmError::Failed(problem) => Self::Failed { problem },
            LlmError::Refused(problem) => Self::Refused { problem },
            LlmError::Misconfigured(problem) => Self::Misconfigured { problem },
            LlmError::CutOff { text } => Self::CutOff { text },
            LlmError::BudgetExceeded { name, resets } => Self::BudgetExceeded { name, resets },
            LlmError::Unreadable(problem) => Self::Unreadable { problem },
        }
    }
}

impl From<Failure> for LlmError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotConfigured => Self::NotConfigured,
            Failure::Failed { problem } => Self::Failed(problem),
            Failure::Refused { problem } => Self::Refused(problem),
            Failure::Misconfigured { problem } => Self::Misconfigured(problem),
            Failure::CutOff { text } => Self::CutOff { text },
            Failure::BudgetExceeded { name, resets } => Self::BudgetExceeded { name, resets },
            Failure::Unreadable { problem } => Self::Unreadable(problem),
        }
    }
}

/// An answer as a line holds it, without what is not known. It goes through text, as a request does.
pub(super) fn answer(answer: &impl Serialize) -> Value {
    let json = serde_json::to_string(answer).expect("invariant: an answer has a JSON form");
    let mut answer: Value = serde_json::from_str(&json).expect("invariant: it was just written");
    if let Some(fields) = answer.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    answer
}

/// What is wrong with an exchange whose form is right.
fn problem(exchange: &Exchange) -> Option<String> {
    fn is<T: serde::de::DeserializeOwned>(answer: &Value) -> Option<String> {
        T::deserialize(answer).err().map(|error| error.to_string())
    }
    match (exchange.request["kind"].as_str(), &exchange.outcome) {
        (Some("complete" | "stream"), Outcome::Answer(answer)) => is::<LlmResponse>(answer),
        (Some("embed"), Outcome::Answer(answer)) => is::<Embeddings>(answer),
        (Some("transcribe"), Outcome::Answer(answer)) => is::<Transcript>(answer),
        (Some("budgets"), Outcome::Answer(answer)) => is::<Budgets>(answer),
        (Some("check"), Outcome::Answer(_)) => Some("a check that passed is not recorded".to_owned()),
        (Some("complete" | "stream" | "embed" | "transcribe" | "budgets" | "check"), _) => None,
        (Some(kind), _) => Some(format!("there are no requests of kind {kind:?}")),
        (None, _) => Some("its request has no kind".to_owned()),
    }
}

/// The exchanges of a file, with the numbers of their lines.
pub(super) fn read(path: &Path) -> Result<Vec<(usize, Exchange)>, CassetteError> {
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CassetteError::Missing { path: path.to_owned() },
        _ => CassetteError::Unreadable { path: path.to_owned(), error },
    })?;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let exchange = |(line, json): (usize, &str)| {
        let malformed = |problem| CassetteError::Malformed { path: path.to_owned(), line, problem };
        let exchange: Exchange = serde_json::from_str(json).map_err(|error| malformed(error.to_string()))?;
        match problem(&exchange) {
            Some(problem) => Err(malformed(problem)),
            None => Ok((line, exchange)),
        }
    };
    lines.map(exchange).collect()
}

/// Begins a file anew, with the folders above it.
pub(super) fn create(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create(path)
}

/// Writes a line at once, so that a test that fails keeps what it has.
pub(super) fn append(file: &mut File, exchange: &Exchange) -> io::Result<()> {
    let mut line = serde_json::to_string(exchange)?;
    line.push('\n');
    file.write_all(line.as_bytes())
}
