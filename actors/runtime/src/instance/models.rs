//! The language models as one instance in one meeting has them: what they answer is kept until its hook has ended, and what
//! they cost is counted.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use teammy_kernel::{
    Audio, Budgets, Caller, Deltas, EmbedRequest, Embeddings, KeyValue, LlmError, LlmProvider, LlmRequest,
    LlmResponse, Meter, PersistenceProvider, ReadError, Seq, SharedLlm, TranscribeRequest, Transcript,
    journal::{Asked, Journal},
    ledger::Ledger,
    timers::Timers,
};
use tokio::sync::OnceCell;
use tracing::debug;

use super::{hook_trace::HookTrace, outbox::Outbox};
use crate::{
    clock,
    kill_points::{self, KillPoint},
};

/// The models for one incarnation of an instance.
pub(super) struct InstanceModels {
    models: SharedLlm,
    /// Whose meeting it is.
    tenant: Option<Arc<str>>,
    /// Whether an earlier actor of the instance has failed in this process.
    has_failed: bool,
    /// Where the running hook is in a trace.
    trace: Arc<HookTrace>,
    provider: Arc<dyn PersistenceProvider>,
    outbox: Arc<Outbox>,
    memory: Mutex<Memory>,
    /// The packet that the running hook is for.
    seq: AtomicU64,
    /// What is stored was taken up. Before its first request an instance reads nothing.
    restored: OnceCell<()>,
}

#[derive(Default)]
struct Memory {
    journal: Journal,
    ledger: Ledger,
    /// Where all of the instance's requests are charged.
    meter: Meter,
}

impl Memory {
    /// Counts what was charged since the last time. Returns the new sums.
    fn count(&mut self) -> Vec<KeyValue> {
        self.ledger.add(clock::now(), self.meter.take());
        self.ledger.take_changed()
    }
}

impl InstanceModels {
    pub(super) fn new(
        models: SharedLlm,
        tenant: Option<Arc<str>>,
        has_failed: bool,
        trace: Arc<HookTrace>,
        provider: Arc<dyn PersistenceProvider>,
        outbox: Arc<Outbox>,
    ) -> Arc<Self> {
        let (memory, seq, restored) = (Mutex::default(), AtomicU64::new(0), OnceCell::new());
        Arc::new(Self { models, tenant, has_failed, trace, provider, outbox, memory, seq, restored })
    }

    /// A hook begins, for this packet.
    #[inline]
    pub(super) fn begin(&self, seq: Seq) {
        self.seq.store(seq.0, Ordering::Relaxed);
        if self.is_used() {
            self.memory.lock().journal.begin(seq);
        }
    }

    /// The running hook has failed: its next try asks anew, also under another owner.
    pub(super) fn failed(&self) {
        if self.is_used() {
            let deletions: Vec<KeyValue> = self.memory.lock().journal.ended().collect();
            if !deletions.is_empty() {
                self.outbox.submit_keys(deletions, false);
            }
        }
    }

    /// Whether something goes with the effects of the running hook.
    pub(super) fn has_effects(&self) -> bool {
        self.is_used() && self.memory.lock().journal.has_deletions()
    }

    /// The running hook has ended, or was given up. Adds what goes with its effects.
    pub(super) fn ended(&self, keys: &mut Vec<KeyValue>) {
        if self.is_used() {
            let mut memory = self.memory.lock();
            keys.extend(memory.journal.ended());
            keys.extend(memory.count());
        }
    }

    /// Whether any hook has asked.
    fn is_used(&self) -> bool {
        self.restored.initialized()
    }

    /// Takes up the answers of an instance that goes on here. Their hook may ask no more, and then they are deleted.
    pub(super) async fn resume(&self) -> Result<(), ReadError> {
        let keys = self.provider.list(Timers::PREFIX).await?;
        if keys.iter().any(|(key, _)| Journal::is_answer(key)) {
            self.restored.get_or_init(async || self.take_up(keys)).await;
        }
        Ok(())
    }

    fn take_up(&self, keys: Vec<(String, Arc<str>)>) {
        let mut memory = self.memory.lock();
        memory.journal.restore(keys.iter().cloned(), self.has_failed);
        memory.ledger.restore(keys);
        memory.journal.begin(Seq(self.seq.load(Ordering::Relaxed)));
    }

    /// Takes up what is stored, before the first request.
    async fn restore(&self) -> Result<(), LlmError> {
        let restore = async || {
            let keys = self.provider.list(Timers::PREFIX).await;
            let keys = keys
                .map_err(|error| LlmError::Failed(format!("what it asked before is not known: {error}")))?;
            self.take_up(keys);
            Ok(())
        };
        self.restored.get_or_try_init(restore).await.map(drop)
    }

    /// Asks, unless the hook was answered before it was cut off. The answer is stored before the hook sees it.
    async fn kept<T: Serialize + DeserializeOwned>(
        &self,
        digest: String,
        ask: impl Future<Output = Result<T, LlmError>> + Send,
    ) -> Result<T, LlmError> {
        self.restore().await?;
        let asked = self.memory.lock().journal.ask(&digest);
        let key = match asked {
            Asked::Before(answer) => match serde_json::from_str(&answer) {
                Ok(answer) => return Ok(answer),
                // Another version wrote it.
                Err(_) => None,
            },
            Asked::New(key) => Some(key),
        };
        let mut counting = Counting { models: self, is_over: false };
        let answer = ask.await?;
        kill_points::pass(KillPoint::ModelAnswered);
        let json: Arc<str> = serde_json::to_string(&answer).unwrap_or_default().into();
        let (kept, keys) = {
            let mut memory = self.memory.lock();
            let kept = key.and_then(|key| memory.journal.answered(key, &json));
            (kept, memory.count())
        };
        counting.is_over = true;
        let Some(kept) = kept else {
            debug!(bytes = json.len(), "a model's answer is too long to be kept");
            self.outbox.submit_keys(keys, false);
            return Ok(answer);
        };
        let key = kept.0.clone();
        self.outbox.submit_keys(keys.into_iter().chain([kept]).collect(), true);
        self.outbox.overlay().until_stored(&key).await;
        kill_points::pass(KillPoint::AnswerStored);
        Ok(answer)
    }

    fn prepare(&self, caller: &mut Caller) {
        caller.tenant.clone_from(&self.tenant);
        caller.trace = self.trace.context();
        caller.meter = self.memory.lock().meter.clone();
    }
}

/// Writes down what a request cost that gave no answer.
struct Counting<'a> {
    models: &'a InstanceModels,
    is_over: bool,
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let keys = self.models.memory.lock().count();
            if !keys.is_empty() {
                self.models.outbox.submit_keys(keys, false);
            }
        }
    }
}

fn digest(kind: &str, asked: &Value, content: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(kind.as_bytes());
    hasher.update(asked.to_string().as_bytes());
    hasher.update(&[0]);
    hasher.update(content);
    hasher.finalize().to_hex()[..32].to_owned()
}

/// The handle that an engine takes.
#[derive(Clone)]
pub(super) struct InstanceModelsRef(pub(super) Arc<InstanceModels>);

impl LlmProvider for InstanceModelsRef {
    async fn complete(&self, mut request: LlmRequest) -> Result<LlmResponse, LlmError> {
        let models = &*self.0;
        models.prepare(&mut request.caller);
        models.kept(digest("chat", &request.asked(), &[]), models.models.complete(request)).await
    }

    async fn stream(&self, mut request: LlmRequest, deltas: Deltas) -> Result<LlmResponse, LlmError> {
        let models = &*self.0;
        models.prepare(&mut request.caller);
        let digest = digest("chat", &request.asked(), &[]);
        let was_asked = Arc::new(AtomicBool::new(false));
        let (asking, pieces) = (was_asked.clone(), deltas.clone());
        let ask = async move {
            asking.store(true, Ordering::Relaxed);
            models.models.stream(request, pieces).await
        };
        let response: LlmResponse = models.kept(digest, ask).await?;
        if !was_asked.load(Ordering::Relaxed) {
            deltas.put(response.text.as_str());
        }
        Ok(response)
    }

    async fn embed(&self, mut request: EmbedRequest) -> Result<Embeddings, LlmError> {
        let models = &*self.0;
        models.prepare(&mut request.caller);
        models.kept(digest("embed", &json!(request.texts), &[]), models.models.embed(request)).await
    }

    async fn transcribe(&self, mut request: TranscribeRequest) -> Result<Transcript, LlmError> {
        let models = &*self.0;
        models.prepare(&mut request.caller);
        let (form, content) = match &request.audio {
            Audio::Samples { rate, samples } => {
                (json!(rate), samples.iter().flat_map(|sample| sample.to_le_bytes()).collect())
            }
            Audio::File { name, content } => (json!(name), content.to_vec()),
            _ => (Value::Null, Vec::new()),
        };
        let digest = digest("transcribe", &json!([form, request.language, request.hint]), &content);
        models.kept(digest, models.models.transcribe(request)).await
    }

    async fn budgets(&self, mut caller: Caller) -> Result<Budgets, LlmError> {
        self.0.prepare(&mut caller);
        self.0.models.budgets(caller).await
    }

    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        self.0.models.check(schema, value)
    }
}
