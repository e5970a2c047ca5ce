//! The configured models as one provider: a request waits its turn, goes to its model, is tried again as its failure's
//! class says, and goes to the next model of the `fallback`.

use std::{collections::HashMap, future::Future, sync::Arc};

use parking_lot::Mutex;
use serde_json::Value;
use teammy_kernel::{Deltas, LlmError, LlmProvider, LlmRequest, LlmResponse, Model, Usage};
use tokio::{sync::oneshot, time::Instant};
use tracing::debug;

use crate::policy::{Admission, Breaker, Class, Problem, Queue, RetryPolicy, Step, Ticket};

/// A client of one model: one request, one answer or failure.
pub(crate) trait ModelClient: Send + Sync + 'static {
    /// The model's name in the configuration.
    fn name(&self) -> &str;

    /// Asks once. Pieces of the text go to `deltas` as they come.
    fn ask(
        &self,
        request: &LlmRequest,
        deltas: Option<&Deltas>,
    ) -> impl Future<Output = Result<LlmResponse, Problem>> + Send;
}

/// What is configured of a model beside its server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    /// The models that are asked after this one failed, by their names.
    pub(crate) fallback: Vec<String>,
    /// The most requests at once.
    pub(crate) at_once: Option<usize>,
    /// The most requests a minute.
    pub(crate) per_minute: Option<u32>,
}

/// A model, with what is known of it.
struct Slot<C> {
    client: C,
    fallback: Vec<usize>,
    breaker: Mutex<Breaker>,
    line: Arc<Line>,
}

/// The models.
pub(crate) struct Models<C> {
    slots: Vec<Slot<C>>,
    default: usize,
    fast: usize,
    retry: RetryPolicy,
}

impl<C: ModelClient> Models<C> {
    /// These models; `default` and `fast` are names of two. None if one is not there.
    pub(crate) fn new(
        models: Vec<(C, Limits)>,
        default: &str,
        fast: &str,
        retry: RetryPolicy,
    ) -> Option<Self> {
        let names: HashMap<String, usize> =
            models.iter().enumerate().map(|(at, (client, _))| (client.name().to_owned(), at)).collect();
        let (default, fast) = (*names.get(default)?, *names.get(fast)?);
        let slot = |(client, limits): (C, Limits)| Slot {
            client,
            fallback: limits.fallback.iter().filter_map(|name| names.get(name).copied()).collect(),
            breaker: Mutex::default(),
            line: Line::new(Queue::new(limits.at_once, limits.per_minute)),
        };
        Some(Self { slots: models.into_iter().map(slot).collect(), default, fast, retry })
    }

    /// The default model's client and the fast one's.
    pub(crate) fn chosen(&self) -> [&C; 2] {
        [&self.slots[self.default].client, &self.slots[self.fast].client]
    }

    async fn answer(&self, request: LlmRequest, deltas: Option<&Deltas>) -> Result<LlmResponse, LlmError> {
        let first = match request.model {
            Model::Fast => self.fast,
            _ => self.default,
        };
        let fallback = &self.slots[first].fallback;
        let mut spent = Usage::default();
        let mut failures: Vec<String> = Vec::new();
        let mut last = Problem::new(Class::Unavailable, "no model was asked");
        for at in std::iter::once(&first).chain(fallback) {
            let slot = &self.slots[*at];
            let problem = match self.ask_one(slot, &request, deltas, &mut spent).await {
                Ok(mut response) => {
                    let has_usage = response.usage.is_some() || spent != Usage::default();
                    response.usage = has_usage.then(|| response.usage.unwrap_or_default() + spent);
                    response.model = Some(slot.client.name().to_owned());
                    return Ok(response);
                }
                Err(problem) => problem,
            };
            failures.push(format!("{}: {}", slot.client.name(), problem.text));
            let is_over = problem.has_given || problem.class == Class::TooLate;
            last = problem;
            if is_over {
                break;
            }
        }
        Err(last.into_error(failures.join("; then ")))
    }

    /// Asks one model until it answers or the next one is to be asked.
    async fn ask_one(
        &self,
        slot: &Slot<C>,
        request: &LlmRequest,
        deltas: Option<&Deltas>,
        spent: &mut Usage,
    ) -> Result<LlmResponse, Problem> {
        let mut tries = 0;
        loop {
            let turn = slot.line.turn(request).await?;
            let admission = slot.breaker.lock().admit(Instant::now());
            if let Admission::NotFor(time) = admission {
                let text =
                    format!("it has failed too often, and is left alone for {} s", time.as_secs().max(1));
                return Err(Problem { retry_after: Some(time), ..Problem::new(Class::Unavailable, text) });
            }
            let mut call = Call { breaker: &slot.breaker, has_ended: false };
            let outcome = slot.client.ask(request, deltas).await;
            call.has_ended = true;
            drop(turn);
            let problem = match outcome {
                Ok(response) => {
                    slot.breaker.lock().succeeded();
                    return Ok(response);
                }
                Err(problem) => problem,
            };
            tries += 1;
            *spent += problem.usage;
            let now = Instant::now();
            slot.breaker.lock().failed(problem.class, now);
            let left = request.caller.deadline.map(|deadline| deadline.saturating_duration_since(now));
            let step = self.retry.after(&problem, tries, left, fastrand::f64());
            let (model, class) = (slot.client.name(), problem.class);
            debug!(meeting = %request.caller.meeting, instance = %request.caller.instance, model, ?class, tries, ?step, "a model failed");
            match step {
                Step::RetryAfter(wait) => tokio::time::sleep(wait).await,
                Step::Next | Step::Stop => return Err(problem),
            }
        }
    }
}

/// Tells the breaker of a call that is dropped before it has ended.
struct Call<'a> {
    breaker: &'a Mutex<Breaker>,
    has_ended: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.breaker.lock().cancelled(Instant::now());
        }
    }
}

impl<C: ModelClient> LlmProvider for Models<C> {
    async fn complete(&self, request: LlmRequest) -> Result<LlmResponse, LlmError> {
        self.answer(request, None).await
    }

    async fn stream(&self, request: LlmRequest, deltas: Deltas) -> Result<LlmResponse, LlmError> {
        self.answer(request, Some(&deltas)).await
    }

    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        crate::schema::check(schema, value)
    }
}

/// The tasks that wait for a model.
struct Line {
    state: Mutex<Waiting>,
}

struct Waiting {
    queue: Queue,
    wakers: HashMap<Ticket, oneshot::Sender<()>>,
}

impl Line {
    fn new(queue: Queue) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(Waiting { queue, wakers: HashMap::new() }) })
    }

    /// Waits until the request may go. Its turn is over when the value is dropped.
    async fn turn(self: &Arc<Self>, request: &LlmRequest) -> Result<Turn, Problem> {
        let (sender, mut receiver) = oneshot::channel();
        let ticket = {
            let mut state = self.state.lock();
            let ticket =
                state.queue.push(&request.caller.meeting, request.caller.priority, request.caller.deadline);
            state.wakers.insert(ticket, sender);
            ticket
        };
        let mut place = Place { line: self.clone(), ticket: Some(ticket) };
        loop {
            self.dispatch();
            let ready_at = self.state.lock().queue.ready_at(Instant::now());
            let timer = async {
                match ready_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let deadline = async {
                match request.caller.deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                went = &mut receiver => {
                    went.expect("invariant: a request in the queue has its sender");
                    place.ticket = None;
                    return Ok(Turn(self.clone()));
                }
                () = deadline => {
                    return Err(Problem::new(Class::TooLate, "its turn did not come in the time of the request"));
                }
                () = timer => {}
            }
        }
    }

    /// Lets all go that may.
    fn dispatch(&self) {
        let mut state = self.state.lock();
        while let Some(ticket) = state.queue.next(Instant::now()) {
            let waker =
                state.wakers.remove(&ticket).expect("invariant: a request in the queue has its sender");
            // A request that is being dropped ends its turn itself.
            let _ = waker.send(());
        }
    }
}

/// A request that waits; it leaves the queue when it is dropped.
struct Place {
    line: Arc<Line>,
    ticket: Option<Ticket>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.line.state.lock();
        state.wakers.remove(&ticket);
        // It may have got its turn and not noticed.
        if !state.queue.cancel(ticket) {
            state.queue.done();
            drop(state);
            self.line.dispatch();
        }
    }
}

/// A request's turn.
struct Turn(Arc<Line>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.state.lock().queue.done();
        self.0.dispatch();
    }
}

#[cfg(test)]
mod tests;
