//! The tasks that wait for a model.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use teammy_kernel::Caller;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use crate::policy::{Capacity, Class, Problem, Queue, Ticket};

/// The tasks that wait for one model.
pub(super) struct Line {
    state: Mutex<Waiting>,
    /// Tells those that wait that a place is free which the rates do not let anyone take yet.
    freed: Notify,
}

struct Waiting {
    queue: Queue,
    wakers: HashMap<Ticket, oneshot::Sender<()>>,
}

impl Line {
    pub(super) fn new(capacity: Capacity) -> Arc<Self> {
        let state = Waiting { queue: Queue::new(capacity), wakers: HashMap::new() };
        Arc::new(Self { state: Mutex::new(state), freed: Notify::new() })
    }

    /// Waits until a request of up to so many tokens may go. Its turn is over when the value is dropped.
    pub(super) async fn turn(self: &Arc<Self>, caller: &Caller, tokens: u64) -> Result<Turn, Problem> {
        let (sender, mut receiver) = oneshot::channel();
        let ticket = {
            let mut state = self.state.lock();
            let ticket = state.queue.push(&caller.meeting, caller.priority, caller.deadline, tokens);
            state.wakers.insert(ticket, sender);
            ticket
        };
        let mut place = Place { line: self.clone(), ticket: Some(ticket), tokens };
        loop {
            // Before the queue is looked at, so that no place is freed unseen.
            let freed = self.freed.notified();
            self.dispatch();
            let ready_at = self.state.lock().queue.ready_at(Instant::now());
            let timer = async {
                match ready_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let deadline = async {
                match caller.deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                went = &mut receiver => {
                    went.expect("invariant: a request in the queue has its sender");
                    place.ticket = None;
                    return Ok(Turn { line: self.clone(), tokens, unused: 0 });
                }
                () = deadline => {
                    return Err(Problem::new(Class::TooLate, "its turn did not come in the time of the request"));
                }
                () = timer => {}
                () = freed => {}
            }
        }
    }

    /// Lets all go that may.
    fn dispatch(&self) {
        let mut state = self.state.lock();
        while let Some(ticket) = state.queue.next(Instant::now()) {
            let waker =
                state.wakers.remove(&ticket).expect("invariant: a request in the queue has its sender");
            // A request that is being dropped ends its turn itself.
            let _ = waker.send(());
        }
    }

    fn done(&self, unused: u64) {
        self.state.lock().queue.done(unused);
        self.dispatch();
        self.freed.notify_waiters();
    }
}

/// A request that waits; it leaves the queue when it is dropped.
struct Place {
    line: Arc<Line>,
    ticket: Option<Ticket>,
    tokens: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let was_waiting = {
            let mut state = self.line.state.lock();
            state.wakers.remove(&ticket);
            state.queue.cancel(ticket)
        };
        if was_waiting {
            // Another one may be the next, with fewer tokens.
            self.line.dispatch();
            self.line.freed.notify_waiters();
        } else {
            // It had got its turn and not noticed.
            self.line.done(self.tokens);
        }
    }
}

/// A request's turn.
pub(super) struct Turn {
    line: Arc<Line>,
    tokens: u64,
    unused: u64,
}

impl Turn {
    /// The request took so many tokens.
    pub(super) fn took(&mut self, tokens: u64) {
        self.unused = self.tokens.saturating_sub(tokens);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.line.done(self.unused);
    }
}
