//! A language model that follows a test's script.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{LlmError, LlmProvider, LlmRequest, LlmResponse};

type Answer = Result<LlmResponse, LlmError>;
type Condition = Box<dyn Fn(&LlmRequest) -> bool + Send>;

#[derive(Clone)]
struct Line {
    answer: Answer,
    delay: Duration,
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
            script.lines.push_back(Line { answer, delay });
        }
        self
    }

    /// Adds a line that answers with this text.
    #[must_use]
    pub fn reply(self, text: impl Into<String>) -> Self {
        self.line(Ok(LlmResponse::new(text)))
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
            let line = Line { answer: Ok(LlmResponse::new(text)), delay: script.delay };
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
        let line = rule.or_else(|| script.lines.pop_front()).unwrap_or_else(|| Line {
            answer: Err(LlmError::Refused(exhausted(script.requests.len() + 1, &request))),
            delay: Duration::ZERO,
        });
        script.requests.push(request);
        line
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
        if !line.delay.is_zero() {
            tokio::time::sleep(line.delay).await;
        }
        line.answer
    }
}
