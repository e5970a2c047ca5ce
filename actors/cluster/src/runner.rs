//! What a node of a cluster does by itself: it takes over what dead nodes owned, moves meetings to where they belong, announces
//! how many it runs, and stops everything when its lease has ended.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use teammy_kernel::{
    MeetingId, chain,
    store::{self, Incarnation, MeetingQuery},
};
use teammy_runtime::node::{Beginning, Error};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tracing::{info, warn};

use crate::{
    member::NodeDocument,
    membership::{Membership, Teller},
    metrics::{Metrics, seconds, wide},
    protocol::{Answer, Ran},
    rebalance::{self, Rebalance},
    router::Place,
    settings::ClusterSettings,
    shared::{Order, Shared},
    takeover::{self, Found, Takeover},
};

/// How often the node announces how many meetings it runs.
const TICK: Duration = Duration::from_secs(1);
/// After how many ticks it looks for meetings that it owns and does not run: what told it of them was lost. A call for one of them
/// finds it sooner.
const ADOPT: u64 = 10;
/// How long a step of a takeover, or a search for own meetings, may take.
const STEP: Duration = Duration::from_secs(30);
/// How often the first member looks for meetings that nobody owns.
const SWEEP: Duration = Duration::from_mins(5);
/// The most meetings that one search for own meetings that do not run returns.
const OWN: usize = 100_000;

/// What came of a step.
enum Event {
    Listed { of: Incarnation, found: Option<Vec<Found>> },
    Taken { meeting: MeetingId, outcome: takeover::Outcome },
    Removed { of: Incarnation, is_gone: bool },
    Moved { meeting: MeetingId, outcome: rebalance::Outcome },
    Adopted,
    Swept,
}

pub(crate) struct Runner {
    shared: Arc<Shared>,
    teller: Teller,
    lease: watch::Receiver<Instant>,
    metrics: Metrics,
    /// When meetings without an owner were last looked for.
    swept: Option<Instant>,
    is_sweeping: bool,
    document: NodeDocument,
    takeover: Takeover,
    rebalance: Rebalance,
    steps: FuturesUnordered<BoxFuture<'static, Event>>,
    is_adopting: bool,
    draining: Vec<oneshot::Sender<()>>,
    /// Since when a drain has moved nothing.
    stalled: Option<Instant>,
}

impl Runner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        membership: &Membership,
        document: NodeDocument,
        settings: &ClusterSettings,
    ) -> Self {
        let me = shared.router.me.clone();
        Self {
            takeover: Takeover::new(me.clone(), settings.takeover.clone()),
            rebalance: Rebalance::new(me, settings.rebalance.clone()),
            shared,
            teller: membership.teller(),
            lease: membership.until(),
            metrics: Metrics::new(),
            swept: None,
            is_sweeping: false,
            document,
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
        let (mut tick, mut ticks) = (interval(TICK), 0_u64);
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
                        self.metrics.lease.set(0.0);
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
                    Order::Received(meeting) => self.rebalance.received(meeting, Instant::now()),
                },
                beginning = beginnings.next() => match beginning {
                    Some(Beginning::Of(meeting)) => self.rebalance.runs(meeting),
                    Some(_) => self.count(),
                    None => return,
                },
                _ = tick.tick() => {
                    self.count();
                    ticks += 1;
                    if ticks % ADOPT == 0 {
                        self.adopt();
                    }
                    self.sweep();
                    self.measure();
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
                    self.steps.push(list(shared.clone(), of, limit).boxed());
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
            Event::Taken { meeting, outcome } => {
                self.metrics.takeovers.increment(u64::from(outcome == takeover::Outcome::Taken));
                self.takeover.finished(&meeting, outcome, now);
            }
            Event::Removed { of, is_gone: true } => self.takeover.removed(&of),
            Event::Removed { of, is_gone: false } => self.takeover.not_removed(&of, now),
            Event::Moved { meeting, outcome } => {
                if outcome == rebalance::Outcome::Moved {
                    self.metrics.handovers.increment(1);
                    self.stalled = self.stalled.map(|_| now);
                }
                self.rebalance.finished(&meeting, outcome, now);
                // It has ended, or the move succeeded and its confirmation was lost.
                if outcome == rebalance::Outcome::Failed
                    && self.shared.router.node.running(&meeting).is_none()
                {
                    self.rebalance.ended(&meeting);
                }
            }
            Event::Adopted => self.is_adopting = false,
            Event::Swept => self.is_sweeping = false,
        }
    }

    /// Finds out which meetings run here, in case something was missed.
    fn count(&mut self) {
        let running = self.shared.router.node.meetings().into_iter().map(|meeting| meeting.id().clone());
        self.rebalance.all_running(&running.collect());
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

    /// Starts meetings without an owner, to which no lease leads: those of a node that was in no cluster. The member that comes first
    /// looks for all.
    fn sweep(&mut self) {
        let router = &self.shared.router;
        let is_first =
            router.view.borrow().members.iter().map(|member| &member.incarnation).min() == Some(&router.me);
        let is_due = self.swept.is_none_or(|swept| swept.elapsed() >= SWEEP);
        if !is_first || !is_due || self.is_sweeping {
            return;
        }
        (self.swept, self.is_sweeping) = (Some(Instant::now()), true);
        let shared = self.shared.clone();
        self.steps.push(
            async move {
                if let Err(error) = sweep(&shared).await {
                    warn!(error = chain(&error), "cannot look for meetings without an owner");
                }
                Event::Swept
            }
            .boxed(),
        );
    }

    fn measure(&mut self) {
        let (metrics, router) = (&mut self.metrics, &self.shared.router);
        metrics.lease.set(seconds(self.lease.borrow().saturating_duration_since(Instant::now())));
        metrics.members.set(wide(router.view.borrow().members.len() as u64));
        metrics.waiting.set(wide(self.takeover.counts().1 as u64));
        metrics.forwards.absolute(router.counts.forwards.load(Ordering::Relaxed));
        metrics.misses.absolute(router.counts.misses.load(Ordering::Relaxed));
        metrics.links(&router.links().status());
    }

    /// Announces to the others how many meetings this node runs, if that has changed.
    async fn tell(&mut self) {
        let router = &self.shared.router;
        let (reserved, is_draining) = (router.reserved(), router.is_draining.load(Ordering::Relaxed));
        if (self.document.reserved, self.document.is_draining) != (reserved, is_draining) {
            (self.document.reserved, self.document.is_draining) = (reserved, is_draining);
            self.teller.tell(self.document.clone()).await;
        }
    }

    /// A drain is over when nothing runs here and nothing is under way, or when nobody has taken anything for a while.
    fn finish_draining(&mut self) {
        let Some(since) = self.stalled else { return };
        let (moving, _) = self.rebalance.counts();
        // A meeting that has been released is under way until the other node runs it.
        let is_over = self.shared.router.node.meeting_count() == 0 || since.elapsed() > TICK * 2;
        if moving == 0 && is_over {
            self.stalled = None;
            for done in self.draining.drain(..) {
                let _ = done.send(());
            }
        }
    }
}

/// Starts meetings that nobody owns.
async fn sweep(shared: &Arc<Shared>) -> Result<(), store::Error> {
    let router = &shared.router;
    let mut query = MeetingQuery::open().limit(MeetingQuery::MAX_LIMIT);
    loop {
        let page = router.node.store().meetings(query.clone()).await?;
        // Read after the page: an owner has a lease before it owns anything.
        let leases = router.node.store().leases().all_leases().await?;
        for row in page.meetings {
            // None, or one whose lease was removed before this was stored.
            let is_unowned =
                row.owner.as_ref().is_none_or(|owner| leases.iter().all(|lease| lease.holder != *owner));
            if is_unowned && router.node.running(&row.metadata.id).is_none() {
                let placed = router.run_somewhere(&row.metadata.id, None).await;
                info!(meeting = %row.metadata.id, ?placed, "a meeting without an owner was placed");
            }
        }
        match page.next {
            Some(next) => query = query.after(next),
            None => return Ok(()),
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
