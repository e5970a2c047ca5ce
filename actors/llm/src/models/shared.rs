//! Requests that ask the same at temperature 0: those that run at the same time are one, and their answer can be kept for
//! later ones.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared as SharedFuture},
};
use parking_lot::Mutex;
use serde_json::Value;
use teammy_kernel::{
    Budgets, Caller, Deltas, EmbedRequest, Embeddings, LlmError, LlmProvider, LlmRequest, LlmResponse, Meter,
    Priority, Store, TranscribeRequest, Transcript,
};
use tokio::time::Instant;

/// What a request asks, without who asks: equal requests have equal answers, if chance has no part in them. A tenant
/// shares with no other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked(String);

impl Asked {
    /// None for a request whose answer may differ each time.
    fn of(request: &LlmRequest) -> Option<Self> {
        if request.temperature.is_none_or(|temperature| temperature != 0.0) {
            return None;
        }
        serde_json::to_string(&(request.asked(), request.caller.tenant.as_deref())).ok().map(Self)
    }

    /// As asked by this instance alone.
    fn by(&self, caller: &Caller) -> Self {
        Self(format!("{} {} {}", caller.meeting, caller.instance, self.0))
    }

    fn bytes(&self) -> usize {
        self.0.len()
    }
}

type Asking = SharedFuture<BoxFuture<'static, Result<LlmResponse, LlmError>>>;

struct Kept {
    response: LlmResponse,
    until: Instant,
    /// When it was last used, in uses.
    used: u64,
}

#[derive(Default)]
struct Cache {
    answers: HashMap<Asked, Kept>,
    bytes: usize,
    uses: u64,
}

fn size(asked: &Asked, response: &LlmResponse) -> usize {
    /// What a map takes for an entry.
    const ENTRY: usize = 256;
    ENTRY + asked.bytes() + response.text.len() + response.reasoning.as_ref().map_or(0, String::len)
}

impl Cache {
    fn get(&mut self, asked: &Asked, now: Instant) -> Option<LlmResponse> {
        self.uses += 1;
        let kept = self.answers.get_mut(asked).filter(|kept| kept.until > now)?;
        kept.used = self.uses;
        Some(kept.response.clone())
    }

    /// Keeps an answer. Those that are over, and then those used longest ago, make room.
    fn put(&mut self, asked: Asked, response: LlmResponse, until: Instant, now: Instant, most: usize) {
        let bytes = size(&asked, &response);
        if bytes > most {
            return;
        }
        self.remove(&asked);
        if self.bytes + bytes > most {
            let over: Vec<Asked> = self
                .answers
                .iter()
                .filter(|(_, kept)| kept.until <= now)
                .map(|(asked, _)| asked.clone())
                .collect();
            for asked in &over {
                self.remove(asked);
            }
        }
        if self.bytes + bytes > most {
            let mut oldest: Vec<(u64, Asked)> =
                self.answers.iter().map(|(asked, kept)| (kept.used, asked.clone())).collect();
            oldest.sort_unstable_by_key(|(used, _)| *used);
            for (_, asked) in oldest {
                // A quarter at once, so that a full cache is not sorted for each answer.
                if self.bytes + bytes <= most - most / 4 {
                    break;
                }
                self.remove(&asked);
            }
        }
        self.bytes += bytes;
        self.answers.insert(asked, Kept { response, until, used: self.uses });
    }

    fn remove(&mut self, asked: &Asked) {
        if let Some(kept) = self.answers.remove(asked) {
            self.bytes -= size(asked, &kept.response);
        }
    }
}

struct Running {
    asking: Asking,
    /// When its asker gives up.
    deadline: Option<Instant>,
    /// Its place among those that wait.
    priority: Priority,
    /// What it costs, until one of its askers takes that over.
    meter: Meter,
}

impl Running {
    /// Whether another request fares no worse with it than alone.
    fn serves(&self, caller: &Caller) -> bool {
        let has_time = match (self.deadline, caller.deadline) {
            (None, _) => true,
            (Some(ends), Some(wanted)) => ends >= wanted,
            (Some(_), None) => false,
        };
        has_time && self.priority >= caller.priority
    }
}

/// One of those that wait for a request. The one that began it pays for it; if that one is gone, the last one does.
struct Asker {
    running: Option<Arc<Running>>,
    began: bool,
    pays: Meter,
    state: Arc<State>,
}

impl Asker {
    /// Waits for the answer. Whoever waits drives the request, so it goes on when the one that began it is gone.
    async fn answer(&self) -> Result<LlmResponse, LlmError> {
        self.running.as_ref().expect("invariant: it is there until the drop").asking.clone().await
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        let cost = running.meter.clone();
        let last = {
            // Nobody looks at it meanwhile.
            let _running = self.state.running.lock();
            Arc::into_inner(running)
        };
        if self.began || last.is_some() {
            // If it has not ended, this ends it, and it says what it cost by then.
            drop(last);
            for (model, charges) in cost.take() {
                self.pays.charge(&model, charges);
            }
        }
    }
}

struct State {
    running: Mutex<HashMap<Asked, Weak<Running>>>,
    cache: Mutex<Cache>,
}

/// A provider whose equal requests share their answers.
pub(crate) struct Shared<P> {
    provider: Arc<P>,
    state: Arc<State>,
    /// How long answers are kept; zero keeps none.
    keep: Duration,
    most_bytes: usize,
    /// Whether meetings or instances have budgets of their own.
    is_apart: bool,
}

impl<P: LlmProvider> Shared<P> {
    pub(crate) fn new(provider: P, keep: Duration, most_bytes: usize, is_apart: bool) -> Self {
        let state = State { running: Mutex::default(), cache: Mutex::default() };
        Self { provider: Arc::new(provider), state: Arc::new(state), keep, most_bytes, is_apart }
    }

    /// The request that asks this, if one runs that serves the caller as well, or a new one.
    fn join(&self, asked: Asked, request: &LlmRequest) -> (Arc<Running>, bool) {
        let mut running = self.state.running.lock();
        running.retain(|_, running| running.strong_count() > 0);
        if let Some(other) = running.get(&asked).and_then(Weak::upgrade)
            && other.serves(&request.caller)
        {
            return (other, false);
        }
        let (provider, mut asking, meter) = (self.provider.clone(), request.clone(), Meter::default());
        asking.caller.meter = meter.clone();
        let asking = async move { provider.complete(asking).await }.boxed().shared();
        let (deadline, priority) = (request.caller.deadline, request.caller.priority);
        let new = Arc::new(Running { asking, deadline, priority, meter });
        running.insert(asked, Arc::downgrade(&new));
        (new, true)
    }
}

impl<P: LlmProvider> LlmProvider for Shared<P> {
    async fn complete(&self, request: LlmRequest) -> Result<LlmResponse, LlmError> {
        let Some(asked) = Asked::of(&request) else { return self.provider.complete(request).await };
        if let Some(response) = self.state.cache.lock().get(&asked, Instant::now()) {
            return Ok(free(response));
        }
        // With limits of their own, instances wait and pay apart.
        let key = if self.is_apart { asked.by(&request.caller) } else { asked.clone() };
        let (running, is_ours) = self.join(key, &request);
        let waiting = Asker {
            running: Some(running),
            began: is_ours,
            pays: request.caller.meter.clone(),
            state: self.state.clone(),
        };
        let outcome = waiting.answer().await;
        drop(waiting);
        let response = match outcome {
            // The one that began it may have had a budget that ours is not.
            Err(LlmError::BudgetExceeded { .. }) if !is_ours => return self.provider.complete(request).await,
            Ok(response) if !is_ours => return Ok(free(response)),
            outcome => outcome?,
        };
        if !self.keep.is_zero() {
            let now = Instant::now();
            if let Some(until) = now.checked_add(self.keep) {
                self.state.cache.lock().put(asked, response.clone(), until, now, self.most_bytes);
            }
        }
        Ok(response)
    }

    async fn stream(&self, request: LlmRequest, deltas: Deltas) -> Result<LlmResponse, LlmError> {
        self.provider.stream(request, deltas).await
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings, LlmError> {
        self.provider.embed(request).await
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<Transcript, LlmError> {
        self.provider.transcribe(request).await
    }

    async fn budgets(&self, caller: Caller) -> Result<Budgets, LlmError> {
        self.provider.budgets(caller).await
    }

    fn opened(&self, store: Arc<dyn Store>) {
        self.provider.opened(store);
    }

    async fn close(&self) {
        self.provider.close().await;
    }

    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        self.provider.check(schema, value)
    }
}

/// An answer that another request has paid for.
fn free(response: LlmResponse) -> LlmResponse {
    let mut response = response;
    response.usage = None;
    response
}

#[cfg(test)]
mod tests;
