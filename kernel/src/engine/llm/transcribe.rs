//! A plugin's request for the text of sound.

use std::{sync::Arc, time::Duration};

use super::{
    audio::{TranscribeRequest, Transcript},
    caller::Priority,
    error::Error,
    hook_time::{HookTime, limited},
    provider::SharedLlm,
};

/// Sound to be turned into text, that is not sent yet. [`Llm::transcribe`](crate::Llm::transcribe) makes one, and
/// [`transcript`](Self::transcript) sends it.
#[derive(Debug, Clone)]
#[must_use = "sound is not sent until `transcript` is called"]
pub struct Transcribe {
    provider: SharedLlm,
    time: Arc<HookTime>,
    request: TranscribeRequest,
    within: Option<Duration>,
}

impl Transcribe {
    pub(super) fn new(provider: SharedLlm, time: Arc<HookTime>, request: TranscribeRequest) -> Self {
        Self { provider, time, request, within: None }
    }

    /// Says which language is spoken, such as `en` (ISO 639-1). Without it the model finds out.
    pub fn language(mut self, language: impl Into<String>) -> Self {
        self.request.language = Some(language.into());
        self
    }

    /// Gives words that may occur, such as names, so that they are spelled so.
    pub fn hint(mut self, words: impl Into<String>) -> Self {
        self.request.hint = Some(words.into());
        self
    }

    /// Fails if there is no transcript after this time, or when the hook's time is over, if that is sooner.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }

    /// Sets which of the requests that wait for the model goes first.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.request.caller.priority = priority;
        self
    }

    /// Says what the request is for, for accounts: a short name, never words of the meeting.
    pub fn purpose(mut self, purpose: impl Into<String>) -> Self {
        self.request.caller.purpose = Some(purpose.into());
        self
    }

    /// What was said, with times as far as the server gives them.
    ///
    /// # Errors
    /// Every variant of [`Error`] but [`Error::CutOff`] and [`Error::Unreadable`]; [`Error::Misconfigured`] also if no model
    /// is named for it.
    pub async fn transcript(self) -> Result<Transcript, Error> {
        let Self { provider, time, mut request, within } = self;
        let deadline = time.deadline(within);
        request.caller.deadline = deadline;
        limited(deadline, provider.transcribe(request)).await
    }
}
