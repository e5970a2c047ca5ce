//! Helpers of all tests: [`Probe`], a plugin that does what a packet's text says and records its calls, and
//! [`FaultyStore`], a store with faults that a test switches on and off.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use teammy_config::Config;
use teammy_kernel::{
    Batch, Cx, DataPacket, Error, Factory, History, Hooks, InCallPlugin, Json, MeetingId, MeetingMetadata,
    Name, Payload, Publish, Receive, Seq, ShutdownCx, StartupCx, Store, Tick, Timestamp,
    store::{
        AccountId, AccountRecord, Commit, DeadLetter, InstanceRecord, Leases, Mark, MeetingPage,
        MeetingQuery, MeetingRecord, MemoryStore, Outcome, PacketQuery, StoreFuture,
    },
};
use teammy_runtime::{MeetingRef, Node};
use tokio::sync::watch;

/// The events that the probes recorded, by the name of an event list. A test names its lists differently from
/// all other tests.
static EVENTS: LazyLock<Mutex<HashMap<String, Vec<String>>>> = LazyLock::new(Mutex::default);

/// Appends an event to a list.
pub(crate) fn record(list: &str, event: impl Into<String>) {
    EVENTS.lock().unwrap().entry(list.to_owned()).or_default().push(event.into());
}

/// The events of a list so far.
pub(crate) fn events(list: &str) -> Vec<String> {
    EVENTS.lock().unwrap().get(list).cloned().unwrap_or_default()
}

/// A probe's configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProbeConfig {
    /// The list that it records its calls in; if empty, it records nothing.
    pub(crate) events: String,
    /// Whether it makes an output for each packet or batch.
    pub(crate) outputs: bool,
    /// Whether it makes an output in `on_meeting_end`.
    pub(crate) outputs_at_end: bool,
}

/// Takes single packets of `transcription`, batches of `chat`, single packets of `up` (any JSON), and a tick
/// each second. It does what the text of a `transcription` packet says; see its hook.
pub(crate) struct Probe(ProbeConfig);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) count: u64,
}

/// The JSON of `transcription` and `chat` packets.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Message {
    pub(crate) text: String,
}

impl Probe {
    fn record(&self, event: impl Into<String>) {
        if !self.0.events.is_empty() {
            record(&self.0.events, event);
        }
    }
}

impl InCallPlugin for Probe {
    type Config = ProbeConfig;
    type State = Counter;
    type Scratch = ();
    type Output = Json<Value>;
    const KIND: &'static str = "probe";
    const VERSION: &'static str = "1.0.0";

    async fn on_install() -> Result<(), Error> {
        record("installs", "installed");
        Ok(())
    }

    async fn on_startup(config: ProbeConfig, _: &StartupCx) -> Result<Self, Error> {
        let probe = Self(config);
        probe.record("startup");
        Ok(probe)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks
            .on::<Json<Message>>("transcription")
            .on_batch::<Json<Message>>("chat", 50)
            .on::<Json<Value>>("up")
            .every(Duration::from_secs(1))
    }

    async fn on_meeting_start(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        self.record(format!("{} start {}", cx.instance(), cx.meeting().id));
        Ok(None)
    }

    async fn on_meeting_end(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        self.record(format!("{} end {} {}", cx.instance(), cx.meeting().id, cx.state().count));
        Ok(self.0.outputs_at_end.then(|| Json(json!({"end": cx.state().count}))))
    }

    async fn on_shutdown(&self, _: &ShutdownCx) -> Result<(), Error> {
        self.record("shutdown");
        Ok(())
    }
}

/// An output with the seqs of the packets that a history query returns.
async fn seqs(cx: &Cx<'_, Probe>, history: History) -> Result<Option<Json<Value>>, Error> {
    let packets = cx.engine().datastore().stream_history(history).await?;
    let seqs: Vec<Seq> = packets.iter().map(|packet| packet.seq).collect();
    Ok(Some(Json(json!(seqs))))
}

impl Receive<Json<Message>> for Probe {
    async fn receive(
        &self,
        message: Json<Message>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Value>>, Error> {
        let words: Vec<&str> = message.0.text.split(' ').collect();
        self.record(format!("{} {}", cx.instance(), message.0.text));
        cx.state_mut().count += 1;
        let times = events(&self.0.events).iter().filter(|event| event.ends_with(&message.0.text)).count();
        match words[..] {
            ["panic"] => panic!("as asked"),
            ["crash"] => return Err(Error::crash("its process is gone")),
            ["panic-once"] if times == 1 => panic!("as asked, once"),
            ["fail"] => return Err(Error::retry("as asked")),
            ["fail-twice"] if times <= 2 => {
                cx.engine().datastore().set("failed", &true)?;
                return Err(Error::retry("as asked, twice"));
            }
            ["poison"] if !events(&self.0.events).iter().any(|event| event == "fixed") => {
                return Err(Error::retry("poisoned"));
            }
            // Holds its thread until the test records "released".
            ["spin"] => {
                while !events(&self.0.events).iter().any(|event| event == "released") {
                    std::thread::yield_now();
                }
            }
            ["reject"] => return Err(Error::reject("as asked")),
            ["hang"] => std::future::pending::<()>().await,
            ["wait", seconds] => tokio::time::sleep(Duration::from_secs(seconds.parse()?)).await,
            ["wait-ms", millis] => tokio::time::sleep(Duration::from_millis(millis.parse()?)).await,
            // Time passes while the hook holds the thread.
            ["take-ms", millis] => {
                let _ = tokio::time::advance(Duration::from_millis(millis.parse()?)).now_or_never();
            }
            ["big"] => return Ok(Some(Json(json!("x".repeat(2 << 20))))),
            ["set", key, value] => cx.engine().datastore().set(key, value)?,
            ["delete", key] => cx.engine().datastore().delete(key)?,
            ["get", key] => {
                let value: Option<String> = cx.engine().datastore().get(key).await?;
                return Ok(Some(Json(json!(value))));
            }
            ["list"] => return Ok(Some(Json(json!(cx.engine().datastore().list("").await?)))),
            ["history", source, last] => {
                let history = History::of(source)?.last(last.parse()?);
                return seqs(cx, history).await;
            }
            ["within", source, seconds] => {
                let history = History::of(source)?.within(Duration::from_secs(seconds.parse()?));
                return seqs(cx, history).await;
            }
            ["range", from, to] => {
                let history = History::all().seqs(Seq(from.parse()?), Seq(to.parse()?));
                return seqs(cx, history).await;
            }
            ["ask"] => {
                let answer = cx.engine().llm().prompt([teammy_kernel::LlmMessage::user("well?")], 0.0).await;
                return Ok(Some(Json(json!(answer.map_err(|error| error.to_string())))));
            }
            _ => {}
        }
        Ok(self.0.outputs.then(|| Json(json!({"count": cx.state().count}))))
    }
}

impl Receive<Batch<Json<Message>>> for Probe {
    async fn receive(
        &self,
        batch: Batch<Json<Message>>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Value>>, Error> {
        let texts: Vec<&str> = batch.iter().map(|message| message.0.text.as_str()).collect();
        if let Some(seconds) = texts.iter().find_map(|text| text.strip_prefix("wait ")) {
            tokio::time::sleep(Duration::from_secs(seconds.parse()?)).await;
        }
        assert_eq!(texts.len(), cx.packets().len());
        cx.state_mut().count += 1;
        self.record(format!("{} batch {}", cx.instance(), texts.join(",")));
        Ok(self.0.outputs.then(|| Json(json!(texts))))
    }
}

impl Receive<Json<Value>> for Probe {
    async fn receive(&self, value: Json<Value>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        self.record(format!("{} up {} of {:?}", cx.instance(), value.0, cx.packet().causes));
        if let Some(millis) = value.0.get("wait").and_then(Value::as_u64) {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        Ok(self.0.outputs.then(|| Json(json!({"from": value.0}))))
    }
}

impl Receive<Tick> for Probe {
    async fn receive(&self, _: Tick, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        self.record(format!("{} tick", cx.instance()));
        Ok(None)
    }
}

/// The meetings and commit numbers of a batch.
pub(crate) type Applied = Vec<(MeetingId, u64)>;

/// A store in memory whose commits can be held, or made to fail.
#[derive(Debug, Clone)]
pub(crate) struct FaultyStore {
    /// The store without the faults.
    pub(crate) inner: MemoryStore,
    is_open: watch::Sender<bool>,
    takes_meetings: watch::Sender<bool>,
    fails_to_close: Arc<AtomicBool>,
    answers_lost: Arc<AtomicBool>,
    /// Batches with a commit of this meeting fail. The flag says whether the error is permanent.
    failing: Arc<Mutex<Option<(MeetingId, bool)>>>,
    batches: Arc<Mutex<Vec<Applied>>>,
    /// Whether creations go on at once, and whether those that wait are applied before.
    creations: watch::Sender<(bool, bool)>,
    /// How many creations fail.
    failing_creations: Arc<AtomicUsize>,
    /// Whether the second page of meetings cannot be read, once.
    second_page_fails: Arc<AtomicBool>,
    claims: Arc<Claims>,
    /// How many more batches are applied before commits wait.
    batches_left: Arc<AtomicUsize>,
    /// How often a meeting's row, instances, packets or marks were read.
    reads: Arc<AtomicUsize>,
}

/// How many claims are under way.
#[derive(Debug, Default)]
struct Claims {
    are_slow: AtomicBool,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Default for FaultyStore {
    fn default() -> Self {
        Self {
            inner: MemoryStore::default(),
            is_open: watch::Sender::new(true),
            takes_meetings: watch::Sender::new(true),
            fails_to_close: Arc::default(),
            answers_lost: Arc::default(),
            failing: Arc::default(),
            batches: Arc::default(),
            creations: watch::Sender::new((true, true)),
            failing_creations: Arc::default(),
            second_page_fails: Arc::default(),
            claims: Arc::default(),
            batches_left: Arc::new(AtomicUsize::new(usize::MAX)),
            reads: Arc::default(),
        }
    }
}

impl FaultyStore {
    /// Commits wait until [`release_commits`](Self::release_commits).
    pub(crate) fn hold_commits(&self) {
        self.is_open.send_replace(false);
    }

    pub(crate) fn release_commits(&self) {
        self.is_open.send_replace(true);
    }

    /// After so many more batches commits wait.
    pub(crate) fn hold_commits_after(&self, batches: usize) {
        self.batches_left.store(batches, Ordering::SeqCst);
    }

    /// New meetings wait until [`release_creates`](Self::release_creates).
    pub(crate) fn hold_creates(&self) {
        self.takes_meetings.send_replace(false);
    }

    pub(crate) fn release_creates(&self) {
        self.takes_meetings.send_replace(true);
    }

    /// The store fails when it is closed.
    pub(crate) fn fail_to_close(&self) {
        self.fails_to_close.store(true, Ordering::SeqCst);
    }

    /// Whether commits are applied and then fail, as if the answer was lost on its way.
    pub(crate) fn set_answers_lost(&self, lost: bool) {
        self.answers_lost.store(lost, Ordering::SeqCst);
    }

    /// Batches with a commit of this meeting fail and are not applied. The flag says whether the error is
    /// permanent.
    pub(crate) fn set_failing(&self, failing: Option<(&str, bool)>) {
        *self.failing.lock().unwrap() = failing.map(|(meeting, permanent)| (id(meeting), permanent));
    }

    /// Creations wait until [`release_creations`](Self::release_creations): before or after they are applied.
    pub(crate) fn hold_creations(&self, are_applied: bool) {
        self.creations.send_replace((false, are_applied));
    }

    pub(crate) fn release_creations(&self) {
        self.creations.send_replace((true, true));
    }

    /// The next so many creations fail.
    pub(crate) fn fail_creations(&self, count: usize) {
        self.failing_creations.store(count, Ordering::SeqCst);
    }

    /// Reading the second page of meetings fails, once.
    pub(crate) fn fail_second_page(&self) {
        self.second_page_fails.store(true, Ordering::SeqCst);
    }

    /// A claim takes a second from here on.
    pub(crate) fn slow_claims(&self) {
        self.claims.are_slow.store(true, Ordering::SeqCst);
    }

    /// How many claims were under way at once, at most.
    pub(crate) fn most_claims(&self) -> usize {
        self.claims.most.load(Ordering::SeqCst)
    }

    /// How often meetings were read since the last call.
    pub(crate) fn take_reads(&self) -> usize {
        self.reads.swap(0, Ordering::SeqCst)
    }

    /// The batches that were applied since the last call.
    pub(crate) fn take_batches(&self) -> Vec<Applied> {
        std::mem::take(&mut self.batches.lock().unwrap())
    }

    pub(crate) async fn row(&self, meeting: &str) -> MeetingRecord {
        self.inner.meeting(id(meeting)).await.unwrap().unwrap()
    }

    pub(crate) async fn packets(&self, meeting: &str) -> Vec<Arc<DataPacket>> {
        self.inner.packets(id(meeting), PacketQuery::default()).await.unwrap()
    }

    pub(crate) async fn instance(&self, meeting: &str, instance: &str) -> InstanceRecord {
        let rows = self.inner.instances(id(meeting)).await.unwrap();
        rows.into_iter().find(|row| row.instance == *instance).unwrap()
    }
}

impl Store for FaultyStore {
    fn create(
        &self,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
        created: Timestamp,
    ) -> StoreFuture<'_, MeetingRecord> {
        async move {
            self.takes_meetings.subscribe().wait_for(|takes| *takes).await.unwrap();
            let (is_open, are_applied) = *self.creations.borrow();
            let failing = self
                .failing_creations
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if failing.is_ok() {
                return Err(away("creating"));
            }
            let made = (is_open || are_applied)
                .then(|| self.inner.create(metadata.clone(), instances.clone(), reserve, created));
            self.creations.subscribe().wait_for(|(is_open, _)| *is_open).await.unwrap();
            match made {
                Some(made) => made.await,
                None => self.inner.create(metadata, instances, reserve, created).await,
            }
        }
        .boxed()
    }

    fn claim(&self, meeting: MeetingId, reserve: u64) -> StoreFuture<'_, MeetingRecord> {
        async move {
            if self.claims.are_slow.load(Ordering::SeqCst) {
                let now = self.claims.now.fetch_add(1, Ordering::SeqCst) + 1;
                self.claims.most.fetch_max(now, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.claims.now.fetch_sub(1, Ordering::SeqCst);
            }
            self.inner.claim(meeting, reserve).await
        }
        .boxed()
    }

    fn leases(&self) -> &dyn Leases {
        self.inner.leases()
    }

    fn commit<'a>(&'a self, batch: &'a [Commit]) -> StoreFuture<'a, Vec<Outcome>> {
        async move {
            self.is_open.subscribe().wait_for(|is_open| *is_open).await.unwrap();
            let less = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
            if self.batches_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_err() {
                std::future::pending::<()>().await;
            }
            let failing = self.failing.lock().unwrap().clone();
            match failing.filter(|(meeting, _)| batch.iter().any(|commit| commit.meeting == *meeting)) {
                Some((_, true)) => {
                    let cause = "the commit is invalid".into();
                    return Err(teammy_kernel::store::Error::Failed { doing: "committing".into(), cause });
                }
                Some((_, false)) => {
                    return Err(away("committing"));
                }
                None => {}
            }
            let outcomes = self.inner.commit(batch).await?;
            let part = |commit: &Commit| (commit.meeting.clone(), commit.number);
            self.batches.lock().unwrap().push(batch.iter().map(part).collect());
            if self.answers_lost.load(Ordering::SeqCst) {
                let cause = "the answer was lost".into();
                return Err(teammy_kernel::store::Error::Unavailable { doing: "committing".into(), cause });
            }
            Ok(outcomes)
        }
        .boxed()
    }

    fn meeting(&self, meeting: MeetingId) -> StoreFuture<'_, Option<MeetingRecord>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.meeting(meeting)
    }

    fn meetings(&self, query: MeetingQuery) -> StoreFuture<'_, MeetingPage> {
        if query.after.is_some() && self.second_page_fails.swap(false, Ordering::SeqCst) {
            return std::future::ready(Err(away("listing meetings"))).boxed();
        }
        self.inner.meetings(query)
    }

    fn instances(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<InstanceRecord>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.instances(meeting)
    }

    fn packets(&self, meeting: MeetingId, query: PacketQuery) -> StoreFuture<'_, Vec<Arc<DataPacket>>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.packets(meeting, query)
    }

    fn get(&self, meeting: MeetingId, instance: Name, key: String) -> StoreFuture<'_, Option<Arc<str>>> {
        self.inner.get(meeting, instance, key)
    }

    fn list(
        &self,
        meeting: MeetingId,
        instance: Name,
        prefix: String,
    ) -> StoreFuture<'_, Vec<(String, Arc<str>)>> {
        self.inner.list(meeting, instance, prefix)
    }

    fn marks(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<Mark>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.marks(meeting)
    }

    fn with_marks(&self, meetings: Vec<MeetingId>) -> StoreFuture<'_, Vec<MeetingId>> {
        self.inner.with_marks(meetings)
    }

    fn numbered(&self, meeting: MeetingId, producer: Arc<str>, number: u64) -> StoreFuture<'_, Option<Seq>> {
        self.inner.numbered(meeting, producer, number)
    }

    fn dead_letter(
        &self,
        meeting: MeetingId,
        instance: Name,
        seq: Seq,
    ) -> StoreFuture<'_, Option<DeadLetter>> {
        self.inner.dead_letter(meeting, instance, seq)
    }

    fn dead_letters(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.inner.dead_letters(meeting)
    }

    fn accounts(&self, ids: Vec<AccountId>) -> StoreFuture<'_, Vec<AccountRecord>> {
        self.inner.accounts(ids)
    }

    fn replace_accounts(&self, accounts: Vec<AccountRecord>) -> StoreFuture<'_, bool> {
        self.inner.replace_accounts(accounts)
    }

    fn forget(&self, meeting: MeetingId) -> StoreFuture<'_, bool> {
        self.inner.forget(meeting)
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        if self.fails_to_close.load(Ordering::SeqCst) {
            let error = teammy_kernel::store::Error::Failed {
                doing: "closing".into(),
                cause: "the disk is gone".into(),
            };
            return async { Err(error) }.boxed();
        }
        self.inner.close()
    }
}

fn away(doing: &str) -> teammy_kernel::store::Error {
    teammy_kernel::store::Error::Unavailable { doing: doing.to_owned(), cause: "the store is away".into() }
}

pub(crate) fn id(id: &str) -> MeetingId {
    MeetingId::new(id).unwrap()
}

/// A node with the plugin `probe`, configured by TOML. Plugins run on the test's runtime. Beside the sources
/// of the TOML it has `up`, which is durable, and `sound`, which is volatile.
pub(crate) async fn node(store: &FaultyStore, toml: &str) -> Node {
    let config = Config::from_toml(&format!(
        "{toml}\n[[source]]\nname = \"up\"\n[[source]]\nname = \"sound\"\ndurable = false\n"
    ));
    Node::builder(config.unwrap())
        .plugins([Factory::of::<Probe>("probe")])
        .store(Arc::new(store.clone()))
        .plugin_runtime(tokio::runtime::Handle::current())
        .start()
        .await
        .unwrap()
}

/// The TOML of one instance, `probe`, which makes outputs and records its calls in this list.
pub(crate) fn probe_toml(events: &str) -> String {
    format!("[[plugin]]\nname = \"probe\"\nconfig = {{ events = \"{events}\", outputs = true }}")
}

pub(crate) async fn start(node: &Node, meeting: &str, instances: &[&str]) -> MeetingRef {
    node.start_meeting(MeetingMetadata::new(id(meeting)), instances).await.unwrap()
}

/// A packet of source `transcription`.
pub(crate) fn transcription(text: &str) -> Publish {
    Publish::json("transcription", &json!({"text": text})).unwrap()
}

/// A packet of source `chat`.
pub(crate) fn chat(text: &str) -> Publish {
    Publish::json("chat", &json!({"text": text})).unwrap()
}

/// Publishes a packet of source `transcription` and waits until it is stored.
pub(crate) async fn publish_durable(meeting: &MeetingRef, text: &str) -> Seq {
    let receipt = meeting.publish(transcription(text)).await.unwrap();
    receipt.durable().await.unwrap();
    receipt.seq()
}

/// The JSON of a packet.
pub(crate) fn value(packet: &DataPacket) -> Value {
    match &packet.payload {
        Payload::Json(text) => serde_json::from_str(text).unwrap(),
        other => panic!("not JSON: {other:?}"),
    }
}

/// The next `count` outputs, as values with their causes.
pub(crate) async fn outputs(meeting: &MeetingRef, count: usize) -> Vec<(Value, Vec<u64>)> {
    let packets: Vec<_> = meeting.outputs().take(count).collect().await;
    packets.into_iter().map(|packet| with_causes(&packet.unwrap())).collect()
}

/// All outputs of a meeting that has ended.
pub(crate) async fn all_outputs(meeting: &MeetingRef) -> Vec<(Value, Vec<u64>)> {
    let packets: Vec<_> = meeting.outputs().collect().await;
    packets.into_iter().map(|packet| with_causes(&packet.unwrap())).collect()
}

fn with_causes(packet: &DataPacket) -> (Value, Vec<u64>) {
    (value(packet), packet.causes.iter().map(|seq| seq.0).collect())
}

/// Waits until an event is in a list.
pub(crate) async fn wait_for_event(list: &str, event: &str) {
    while !events(list).iter().any(|recorded| recorded == event) {
        tokio::task::yield_now().await;
    }
}
