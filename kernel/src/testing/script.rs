//! A language model that follows a test's script.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    Budgets, Caller, Deltas, EmbedRequest, Embeddings, Finish, LlmError, LlmProvider, LlmRequest,
    LlmResponse, TranscribeRequest, Transcript,
};

type Answer = Result<LlmResponse, LlmError>;
type Condition = Box<dyn Fn(&LlmRequest) -> bool + Send>;

#[derive(Clone)]
struct Line {
    answer: Answer,
    /// What a plugin that streams gets before the answer; the answer's whole text if it is empty.
    pieces: Vec<String>,
    delay: Duration,
    stalls: bool,
}

impl Line {
    fn new(answer: Answer, delay: Duration) -> Self {
        Self { answer, pieces: Vec::new(), delay, stalls: false }
    }
}

/// Makes an answer of each request.
type Rule<R, A> = Box<dyn Fn(&R) -> A + Send>;

/// The lines and the rule for requests that are not for text.
struct Part<R, A> {
    rule: Option<(Rule<R, A>, Duration)>,
    lines: VecDeque<(Result<A, LlmError>, Duration)>,
    requests: Vec<R>,
}

impl<R, A> Default for Part<R, A> {
    fn default() -> Self {
        Self { rule: None, lines: VecDeque::new(), requests: Vec::new() }
    }
}

impl<R, A> Part<R, A> {
    /// The answer to a request and its delay; `what` names the request if the script has none.
    fn next(&mut self, request: R, what: impl FnOnce(&R) -> String) -> (Result<A, LlmError>, Duration) {
        let line = match (&self.rule, self.lines.pop_front()) {
            (_, Some(line)) => line,
            (Some((rule, delay)), None) => (Ok(rule(&request)), *delay),
            (None, None) => {
                let (number, what) = (self.requests.len() + 1, what(&request));
                let problem = format!("the test's script has no line left for request {number} for {what}");
                (Err(LlmError::Refused(problem)), Duration::ZERO)
            }
        };
        self.requests.push(request);
        line
    }
}

#[derive(Default)]
struct Script {
    rules: Vec<(Condition, Line)>,
    lines: VecDeque<Line>,
    delay: Duration,
    requests: Vec<LlmRequest>,
    vectors: Part<EmbedRequest, Vec<Vec<f32>>>,
    transcripts: Part<TranscribeRequest, Transcript>,
    budgets: Budgets,
}

/// A language model that follows a script: the first matching rule answers, or else the next line.
///
/// A clone is the same model, so a test keeps one to read [`requests`](Self::requests). A request without a
/// rule or a line is refused with a message that says so.
///
/// Vectors of texts and transcripts of sound have lines of their own ([`embedding`](Self::embedding),
/// [`transcript`](Self::transcript)), and a rule each that answers when there is no line left
/// ([`embed_with`](Self::embed_with), [`transcribe_with`](Self::transcribe_with)).
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use teammy_kernel::{Model, Transcript, testing::ScriptedLlm};
/// let llm = ScriptedLlm::default()
///     .when(|request| request.model == Model::Fast, "yes") // every time
///     .fail("overloaded") // the first other request
///     .delay(Duration::from_secs(2)) // from here on
///     .reply("An answer."); // the second other request
/// assert_eq!(llm.remaining(), 2);
///
/// let ears = ScriptedLlm::default()
///     .transcript(Transcript::new("Good morning.")) // of the first sound
///     .embed_with(|text| vec![text.len() as f32, 1.0]); // of each text
/// assert_eq!(ears.remaining(), 1);
/// ```
#[derive(Clone, Default)]
pub struct ScriptedLlm {
    script: Arc<Mutex<Script>>,
}

impl fmt::Debug for ScriptedLlm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedLlm").field("remaining", &self.remaining()).finish_non_exhaustive()
    }
}

impl ScriptedLlm {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(self, answer: Answer) -> Self {
        {
            let mut script = self.script();
            let delay = script.delay;
            script.lines.push_back(Line::new(answer, delay));
        }
        self
    }

    fn pieces(self, pieces: Vec<String>, answer: Answer) -> Self {
        {
            let mut script = self.script();
            let delay = script.delay;
            script.lines.push_back(Line { pieces, ..Line::new(answer, delay) });
        }
        self
    }

    /// Adds a line that answers with this text.
    #[must_use]
    pub fn reply(self, text: impl Into<String>) -> Self {
        self.line(Ok(LlmResponse::new(text)))
    }

    /// Adds a line that answers with this response, for what [`reply`](Self::reply) leaves out: the cost in
    /// tokens, tool calls, thoughts.
    #[must_use]
    pub fn respond(self, response: LlmResponse) -> Self {
        self.line(Ok(response))
    }

    /// Adds a line that answers with these pieces, each after the [delay](Self::delay), for a plugin that
    /// streams. One that does not gets them as one text.
    #[must_use]
    pub fn stream<S: Into<String>>(self, pieces: impl IntoIterator<Item = S>) -> Self {
        let pieces: Vec<String> = pieces.into_iter().map(Into::into).collect();
        let response = LlmResponse::new(pieces.concat());
        self.pieces(pieces, Ok(response))
    }

    /// Adds a line that answers with these pieces and then fails with [`LlmError::Failed`], as a connection
    /// that breaks.
    #[must_use]
    pub fn stream_then_fail<S: Into<String>>(
        self,
        pieces: impl IntoIterator<Item = S>,
        problem: impl Into<String>,
    ) -> Self {
        let pieces = pieces.into_iter().map(Into::into).collect();
        self.pieces(pieces, Err(LlmError::Failed(problem.into())))
    }

    /// Adds a line whose answer is cut off after this text: [`LlmError::CutOff`] for whoever asks for the
    /// text.
    #[must_use]
    pub fn cut(self, text: impl Into<String>) -> Self {
        let mut response = LlmResponse::new(text);
        response.finish = Finish::Length;
        self.line(Ok(response))
    }

    /// Adds a line that never answers, so that the time of the hook, or of the request, is over first.
    #[must_use]
    pub fn stall(mut self) -> Self {
        self = self.line(Err(LlmError::Failed("it stalls".to_owned())));
        if let Some(line) = self.script().lines.back_mut() {
            line.stalls = true;
        }
        self
    }

    /// Adds a line that fails with this error.
    #[must_use]
    pub fn fail_with(self, error: LlmError) -> Self {
        self.line(Err(error))
    }

    /// Adds a line that fails with [`LlmError::Failed`].
    #[must_use]
    pub fn fail(self, problem: impl Into<String>) -> Self {
        self.line(Err(LlmError::Failed(problem.into())))
    }

    /// Adds a line that fails with [`LlmError::Refused`].
    #[must_use]
    pub fn refuse(self, problem: impl Into<String>) -> Self {
        self.line(Err(LlmError::Refused(problem.into())))
    }

    /// Adds a rule: answers every matching request with this text. The first matching rule is used.
    #[must_use]
    pub fn when(self, holds: impl Fn(&LlmRequest) -> bool + Send + 'static, text: impl Into<String>) -> Self {
        {
            let mut script = self.script();
            let line = Line::new(Ok(LlmResponse::new(text)), script.delay);
            script.rules.push((Box::new(holds), line));
        }
        self
    }

    /// Adds a line of the next request for vectors: one vector for each of its texts.
    #[must_use]
    pub fn embedding(self, vectors: impl Into<Vec<Vec<f32>>>) -> Self {
        self.embedding_line(Ok(vectors.into()))
    }

    /// Adds a line at which a request for vectors fails.
    #[must_use]
    pub fn fail_embedding(self, error: LlmError) -> Self {
        self.embedding_line(Err(error))
    }

    fn embedding_line(self, line: Result<Vec<Vec<f32>>, LlmError>) -> Self {
        {
            let mut script = self.script();
            let delay = script.delay;
            script.vectors.lines.push_back((line, delay));
        }
        self
    }

    /// Makes the vector of each text for which no line is left.
    #[must_use]
    pub fn embed_with(self, vector: impl Fn(&str) -> Vec<f32> + Send + 'static) -> Self {
        {
            let mut script = self.script();
            let all = move |request: &EmbedRequest| {
                request.texts.iter().map(|text| vector(text)).collect::<Vec<_>>()
            };
            script.vectors.rule = Some((Box::new(all), script.delay));
        }
        self
    }

    /// Adds a line of the next request for the text of sound.
    #[must_use]
    pub fn transcript(self, transcript: Transcript) -> Self {
        self.transcript_line(Ok(transcript))
    }

    /// Adds a line at which a request for the text of sound fails.
    #[must_use]
    pub fn fail_transcript(self, error: LlmError) -> Self {
        self.transcript_line(Err(error))
    }

    fn transcript_line(self, line: Result<Transcript, LlmError>) -> Self {
        {
            let mut script = self.script();
            let delay = script.delay;
            script.transcripts.lines.push_back((line, delay));
        }
        self
    }

    /// Makes the transcript of each sound for which no line is left.
    #[must_use]
    pub fn transcribe_with(
        self,
        transcript: impl Fn(&TranscribeRequest) -> Transcript + Send + 'static,
    ) -> Self {
        {
            let mut script = self.script();
            script.transcripts.rule = Some((Box::new(transcript), script.delay));
        }
        self
    }

    /// Sets the budgets that a plugin sees; none without a call.
    #[must_use]
    pub fn budgets(self, budgets: Budgets) -> Self {
        self.script().budgets = budgets;
        self
    }

    /// Delays the answers of lines and rules that are added after this call, by tokio's clock.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        self.script().delay = delay;
        self
    }

    /// All requests for text so far, in order, cancelled ones included.
    pub fn requests(&self) -> Vec<LlmRequest> {
        self.script().requests.clone()
    }

    /// All requests for vectors so far, as [`requests`](Self::requests).
    pub fn embed_requests(&self) -> Vec<EmbedRequest> {
        self.script().vectors.requests.clone()
    }

    /// All requests for the text of sound so far, as [`requests`](Self::requests).
    pub fn transcribe_requests(&self) -> Vec<TranscribeRequest> {
        self.script().transcripts.requests.clone()
    }

    /// How many lines are left, of all kinds.
    pub fn remaining(&self) -> usize {
        let script = self.script();
        script.lines.len() + script.vectors.lines.len() + script.transcripts.lines.len()
    }

    fn next(&self, request: LlmRequest) -> Line {
        let mut script = self.script();
        let rule = script.rules.iter().find(|(holds, _)| holds(&request)).map(|(_, line)| line.clone());
        let line = rule.or_else(|| script.lines.pop_front()).unwrap_or_else(|| {
            let answer = Err(LlmError::Refused(exhausted(script.requests.len() + 1, &request)));
            Line::new(answer, Duration::ZERO)
        });
        script.requests.push(request);
        line
    }
}

async fn wait(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

fn exhausted(number: usize, request: &LlmRequest) -> String {
    let asked = request.messages.last().map_or("", |message| &message.content);
    format!("the test's script has no line left for request {number}, which ends in {:?}", beginning(asked))
}

fn beginning(text: &str) -> String {
    const SHOWN_CHARS: usize = 80;
    text.chars().take(SHOWN_CHARS).collect()
}

impl LlmProvider for ScriptedLlm {
    async fn complete(&self, request: LlmRequest) -> Result<LlmResponse, LlmError> {
        let line = self.next(request);
        if line.stalls {
            std::future::pending::<()>().await;
        }
        wait(line.delay).await;
        line.answer
    }

    async fn stream(&self, request: LlmRequest, deltas: Deltas) -> Result<LlmResponse, LlmError> {
        let line = self.next(request);
        for piece in &line.pieces {
            wait(line.delay).await;
            deltas.put(piece.as_str());
        }
        if line.stalls {
            std::future::pending::<()>().await;
        }
        wait(line.delay).await;
        let response = line.answer?;
        if line.pieces.is_empty() {
            deltas.put(response.text.as_str());
        }
        Ok(response)
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings, LlmError> {
        let texts = request.texts.len();
        let (line, delay) = self.script().vectors.next(request, |request| {
            let first = beginning(request.texts.first().map_or("", String::as_str));
            format!("vectors, whose first text of {texts} is {first:?}")
        });
        wait(delay).await;
        let vectors = line?;
        if vectors.len() != texts {
            let vectors = vectors.len();
            let problem =
                format!("the script's line has vectors for {vectors} of the request's {texts} texts");
            return Err(LlmError::Refused(problem));
        }
        Ok(Embeddings::new(vectors))
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<Transcript, LlmError> {
        let (line, delay) = self
            .script()
            .transcripts
            .next(request, |request| format!("the text of sound, which is {:?}", request.audio));
        wait(delay).await;
        line
    }

    async fn budgets(&self, _: Caller) -> Result<Budgets, LlmError> {
        Ok(self.script().budgets.clone())
    }
}

#[cfg(test)]
mod tests;
