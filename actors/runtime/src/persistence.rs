//! Persistence: one actor a node, through which every meeting's commits go to the store.
//!
//! Supervised by the node. While one batch is being stored the next one fills, at most one commit a meeting,
//! so a busy store is given larger transactions: group commit. [`schedule`] says what is sent together, and
//! what is sent again after a failure. A commit whose fate is unknown is sent again, the same, until it is
//! known.

mod schedule;

use std::{
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
    meeting::message,
    metrics::StoreMetrics,
};
use schedule::{Attempt, Schedule};

type Meeting = ActorRef<message::Message>;

pub(crate) enum Message {
    /// Store this and say what became of it.
    Commit { commit: Commit, to: Meeting },
    /// The batch under way is settled, or will have to be sent again.
    Tried { attempt: Attempt<Meeting>, result: Result<Vec<Outcome>, Error> },
    /// Something may be sent again now.
    Due,
}

impl ractor::Message for Message {}

/// Whether the store takes what it is given; for whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Health(AtomicBool);

impl Health {
    pub(crate) fn is_failing(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The store, and who is told how it does.
pub(crate) type Args = (Arc<dyn Store>, Arc<Health>, StoreMetrics);

pub(crate) struct PersistenceActor;

pub(crate) struct State {
    store: Arc<dyn Store>,
    health: Arc<Health>,
    metrics: StoreMetrics,
    schedule: Schedule<Meeting>,
    is_sending: bool,
    alarm: Option<JoinHandle<()>>,
}

impl Actor for PersistenceActor {
    type Msg = Message;
    type State = State;
    type Arguments = Args;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        (store, health, metrics): Args,
    ) -> Result<State, ActorProcessingErr> {
        Ok(State { store, health, metrics, schedule: Schedule::default(), is_sending: false, alarm: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Commit { commit, to } => state.schedule.add(commit, to),
            Message::Tried { attempt, result } => {
                state.is_sending = false;
                state.tried(attempt, result);
                state.health.0.store(state.schedule.is_failing(), Ordering::Relaxed);
            }
            Message::Due => {}
        }
        if !state.is_sending {
            state.send(&myself);
        }
        Ok(())
    }
}

impl State {
    /// Sends the next batch, or waits until there is one.
    fn send(&mut self, myself: &ActorRef<Message>) {
        if let Some(alarm) = self.alarm.take() {
            alarm.abort();
        }
        let (now, myself) = (Instant::now(), myself.clone());
        if let Some(attempt) = self.schedule.next(now) {
            self.is_sending = true;
            let (store, metrics) = (self.store.clone(), self.metrics.clone());
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
        } else if let Some(due) = self.schedule.due(now) {
            self.alarm = Some(tokio::spawn(async move {
                tokio::time::sleep_until(due).await;
                let _ = myself.cast(Message::Due);
            }));
        }
    }

    fn tried(&mut self, attempt: Attempt<Meeting>, result: Result<Vec<Outcome>, Error>) {
        let commits = attempt.commits.len();
        match result {
            Ok(outcomes) => {
                let was_away = self.schedule.is_failing();
                self.schedule.settled(&attempt);
                if was_away && !self.schedule.is_failing() {
                    info!(commits, "the store is back");
                }
                for (to, outcome) in attempt.waiting().zip(outcomes) {
                    tell(&to, Ok(outcome));
                }
            }
            Err(error) if error.is_transient() => {
                // Once when it goes away, and then as the waits grow: it is tried for as long as it takes.
                let tries = attempt.tries();
                if !self.schedule.is_failing() || tries.is_power_of_two() {
                    let meeting =
                        (commits == 1).then(|| tracing::field::display(&attempt.commits[0].meeting));
                    warn!(meeting, commits, tries, error = chain(&error), "not stored, trying again");
                }
                self.schedule.failed(attempt, Instant::now());
            }
            Err(error) if commits == 1 => {
                let Commit { meeting, number, .. } = &attempt.commits[0];
                error!(%meeting, number, error = chain(&error), "commit refused");
                let error = Arc::new(error);
                attempt.waiting().for_each(|to| tell(&to, Err(error.clone())));
            }
            Err(_) => self.schedule.refused(attempt),
        }
    }
}

/// A meeting that is gone does not wait any more.
fn tell(meeting: &Meeting, outcome: Result<Outcome, Arc<Error>>) {
    let _ = meeting.cast(message::Message::Committed(outcome));
}

/// What a store's panic is to those who wait for it.
pub(crate) fn panicked(doing: &str) -> Error {
    Error::Failed { doing: doing.to_owned(), cause: "it panicked".into() }
}
