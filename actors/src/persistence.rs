//! Persistence: one actor a node, through which every meeting's commits go to the store.
//!
//! Supervised by the node. While one batch is being stored the next one fills, at most one commit a meeting, so a busy
//! store is given larger transactions. A batch whose fate is unknown is sent again, the same, until it is known.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use teammy_kernel::{
    Store, chain,
    store::{Commit, Error, Outcome},
};
use tracing::{error, warn};

use crate::meeting::{doubled, message};

pub(crate) enum Message {
    /// Store this and say what became of it.
    Commit { commit: Commit, to: ActorRef<message::Message> },
    /// The batch under way is settled.
    Settled(Vec<Result<Outcome, Arc<Error>>>),
}

impl ractor::Message for Message {}

pub(crate) struct PersistenceActor;

pub(crate) struct State {
    store: Arc<dyn Store>,
    queue: Vec<(Commit, ActorRef<message::Message>)>,
    /// Who waits for the batch under way, in its order; empty while there is none.
    waiting: Vec<ActorRef<message::Message>>,
}

impl Actor for PersistenceActor {
    type Msg = Message;
    type State = State;
    type Arguments = Arc<dyn Store>;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        store: Arc<dyn Store>,
    ) -> Result<State, ActorProcessingErr> {
        Ok(State { store, queue: Vec::new(), waiting: Vec::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Commit { commit, to } => state.queue.push((commit, to)),
            Message::Settled(outcomes) => {
                for (to, outcome) in state.waiting.drain(..).zip(outcomes) {
                    // A meeting that is gone does not wait any more.
                    let _ = to.cast(message::Message::Committed(outcome));
                }
            }
        }
        if state.waiting.is_empty() && !state.queue.is_empty() {
            let (batch, waiting): (Vec<_>, Vec<_>) = state.queue.drain(..).unzip();
            state.waiting = waiting;
            let store = state.store.clone();
            tokio::spawn(async move {
                let commits = batch.len();
                let settled = AssertUnwindSafe(settle(&*store, batch)).catch_unwind().await;
                let outcomes = settled.unwrap_or_else(|_| {
                    let error = Arc::new(panicked("committing"));
                    vec![Err(error); commits]
                });
                let _ = myself.cast(Message::Settled(outcomes));
            });
        }
        Ok(())
    }
}

/// What a store's panic is to those who wait for it.
pub(crate) fn panicked(doing: &str) -> Error {
    Error::Failed { doing: doing.to_owned(), cause: "it panicked".into() }
}

/// Sends a batch until its fate is known. One that the store refuses as a whole is taken apart, so that one meeting's
/// impossible commit does not stop the others.
async fn settle(store: &dyn Store, batch: Vec<Commit>) -> Vec<Result<Outcome, Arc<Error>>> {
    const FIRST_WAIT: Duration = Duration::from_millis(50);
    const LONGEST_WAIT: Duration = Duration::from_secs(5);
    let mut tries = 0;
    loop {
        match store.commit(&batch).await {
            Ok(outcomes) => return outcomes.into_iter().map(Ok).collect(),
            Err(error) if error.is_transient() => {
                if tries == 0 {
                    warn!(commits = batch.len(), error = chain(&error), "the store is away, trying again");
                }
                tokio::time::sleep(doubled(FIRST_WAIT, tries, LONGEST_WAIT)).await;
                tries += 1;
            }
            Err(error) if batch.len() == 1 => {
                let meeting = &batch[0].meeting;
                error!(%meeting, number = batch[0].number, error = chain(&error), "commit refused");
                return vec![Err(Arc::new(error))];
            }
            Err(_) => {
                let mut outcomes = Vec::with_capacity(batch.len());
                for commit in batch {
                    outcomes.extend(Box::pin(settle(store, vec![commit])).await);
                }
                return outcomes;
            }
        }
    }
}
