//! A node for as long as a command works on it.

use std::{convert::Infallible, pin::pin};

use teammy::{
    Builder, MeetingId, Node,
    config::{Config, Metrics},
    control::Socket,
};
use tokio::time::Duration;

use super::{
    error::Error,
    metrics,
    output::Output,
    running::{self, Listening},
    signal::Signals,
};

/// What a command's node is like, beside what it is built of.
pub(crate) struct Hosting {
    deadline: Duration,
    listening: Listening,
    metrics: Metrics,
}

impl Hosting {
    pub(crate) fn new(config: &Config) -> Self {
        let (deadline, metrics) = (config.node.shutdown_deadline, config.metrics.clone());
        Self { deadline, listening: Listening::new(config), metrics }
    }

    /// Starts a node, lets `work` do something with a meeting there, and shuts the node down, whatever came
    /// of the work. A signal stops the work, and what is published by then is stored; another one stops
    /// that, too. Meanwhile commands come by the node's socket.
    pub(crate) async fn run<T>(
        &self,
        builder: Builder,
        meeting: &MeetingId,
        output: &Output,
        work: impl AsyncFnOnce(&Node) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _serving = metrics::serve(&self.metrics)?;
        let mut signals = Signals::take().map_err(Error::Runtime)?;
        let interrupted = |signal| Error::Interrupted { signal, meeting: meeting.clone() };
        let node = tokio::select! {
            node = builder.start() => node?,
            signal = signals.next() => return Err(interrupted(signal)),
        };
        let done = match running::listen(&self.listening) {
            Err(error) => Err(error),
            Ok(socket) => {
                let mut answering = pin!(answer(socket.as_ref(), &node));
                let done = tokio::select! {
                    done = work(&node) => done,
                    never = &mut answering => match never {},
                    signal = signals.next() => {
                        output.note("stopping; once more stops at once");
                        Err(interrupted(signal))
                    }
                };
                // Whoever has asked for something hears what came of it.
                tokio::select! {
                    () = idle(socket.as_ref()) => {}
                    never = &mut answering => match never {},
                    () = tokio::time::sleep(PATIENCE) => {}
                }
                done
            }
        };
        let stopped = tokio::select! {
            stopped = node.shutdown(self.deadline) => stopped.map_err(Error::Node),
            signal = signals.next() => Err(interrupted(signal)),
        };
        let done = done?;
        stopped?;
        Ok(done)
    }
}

/// How long a node that is about to stop goes on to answer.
const PATIENCE: Duration = Duration::from_secs(5);

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
