//! A language model that repeats what a real one has answered.
//!
//! What a file of a recording holds, line by line, is for a reviewer too: the request as far as its answer
//! depends on it, and what came. The file is small enough to be kept beside the test, holds no secrets, and
//! does not change if the same is recorded again with the same answers.
//!
//! This module reads and writes files, which nothing else in this crate does, and blocks meanwhile: a test
//! has the time.

mod difference;
mod file;
mod form;
mod model;
mod redaction;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fmt,
    fs::File,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{sync::mpsc, time::Instant};

pub use file::CassetteError;
use file::{Exchange, Outcome, Piece, RECORD};
use form::{Form, Text};
use model::{Answering, Left, ModelThread};
use redaction::Redaction;

use crate::{
    Budgets, Caller, Deltas, EmbedRequest, Embeddings, LlmError, LlmProvider, LlmRequest, LlmResponse,
    TranscribeRequest, Transcript, engine::llm::SharedLlm,
};

/// A language model that records what another one answers, or replays it from the file, without a model.
///
/// A clone is the same cassette.
///
/// # Recording
/// Each request goes on to the model, and a line is written once its answer is there. The first one replaces
/// the file that there was. The model answers in real time, on a thread of its own, and a test's paused time
/// stands still meanwhile: so the same test records and replays, and no limit is over before a server has
/// answered.
///
/// # Replaying
/// A request gets the answer of the first unused line that has an equal request: of the same kind, to the
/// same one of the two models, with equal messages, temperature, limits, stop texts, seed, tools and format.
/// The meeting, the instance, the deadline and the purpose don't matter. So equal requests are answered in
/// their recorded order. A stream gives its pieces at their recorded times, by tokio's clock. A request that
/// was cancelled is not answered at all.
///
/// A request that no line is left for fails with [`LlmError::Refused`]. The text says how it differs from the
/// closest line, and shows words of both: they are a test's.
///
/// # Secrets
/// Requests hold no keys, but a server's error may quote one. Texts that look like keys (`sk-…`, `Bearer …`)
/// never get into a file, and [`redact`](Self::redact) names others. A plugin that records still gets what
/// came.
///
/// # The file
/// JSON, one exchange a line, in the order in which they ended. Sound is its length and a fingerprint
/// (FNV-1a).
///
/// ```json
/// {"request":{"kind":"complete","messages":[{"content":"Is it?","role":"user"}],"model":"fast","temperature":0.2},"outcome":{"answer":{"finish":"stop","text":"Yes.","tool_calls":[]}}}
/// {"request":{"kind":"stream","messages":[{"content":"Why?","role":"user"}],"model":"default"},"pieces":[{"ms":350,"text":"It "},{"ms":420,"text":"is."}],"outcome":{"error":{"kind":"failed","problem":"reset"}}}
/// {"request":{"kind":"embed","texts":["One?"]},"outcome":{"answer":{"vectors":[[0.5,0.25]]}}}
/// {"request":{"audio":{"fnv1a":"cbf29ce484222325","rate":16000,"samples":320},"kind":"transcribe","language":"en"},"outcome":"cancelled"}
/// ```
///
/// # Examples
/// ```
/// use teammy_kernel::{
///     Cx, Error, Hooks, InCallPlugin, Json, LlmMessage, Publish, Receive, StartupCx, data::Chat,
///     testing::{self, Cassette, PluginTest, ScriptedLlm},
/// };
///
/// /// Answers in the chat.
/// struct Helper;
/// # impl InCallPlugin for Helper {
/// #     type Config = ();
/// #     type State = ();
/// #     type Scratch = ();
/// #     type Output = Json<Chat>;
/// #     const KIND: &'static str = "helper";
/// #     const VERSION: &'static str = "1.0.0";
/// #     async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> { Ok(Self) }
/// #     fn hooks(hooks: Hooks<Self>) -> Hooks<Self> { hooks.on::<Json<Chat>>("chat") }
/// # }
/// # impl Receive<Json<Chat>> for Helper {
/// #     async fn receive(&self, Json(chat): Json<Chat>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Chat>>, Error> {
/// #         Ok(Some(Json(Chat::new(cx.engine().llm().fast_prompt([LlmMessage::user(chat.text)], 0.0).await?))))
/// #     }
/// # }
///
/// async fn answer(llm: Cassette) -> Result<String, Error> {
///     let mut meeting = PluginTest::<Helper>::builder().llm(llm).start().await?;
///     let asked = Publish::json("chat", &Chat::new("When do we meet?"))?;
///     let answer = meeting.receive(asked).await?.expect("it answers");
///     Ok(testing::json::<Chat>(&answer).text)
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Error> {
/// # let folder = std::env::temp_dir().join(format!("teammy-cassette-{}", std::process::id()));
/// # let path = folder.join("helper.jsonl");
/// // A real model is recorded the same way.
/// let model = ScriptedLlm::default().reply("At nine.");
/// assert_eq!(answer(Cassette::record(&path, model)).await?, "At nine.");
///
/// let replayed = Cassette::replay(&path)?;
/// assert_eq!(answer(replayed.clone()).await?, "At nine.");
/// assert_eq!(replayed.remaining(), 0, "each recorded request was made");
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cassette {
    path: Arc<Path>,
    /// The model that is recorded; none in a replay.
    model: Option<SharedLlm>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    redaction: Redaction,
    /// Where the model answers; none before the first request.
    thread: Option<ModelThread>,
    /// Where lines are written; none before the first.
    file: Option<File>,
    lines: Vec<Line>,
    /// How many requests there were.
    requests: usize,
}

/// A line that is replayed.
struct Line {
    number: usize,
    exchange: Exchange,
    is_used: bool,
}

impl fmt::Debug for Cassette {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cassette")
            .field("path", &self.path)
            .field("records", &self.model.is_some())
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}

impl Cassette {
    /// Records a model's answers. Folders of the path that don't exist are made.
    ///
    /// A request fails with [`LlmError::Refused`] if its line cannot be written.
    pub fn record(path: impl Into<PathBuf>, model: impl LlmProvider) -> Self {
        Self { path: path.into().into(), model: Some(SharedLlm::new(model)), state: Arc::default() }
    }

    /// Replays a recording.
    ///
    /// # Errors
    /// If there is no file, or a line of it is not a recorded exchange.
    pub fn replay(path: impl Into<PathBuf>) -> Result<Self, CassetteError> {
        let path = path.into();
        let lines = file::read(&path)?.into_iter();
        let lines = lines.map(|(number, exchange)| Line { number, exchange, is_used: false }).collect();
        let state = State { lines, ..State::default() };
        Ok(Self { path: path.into(), model: None, state: Arc::new(Mutex::new(state)) })
    }

    /// Replays a recording; or records it anew if the environment variable `TEAMMY_RECORD` is set to anything
    /// that is not empty. Only then the model is made, so a replay needs no key and no network.
    ///
    /// A relative path begins at the folder of the package under test.
    ///
    /// # Errors
    /// As [`replay`](Self::replay); the error says how to record.
    ///
    /// # Examples
    /// ```no_run
    /// use teammy_kernel::testing::{Cassette, CassetteError, ScriptedLlm};
    /// # fn main() -> Result<(), CassetteError> {
    /// let llm = Cassette::auto("tests/cassettes/summary.jsonl", || ScriptedLlm::default().reply("a real model's"))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn auto<P: LlmProvider>(
        path: impl Into<PathBuf>,
        make_model: impl FnOnce() -> P,
    ) -> Result<Self, CassetteError> {
        Self::record_if(std::env::var_os(RECORD), path, make_model)
    }

    fn record_if<P: LlmProvider>(
        variable: Option<OsString>,
        path: impl Into<PathBuf>,
        make_model: impl FnOnce() -> P,
    ) -> Result<Self, CassetteError> {
        if variable.is_some_and(|value| !value.is_empty()) {
            Ok(Self::record(path, make_model()))
        } else {
            Self::replay(path)
        }
    }

    /// Keeps a secret out of the file: `[redacted]` stands for it. Give a replay the same secrets if requests
    /// hold one.
    #[must_use]
    pub fn redact(self, secret: impl Into<String>) -> Self {
        self.state().redaction.add(secret.into());
        self
    }

    /// How many lines of the recording no request has used; 0 while it is recorded.
    pub fn remaining(&self) -> usize {
        self.state().lines.iter().filter(|line| !line.is_used).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request as it is written and compared.
    fn request(&self, form: &Form<'_>) -> Value {
        let mut request = form.to_value();
        self.state().redaction.value(&mut request);
        request
    }

    /// Answers a request that has no pieces.
    async fn answer<T, F>(&self, request: Value, ask: impl FnOnce(SharedLlm) -> F) -> Result<T, LlmError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Future<Output = Result<T, LlmError>> + Send + 'static,
    {
        match self.model.clone() {
            Some(model) => {
                let running = Running::new(self, request);
                let answer = self.run(ask(model))?.answer().await;
                running.end(&answer)?;
                answer
            }
            None => outcome(self.next(&request)?.outcome).await,
        }
    }

    /// Lets the model answer.
    fn run<T: Send + 'static>(
        &self,
        answer: impl Future<Output = T> + Send + 'static,
    ) -> Result<Answering<T>, LlmError> {
        let mut state = self.state();
        let thread = match &mut state.thread {
            Some(thread) => thread,
            none => none.insert(ModelThread::start().map_err(|error| self.unwritable(&error))?),
        };
        Ok(thread.run(answer))
    }

    fn unwritable(&self, error: &io::Error) -> LlmError {
        LlmError::Refused(format!("the recording {} cannot be made: {error}", self.path.display()))
    }

    /// Takes the line that answers a request.
    fn next(&self, request: &Value) -> Result<Exchange, LlmError> {
        let mut state = self.state();
        state.requests += 1;
        let found = state.lines.iter_mut().find(|line| !line.is_used && line.exchange.request == *request);
        if let Some(line) = found {
            line.is_used = true;
            return Ok(line.exchange.clone());
        }
        Err(LlmError::Refused(self.miss(&state, request)))
    }

    /// Says how a request differs from what is left.
    fn miss(&self, state: &State, request: &Value) -> String {
        let (number, path) = (state.requests, self.path.display());
        let unused = state.lines.iter().filter(|line| !line.is_used);
        let compared = unused.map(|line| (line, difference::between(&line.exchange.request, request)));
        let is_of_another_kind = |line: &Line| line.exchange.request["kind"] != request["kind"];
        let closest =
            compared.min_by_key(|(line, differences)| (is_of_another_kind(line), differences.len()));
        let how = match closest {
            Some((line, differences)) => format!(
                "; the closest is line {} (- recorded, + asked):\n{}\n",
                line.number,
                difference::shown(&differences)
            ),
            None => ": all are used; ".to_owned(),
        };
        let used = state.lines.iter().find(|line| line.exchange.request == *request);
        let used = used.map_or(String::new(), |line| format!(" (line {} is equal, and used)", line.number));
        format!(
            "the recording {path} has no line left for request {number}{used}{how}if the change is intended, record it again \
             with {RECORD}=1"
        )
    }

    /// Writes a line.
    fn write(&self, mut exchange: Exchange) -> Result<(), LlmError> {
        let mut state = self.state();
        let State { redaction, file, .. } = &mut *state;
        redact(redaction, &mut exchange);
        let written = match file {
            Some(file) => file::append(file, &exchange),
            None => {
                file::create(&self.path).and_then(|created| file::append(file.insert(created), &exchange))
            }
        };
        written.map_err(|error| self.unwritable(&error))
    }
}

/// Removes secrets from what came. Those of the request are removed before it is compared.
fn redact(redaction: &Redaction, exchange: &mut Exchange) {
    let mut texts: Vec<String> =
        exchange.pieces.iter_mut().map(|piece| std::mem::take(&mut piece.text)).collect();
    redaction.pieces(&mut texts);
    for (piece, text) in exchange.pieces.iter_mut().zip(texts) {
        piece.text = text;
    }
    match &mut exchange.outcome {
        Outcome::Answer(answer) => redaction.value(answer),
        Outcome::Error(failure) => failure.texts().for_each(|text| *text = redaction.text(text)),
        Outcome::Cancelled => {}
    }
}

/// What a recorded request comes to.
async fn outcome<T: DeserializeOwned>(outcome: Outcome) -> Result<T, LlmError> {
    match outcome {
        Outcome::Answer(answer) => {
            Ok(serde_json::from_value(answer).expect("invariant: a line's answer is read when the file is"))
        }
        Outcome::Error(failure) => Err(failure.into()),
        Outcome::Cancelled => std::future::pending().await,
    }
}

/// A request that is recorded. If it is dropped before its end, it was cancelled.
struct Running<'a> {
    cassette: &'a Cassette,
    /// None once it has ended.
    request: Option<Value>,
    pieces: Vec<Piece>,
}

impl<'a> Running<'a> {
    fn new(cassette: &'a Cassette, request: Value) -> Self {
        Self { cassette, request: Some(request), pieces: Vec::new() }
    }

    fn end<T: Serialize>(mut self, answer: &Result<T, LlmError>) -> Result<(), LlmError> {
        self.write(match answer {
            Ok(answer) => Outcome::Answer(file::answer(answer)),
            Err(error) => Outcome::Error(error.clone().into()),
        })
    }

    fn write(&mut self, outcome: Outcome) -> Result<(), LlmError> {
        let Some(request) = self.request.take() else { return Ok(()) };
        self.cassette.write(Exchange { request, pieces: std::mem::take(&mut self.pieces), outcome })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Nobody is there who could be told that it cannot be written; the next request is.
        let _ = self.write(Outcome::Cancelled);
    }
}

/// Lets a model answer, and gives the pieces with their times since the request.
async fn timed(
    model: SharedLlm,
    request: LlmRequest,
    timed: mpsc::UnboundedSender<Piece>,
) -> Result<LlmResponse, LlmError> {
    let began = Instant::now();
    let (to_here, mut pieces) = Deltas::channel();
    let give = |text| {
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Who reads them may be gone, and this task is stopped soon.
        let _ = timed.send(Piece { ms, text });
    };
    let mut answer = pin!(model.stream(request, to_here));
    let answer = loop {
        tokio::select! {
            biased;
            Some(piece) = pieces.recv() => give(piece),
            answer = &mut answer => break answer,
        }
    };
    while let Ok(piece) = pieces.try_recv() {
        give(piece);
    }
    answer
}

impl LlmProvider for Cassette {
    async fn complete(&self, mut request: LlmRequest) -> Result<LlmResponse, LlmError> {
        let form = self.request(&Form::Complete(Text::of(&request)));
        let left = Left::until(request.caller.deadline);
        let ask = |model: SharedLlm| async move {
            request.caller.deadline = left.again();
            model.complete(request).await
        };
        self.answer(form, ask).await
    }

    async fn stream(&self, mut request: LlmRequest, deltas: Deltas) -> Result<LlmResponse, LlmError> {
        let form = self.request(&Form::Stream(Text::of(&request)));
        let Some(model) = self.model.clone() else {
            let exchange = self.next(&form)?;
            let began = Instant::now();
            for Piece { ms, text } in exchange.pieces {
                let at = began.checked_add(Duration::from_millis(ms));
                if let Some(at) = at.filter(|at| *at > Instant::now()) {
                    tokio::time::sleep_until(at).await;
                }
                deltas.put(text);
            }
            return outcome(exchange.outcome).await;
        };
        let mut running = Running::new(self, form);
        let left = Left::until(request.caller.deadline);
        let (give, mut pieces) = mpsc::unbounded_channel();
        let answering = self.run(async move {
            request.caller.deadline = left.again();
            timed(model, request, give).await
        })?;
        while let Some(piece) = pieces.recv().await {
            deltas.put(piece.text.as_str());
            running.pieces.push(piece);
        }
        let answer = answering.answer().await;
        running.end(&answer)?;
        answer
    }

    async fn embed(&self, mut request: EmbedRequest) -> Result<Embeddings, LlmError> {
        let form = self.request(&Form::embed(&request));
        let left = Left::until(request.caller.deadline);
        let ask = |model: SharedLlm| async move {
            request.caller.deadline = left.again();
            model.embed(request).await
        };
        self.answer(form, ask).await
    }

    async fn transcribe(&self, mut request: TranscribeRequest) -> Result<Transcript, LlmError> {
        let form = self.request(&Form::transcribe(&request));
        let left = Left::until(request.caller.deadline);
        let ask = |model: SharedLlm| async move {
            request.caller.deadline = left.again();
            model.transcribe(request).await
        };
        self.answer(form, ask).await
    }

    async fn budgets(&self, caller: Caller) -> Result<Budgets, LlmError> {
        let form = self.request(&Form::Budgets);
        self.answer(form, |model: SharedLlm| async move { model.budgets(caller).await }).await
    }

    /// Only what is wrong is recorded, so a value without a line is right.
    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let request = self.request(&Form::check(schema, value));
        if let Some(model) = &self.model {
            let checked = model.check(schema, value);
            if let Err(problem) = &checked {
                let outcome = Outcome::Error(LlmError::Unreadable(problem.clone()).into());
                let exchange = Exchange { request, pieces: Vec::new(), outcome };
                self.write(exchange).map_err(|error| error.to_string())?;
            }
            return checked;
        }
        let mut state = self.state();
        // A value that is wrong is so however often it is checked.
        let found = state.lines.iter_mut().filter(|line| line.exchange.request == request);
        let Some(line) = found.min_by_key(|line| line.is_used) else { return Ok(()) };
        line.is_used = true;
        match &line.exchange.outcome {
            Outcome::Error(file::Failure::Unreadable { problem }) => Err(problem.clone()),
            _ => Ok(()),
        }
    }
}
