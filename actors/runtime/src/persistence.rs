//! Persistence: the one actor of a node that writes the commits of all meetings to the store.
//!
//! The node supervises it. While a batch is being stored, the next one fills with at most one commit of each
//! meeting, so a busy store gets larger transactions (group commit). [`schedule`] decides what is sent together,
//! whose turn it is, and what is sent again after a failure. A commit whose fate is unknown is sent again,
//! unchanged, until it is known.

mod schedule;

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use teammy_kernel::{
    Store, chain,
    store::{Commit, Error, Outcome},
};
use tokio::{task::JoinHandle, time::Instant};
use tracing::{error, info, warn};

use crate::{
    kill_points::{self, KillPoint},
    metrics::StoreMetrics,
};
use schedule::{Attempt, Schedule};

/// What became of a commit.
pub(crate) type CommitResult = Result<Outcome, Arc<Error>>;

/// Where the result of a commit goes. It is dropped unused if this actor ends first.
pub(crate) struct CommitReply(Box<dyn FnOnce(CommitResult) + Send>);

impl CommitReply {
    pub(crate) fn new(reply: impl FnOnce(CommitResult) + Send + 'static) -> Self {
        Self(Box::new(reply))
    }

    fn send(self, result: CommitResult) {
        (self.0)(result);
    }
}

impl fmt::Debug for CommitReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommitReply")
    }
}

pub(crate) enum Message {
    /// Store a commit, and reply with its result.
    Commit { commit: Commit, reply: CommitReply },
    /// The store has answered for a batch, or failed.
    Tried { attempt: Attempt<CommitReply>, result: Result<Vec<Outcome>, Error> },
    /// The wait before a retry is over.
    Due,
}

impl ractor::Message for Message {}

/// Whether the store accepts commits.
#[derive(Debug, Default)]
pub(crate) struct Health(AtomicBool);

impl Health {
    pub(crate) fn is_failing(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) struct Args {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: StoreMetrics,
}

pub(crate) struct PersistenceActor;

pub(crate) struct State {
    store: Arc<dyn Store>,
    health: Arc<Health>,
    metrics: StoreMetrics,
    schedule: Schedule<CommitReply>,
    alarm: Option<JoinHandle<()>>,
}

impl Actor for PersistenceActor {
    type Msg = Message;
    type State = State;
    type Arguments = Args;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        Args { store, health, metrics }: Args,
    ) -> Result<State, ActorProcessingErr> {
        Ok(State { store, health, metrics, schedule: Schedule::default(), alarm: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Commit { commit, reply } => state.schedule.add(commit, reply),
            Message::Tried { attempt, result } => {
                state.tried(attempt, result);
                state.health.0.store(state.schedule.is_failing(), Ordering::Relaxed);
            }
            Message::Due => {}
        }
        state.send(&myself);
        Ok(())
    }
}

impl State {
    /// Sends the batches that may be sent now. If others may be sent later, starts the timer for them.
    fn send(&mut self, myself: &ActorRef<Message>) {
        if let Some(alarm) = self.alarm.take() {
            alarm.abort();
        }
        let now = Instant::now();
        while let Some(attempt) = self.schedule.next(now) {
            let (store, metrics, myself) = (self.store.clone(), self.metrics.clone(), myself.clone());
            tokio::spawn(async move {
                kill_points::pass(KillPoint::CommitBefore);
                let began = Instant::now();
                let answer = AssertUnwindSafe(store.commit(&attempt.commits)).catch_unwind().await;
                let result = answer.unwrap_or_else(|_| Err(panicked("committing")));
                match &result {
                    Ok(_) => metrics.stored(&attempt.commits, began.elapsed()),
                    Err(_) => metrics.failed(),
                }
                if result.is_ok() {
                    kill_points::pass(KillPoint::CommitAfter);
                }
                let _ = myself.cast(Message::Tried { attempt, result });
            });
        }
        // What is due already waits for a batch under way, whose end sends it.
        if let Some(due) = self.schedule.due(now).filter(|due| *due > now) {
            let myself = myself.clone();
            self.alarm = Some(tokio::spawn(async move {
                tokio::time::sleep_until(due).await;
                let _ = myself.cast(Message::Due);
            }));
        }
    }

    fn tried(&mut self, attempt: Attempt<CommitReply>, result: Result<Vec<Outcome>, Error>) {
        let commits = attempt.commits.len();
        match result {
            Ok(outcomes) => {
                let was_away = self.schedule.is_failing();
                for (reply, outcome) in
                    self.schedule.settled(attempt, Instant::now()).into_iter().zip(outcomes)
                {
                    reply.send(Ok(outcome));
                }
                if was_away && !self.schedule.is_failing() {
                    info!(commits, "the store is back");
                }
            }
            Err(error) if error.is_transient() => {
                // Logged at the first failure, then ever more rarely: it is retried for as long as it takes.
                let tries = attempt.tries();
                if !self.schedule.is_failing() || tries.is_power_of_two() {
                    let meeting =
                        (commits == 1).then(|| tracing::field::display(&attempt.commits[0].meeting));
                    warn!(meeting, commits, tries, error = chain(&error), "not stored, retrying");
                }
                self.schedule.failed(attempt, Instant::now());
            }
            Err(error) if commits == 1 => {
                let Commit { meeting, number, .. } = &attempt.commits[0];
                error!(%meeting, number, error = chain(&error), "commit refused");
                let error = Arc::new(error);
                for reply in self.schedule.rejected(attempt) {
                    reply.send(Err(error.clone()));
                }
            }
            Err(_) => self.schedule.refused(attempt),
        }
    }
}

/// The error for a store that panicked.
pub(crate) fn panicked(doing: &str) -> Error {
    Error::Failed { doing: doing.to_owned(), cause: "it panicked".into() }
}
