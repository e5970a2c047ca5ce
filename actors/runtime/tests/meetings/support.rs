//! A plugin that does what its table says and writes down what happens to it, and a store that can be held
//! up.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, Ordering},
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
    Name, Payload, Publish, Receive, Seq, ShutdownCx, Store, Tick,
    store::{
        Commit, DeadLetter, InstanceRecord, Mark, MeetingRecord, MemoryStore, Outcome, PacketQuery,
        StoreFuture,
    },
};
use teammy_runtime::{MeetingRef, Node};
use tokio::sync::watch;

/// What the probes of one test wrote down, by the test's name.
static DIARIES: LazyLock<Mutex<HashMap<String, Vec<String>>>> = LazyLock::new(Mutex::default);

pub(crate) fn note(diary: &str, line: impl Into<String>) {
    DIARIES.lock().unwrap().entry(diary.to_owned()).or_default().push(line.into());
}

pub(crate) fn diary(name: &str) -> Vec<String> {
    DIARIES.lock().unwrap().get(name).cloned().unwrap_or_default()
}

/// A probe's table.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Table {
    /// Where it writes down what happens to it; nowhere if empty.
    pub(crate) diary: String,
    /// Whether it answers to packets, and to its meeting's end.
    pub(crate) answers: bool,
    pub(crate) answers_at_end: bool,
}

/// Takes `transcription` one by one, `chat` in batches, and a tick each second. What a packet's text says, it
/// does.
pub(crate) struct Probe(Table);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) count: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Said {
    pub(crate) text: String,
}

impl Probe {
    fn note(&self, line: impl Into<String>) {
        if !self.0.diary.is_empty() {
            note(&self.0.diary, line);
        }
    }
}

impl InCallPlugin for Probe {
    type Config = Table;
    type State = Seen;
    type Output = Json<Value>;
    const KIND: &'static str = "probe";
    const VERSION: &'static str = "1.0.0";

    async fn on_install() -> Result<(), Error> {
        note("installs", "installed");
        Ok(())
    }

    async fn on_startup(table: Table) -> Result<Self, Error> {
        let probe = Self(table);
        probe.note("startup");
        Ok(probe)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks
            .on::<Json<Said>>("transcription")
            .on_batch::<Json<Said>>("chat", 50)
            .on::<Json<Value>>("up")
            .every(Duration::from_secs(1))
    }

    async fn on_meeting_start(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        self.note(format!("{} start {}", cx.instance(), cx.meeting().id));
        Ok(None)
    }

    async fn on_meeting_end(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        self.note(format!("{} end {} {}", cx.instance(), cx.meeting().id, cx.state().count));
        Ok(self.0.answers_at_end.then(|| Json(json!({"end": cx.state().count}))))
    }

    async fn on_shutdown(&self, _: &ShutdownCx) -> Result<(), Error> {
        self.note("shutdown");
        Ok(())
    }
}

/// Puts out the seqs of the packets that a question about history finds.
async fn seqs(cx: &Cx<'_, Probe>, history: History) -> Result<Option<Json<Value>>, Error> {
    let packets = cx.engine().datastore().stream_history(history).await?;
    let seqs: Vec<Seq> = packets.iter().map(|packet| packet.seq).collect();
    Ok(Some(Json(json!(seqs))))
}

impl Receive<Json<Said>> for Probe {
    async fn receive(&self, said: Json<Said>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        let words: Vec<&str> = said.0.text.split(' ').collect();
        self.note(format!("{} {}", cx.instance(), said.0.text));
        cx.state_mut().count += 1;
        let times = diary(&self.0.diary).iter().filter(|line| line.ends_with(&said.0.text)).count();
        match words[..] {
            ["panic"] => panic!("as asked"),
            ["panic-once"] if times == 1 => panic!("as asked, once"),
            ["fail"] => return Err(Error::retry("as asked")),
            ["fail-twice"] if times <= 2 => {
                cx.engine().datastore().set("failed", &true)?;
                return Err(Error::retry("as asked, twice"));
            }
            ["poison"] if !diary(&self.0.diary).iter().any(|line| line == "fixed") => {
                return Err(Error::retry("poisoned"));
            }
            // Neither waits nor ends before it is told to.
            ["spin"] => {
                while !diary(&self.0.diary).iter().any(|line| line == "released") {
                    std::thread::yield_now();
                }
            }
            ["reject"] => return Err(Error::reject("as asked")),
            ["hang"] => std::future::pending::<()>().await,
            ["wait", seconds] => tokio::time::sleep(Duration::from_secs(seconds.parse()?)).await,
            ["wait-ms", millis] => tokio::time::sleep(Duration::from_millis(millis.parse()?)).await,
            // Time that passes while nobody else has the thread.
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
        Ok(self.0.answers.then(|| Json(json!({"count": cx.state().count}))))
    }
}

impl Receive<Batch<Json<Said>>> for Probe {
    async fn receive(
        &self,
        batch: Batch<Json<Said>>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Value>>, Error> {
        let texts: Vec<&str> = batch.iter().map(|said| said.0.text.as_str()).collect();
        if let Some(seconds) = texts.iter().find_map(|text| text.strip_prefix("wait ")) {
            tokio::time::sleep(Duration::from_secs(seconds.parse()?)).await;
        }
        assert_eq!(texts.len(), cx.packets().len());
        cx.state_mut().count += 1;
        self.note(format!("{} batch {}", cx.instance(), texts.join(",")));
        Ok(self.0.answers.then(|| Json(json!(texts))))
    }
}

impl Receive<Json<Value>> for Probe {
    async fn receive(&self, value: Json<Value>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        self.note(format!("{} up {} of {:?}", cx.instance(), value.0, cx.packet().causes));
        if let Some(millis) = value.0.get("wait").and_then(Value::as_u64) {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        Ok(self.0.answers.then(|| Json(json!({"from": value.0}))))
    }
}

impl Receive<Tick> for Probe {
    async fn receive(&self, _: Tick, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        self.note(format!("{} tick", cx.instance()));
        Ok(None)
    }
}

/// The meetings and numbers of a batch.
pub(crate) type Applied = Vec<(MeetingId, u64)>;

/// A store in memory that can be held up, made to fail for a while, and looked into.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) store: MemoryStore,
    open: watch::Sender<bool>,
    away: Arc<AtomicBool>,
    /// The meeting whose commits fail, with all that are sent with them; for good if so.
    bad: Arc<Mutex<Option<(MeetingId, bool)>>>,
    /// The meetings and numbers of each batch that was applied.
    batches: Arc<Mutex<Vec<Applied>>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            store: MemoryStore::default(),
            open: watch::Sender::new(true),
            away: Arc::default(),
            bad: Arc::default(),
            batches: Arc::default(),
        }
    }
}

impl Gate {
    /// Commits wait until it opens.
    pub(crate) fn shut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Commits fail, after having been applied, until it is back.
    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// Batches that a meeting has a part in fail and are not applied: for now, or for good.
    pub(crate) fn set_bad(&self, bad: Option<(&str, bool)>) {
        *self.bad.lock().unwrap() = bad.map(|(meeting, for_good)| (id(meeting), for_good));
    }

    /// The batches that were applied since this was last asked.
    pub(crate) fn batches(&self) -> Vec<Applied> {
        std::mem::take(&mut self.batches.lock().unwrap())
    }

    pub(crate) async fn row(&self, meeting: &str) -> MeetingRecord {
        self.store.meeting(id(meeting)).await.unwrap().unwrap()
    }

    pub(crate) async fn packets(&self, meeting: &str) -> Vec<Arc<DataPacket>> {
        self.store.packets(id(meeting), PacketQuery::default()).await.unwrap()
    }

    pub(crate) async fn instance(&self, meeting: &str, instance: &str) -> InstanceRecord {
        let rows = self.store.instances(id(meeting)).await.unwrap();
        rows.into_iter().find(|row| row.instance == *instance).unwrap()
    }
}

impl Store for Gate {
    fn create(
        &self,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
    ) -> StoreFuture<'_, MeetingRecord> {
        self.store.create(metadata, instances, reserve)
    }

    fn claim(&self, meeting: MeetingId, reserve: u64) -> StoreFuture<'_, MeetingRecord> {
        self.store.claim(meeting, reserve)
    }

    fn commit<'a>(&'a self, batch: &'a [Commit]) -> StoreFuture<'a, Vec<Outcome>> {
        async move {
            let mut open = self.open.subscribe();
            open.wait_for(|open| *open).await.unwrap();
            let bad = self.bad.lock().unwrap().clone();
            match bad.filter(|(bad, _)| batch.iter().any(|commit| commit.meeting == *bad)) {
                Some((_, true)) => {
                    let cause = "it cannot be".into();
                    return Err(teammy_kernel::store::Error::Failed { doing: "committing".into(), cause });
                }
                Some((_, false)) => {
                    let cause = "not now".into();
                    return Err(teammy_kernel::store::Error::Unavailable {
                        doing: "committing".into(),
                        cause,
                    });
                }
                None => {}
            }
            let outcomes = self.store.commit(batch).await?;
            let part = |commit: &Commit| (commit.meeting.clone(), commit.number);
            self.batches.lock().unwrap().push(batch.iter().map(part).collect());
            if self.away.load(Ordering::SeqCst) {
                let cause = "the answer was lost".into();
                return Err(teammy_kernel::store::Error::Unavailable { doing: "committing".into(), cause });
            }
            Ok(outcomes)
        }
        .boxed()
    }

    fn meeting(&self, meeting: MeetingId) -> StoreFuture<'_, Option<MeetingRecord>> {
        self.store.meeting(meeting)
    }

    fn meetings(&self) -> StoreFuture<'_, Vec<MeetingId>> {
        self.store.meetings()
    }

    fn instances(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<InstanceRecord>> {
        self.store.instances(meeting)
    }

    fn packets(&self, meeting: MeetingId, query: PacketQuery) -> StoreFuture<'_, Vec<Arc<DataPacket>>> {
        self.store.packets(meeting, query)
    }

    fn get(&self, meeting: MeetingId, instance: Name, key: String) -> StoreFuture<'_, Option<Arc<str>>> {
        self.store.get(meeting, instance, key)
    }

    fn list(
        &self,
        meeting: MeetingId,
        instance: Name,
        prefix: String,
    ) -> StoreFuture<'_, Vec<(String, Arc<str>)>> {
        self.store.list(meeting, instance, prefix)
    }

    fn marks(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<Mark>> {
        self.store.marks(meeting)
    }

    fn numbered(&self, meeting: MeetingId, producer: Arc<str>, number: u64) -> StoreFuture<'_, Option<Seq>> {
        self.store.numbered(meeting, producer, number)
    }

    fn dead_letter(
        &self,
        meeting: MeetingId,
        instance: Name,
        seq: Seq,
    ) -> StoreFuture<'_, Option<DeadLetter>> {
        self.store.dead_letter(meeting, instance, seq)
    }

    fn dead_letters(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.store.dead_letters(meeting)
    }

    fn forget(&self, meeting: MeetingId) -> StoreFuture<'_, bool> {
        self.store.forget(meeting)
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        self.store.close()
    }
}

pub(crate) fn id(id: &str) -> MeetingId {
    MeetingId::new(id).unwrap()
}

/// A node of probes, configured by TOML, whose plugins run on the test's own runtime.
pub(crate) async fn node(store: &Gate, toml: &str) -> Node {
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

/// One probe that answers, called `probe`.
pub(crate) fn probe(diary: &str) -> String {
    format!("[[plugin]]\nname = \"probe\"\nconfig = {{ diary = \"{diary}\", answers = true }}")
}

pub(crate) async fn start(node: &Node, meeting: &str, instances: &[&str]) -> MeetingRef {
    node.start_meeting(MeetingMetadata::new(id(meeting)), instances).await.unwrap()
}

pub(crate) fn said(text: &str) -> Publish {
    Publish::json("transcription", &json!({"text": text})).unwrap()
}

pub(crate) fn chat(text: &str) -> Publish {
    Publish::json("chat", &json!({"text": text})).unwrap()
}

/// Says something and waits until it is stored.
pub(crate) async fn say(meeting: &MeetingRef, text: &str) -> Seq {
    let receipt = meeting.publish(said(text)).await.unwrap();
    receipt.durable().await.unwrap();
    receipt.seq()
}

pub(crate) fn value(packet: &DataPacket) -> Value {
    match &packet.payload {
        Payload::Json(text) => serde_json::from_str(text).unwrap(),
        other => panic!("not JSON: {other:?}"),
    }
}

/// The next `count` outputs, as values with their causes.
pub(crate) async fn outputs(meeting: &MeetingRef, count: usize) -> Vec<(Value, Vec<u64>)> {
    let packets: Vec<_> = meeting.outputs().take(count).collect().await;
    packets.into_iter().map(|packet| cause(&packet.unwrap())).collect()
}

/// All outputs of a meeting that has ended.
pub(crate) async fn all_outputs(meeting: &MeetingRef) -> Vec<(Value, Vec<u64>)> {
    let packets: Vec<_> = meeting.outputs().collect().await;
    packets.into_iter().map(|packet| cause(&packet.unwrap())).collect()
}

fn cause(packet: &DataPacket) -> (Value, Vec<u64>) {
    (value(packet), packet.causes.iter().map(|seq| seq.0).collect())
}

/// Waits until a line is in a diary.
pub(crate) async fn noted(diary: &str, line: &str) {
    while !self::diary(diary).iter().any(|noted| noted == line) {
        tokio::task::yield_now().await;
    }
}
