//! The node that a command starts and runs until the command is done.

use std::{convert::Infallible, pin::pin};

use teammy::{
    Builder, MeetingId, Node,
    config::{self, Config, Database, Metrics, database::Kind},
    control::Socket,
    meeting,
};
use tokio::time::Duration;

use super::{
    client::{database_identity, socket_path},
    error::{Error, Keeps},
    metrics,
    output::Output,
    signal::Signals,
};

/// How long a node that is about to stop still answers requests.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Runs a command's node: its socket, its metrics, signals, its shutdown.
pub(crate) struct Host {
    node: config::Node,
    database: Database,
    metrics: Metrics,
}

impl Host {
    pub(crate) fn new(config: &Config) -> Self {
        Self { node: config.node.clone(), database: config.database.clone(), metrics: config.metrics.clone() }
    }

    /// Starts a node, runs `work` on it, and shuts the node down, whether `work` succeeded or not. Meanwhile
    /// the node answers requests on its socket. A signal stops the work, and what is published by then is
    /// stored; a second signal stops the shutdown, too.
    pub(crate) async fn run<T>(
        &self,
        builder: Builder,
        meeting: &MeetingId,
        output: &Output,
        work: impl AsyncFnOnce(&Node) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _server = metrics::serve(&self.metrics)?;
        let mut signals = Signals::take().map_err(Error::Runtime)?;
        let keeps = match self.database.effective_url().map_err(Error::Config)?.kind() {
            Kind::Memory => Keeps::Nothing,
            _ => Keeps::Stored,
        };
        let interrupted = |signal| Error::Interrupted { signal, meeting: meeting.clone(), keeps };
        let node = tokio::select! {
            node = builder.start() => node?,
            signal = signals.next() => return Err(interrupted(signal)),
        };
        let done = match self.listen() {
            Err(error) => Err(error),
            Ok(socket) => {
                let mut answering = pin!(answer(socket.as_ref(), &node));
                let done = tokio::select! {
                    done = work(&node) => done,
                    never = &mut answering => match never {},
                    signal = signals.next() => {
                        output.note("stopping; a second signal stops at once");
                        Err(interrupted(signal))
                    }
                };
                // Requests that have arrived are still answered.
                tokio::select! {
                    () = idle(socket.as_ref()) => {}
                    never = &mut answering => match never {},
                    () = tokio::time::sleep(ANSWER_DEADLINE) => {}
                }
                done
            }
        };
        let stopped = tokio::select! {
            stopped = node.shutdown(self.node.shutdown_deadline) => stopped.map_err(Error::Node),
            signal = signals.next() => Err(interrupted(signal)),
        };
        let done = done?;
        stopped?;
        Ok(done)
    }

    /// Binds the node's socket, unless `node.socket` is `"off"`; the database must exist by now. A node whose
    /// socket is not configured runs without one if the default path cannot be bound.
    pub(super) fn listen(&self) -> Result<Option<Socket>, Error> {
        let is_configured = self.node.socket.is_some();
        let bound = match socket_path(&self.node) {
            Ok(Some(path)) => Socket::bind(path).map_err(Error::from),
            Ok(None) => return Ok(None),
            Err(error) => Err(error),
        };
        match bound {
            Ok(socket) => Ok(Some(socket.database(database_identity(&self.database)?))),
            Err(error) if is_configured => Err(error),
            Err(error) => {
                tracing::info!(error = teammy::chain(&error), "no socket for commands");
                Ok(None)
            }
        }
    }
}

/// What a wait for a meeting gave, if it does not matter that the meeting has ended. A resumed meeting whose end
/// had begun ends by itself, which may be before the command waits for it.
pub(crate) fn unless_ended(waited: Result<(), meeting::Error>) -> Result<(), meeting::Error> {
    match waited {
        Err(meeting::Error::Ended(_)) => Ok(()),
        other => other,
    }
}

async fn idle(socket: Option<&Socket>) {
    if let Some(socket) = socket {
        socket.idle().await;
    }
}

async fn answer(socket: Option<&Socket>, node: &Node) -> Infallible {
    if let Some(socket) = socket {
        socket.serve(node).await;
    }
    std::future::pending().await
}
