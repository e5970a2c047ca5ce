//! Where a meeting runs, and how a call gets there.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use teammy_kernel::{
    MeetingId, MeetingMetadata, Name, chain,
    log::Snapshot,
    store::{self, Incarnation, MeetingRecord, MeetingStatus},
    wire,
};
use teammy_runtime::{
    MeetingRef, Node,
    node::{Error, Opened},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::debug;

use crate::{
    handler::Call,
    links::{CallError, Links},
    membership::View,
    placement,
    protocol::{self, Answer, Ask, Opening, Ran},
};

/// The first wait before a call is tried again; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Where a meeting runs.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Here(MeetingRef),
    There(Incarnation),
    /// It has ended. The handle reads what is stored.
    Over(MeetingRef),
}

/// Why a meeting cannot be reached now.
#[derive(Debug)]
pub(crate) enum Unplaced {
    /// Not reachable for now; the text says why.
    Later(String),
    Never(Error),
}

impl From<Error> for Unplaced {
    fn from(error: Error) -> Self {
        match &error {
            Error::Store(store::Error::Unavailable { .. }) => Self::Later(chain(&error)),
            _ => Self::Never(error),
        }
    }
}

/// Counts of what the router did, for metrics.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Calls that went to another node.
    pub(crate) forwards: AtomicU64,
    /// Calls that came to a node that did not run the meeting.
    pub(crate) misses: AtomicU64,
}

/// Finds meetings on the nodes of a cluster, and calls them there.
pub(crate) struct Router {
    pub(crate) me: Incarnation,
    pub(crate) node: Arc<Node>,
    links: OnceLock<Links>,
    pub(crate) view: watch::Receiver<View>,
    /// How long a call for a meeting whose owner is away is tried.
    pub(crate) patience: Duration,
    /// How many meetings this node has room for.
    pub(crate) capacity: u32,
    /// Meetings that this node has promised to take, and does not run yet.
    promised: AtomicU32,
    /// This node takes no more meetings.
    pub(crate) is_draining: AtomicBool,
    pub(crate) counts: Counts,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("me", &self.me).finish_non_exhaustive()
    }
}

/// A place for a meeting that is being started or taken over. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Promise<'a>(&'a Router);

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        self.0.promised.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Router {
    pub(crate) fn new(
        me: Incarnation,
        node: Arc<Node>,
        view: watch::Receiver<View>,
        capacity: u32,
        patience: Duration,
    ) -> Self {
        Self {
            me,
            node,
            links: OnceLock::new(),
            view,
            patience,
            capacity,
            promised: AtomicU32::new(0),
            is_draining: AtomicBool::new(false),
            counts: Counts::default(),
        }
    }

    /// The links, which need the router first.
    pub(crate) fn connect(&self, links: Links) {
        assert!(self.links.set(links).is_ok(), "the router has its links already");
    }

    pub(crate) fn links(&self) -> &Links {
        self.links.get().expect("invariant: the router has its links before it is used")
    }

    /// How many meetings this node runs or has promised to.
    pub(crate) fn reserved(&self) -> u32 {
        let running = u32::try_from(self.node.meeting_count()).unwrap_or(u32::MAX);
        running.saturating_add(self.promised.load(Ordering::Relaxed))
    }

    /// A place for one more meeting on this node.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn promise(&self) -> Result<Promise<'_>, String> {
        if self.capacity == 0 {
            return Err(format!("node {} runs no meetings", self.me.node));
        }
        if self.is_draining.load(Ordering::Relaxed) {
            return Err(format!("node {} is draining", self.me.node));
        }
        // Counted before it is checked: two requests at once for the last place may both fail, but never both succeed.
        self.promised.fetch_add(1, Ordering::Relaxed);
        let promise = Promise(self);
        if self.reserved() > self.capacity {
            return Err(format!("node {} is full: it has room for {} meetings", self.me.node, self.capacity));
        }
        Ok(promise)
    }

    /// Whether a node is live.
    pub(crate) fn is_live(&self, node: &Incarnation) -> bool {
        self.view.borrow().members.iter().any(|member| member.incarnation == *node)
    }

    /// The live run of a node.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn live(&self, node: &Name) -> Result<Incarnation, Error> {
        let view = self.view.borrow();
        let member = view.members.iter().find(|member| member.incarnation.node == *node);
        member.map(|member| member.incarnation.clone()).ok_or_else(|| {
            let known: Vec<_> = view.members.iter().map(|member| member.incarnation.node.as_str()).collect();
            Error::NoNode { node: node.clone(), live: known.join(", ") }
        })
    }

    /// Asks a node for something.
    ///
    /// # Errors
    /// Those of [`Links::call`].
    pub(crate) async fn call(
        &self,
        to: &Incarnation,
        meeting: Option<&MeetingId>,
        is_ordered: bool,
        body: Bytes,
    ) -> Result<Answer, CallError> {
        self.counts.forwards.fetch_add(1, Ordering::Relaxed);
        let call = Call { meeting: meeting.cloned(), epoch: 0, is_ordered, trace: None, body };
        let answer = self.links().call(to, call).await?;
        // An answer that cannot be read came after the call was handled.
        wire::decode(&answer)
            .map_err(|error| CallError::Unknown { peer: to.clone(), reason: chain(&error).into() })
    }

    /// Encodes what is asked and calls; not ordered.
    pub(crate) async fn ask(
        &self,
        to: &Incarnation,
        meeting: Option<&MeetingId>,
        ask: &Ask,
    ) -> Result<Answer, CallError> {
        let body = protocol::encode(ask)
            .map_err(|error| CallError::NotSent { peer: to.clone(), reason: chain(&error).into() })?;
        self.call(to, meeting, false, body).await
    }

    /// Where a meeting runs, as far as it is known now. One that no live node owns is resumed. `hint` is where it was last.
    pub(crate) async fn place(&self, id: &MeetingId, hint: Option<&Incarnation>) -> Result<Place, Unplaced> {
        if let Some(meeting) = self.node.running(id) {
            return Ok(Place::Here(meeting));
        }
        if let Some(hint) = hint.filter(|hint| **hint != self.me && self.is_live(hint)) {
            return Ok(Place::There(hint.clone()));
        }
        let row = self.node.store().meeting(id.clone()).await.map_err(Error::Store)?;
        self.place_row(row.ok_or_else(|| Unplaced::Never(Error::NoMeeting(id.clone())))?).await
    }

    /// As [`place`](Self::place), by the meeting's row.
    pub(crate) async fn place_row(&self, row: MeetingRecord) -> Result<Place, Unplaced> {
        if row.status == MeetingStatus::Ended {
            return Ok(Place::Over(self.node.ended(row)));
        }
        let id = &row.metadata.id;
        match row.owner {
            Some(owner) if owner == self.me => self.resume_own(id).await,
            Some(owner) if self.is_live(&owner) => Ok(Place::There(owner)),
            Some(owner) if !self.is_ended(&owner).await? => {
                Err(Unplaced::Later(format!("its node {owner} is not live, and its lease has not ended yet")))
            }
            _ => self.run_somewhere(id, None).await.map(|(place, _)| place),
        }
    }

    /// Whether the lease of a node that is not live has ended.
    async fn is_ended(&self, node: &Incarnation) -> Result<bool, Error> {
        if self.view.borrow().ended.contains(node) {
            return Ok(true);
        }
        // Its row may have been removed, or it came after this node last looked.
        let leases = self.node.store().leases().all_leases().await.map_err(Error::Store)?;
        Ok(!leases.iter().any(|lease| lease.holder == *node && lease.status == store::LeaseStatus::Held))
    }

    /// Resumes a meeting that this node owns and does not run: it was passed on to it.
    pub(crate) async fn resume_own(&self, id: &MeetingId) -> Result<Place, Unplaced> {
        self.place_resumed(id, self.node.resume_here(id).await).await
    }

    /// As [`resume_own`](Self::resume_own), from its last owner's snapshot.
    pub(crate) async fn resume_from(&self, id: &MeetingId, snapshot: Snapshot) -> Result<Place, Unplaced> {
        self.place_resumed(id, self.node.resume_from(id, snapshot).await).await
    }

    async fn place_resumed(
        &self,
        id: &MeetingId,
        resumed: Result<MeetingRef, Error>,
    ) -> Result<Place, Unplaced> {
        match resumed {
            Ok(meeting) => Ok(Place::Here(meeting)),
            Err(Error::Running(_)) => match self.node.running(id) {
                Some(meeting) => Ok(Place::Here(meeting)),
                None => Err(Unplaced::Later("it is being released".to_owned())),
            },
            Err(Error::Ended(_)) => Ok(Place::Over(self.node.find_here(id).await?)),
            Err(Error::Store(store::Error::Owned { owner, .. })) => Ok(Place::There(owner)),
            Err(error) => Err(error.into()),
        }
    }

    /// Has a meeting run on the node that ranks first for it and takes it: a new one with `opening`, else one that nobody owns.
    pub(crate) async fn run_somewhere(
        &self,
        id: &MeetingId,
        opening: Option<(MeetingMetadata, Vec<Name>)>,
    ) -> Result<(Place, Ran), Unplaced> {
        let view = self.view.borrow().clone();
        if !view.is_member {
            return Err(Unplaced::Never(Error::NoMember("its lease has ended".to_owned())));
        }
        let (mut reasons, mut is_away) = (Vec::new(), false);
        for member in placement::ranked(id, &view.members) {
            let to = &member.incarnation;
            if *to == self.me {
                match self.run_here(id, opening.clone()).await {
                    Answer::Runs(ran) => return self.ran_here(id, ran).await,
                    Answer::OwnedBy(owner) if owner != self.me => {
                        return Ok((Place::There(owner), Ran::Already));
                    }
                    Answer::Full(reason) => reasons.push(reason),
                    Answer::NodeFailed(failure) => return Err(Error::from(failure).into()),
                    answer => reasons.push(format!("this node answered {answer:?}")),
                }
                continue;
            }
            let form = opening.as_ref().map(|(metadata, instances)| Opening {
                metadata: serde_json::to_string(metadata).expect("invariant: metadata has a JSON form"),
                instances: instances.clone(),
            });
            match self.ask(to, Some(id), &Ask::Run { opening: form }).await {
                Ok(Answer::Runs(Ran::HasEnded)) => {
                    return Ok((Place::Over(self.node.find_here(id).await?), Ran::HasEnded));
                }
                Ok(Answer::Runs(ran)) => return Ok((Place::There(to.clone()), ran)),
                Ok(Answer::OwnedBy(owner)) => return Ok((Place::There(owner), Ran::Already)),
                Ok(Answer::Full(reason)) => reasons.push(reason),
                Ok(Answer::NodeFailed(failure)) => return Err(Error::from(failure).into()),
                Ok(answer) => reasons.push(format!("node {} answered {answer:?}", to.node)),
                // It may run there or not: the store knows.
                Err(error @ CallError::Unknown { .. }) => return Err(Unplaced::Later(error.to_string())),
                Err(error) => {
                    is_away = true;
                    reasons.push(error.to_string());
                }
            }
        }
        let reason =
            if reasons.is_empty() { "no live node runs meetings".to_owned() } else { reasons.join("; ") };
        if is_away {
            return Err(Unplaced::Later(reason));
        }
        Err(Unplaced::Never(Error::NoRoom { meeting: id.clone(), reason }))
    }

    async fn ran_here(&self, id: &MeetingId, ran: Ran) -> Result<(Place, Ran), Unplaced> {
        match self.node.running(id) {
            Some(meeting) => Ok((Place::Here(meeting), ran)),
            None if ran == Ran::HasEnded => Ok((Place::Over(self.node.find_here(id).await?), ran)),
            None => Err(Unplaced::Later("it has just been released".to_owned())),
        }
    }

    /// Runs a meeting on this node: resumes it, or starts it if it is new.
    pub(crate) async fn run_here(
        &self,
        id: &MeetingId,
        opening: Option<(MeetingMetadata, Vec<Name>)>,
    ) -> Answer {
        if self.node.running(id).is_some() {
            return Answer::Runs(Ran::Already);
        }
        let _promise = match self.promise() {
            Ok(promise) => promise,
            Err(reason) => return Answer::Full(reason),
        };
        let opened = match opening {
            Some((metadata, instances)) => {
                self.node.open_here(metadata, instances).await.map(|opened| match opened {
                    Opened::Started(_) => Ran::Started,
                    Opened::Resumed(_) => Ran::Resumed,
                    Opened::Ended(_) => Ran::HasEnded,
                    _ => Ran::Already,
                })
            }
            None => match self.node.resume_here(id).await {
                Err(Error::Running(_)) => Ok(Ran::Already),
                Err(Error::Ended(_)) => Ok(Ran::HasEnded),
                resumed => resumed.map(|_| Ran::Resumed),
            },
        };
        match opened {
            Ok(ran) => Answer::Runs(ran),
            Err(Error::Store(store::Error::Owned { owner, .. })) => Answer::OwnedBy(owner),
            Err(error @ (Error::ShutDown | Error::NoMember(_) | Error::MissingInstance { .. })) => {
                Answer::Full(format!("node {}: {}", self.me.node, chain(&error)))
            }
            Err(error) => Answer::NodeFailed(error.into()),
        }
    }

    /// The waits between tries, for [`patience`](Self::patience) at most.
    pub(crate) fn tries(&self) -> Tries {
        Tries { until: Instant::now() + self.patience, next: FIRST_WAIT, view: self.view.clone() }
    }
}

/// The waits between the tries of a call.
#[derive(Debug)]
pub(crate) struct Tries {
    until: Instant,
    next: Duration,
    view: watch::Receiver<View>,
}

impl Tries {
    /// Waits before the next try, less if the members change. Returns whether there is one.
    pub(crate) async fn wait(&mut self, why: &str) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        debug!(why, wait = ?self.next, "a call is tried again");
        let changed = async {
            // When the membership ends, its last change has been seen already.
            if self.view.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        if timeout(self.next, changed).await.is_ok() {
            // All that wait for the same change should not come at the same moment.
            sleep(FIRST_WAIT / 4).await;
        }
        self.next = (self.next * 2).min(LONGEST_WAIT);
        true
    }

    /// Something was heard of the meeting: patience begins anew.
    pub(crate) fn began_anew(&mut self, patience: Duration) {
        self.until = Instant::now() + patience;
        self.next = FIRST_WAIT;
    }
}
