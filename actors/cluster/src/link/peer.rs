//! One other node: its link, and calls to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use teammy_kernel::store::Incarnation;
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::{Instant, timeout_at},
};
use tracing::{info, warn};

use crate::{
    handler::{Call, Handler},
    link::{
        fault::CallError,
        outbox::Asked,
        said::Said,
        serve::Server,
        session::{Reply, Session},
        state::Broken,
    },
};

/// The state of a link, for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStatus {
    /// The node at the other end.
    pub peer: Incarnation,
    /// Whether it is up.
    pub is_up: bool,
    /// How long ago something came from the peer, if it is up.
    pub silence: Option<Duration>,
    /// How long the last heartbeat took there and back, if the link is up and one was answered.
    pub round_trip: Option<Duration>,
    /// Bytes under way that the peer has not taken, or not told of: it tells a heartbeat later at the latest.
    pub under_way: usize,
    /// Calls and streams that wait for it.
    pub waiting: usize,
    /// How often it broke.
    pub breaks: u64,
    /// Why it is down.
    pub reason: Option<Arc<str>>,
    /// Messages sent on the present connection; a stream's items count each.
    pub sent_messages: u64,
    /// Bytes sent on it.
    pub sent_bytes: u64,
    /// Messages received on it.
    pub received_messages: u64,
    /// Bytes received on it.
    pub received_bytes: u64,
}

/// The link at this moment.
#[derive(Debug, Clone)]
pub(crate) enum Link {
    /// There is none, but there may be.
    Down(Broken),
    Up(Arc<Session>),
    /// There will be none again.
    Closed(Broken),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) incarnation: Incarnation,
    pub(crate) server: Arc<Server>,
    link: watch::Sender<Link>,
    /// Until when it may have a link without being in the view; none if it is in the view.
    pub(crate) stranger_until: Mutex<Option<Instant>>,
    breaks: AtomicU64,
    /// Calls wait for a connection one after the other, so that they keep their order.
    turn: AsyncMutex<()>,
    /// Calls that wait for a connection.
    waiting: AtomicUsize,
    /// What was last logged of it.
    said: Mutex<Said>,
}

/// A call that waits for a connection.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Peer {
    pub(crate) fn new(
        incarnation: Incarnation,
        handler: Arc<dyn Handler>,
        stranger_until: Option<Instant>,
    ) -> Arc<Self> {
        Arc::new(Self {
            server: Server::new(incarnation.clone(), handler),
            incarnation,
            link: watch::Sender::new(Link::Down("there was no connection yet".into())),
            stranger_until: Mutex::new(stranger_until),
            breaks: AtomicU64::new(0),
            turn: AsyncMutex::new(()),
            waiting: AtomicUsize::new(0),
            said: Mutex::default(),
        })
    }

    /// The link, and its changes.
    pub(crate) fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    /// The connection, if there is one.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        match &*self.link.borrow() {
            Link::Up(session) => Some(Arc::clone(session)),
            Link::Down(_) | Link::Closed(_) => None,
        }
    }

    /// Takes a new connection in place of an older one.
    ///
    /// # Errors
    /// The reason for which it is not taken. `keeps` says whether an older one that holds is kept.
    pub(crate) fn attach(
        &self,
        session: &Arc<Session>,
        keeps: impl FnOnce(&Session) -> bool,
    ) -> Result<(), Broken> {
        let mut older = None;
        let mut refused = None;
        self.link.send_if_modified(|link| {
            match link {
                Link::Closed(reason) => refused = Some(Arc::clone(reason)),
                Link::Up(present) if present.broken().is_none() && keeps(present) => {
                    refused = Some("there is a link already".into());
                }
                Link::Up(present) => older = Some(Arc::clone(present)),
                Link::Down(_) => {}
            }
            let is_taken = refused.is_none();
            if is_taken {
                *link = Link::Up(Arc::clone(session));
            }
            is_taken
        });
        if let Some(older) = older {
            self.breaks.fetch_add(1, Ordering::Relaxed);
            older.close("a newer connection took its place");
        }
        if let Some(reason) = refused {
            return Err(reason);
        }
        if let Some(left_out) = self.said.lock().up() {
            info!(peer = %self.incarnation, left_out, "the link is up");
        }
        Ok(())
    }

    /// A connection has ended.
    pub(crate) fn detach(&self, session: &Arc<Session>, reason: &Broken) {
        let is_present = self.link.send_if_modified(|link| {
            let is_present = matches!(link, Link::Up(present) if Arc::ptr_eq(present, session));
            if is_present {
                *link = Link::Down(Arc::clone(reason));
            }
            is_present
        });
        if is_present {
            self.breaks.fetch_add(1, Ordering::Relaxed);
            self.log(reason);
        }
    }

    /// A connection could not be made.
    pub(crate) fn failed(&self, reason: &Broken) {
        let is_down = self.link.send_if_modified(|link| {
            let is_down = matches!(link, Link::Down(_));
            if is_down {
                *link = Link::Down(Arc::clone(reason));
            }
            is_down
        });
        // The other side may have made one meanwhile.
        if is_down {
            self.log(reason);
        }
    }

    /// Makes no more connections, and takes no more calls.
    pub(crate) fn close(&self, reason: &str) -> Option<Arc<Session>> {
        match self.link.send_replace(Link::Closed(reason.into())) {
            Link::Up(session) => Some(session),
            Link::Down(_) | Link::Closed(_) => None,
        }
    }

    /// Logs why there is no link, unless that was said.
    fn log(&self, reason: &Broken) {
        if let Some(left_out) = self.said.lock().down(reason, Instant::now()) {
            warn!(peer = %self.incarnation, reason = &**reason, left_out, "the link is down");
        }
    }

    /// Makes a call, and waits no longer than until `until` for a link.
    pub(crate) async fn ask(&self, call: Call, asked: Asked, until: Instant) -> Result<Reply, CallError> {
        let not_sent = |reason| CallError::NotSent { peer: self.incarnation.clone(), reason };
        let asking = {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let _waits = Waits(&self.waiting);
            let turn = timeout_at(until, self.turn.lock()).await;
            let _turn = turn.map_err(|_| not_sent(self.reason()))?;
            self.connected(until).await.map_err(not_sent)?.ask(call, asked)?
        };
        asking.answer().await
    }

    /// The connection, once there is one.
    async fn connected(&self, until: Instant) -> Result<Arc<Session>, Broken> {
        let mut link = self.link();
        let is_decided = |link: &Link| match link {
            Link::Up(session) => session.is_open(),
            Link::Down(_) => false,
            Link::Closed(_) => true,
        };
        let found = timeout_at(until, link.wait_for(is_decided)).await;
        match found.ok().and_then(Result::ok).map(|link| link.clone()) {
            Some(Link::Up(session)) => Ok(session),
            Some(Link::Down(reason) | Link::Closed(reason)) => Err(reason),
            None => Err(self.reason()),
        }
    }

    /// Why there is no link.
    fn reason(&self) -> Broken {
        match &*self.link.borrow() {
            Link::Down(reason) | Link::Closed(reason) => Arc::clone(reason),
            Link::Up(_) => "there was no connection in time".into(),
        }
    }

    /// The link's state.
    pub(crate) fn status(&self, now: Instant) -> LinkStatus {
        let session = self.session().filter(|session| session.broken().is_none());
        let figures = session.map(|session| session.figures(now));
        let traffic = figures.as_ref().map(|figures| figures.traffic).unwrap_or_default();
        let waiting = figures.as_ref().map_or(0, |figures| figures.waiting);
        LinkStatus {
            peer: self.incarnation.clone(),
            is_up: figures.is_some(),
            silence: figures.as_ref().map(|figures| figures.silence),
            round_trip: figures.as_ref().and_then(|figures| figures.round_trip),
            under_way: figures.as_ref().map_or(0, |figures| figures.under_way),
            waiting: waiting + self.waiting.load(Ordering::Relaxed),
            breaks: self.breaks.load(Ordering::Relaxed),
            reason: figures.is_none().then(|| self.reason()),
            sent_messages: traffic.sent_messages,
            sent_bytes: traffic.sent_bytes,
            received_messages: traffic.received_messages,
            received_bytes: traffic.received_bytes,
        }
    }
}
