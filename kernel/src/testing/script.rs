//! A language model that follows a test's script.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Deltas, Finish, LlmError, LlmProvider, LlmRequest, LlmResponse};

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

#[derive(Default)]
struct Script {
    rules: Vec<(Condition, Line)>,
    lines: VecDeque<Line>,
    delay: Duration,
    requests: Vec<LlmRequest>,
}

/// A language model that follows a script: the first matching rule answers, or else the next line.
///
/// A clone is the same model, so a test keeps one to read [`requests`](Self::requests). A request without a
/// rule or a line is refused with a message that says so.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use teammy_kernel::{Model, testing::ScriptedLlm};
/// let llm = ScriptedLlm::default()
///     .when(|request| request.model == Model::Fast, "yes") // every time
///     .fail("overloaded") // the first other request
///     .delay(Duration::from_secs(2)) // from here on
///     .reply("An answer."); // the second other request
/// assert_eq!(llm.remaining(), 2);
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

    /// Adds a line that answers with these pieces, each after the [delay](Self::delay), for a plugin that streams. One
    /// that does not gets them as one text.
    #[must_use]
    pub fn stream<S: Into<String>>(self, pieces: impl IntoIterator<Item = S>) -> Self {
        let pieces: Vec<String> = pieces.into_iter().map(Into::into).collect();
        let response = LlmResponse::new(pieces.concat());
        self.pieces(pieces, Ok(response))
    }

    /// Adds a line that answers with these pieces and then fails with [`LlmError::Failed`], as a connection that breaks.
    #[must_use]
    pub fn stream_then_fail<S: Into<String>>(
        self,
        pieces: impl IntoIterator<Item = S>,
        problem: impl Into<String>,
    ) -> Self {
        let pieces = pieces.into_iter().map(Into::into).collect();
        self.pieces(pieces, Err(LlmError::Failed(problem.into())))
    }

    /// Adds a line whose answer is cut off after this text: [`LlmError::CutOff`] for whoever asks for the text.
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

    /// Delays the answers of lines and rules that are added after this call, by tokio's clock.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        self.script().delay = delay;
        self
    }

    /// All requests so far, in order, cancelled ones included.
    pub fn requests(&self) -> Vec<LlmRequest> {
        self.script().requests.clone()
    }

    /// How many lines are left.
    pub fn remaining(&self) -> usize {
        self.script().lines.len()
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
    const SHOWN_CHARS: usize = 80;
    let asked = request.messages.last().map_or("", |message| &message.content);
    let asked: String = asked.chars().take(SHOWN_CHARS).collect();
    format!("the test's script has no line left for request {number}, which ends in {asked:?}")
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
}
