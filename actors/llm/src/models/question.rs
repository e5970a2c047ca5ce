//! What models are asked.

use teammy_kernel::{
    Caller, Deltas, EmbedRequest, Embeddings, LlmRequest, LlmResponse, TraceContext, TranscribeRequest,
    Transcript, Usage,
};

use crate::policy::Bound;

/// A question to a model.
#[derive(Clone, Copy)]
pub(crate) enum Question<'a> {
    /// Pieces of the text go to the second as they come.
    Chat(&'a LlmRequest, Option<&'a Deltas>),
    Embed(&'a EmbedRequest),
    Transcribe(&'a TranscribeRequest),
}

impl Question<'_> {
    pub(super) fn caller(&self) -> &Caller {
        match self {
            Self::Chat(request, _) => &request.caller,
            Self::Embed(request) => &request.caller,
            Self::Transcribe(request) => &request.caller,
        }
    }

    /// The same question, asked here in a trace.
    pub(super) fn at(&self, trace: TraceContext) -> OwnQuestion {
        let mut own = match *self {
            Self::Chat(request, deltas) => OwnQuestion::Chat(request.clone(), deltas.cloned()),
            Self::Embed(request) => OwnQuestion::Embed(request.clone()),
            Self::Transcribe(request) => OwnQuestion::Transcribe(request.clone()),
        };
        let caller = match &mut own {
            OwnQuestion::Chat(request, _) => &mut request.caller,
            OwnQuestion::Embed(request) => &mut request.caller,
            OwnQuestion::Transcribe(request) => &mut request.caller,
        };
        caller.trace = Some(trace);
        own
    }

    /// The name of what is done, as the conventions for generative AI have it.
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::Chat(..) => "chat",
            Self::Embed(_) => "embeddings",
            Self::Transcribe(_) => "transcription",
        }
    }

    /// The most tokens that it may take, if its answer has up to `completion`.
    pub(super) fn bound(&self, completion: u64) -> Bound {
        /// Servers that count tokens of sound count fewer.
        const TOKENS_A_SECOND: u64 = 50;
        /// A second of sound in the smallest form that servers take has as many bytes at least.
        const BYTES_A_SECOND: u64 = 1_000;
        match self {
            Self::Chat(request, _) => Bound::of(request, completion),
            Self::Embed(request) => Bound::of_texts(&request.texts),
            Self::Transcribe(request) => {
                let seconds = match &request.audio {
                    teammy_kernel::Audio::Samples { rate, samples } => {
                        samples.len() as u64 / u64::from(*rate).max(1) + 1
                    }
                    teammy_kernel::Audio::File { content, .. } => content.len() as u64 / BYTES_A_SECOND + 1,
                    _ => 0,
                };
                Bound { prompt: seconds.saturating_mul(TOKENS_A_SECOND), completion }
            }
        }
    }
}

/// A copy of a question.
pub(crate) enum OwnQuestion {
    Chat(LlmRequest, Option<Deltas>),
    Embed(EmbedRequest),
    Transcribe(TranscribeRequest),
}

impl OwnQuestion {
    pub(super) fn question(&self) -> Question<'_> {
        match self {
            Self::Chat(request, deltas) => Question::Chat(request, deltas.as_ref()),
            Self::Embed(request) => Question::Embed(request),
            Self::Transcribe(request) => Question::Transcribe(request),
        }
    }
}

/// A model's answer.
pub(crate) enum Answer {
    Chat(LlmResponse),
    Embed(Embeddings),
    Transcribe(Transcript),
}

impl Answer {
    pub(super) fn usage(&self) -> Option<Usage> {
        match self {
            Self::Chat(response) => response.usage,
            Self::Embed(embeddings) => embeddings.usage,
            Self::Transcribe(transcript) => transcript.usage,
        }
    }

    /// How many bytes of text it has.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Self::Chat(response) => response.text.len() + response.reasoning.as_ref().map_or(0, String::len),
            Self::Embed(_) => 0,
            Self::Transcribe(transcript) => transcript.text.len(),
        }
    }

    pub(super) fn set(&mut self, model: &str, usage: Option<Usage>) {
        let (of_model, of_usage) = match self {
            Self::Chat(response) => (&mut response.model, &mut response.usage),
            Self::Embed(embeddings) => (&mut embeddings.model, &mut embeddings.usage),
            Self::Transcribe(transcript) => (&mut transcript.model, &mut transcript.usage),
        };
        *of_model = Some(model.to_owned());
        *of_usage = usage;
    }
}
