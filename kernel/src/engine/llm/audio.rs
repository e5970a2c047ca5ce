//! Sound that becomes text, and texts that become vectors.

use std::{fmt, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{caller::Caller, response::Usage};

/// Sound to transcribe.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Audio {
    /// One channel of samples.
    Samples {
        /// Samples a second.
        rate: u32,
        /// The samples.
        samples: Vec<i16>,
    },
    /// A file, in a form that the server takes: WAV, MP3, FLAC, Ogg, `WebM`.
    File {
        /// Its name, by whose end servers tell its form, such as `said.mp3`.
        name: String,
        /// Its content.
        content: Bytes,
    },
}

impl Audio {
    /// One channel of samples, `rate` of them a second.
    pub fn samples(rate: u32, samples: impl Into<Vec<i16>>) -> Self {
        Self::Samples { rate, samples: samples.into() }
    }

    /// A file; its name ends as its form does, such as `said.mp3`.
    pub fn file(name: impl Into<String>, content: impl Into<Bytes>) -> Self {
        Self::File { name: name.into(), content: content.into() }
    }
}

/// Says how much there is, not what: it may be private.
impl fmt::Debug for Audio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Samples { rate, samples } => {
                f.debug_struct("Samples").field("rate", rate).field("samples", &samples.len()).finish()
            }
            Self::File { content, .. } => f.debug_struct("File").field("bytes", &content.len()).finish(),
        }
    }
}

/// A request for the text of sound.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TranscribeRequest {
    /// The sound.
    pub audio: Audio,
    /// Its language, such as `en` (ISO 639-1); `None` leaves it to the model.
    pub language: Option<String>,
    /// Words that may occur, such as names, so that they are spelled so.
    pub hint: Option<String>,
    /// Who asks.
    pub caller: Caller,
}

impl TranscribeRequest {
    /// A request for the text of this sound.
    pub fn new(audio: Audio, caller: Caller) -> Self {
        Self { audio, language: None, hint: None, caller }
    }
}

/// A part of a transcript, such as a sentence or a word. Times are counted from the sound's start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spoken {
    /// When it begins.
    pub start: Duration,
    /// When it ends.
    pub end: Duration,
    /// What was said.
    pub text: String,
}

/// What was said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Transcript {
    /// All of it.
    pub text: String,
    /// The language, if the server says it.
    pub language: Option<String>,
    /// Its parts, if the server says them.
    pub segments: Vec<Spoken>,
    /// Its words, if the server says them.
    pub words: Vec<Spoken>,
    /// The cost in tokens, if the server says it.
    pub usage: Option<Usage>,
    /// The model that answered, by its name in the configuration.
    pub model: Option<String>,
}

impl Transcript {
    /// A transcript without times.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// A request for the vectors of texts.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EmbedRequest {
    /// The texts.
    pub texts: Vec<String>,
    /// Who asks.
    pub caller: Caller,
}

impl EmbedRequest {
    /// A request for the vectors of these texts.
    pub fn new(texts: Vec<String>, caller: Caller) -> Self {
        Self { texts, caller }
    }
}

/// The vectors of texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Embeddings {
    /// One for each text, in their order.
    pub vectors: Vec<Vec<f32>>,
    /// The cost in tokens, if the server says it.
    pub usage: Option<Usage>,
    /// The model that answered, by its name in the configuration.
    pub model: Option<String>,
}

impl Embeddings {
    /// These vectors.
    pub fn new(vectors: Vec<Vec<f32>>) -> Self {
        Self { vectors, ..Self::default() }
    }
}
