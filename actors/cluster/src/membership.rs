//! A node's membership: it holds its lease, sees the others', and ends those whose time is over.

use std::sync::Arc;

use teammy_kernel::{
    Store,
    store::{self, Incarnation, LeaseRecord, LeaseStatus},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Duration, Instant, sleep_until, timeout_at},
};
use tracing::{debug, info, warn};

use crate::{
    keeper::{Keeper, Step, Timing},
    member::{Member, NodeDocument},
};

/// Why a node cannot become a member.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed, or is away.
    #[error("cannot take a lease")]
    Store(#[source] store::Error),
    /// This incarnation had a lease that has ended.
    #[error("the lease of {0} has ended; start the node again")]
    Ended(Incarnation),
}

/// Who is there, as the store said when it was last asked.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Whether this node may own meetings. Once it may not, it never may again.
    pub is_member: bool,
    /// The live nodes, this one among them, by incarnation.
    pub members: Vec<Member>,
    /// Incarnations whose leases have ended. Their meetings may be claimed.
    pub ended: Vec<Incarnation>,
}

#[derive(Debug)]
pub(crate) enum Command {
    /// Tell the others something else, at once.
    Tell(NodeDocument),
    /// Give the lease back.
    Leave(oneshot::Sender<()>),
}

/// A node that is a member, until it [leaves](Self::leave), is dropped, or is too late with a renewal.
#[derive(Debug)]
pub struct Membership {
    me: Incarnation,
    view: watch::Receiver<View>,
    until: watch::Receiver<Instant>,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Membership {
    /// Takes a lease, and renews it from then on. `store` should have a connection of its own, so that renewals wait for nothing
    /// else.
    ///
    /// # Errors
    /// [`Error::Store`] and [`Error::Ended`].
    pub async fn join(
        store: Arc<dyn Store>,
        me: Incarnation,
        document: NodeDocument,
        timing: Timing,
    ) -> Result<Self, Error> {
        let asked = Instant::now();
        let taken = store.leases().take_lease(me.clone(), timing.ttl, document.to_json()).await;
        if !taken.map_err(Error::Store)? {
            return Err(Error::Ended(me));
        }
        let leases = store.leases().all_leases().await.map_err(Error::Store)?;
        let (sender, view) = watch::channel(view_of(&leases));
        let (commands, received) = mpsc::channel(8);
        let keeper = Keeper::granted(timing, asked);
        info!(node = %me, "this node is a member");
        let (lasts, until) = watch::channel(keeper.until());
        let holder = Holder {
            store,
            me: me.clone(),
            document,
            timing,
            keeper,
            view: sender,
            lasts,
            commands: received,
            look_at: None,
        };
        Ok(Self { me, view, until, commands, task: tokio::spawn(holder.run()) })
    }

    /// Which run of which node this is.
    pub fn incarnation(&self) -> &Incarnation {
        &self.me
    }

    /// Who is there, now and whenever that changes. Once [`is_member`](View::is_member) is false, this node must own nothing: others
    /// may claim its meetings [a margin](Timing::margin) later.
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Until when this node may own meetings, by its own clock.
    pub(crate) fn until(&self) -> watch::Receiver<Instant> {
        self.until.clone()
    }

    /// Tells the others something else of this node.
    pub async fn tell(&self, document: NodeDocument) {
        self.teller().tell(document).await;
    }

    /// Tells the others of this node.
    pub(crate) fn teller(&self) -> Teller {
        Teller(self.commands.clone())
    }

    /// Gives the lease back, so that others need not wait for its end. The node must run nothing any more. It waits no longer than
    /// the lease would last.
    pub async fn leave(self) {
        self.give_back().await;
    }

    pub(crate) async fn give_back(&self) {
        let (done, left) = oneshot::channel();
        if self.commands.send(Command::Leave(done)).await.is_ok() {
            let _ = left.await;
        }
    }
}

/// Tells others of a node.
#[derive(Debug, Clone)]
pub(crate) struct Teller(mpsc::Sender<Command>);

impl Teller {
    pub(crate) async fn tell(&self, document: NodeDocument) {
        let _ = self.0.send(Command::Tell(document)).await;
    }
}

fn view_of(leases: &[LeaseRecord]) -> View {
    let live = leases.iter().filter(|lease| lease.is_live());
    let ended = leases.iter().filter(|lease| lease.status != LeaseStatus::Held);
    View {
        is_member: true,
        members: live.map(Member::of).collect(),
        ended: ended.map(|lease| lease.holder.clone()).collect(),
    }
}

/// The task that holds the lease.
struct Holder {
    store: Arc<dyn Store>,
    me: Incarnation,
    document: NodeDocument,
    timing: Timing,
    keeper: Keeper,
    view: watch::Sender<View>,
    lasts: watch::Sender<Instant>,
    commands: mpsc::Receiver<Command>,
    /// When a lease ends, unless it is renewed before.
    look_at: Option<Instant>,
}

impl Holder {
    async fn run(mut self) {
        let done = loop {
            match self.keeper.step(Instant::now()) {
                Step::WaitUntil(at) => tokio::select! {
                    () = sleep_until(self.look_at.map_or(at, |look| look.min(at))) => {
                        if self.look_at.is_some_and(|look| look < at && look <= Instant::now()) {
                            self.look(at).await;
                        }
                    }
                    command = self.commands.recv() => match command {
                        Some(Command::Tell(document)) => {
                            self.document = document;
                            self.renew().await;
                        }
                        Some(Command::Leave(done)) => break Some(done),
                        None => return,
                    },
                },
                Step::Renew => self.renew().await,
                Step::LetGo => break None,
            }
        };
        self.view.send_modify(|view| view.is_member = false);
        match done {
            None => {
                warn!(node = %self.me, "the lease could not be renewed in time: this node is no member any more");
            }
            Some(done) => {
                let released = self.store.leases().release_lease(self.me.clone());
                if let Ok(Ok(())) = timeout_at(self.keeper.until(), released).await {
                    info!(node = %self.me, "this node has left");
                } else {
                    warn!(node = %self.me, "the lease could not be given back; it ends by itself");
                }
                let _ = done.send(());
            }
        }
    }

    /// Renews the lease, and looks who else is there. Neither takes longer than the time until the next renewal.
    async fn renew(&mut self) {
        let asked = Instant::now();
        let by = self.keeper.until().min(asked + self.timing.interval);
        let leases = self.store.leases();
        let renewed =
            timeout_at(by, leases.renew_lease(self.me.clone(), self.timing.ttl, self.document.to_json()))
                .await;
        match renewed {
            Ok(Ok(true)) => {
                self.keeper.renewed(asked, Instant::now());
                self.lasts.send_replace(self.keeper.until());
            }
            Ok(Ok(false)) => return self.keeper.refused(),
            Ok(Err(error)) => {
                let error = teammy_kernel::chain(&error);
                warn!(node = %self.me, error, "the lease could not be renewed; it is tried again");
                return self.keeper.unanswered(Instant::now());
            }
            Err(_) => {
                warn!(node = %self.me, "the store does not answer in time; the lease is renewed again");
                return self.keeper.unanswered(Instant::now());
            }
        }
        self.look(self.keeper.until().min(Instant::now() + self.timing.interval)).await;
    }

    /// Reads all leases, and ends those whose time is over. Gives up at `by`.
    async fn look(&mut self, by: Instant) {
        self.look_at = None;
        let leases = self.store.leases();
        let seen = timeout_at(by, async {
            let mut seen = leases.all_leases().await?;
            let over =
                seen.iter_mut().filter(|lease| lease.status == LeaseStatus::Held && lease.left.is_zero());
            for lease in over {
                if leases.end_lease(lease.holder.clone()).await? {
                    info!(node = %self.me, ended = %lease.holder, "the lease of another node has ended");
                    lease.status = LeaseStatus::Expired;
                }
            }
            Ok::<_, store::Error>(seen)
        });
        match seen.await {
            Ok(Ok(seen)) => {
                self.look_at = next_end(&seen, self.timing.interval).map(|left| Instant::now() + left);
                let view = view_of(&seen);
                self.view.send_if_modified(|old| {
                    let is_other = *old != view;
                    *old = view;
                    is_other
                });
            }
            Ok(Err(error)) => {
                let error = teammy_kernel::chain(&error);
                debug!(node = %self.me, error, "the other nodes' leases could not be read");
            }
            Err(_) => debug!(node = %self.me, "the other nodes' leases could not be read in time"),
        }
    }
}

/// In what time the first lease ends, if its holder is late with the renewal. Then a dead node's meetings need not wait until this one
/// looks the next time by itself.
fn next_end(leases: &[LeaseRecord], interval: Duration) -> Option<Duration> {
    let held = leases.iter().filter(|lease| lease.status == LeaseStatus::Held);
    let first = held.map(|lease| lease.left).min()?;
    // Not at once again: one that ends now is about to be found.
    (first < interval).then_some(first + interval / 50)
}

#[cfg(test)]
mod tests;
