//! The host of one instance's plugin: a process, and its successors.

use std::{collections::BTreeMap, ffi::OsString, io, path::PathBuf, sync::Arc};

use serde_json::Value;
use teammy_kernel::Name;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Duration, Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    connection::{Broken, Connection},
    frame,
    logs::HostLog,
    package,
    process::{self, End, Process},
    protocol::{self, Api, Described, FromHost, Json, Refused, ToHost},
    restarts::Restarts,
};

/// How long `on_shutdown` may take.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// What a process is started with.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) instance: Name,
    pub(crate) python: OsString,
    /// The plugin's folder.
    pub(crate) path: PathBuf,
    pub(crate) memory: u64,
    pub(crate) stall: Duration,
    pub(crate) start: Duration,
    pub(crate) json: Json,
}

/// Why a process does not run a plugin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the files of the Python host cannot be written")]
    Package(#[source] io::Error),
    #[error("the interpreter {} does not start; name another one with `python` in the instance's table", .0.display())]
    Spawn(OsString, #[source] io::Error),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the Python process {why}{}", Line(.line))]
    Ended { why: String, line: Option<String> },
    #[error(
        "the Python process took longer than {0:?}; if the plugin needs that, raise `start` in its table"
    )]
    TooSlow(Duration),
    #[error("the Python process speaks version {0} of the protocol, and this program {ours}", ours = protocol::VERSION)]
    Version(u32),
    #[error("the Python process gave the answer to another request than the one that was made")]
    Answer,
    #[error("sending to the Python process")]
    Frame(#[from] frame::Error),
}

/// What an interpreter said last.
struct Line<'a>(&'a Option<String>);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |line| write!(f, "; it said last: {line}"))
    }
}

/// A process, and the conversation with it.
struct Session {
    connection: Arc<Connection>,
    tasks: Tasks,
    log: Arc<HostLog>,
    plan: Arc<Plan>,
}

/// A process that has imported a plugin.
pub(crate) struct Loaded {
    session: Session,
    pub(crate) plugin: Described,
    /// The version of Python.
    pub(crate) python: String,
}

/// The tasks of a connection. They end with this.
struct Tasks {
    process: Option<Process>,
    read: JoinHandle<Broken>,
    others: [JoinHandle<()>; 2],
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.read.abort();
        self.others.iter().for_each(JoinHandle::abort);
    }
}

impl Session {
    /// Starts a process.
    fn start(plan: Arc<Plan>) -> Result<Self, Error> {
        let package = package::folder().map_err(Error::Package)?;
        let started = process::start(&plan.python, &package, &plan.path, plan.memory);
        let started = started.map_err(|error| Error::Spawn(plan.python.clone(), error))?;
        let connection = Connection::new(started.protocol);
        let log = Arc::new(HostLog::new(plan.instance.clone()));
        let (reader, writer) = (connection.clone(), connection.clone());
        let (records, lines) = (log.clone(), log.clone());
        let output = started.output;
        let tasks = Tasks {
            process: Some(started.process),
            read: tokio::spawn(async move { reader.read(&records).await }),
            others: [
                tokio::spawn(async move { drop(writer.write().await) }),
                tokio::spawn(async move { lines.follow(output).await }),
            ],
        };
        Ok(Self { connection, tasks, log, plan })
    }

    /// Asks about the plugin. A refusal is an error, and so is no answer.
    async fn request(&mut self, message: &ToHost<'_>) -> Result<FromHost, Error> {
        let asked = async {
            tokio::select! {
                answer = self.connection.request(message) => answer,
                // It has ended. What it said before is there by now.
                _ = &mut self.tasks.read => None,
            }
        };
        match timeout(self.plan.start, asked).await {
            Err(_) => Err(Error::TooSlow(self.plan.start)),
            Ok(Some(FromHost::Refused(refused))) => Err(refused.into()),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => {
                let why = match self.tasks.process.take() {
                    Some(process) => process.ended().await.why,
                    None => "ended".to_owned(),
                };
                // The pipe is closed with the process.
                let _ = (&mut self.tasks.others[1]).await;
                Err(Error::Ended { why, line: self.log.last() })
            }
        }
    }

    /// Waits for the end of a process that runs hooks, or ends one that holds its event loop.
    async fn ended(mut self) -> End {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard_at = Instant::now();
        let mut at = 0;
        let stalled = loop {
            tokio::select! {
                broken = &mut self.tasks.read => {
                    // A process that ends with something unread resets the connection.
                    let ended = |broken: &Broken| matches!(broken, Broken::Closed | Broken::Io(_));
                    break broken.ok().filter(|broken| !ended(broken)).map(|broken| broken.to_string());
                }
                _ = ticks.tick() => {
                    if self.connection.was_heard() {
                        heard_at = Instant::now();
                    }
                    if heard_at.elapsed() > self.plan.stall {
                        break Some(format!("held its event loop for more than {:?}", self.plan.stall));
                    }
                    if self.connection.is_overdue(self.plan.stall) {
                        break Some(format!("did not stop a hook within {:?} of its cancellation", self.plan.stall));
                    }
                    at += 1;
                    let _ = self.connection.send(&ToHost::Ping { at }, &[]);
                }
            }
        };
        let Some(process) = self.tasks.process.take() else {
            return End { why: "ended".to_owned(), call: 0 };
        };
        match stalled {
            None => process.ended().await,
            Some(why) => {
                let End { call, .. } = process.kill().await;
                End { why: format!("{why}, and was killed"), call }
            }
        }
    }
}

impl Loaded {
    /// Starts a process, which imports the plugin.
    pub(crate) async fn start(plan: Arc<Plan>) -> Result<Self, Error> {
        let mut session = Session::start(plan.clone())?;
        let path = plan.path.to_string_lossy().into_owned();
        let load = ToHost::Load {
            protocol: protocol::VERSION,
            instance: plan.instance.as_str(),
            path: &path,
            json: plan.json,
        };
        match session.request(&load).await? {
            FromHost::Loaded { protocol, .. } if protocol != protocol::VERSION => {
                Err(Error::Version(protocol))
            }
            FromHost::Loaded { python, plugin, .. } => Ok(Self { session, plugin, python }),
            _ => Err(Error::Answer),
        }
    }

    /// Runs `on_install`.
    pub(crate) async fn install(&mut self) -> Result<(), Error> {
        match self.session.request(&ToHost::Install).await? {
            FromHost::Installed {} => Ok(()),
            _ => Err(Error::Answer),
        }
    }

    /// Runs `on_startup`; returns the hooks.
    async fn startup(&mut self, config: &Value) -> Result<BTreeMap<String, Api>, Error> {
        match self.session.request(&ToHost::Startup { config }).await? {
            FromHost::Started { hooks } => Ok(hooks),
            _ => Err(Error::Answer),
        }
    }
}

/// Whether hooks can run.
#[derive(Clone)]
enum State {
    /// A process is being started.
    Starting,
    Running(Running),
    /// Processes do not start, for this reason. Another try follows.
    Failing(Arc<str>),
}

/// A process that runs hooks.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) connection: Arc<Connection>,
    hooks: Arc<BTreeMap<String, Api>>,
}

impl Running {
    /// Whether the hook of a source takes a state.
    pub(crate) fn takes_state(&self, source: &str) -> bool {
        self.hooks.get(source) == Some(&Api::Three)
    }
}

/// The host of an instance. Dropped, its process ends.
pub(crate) struct Host {
    state: watch::Receiver<State>,
    supervisor: JoinHandle<()>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// No process runs hooks now, and the last ones did not start.
#[derive(Debug, thiserror::Error)]
#[error("the plugin's process does not start: {0}")]
pub(crate) struct NotRunning(Arc<str>);

impl Host {
    /// Starts a host, and waits until its plugin has started.
    pub(crate) async fn start(plan: Plan, config: Value) -> Result<Self, Error> {
        let (publish, state) = watch::channel(State::Starting);
        let (first, started) = oneshot::channel();
        let supervisor = Supervisor { plan: Arc::new(plan), config, publish, restarts: Restarts::default() };
        let supervisor = tokio::spawn(supervisor.run(first));
        let host = Self { state, supervisor };
        let ended = |_| Error::Ended { why: "ended".to_owned(), line: None };
        started.await.map_err(ended)??;
        Ok(host)
    }

    /// The process that runs hooks; waits for one that is being started.
    pub(crate) async fn running(&self) -> Result<Running, NotRunning> {
        let mut state = self.state.clone();
        let decided = state.wait_for(|state| !matches!(state, State::Starting)).await;
        match decided.as_deref() {
            Ok(State::Running(running)) => Ok(running.clone()),
            Ok(State::Failing(why)) => Err(NotRunning(why.clone())),
            Ok(State::Starting) | Err(_) => Err(NotRunning("the host has ended".into())),
        }
    }

    /// Ends it, after `on_shutdown`, which may ask models: `ask` answers.
    pub(crate) async fn shutdown(
        &self,
        serve: impl AsyncFnOnce(crate::connection::OpenCall),
    ) -> Result<(), Error> {
        let State::Running(running) = self.state.borrow().clone() else { return Ok(()) };
        let Ok(call) = running.connection.begin(1) else { return Ok(()) };
        let id = call.id;
        let asked = async {
            tokio::select! {
                answer = running.connection.shut_down(id) => answer,
                () = serve(call) => None,
            }
        };
        match timeout(SHUTDOWN, asked).await {
            Ok(Some(FromHost::Refused(refused))) => Err(refused.into()),
            Ok(_) => Ok(()),
            Err(_) => Err(Error::TooSlow(SHUTDOWN)),
        }
    }
}

/// Starts a process, and another one when that has ended.
struct Supervisor {
    plan: Arc<Plan>,
    config: Value,
    publish: watch::Sender<State>,
    restarts: Restarts,
}

impl Supervisor {
    async fn run(mut self, first: oneshot::Sender<Result<(), Error>>) {
        let (began, instance) = (Instant::now(), self.plan.instance.clone());
        let mut first = Some(first);
        loop {
            match self.start().await {
                Ok((loaded, hooks)) => {
                    self.restarts.started();
                    let connection = loaded.session.connection.clone();
                    info!(%instance, python = loaded.python, plugin = loaded.plugin.class, "the plugin's process runs");
                    self.publish.send_replace(State::Running(Running {
                        connection: connection.clone(),
                        hooks: Arc::new(hooks),
                    }));
                    if let Some(first) = first.take() {
                        // If nobody waits, this task is about to be aborted.
                        let _ = first.send(Ok(()));
                    }
                    let End { why, call } = loaded.session.ended().await;
                    self.publish.send_replace(State::Starting);
                    connection.ended(&why.as_str().into(), call);
                    if connection.has_stopped() {
                        return;
                    }
                    warn!(%instance, call, "the plugin's process {why}; it is started anew");
                }
                Err(error) => {
                    let was_refused = !matches!(error, Error::Ended { .. });
                    let is_failing = self.restarts.start_failed(was_refused);
                    if self.restarts.gives_up(was_refused)
                        && let Some(first) = first.take()
                    {
                        let _ = first.send(Err(error));
                        return;
                    }
                    let why = teammy_kernel::chain(&error);
                    warn!(%instance, error = why, "the plugin's process does not start");
                    if is_failing {
                        self.publish.send_replace(State::Failing(why.into()));
                    }
                }
            }
            sleep(self.restarts.ended(began.elapsed())).await;
        }
    }

    async fn start(&self) -> Result<(Loaded, BTreeMap<String, Api>), Error> {
        let mut loaded = Loaded::start(self.plan.clone()).await?;
        let hooks = loaded.startup(&self.config).await?;
        Ok((loaded, hooks))
    }
}
