//! What a node of a cluster does by itself: it takes over what dead nodes owned, moves meetings to where they belong, tells the
//! others how many it runs, and stops everything when its lease has ended.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use teammy_kernel::{
    MeetingId, chain,
    store::{self, Incarnation},
};
use teammy_runtime::node::{Beginning, Error};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tracing::{info, warn};

use crate::{
    cluster::{ClusterSettings, Shared},
    member::NodeDocument,
    membership::Teller,
    protocol::{Answer, Ran},
    rebalance::{self, Rebalance},
    router::Place,
    takeover::{self, Found, Takeover},
};

/// How often the node looks for meetings that it owns and does not run, and tells how many it runs.
const TICK: Duration = Duration::from_secs(1);
/// How long one step with the store may take.
const STEP: Duration = Duration::from_secs(30);
/// How many of its own meetings are looked for at once.
const OWN: usize = 100_000;

/// What the runner is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Hand everything over, and tell when that is done, or when nobody takes what is left.
    Drain(oneshot::Sender<()>),
    /// This meeting was handed over to this node.
    Received(MeetingId),
}

/// What came of a step.
enum Event {
    Listed { of: Incarnation, found: Option<Vec<Found>> },
    Taken { meeting: MeetingId, outcome: takeover::Outcome },
    Removed { of: Incarnation, is_gone: bool },
    Moved { meeting: MeetingId, outcome: rebalance::Outcome },
    Adopted,
}

pub(crate) struct Runner {
    shared: Arc<Shared>,
    teller: Teller,
    document: NodeDocument,
    takeover: Takeover,
    rebalance: Rebalance,
    known: HashSet<MeetingId>,
    steps: FuturesUnordered<BoxFuture<'static, Event>>,
    is_adopting: bool,
    draining: Vec<oneshot::Sender<()>>,
    /// Since when a drain has moved nothing.
    stalled: Option<Instant>,
}

impl Runner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        teller: Teller,
        document: NodeDocument,
        settings: &ClusterSettings,
    ) -> Self {
        let me = shared.router.me.clone();
        Self {
            takeover: Takeover::new(me.clone(), settings.takeover.clone()),
            rebalance: Rebalance::new(me, settings.rebalance.clone()),
            shared,
            teller,
            document,
            known: HashSet::new(),
            steps: FuturesUnordered::new(),
            is_adopting: false,
            draining: Vec::new(),
            stalled: None,
        }
    }

    pub(crate) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let router = self.shared.router.clone();
        let mut view = router.view.clone();
        let mut beginnings = router.node.beginnings();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.see(&view.borrow_and_update().clone());
        loop {
            let until = self.next();
            let asleep = async {
                match until {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = view.changed() => {
                    let seen = view.borrow_and_update().clone();
                    self.see(&seen);
                    // Without its membership nobody renews the lease.
                    if changed.is_err() || !seen.is_member {
                        router.node.fence("the lease of this node has ended");
                        return;
                    }
                }
                Some(event) = self.steps.next() => self.happened(event),
                Some(order) = orders.recv() => match order {
                    Order::Drain(done) => {
                        self.rebalance.drain();
                        self.draining.push(done);
                        self.stalled = Some(Instant::now());
                        self.tell().await;
                    }
                    Order::Received(meeting) => {
                        self.known.insert(meeting.clone());
                        self.rebalance.received(meeting, Instant::now());
                    }
                },
                beginning = beginnings.next() => match beginning {
                    Some(Beginning::Of(meeting)) => {
                        if self.known.insert(meeting.clone()) {
                            self.rebalance.runs(meeting);
                        }
                    }
                    Some(_) => self.count(),
                    None => return,
                },
                _ = tick.tick() => {
                    self.count();
                    self.adopt();
                    self.tell().await;
                }
                () = asleep => {}
            }
        }
    }

    fn see(&mut self, view: &crate::View) {
        self.takeover.view(view, Instant::now());
        self.rebalance.view(view);
    }

    /// Begins what is due. Returns when the next is, if nothing happens before.
    fn next(&mut self) -> Option<Instant> {
        let shared = &self.shared;
        let take = loop {
            match self.takeover.next(Instant::now()) {
                takeover::Step::List { of, limit } => {
                    self.steps.push(list(shared.clone(), of, limit).boxed())
                }
                takeover::Step::Take { meeting, from } => {
                    self.steps.push(take(shared.clone(), meeting, from).boxed());
                }
                takeover::Step::Remove(of) => self.steps.push(remove(shared.clone(), of).boxed()),
                takeover::Step::Wait(until) => break until,
            }
        };
        let balance = loop {
            match self.rebalance.next(Instant::now()) {
                rebalance::Step::Move { meeting, to } => {
                    self.steps.push(hand_over(shared.clone(), meeting, to).boxed());
                }
                rebalance::Step::Wait(until) => break until,
            }
        };
        self.finish_draining();
        take.into_iter().chain(balance).min()
    }

    fn happened(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Listed { of, found: Some(found) } => self.takeover.listed(&of, found, now),
            Event::Listed { of, found: None } => self.takeover.not_listed(&of, now),
            Event::Taken { meeting, outcome } => self.takeover.finished(&meeting, outcome, now),
            Event::Removed { of, is_gone: true } => self.takeover.removed(&of),
            Event::Removed { of, is_gone: false } => self.takeover.not_removed(&of, now),
            Event::Moved { meeting, outcome } => {
                if outcome == rebalance::Outcome::Moved {
                    self.known.remove(&meeting);
                    self.stalled = self.stalled.map(|_| now);
                }
                self.rebalance.finished(&meeting, outcome, now);
            }
            Event::Adopted => self.is_adopting = false,
        }
    }

    /// Finds out which meetings run here, in case something was missed.
    fn count(&mut self) {
        let running: HashSet<MeetingId> =
            self.shared.router.node.meetings().into_iter().map(|meeting| meeting.id().clone()).collect();
        for ended in self.known.difference(&running) {
            self.rebalance.ended(ended);
        }
        for meeting in running.difference(&self.known) {
            self.rebalance.runs(meeting.clone());
        }
        self.known = running;
    }

    /// Runs meetings that this node owns and does not run: what told it of them was lost.
    fn adopt(&mut self) {
        if self.is_adopting {
            return;
        }
        self.is_adopting = true;
        let shared = self.shared.clone();
        self.steps.push(
            async move {
                let router = &shared.router;
                let own = router.node.store().leases().owned(router.me.clone(), OWN);
                if let Ok(Ok(own)) = tokio::time::timeout(STEP, own).await {
                    for meeting in own {
                        if router.node.running(&meeting).is_none()
                            && let Ok(Place::Here(_)) = router.resume_own(&meeting).await
                        {
                            info!(%meeting, "this node owned the meeting, and runs it now");
                        }
                    }
                }
                Event::Adopted
            }
            .boxed(),
        );
    }

    /// Tells the others how many meetings this node runs, if that has changed.
    async fn tell(&mut self) {
        let router = &self.shared.router;
        let (reserved, is_draining) =
            (router.reserved(), router.is_draining.load(std::sync::atomic::Ordering::Relaxed));
        if (self.document.reserved, self.document.is_draining) != (reserved, is_draining) {
            (self.document.reserved, self.document.is_draining) = (reserved, is_draining);
            self.teller.tell(self.document.clone()).await;
        }
    }

    /// A drain is over when nothing runs here, or when nobody has taken anything for a while.
    fn finish_draining(&mut self) {
        let Some(since) = self.stalled else { return };
        let (moving, _) = self.rebalance.counts();
        let is_stalled = moving == 0 && since.elapsed() > TICK * 2;
        if self.shared.router.node.meeting_count() == 0 || is_stalled {
            self.stalled = None;
            for done in self.draining.drain(..) {
                let _ = done.send(());
            }
        }
    }
}

async fn list(shared: Arc<Shared>, of: Incarnation, limit: usize) -> Event {
    let store = shared.router.node.store();
    let listed = async {
        let owned = store.leases().owned(of.clone(), limit).await?;
        let marked: HashSet<MeetingId> = store.with_marks(owned.clone()).await?.into_iter().collect();
        let found = owned.into_iter().map(|meeting| Found { has_marks: marked.contains(&meeting), meeting });
        Ok::<_, store::Error>(found.collect())
    };
    let found = tokio::time::timeout(STEP, listed).await.ok().and_then(Result::ok);
    Event::Listed { of, found }
}

async fn take(shared: Arc<Shared>, meeting: MeetingId, from: Incarnation) -> Event {
    let answer = tokio::time::timeout(STEP, shared.router.run_here(&meeting, None)).await;
    let outcome = match answer {
        Ok(Answer::Runs(Ran::HasEnded) | Answer::OwnedBy(_)) => takeover::Outcome::Lost,
        Ok(Answer::Runs(_)) => {
            info!(%meeting, %from, "took the meeting over");
            takeover::Outcome::Taken
        }
        Ok(Answer::NodeFailed(failure)) => match Error::from(failure) {
            Error::NoMeeting(_) => takeover::Outcome::Lost,
            error => {
                warn!(%meeting, %from, error = chain(&error), "cannot take the meeting over");
                takeover::Outcome::Failed
            }
        },
        Ok(answer) => {
            warn!(%meeting, %from, ?answer, "cannot take the meeting over");
            takeover::Outcome::Failed
        }
        Err(_) => takeover::Outcome::Failed,
    };
    Event::Taken { meeting, outcome }
}

async fn remove(shared: Arc<Shared>, of: Incarnation) -> Event {
    let leases = shared.router.node.store().leases();
    let removed = tokio::time::timeout(STEP, leases.remove_lease(of.clone())).await;
    Event::Removed { of, is_gone: matches!(removed, Ok(Ok(true))) }
}

async fn hand_over(shared: Arc<Shared>, meeting: MeetingId, to: Incarnation) -> Event {
    let outcome = match shared.hand_over_to(&meeting, &to).await {
        Ok(()) => {
            info!(%meeting, %to, "handed the meeting over");
            rebalance::Outcome::Moved
        }
        // It may be there all the same: what runs here is counted each second.
        Err(reason) => {
            warn!(%meeting, %to, reason, "could not hand the meeting over");
            rebalance::Outcome::Failed
        }
    };
    Event::Moved { meeting, outcome }
}
