//! A model that "transcribes" by saying how long the sound is.

use std::sync::{Arc, Mutex, PoisonError};

use teammy_kernel::{
    Audio, LlmError, LlmProvider, LlmRequest, LlmResponse, Spoken, TranscribeRequest, Transcript,
};

use super::Duration;

/// What the model does with the next requests, in their order; then it answers.
pub(super) enum Next {
    Fail(LlmError),
    Say(Transcript),
}

#[derive(Default)]
struct Shared {
    asked: Vec<TranscribeRequest>,
    next: std::collections::VecDeque<Next>,
    running: usize,
    most_running: usize,
}

/// See the [module](self).
#[derive(Clone, Default)]
pub(super) struct FakeModel {
    shared: Arc<Mutex<Shared>>,
    delay: Duration,
}

impl FakeModel {
    pub(super) fn slow(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    pub(super) fn next(self, next: Next) -> Self {
        self.shared().next.push_back(next);
        self
    }

    pub(super) fn fail(self, error: LlmError) -> Self {
        self.next(Next::Fail(error))
    }

    pub(super) fn say(self, parts: &[(u64, u64, &str)]) -> Self {
        let spoken = |(start, end, text): &(u64, u64, &str)| Spoken {
            start: Duration::from_millis(*start),
            end: Duration::from_millis(*end),
            text: (*text).to_owned(),
        };
        let mut transcript = Transcript::new("");
        transcript.segments = parts.iter().map(spoken).collect();
        transcript.language = Some("en".to_owned());
        self.next(Next::Say(transcript))
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn asked(&self) -> Vec<TranscribeRequest> {
        self.shared().asked.clone()
    }

    /// The sounds that were asked for.
    pub(super) fn sounds(&self) -> Vec<Vec<i16>> {
        let samples = |request: TranscribeRequest| match request.audio {
            Audio::Samples { rate: 16_000, samples } => samples,
            other => panic!("{other:?}"),
        };
        self.asked().into_iter().map(samples).collect()
    }

    /// The most requests at a time.
    pub(super) fn most_at_once(&self) -> usize {
        self.shared().most_running
    }
}

impl LlmProvider for FakeModel {
    async fn complete(&self, _: LlmRequest) -> Result<LlmResponse, LlmError> {
        Err(LlmError::Refused("it takes sound alone".to_owned()))
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<Transcript, LlmError> {
        let (next, samples) = {
            let mut shared = self.shared();
            let samples = match &request.audio {
                Audio::Samples { samples, .. } => samples.len(),
                _ => 0,
            };
            shared.asked.push(request);
            shared.running += 1;
            shared.most_running = shared.most_running.max(shared.running);
            (shared.next.pop_front(), samples)
        };
        tokio::time::sleep(self.delay).await;
        self.shared().running -= 1;
        match next {
            Some(Next::Fail(error)) => Err(error),
            Some(Next::Say(transcript)) => Ok(transcript),
            None => Ok(Transcript::new(format!("{} ms", samples / 16))),
        }
    }
}
