//! The configured models as one provider: a request is paid, waits its turn, goes to its model, is tried again as its
//! failure's class says, and goes to the next model of the `fallback`.

mod line;
mod question;
mod shared;

use std::{collections::HashMap, future::Future, sync::Arc};

use parking_lot::Mutex;
use serde_json::Value;
use teammy_kernel::{
    Budgets as BudgetReport, Caller, Charges, Deltas, EmbedRequest, Embeddings, LlmError, LlmProvider,
    LlmRequest, LlmResponse, Meter, Model, Span as TraceSpan, Spend, Store, TranscribeRequest, Transcript,
    Usage,
};
use tokio::time::Instant;
use tracing::{Instrument, debug};

use self::line::Line;
pub(crate) use self::{
    question::{Answer, OwnQuestion, Question},
    shared::Shared,
};
use crate::{
    budgets::{Budgets, Unpaid},
    policy::{
        Admission, Bound, Breaker, Capacity, Class, Exhausted, Failures, Pass, Prices, Problem, RetryPolicy,
        Step,
    },
    telemetry,
};

/// The most tokens of an answer that a budget pays for, where neither the plugin nor the configuration says so.
const MAX_TOKENS: u32 = 4096;

/// A client of one model: one question, one answer or failure.
pub(crate) trait ModelClient: Send + Sync + 'static {
    /// The model's name in the configuration.
    fn name(&self) -> &str;

    /// Asks once. The server is told where in a trace it is asked, as the caller says.
    fn ask(&self, question: Question<'_>) -> impl Future<Output = Result<Answer, Problem>> + Send;
}

/// What is configured of a model beside its server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    /// The models that are asked after this one failed, by their names.
    pub(crate) fallback: Vec<String>,
    pub(crate) capacity: Capacity,
    pub(crate) prices: Prices,
    /// The most tokens of an answer.
    pub(crate) max_tokens: Option<u32>,
    /// How many it may have whatever a request asks for, where a request cannot say so.
    pub(crate) fixed_tokens: Option<u64>,
}

/// A model, with what is known of it.
struct Slot<C> {
    client: C,
    fallback: Vec<usize>,
    breaker: Mutex<Breaker>,
    /// What it failed with when it last did.
    last_failure: Mutex<String>,
    line: Arc<Line>,
    prices: Prices,
    max_tokens: Option<u32>,
    fixed_tokens: Option<u64>,
}

/// Which model is for what, by their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roles {
    pub(crate) default: String,
    pub(crate) fast: String,
    pub(crate) embedding: Option<String>,
    pub(crate) transcription: Option<String>,
}

/// The models.
pub(crate) struct Models<C> {
    slots: Vec<Slot<C>>,
    default: usize,
    fast: usize,
    embedding: Option<usize>,
    transcription: Option<usize>,
    retry: RetryPolicy,
    budgets: Option<Budgets>,
}

impl<C: ModelClient> Models<C> {
    /// These models. None if a role's model is not there.
    pub(crate) fn new(
        models: Vec<(C, Terms)>,
        roles: &Roles,
        retry: RetryPolicy,
        budgets: Option<Budgets>,
    ) -> Option<Self> {
        let names: HashMap<String, usize> =
            models.iter().enumerate().map(|(at, (client, _))| (client.name().to_owned(), at)).collect();
        let of = |name: &Option<String>| match name {
            None => Some(None),
            Some(name) => names.get(name).copied().map(Some),
        };
        let (default, fast) = (*names.get(&roles.default)?, *names.get(&roles.fast)?);
        let (embedding, transcription) = (of(&roles.embedding)?, of(&roles.transcription)?);
        let slot = |(client, terms): (C, Terms)| Slot {
            client,
            fallback: terms.fallback.iter().filter_map(|name| names.get(name).copied()).collect(),
            breaker: Mutex::default(),
            last_failure: Mutex::default(),
            line: Line::new(terms.capacity),
            prices: terms.prices,
            max_tokens: terms.max_tokens,
            fixed_tokens: terms.fixed_tokens,
        };
        let slots = models.into_iter().map(slot).collect();
        Some(Self { slots, default, fast, embedding, transcription, retry, budgets })
    }

    /// The default model's client and the fast one's.
    pub(crate) fn chosen(&self) -> [&C; 2] {
        [&self.slots[self.default].client, &self.slots[self.fast].client]
    }

    /// The models to ask, the first one first.
    fn order(&self, question: &Question<'_>) -> Result<Vec<usize>, LlmError> {
        let missing = |what: &str, key: &str| {
            LlmError::Misconfigured(format!("no model is named for {what}; set `{key}` in `[llm]`"))
        };
        let (first, falls_back) = match question {
            Question::Chat(request, _) if request.model == Model::Fast => (self.fast, true),
            Question::Chat(..) => (self.default, true),
            // Vectors of different models cannot be compared.
            Question::Embed(_) => {
                (self.embedding.ok_or_else(|| missing("vectors of texts", "embedding"))?, false)
            }
            Question::Transcribe(_) => {
                (self.transcription.ok_or_else(|| missing("the text of sound", "transcription"))?, true)
            }
        };
        let fallback = self.slots[first].fallback.iter().filter(|_| falls_back);
        Ok(std::iter::once(first).chain(fallback.copied()).collect())
    }

    async fn answer(&self, question: Question<'_>) -> Result<Answer, LlmError> {
        let order = self.order(&question)?;
        let mut spent = Usage::default();
        let mut failures = Failures::default();
        for (position, at) in order.iter().enumerate() {
            let slot = &self.slots[*at];
            let name = slot.client.name();
            let mut tally = Tally::new(&question.caller().meter, name, position > 0);
            let has_next = position + 1 < order.len();
            match self.ask_one(slot, question, has_next, &mut spent, &mut tally).await {
                Ok(mut answer) => {
                    tally.charges.failures = 0;
                    let has_usage = answer.usage().is_some() || spent != Usage::default();
                    let usage = has_usage.then(|| answer.usage().unwrap_or_default() + spent);
                    answer.set(name, usage);
                    return Ok(answer);
                }
                Err(Unanswered { problem, exhausted, .. }) => {
                    failures.add(name, &problem, exhausted);
                    if problem.has_given || problem.class == Class::TooLate {
                        break;
                    }
                }
            }
        }
        Err(failures.into_error())
    }

    /// Asks one model until it answers or the next one is to be asked.
    async fn ask_one(
        &self,
        slot: &Slot<C>,
        question: Question<'_>,
        has_next: bool,
        spent: &mut Usage,
        tally: &mut Tally<'_>,
    ) -> Result<Answer, Unanswered> {
        let caller = question.caller();
        let is_paid = self.budgets.as_ref().is_some_and(|budgets| budgets.apply_to(caller));
        // The request as this model gets it: its answer is bounded, so that it is known what it may cost.
        let bounded;
        let (question, bound) = match question {
            Question::Chat(request, deltas) => {
                let most = slot.max_tokens.or(is_paid.then_some(MAX_TOKENS));
                let most = request.max_tokens.into_iter().chain(most).min();
                let mut copy = request.clone();
                copy.max_tokens = most;
                bounded = copy;
                let question = Question::Chat(&bounded, deltas);
                let most = most.unwrap_or(MAX_TOKENS).into();
                (question, question.bound(slot.fixed_tokens.unwrap_or(most)))
            }
            other => (other, other.bound(slot.max_tokens.unwrap_or(MAX_TOKENS).into())),
        };
        let most = slot.prices.spend(bound);
        let mut tries = 0;
        loop {
            let (problem, again) = match self.try_once(slot, question, bound, most, tally).await {
                Ok(answer) => return Ok(answer),
                Err(unanswered) if unanswered.try_again == Again::No => return Err(unanswered),
                Err(Unanswered { problem, try_again, .. }) => (problem, try_again),
            };
            *spent += problem.usage;
            let now = Instant::now();
            let left = caller.deadline.map(|deadline| deadline.saturating_duration_since(now));
            // A pause is no try, if something else ends the waiting.
            tries = if again == Again::Paused && left.is_some() { tries.max(1) } else { tries + 1 };
            let step = self.retry.after(&problem, tries, left, has_next, fastrand::f64());
            let (model, class) = (slot.client.name(), problem.class);
            debug!(meeting = %caller.meeting, instance = %caller.instance, model, ?class, tries, ?step, "a model failed");
            match step {
                Step::RetryAfter(wait) => {
                    tokio::time::sleep(wait).await;
                    tally.charges.retries += u64::from(again == Again::Asked);
                }
                Step::Next | Step::Stop => return Err(Unanswered::asked(problem)),
            }
        }
    }

    /// Asks one model once: when it is paid, and when its turn has come.
    async fn try_once(
        &self,
        slot: &Slot<C>,
        question: Question<'_>,
        bound: Bound,
        most: Spend,
        tally: &mut Tally<'_>,
    ) -> Result<Answer, Unanswered> {
        let caller = question.caller();
        let left_alone = |time: std::time::Duration| {
            let (seconds, last) = (time.as_secs().max(1), slot.last_failure.lock().clone());
            let text =
                format!("it has failed too often, and is left alone for {seconds} s; the last time: {last}");
            Unanswered::not_asked(Problem {
                retry_after: Some(time),
                ..Problem::new(Class::Unavailable, text)
            })
        };
        let queued = Instant::now();
        // The server would say once more that it takes nothing yet.
        if let Some(told) = slot.breaker.lock().paused_for(queued) {
            let text = slot.last_failure.lock().clone();
            let problem = Problem { retry_after: Some(told), ..Problem::new(Class::Busy, text) };
            return Err(Unanswered { try_again: Again::Paused, ..Unanswered::not_asked(problem) });
        }
        // A request that cannot pass does not wait for its turn first.
        if let Some(time) = slot.breaker.lock().closed_for(queued) {
            return Err(left_alone(time));
        }
        let mut reservation = match &self.budgets {
            None => None,
            Some(budgets) => Some(budgets.hold(caller, most).await.map_err(Unanswered::unpaid)?),
        };
        let mut turn = slot.line.turn(caller, most.tokens).await.map_err(Unanswered::not_asked)?;
        tally.charges.waited_ms += millis(queued.elapsed());
        let admission = slot.breaker.lock().admit(Instant::now());
        let pass = match admission {
            Admission::Admitted(pass) => pass,
            Admission::NotFor(time) => {
                turn.took(0);
                return Err(left_alone(time));
            }
        };
        let mut call = Call { breaker: &slot.breaker, pass, has_ended: false };
        if let Some(reservation) = &mut reservation {
            reservation.sent();
        }
        tally.sent();
        let (model, operation, began) = (slot.client.name(), question.operation(), Instant::now());
        let span = telemetry::span(operation, model, caller);
        let traced = caller.trace.and_then(|context| TraceSpan::below("model", context));
        let copy = traced.as_ref().map(|span| question.at(span.context()));
        let question = copy.as_ref().map_or(question, OwnQuestion::question);
        let outcome = slot.client.ask(question).instrument(span.clone()).await;
        call.has_ended = true;
        let (now, took) = (Instant::now(), began.elapsed());
        let told = outcome.as_ref().map(Answer::usage).map_err(|problem| problem.class);
        telemetry::ended(&span, operation, model, took, told);
        if let Some(traced) = traced {
            telemetry::end(traced, operation, model, caller, told);
        }
        tally.charges.took_ms += millis(took);
        // A server that does not count has read no more than the request's bytes, and written none more than its answer's.
        let of_answer = |bytes: u64| {
            let completion = bound.completion.min(bytes);
            slot.prices.spend(Bound { completion, ..bound })
        };
        let (usage, cost) = match &outcome {
            Ok(answer) => {
                slot.breaker.lock().succeeded();
                let usage = answer.usage();
                let cost = match usage {
                    Some(usage) => slot.prices.spent(usage),
                    None => of_answer(answer.text_bytes() as u64),
                };
                (usage.unwrap_or_default(), cost)
            }
            Err(problem) => {
                slot.breaker.lock().failed(problem, pass, now);
                slot.last_failure.lock().clone_from(&problem.text);
                (problem.usage, problem.spent(slot.prices.spent(problem.usage), of_answer, most))
            }
        };
        tally.charges.usage += usage;
        tally.charges.cost = tally.charges.cost + slot.prices.cost(usage);
        turn.took(cost.tokens);
        if let Some(reservation) = &mut reservation {
            reservation.cost(cost);
        }
        outcome.map_err(Unanswered::asked)
    }
}

/// Why a model has not answered.
struct Unanswered {
    problem: Problem,
    /// The budget that has too little left, if that is why.
    exhausted: Option<Exhausted>,
    try_again: Again,
}

/// Whether a model is to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// It was asked: the failure's class says.
    Asked,
    /// Its server has told others when it takes requests again.
    Paused,
    /// It was not asked, and will not be.
    No,
}

impl Unanswered {
    fn asked(problem: Problem) -> Self {
        Self { problem, exhausted: None, try_again: Again::Asked }
    }

    fn not_asked(problem: Problem) -> Self {
        Self { problem, exhausted: None, try_again: Again::No }
    }

    fn unpaid(unpaid: Unpaid) -> Self {
        match unpaid {
            Unpaid::Exceeded { name, resets } => {
                let problem =
                    Problem::new(Class::OverBudget, format!("the budget {name:?} has too little left"));
                Self { exhausted: Some(Exhausted { name, resets }), ..Self::not_asked(problem) }
            }
            Unpaid::Unknown(text) => Self::not_asked(Problem::new(Class::Unavailable, text)),
            Unpaid::TooLate(text) => Self::not_asked(Problem::new(Class::TooLate, text)),
        }
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Adds up what a request costs at one model, and charges it when it is dropped: also for a request that is called off.
struct Tally<'a> {
    meter: &'a Meter,
    model: &'a str,
    is_fallback: bool,
    charges: Charges,
}

impl<'a> Tally<'a> {
    fn new(meter: &'a Meter, model: &'a str, is_fallback: bool) -> Self {
        Self { meter, model, is_fallback, charges: Charges::default() }
    }

    /// The request goes to the model.
    fn sent(&mut self) {
        self.charges.calls = 1;
        self.charges.failures = 1;
        self.charges.fallbacks = self.is_fallback.into();
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        if self.charges != Charges::default() {
            self.meter.charge(self.model, self.charges);
        }
    }
}

/// Tells the breaker of a call that is dropped before it has ended.
struct Call<'a> {
    breaker: &'a Mutex<Breaker>,
    pass: Pass,
    has_ended: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.breaker.lock().cancelled(self.pass, Instant::now());
        }
    }
}

impl<C: ModelClient> LlmProvider for Models<C> {
    async fn complete(&self, request: LlmRequest) -> Result<LlmResponse, LlmError> {
        match self.answer(Question::Chat(&request, None)).await? {
            Answer::Chat(response) => Ok(response),
            _ => Err(other_answer()),
        }
    }

    async fn stream(&self, request: LlmRequest, deltas: Deltas) -> Result<LlmResponse, LlmError> {
        match self.answer(Question::Chat(&request, Some(&deltas))).await? {
            Answer::Chat(response) => Ok(response),
            _ => Err(other_answer()),
        }
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings, LlmError> {
        match self.answer(Question::Embed(&request)).await? {
            Answer::Embed(embeddings) => Ok(embeddings),
            _ => Err(other_answer()),
        }
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<Transcript, LlmError> {
        match self.answer(Question::Transcribe(&request)).await? {
            Answer::Transcribe(transcript) => Ok(transcript),
            _ => Err(other_answer()),
        }
    }

    async fn budgets(&self, caller: Caller) -> Result<BudgetReport, LlmError> {
        let Some(budgets) = &self.budgets else { return Ok(BudgetReport::default()) };
        budgets.report(&caller).await.map_err(|unpaid| match unpaid {
            Unpaid::Exceeded { name, resets } => LlmError::BudgetExceeded { name, resets },
            Unpaid::Unknown(text) | Unpaid::TooLate(text) => LlmError::Failed(text),
        })
    }

    fn opened(&self, store: Arc<dyn Store>) {
        if let Some(budgets) = &self.budgets {
            budgets.keep_in(store);
        }
    }

    async fn close(&self) {
        if let Some(budgets) = &self.budgets {
            budgets.flush().await;
        }
    }

    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        crate::schema::check(schema, value)
    }
}

/// A client answers what it was asked.
fn other_answer() -> LlmError {
    LlmError::Failed("its client gave another answer than was asked for".to_owned())
}

#[cfg(test)]
mod tests;
