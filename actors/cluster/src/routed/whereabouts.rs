//! Where a meeting runs, as far as its handle and its readers know.

use std::sync::Arc;

use parking_lot::Mutex;
use teammy_kernel::{MeetingId, RemoteError, chain, store::Incarnation};
use teammy_runtime::node;

use super::outcome::Failure;
use crate::router::{Place, Router, Tries, Unplaced};

/// Where a meeting runs.
#[derive(Debug)]
pub(crate) struct Whereabouts {
    router: Arc<Router>,
    id: MeetingId,
    /// The node that ran it last, if that was not this one.
    hint: Mutex<Option<Incarnation>>,
}

impl Whereabouts {
    pub(crate) fn new(router: Arc<Router>, id: MeetingId, hint: Option<Incarnation>) -> Self {
        Self { router, id, hint: Mutex::new(hint) }
    }

    pub(crate) fn id(&self) -> &MeetingId {
        &self.id
    }

    pub(crate) fn router(&self) -> &Arc<Router> {
        &self.router
    }

    /// Where it runs now. Waits while that may change by itself.
    pub(crate) async fn place<E: Failure>(&self, tries: &mut Tries) -> Result<Place, E> {
        loop {
            let hint = self.hint.lock().clone();
            let why = match self.router.place(&self.id, hint.as_ref()).await {
                Ok(place) => {
                    *self.hint.lock() = match &place {
                        Place::There(owner) => Some(owner.clone()),
                        _ => None,
                    };
                    return Ok(place);
                }
                Err(Unplaced::Never(error @ (node::Error::NoMember(_) | node::Error::ShutDown))) => {
                    return Err(E::gone(self.id.clone(), chain(&error).into()));
                }
                Err(Unplaced::Never(error)) => return Err(E::of_node(error)),
                Err(Unplaced::Later(why)) => why,
            };
            self.again(tries, &why).await?;
        }
    }

    /// Where it ran last is not where it runs.
    pub(crate) fn forget(&self) {
        *self.hint.lock() = None;
    }

    /// Waits before it is looked for again.
    ///
    /// # Errors
    /// If it was looked for long enough.
    pub(crate) async fn again<E: Failure>(&self, tries: &mut Tries, why: &str) -> Result<(), E> {
        self.forget();
        self.wait(tries, why).await
    }

    /// As [`again`](Self::again), where it is known where the meeting runs.
    pub(crate) async fn wait<E: Failure>(&self, tries: &mut Tries, why: &str) -> Result<(), E> {
        if tries.wait(why).await {
            return Ok(());
        }
        let text = format!("no node answers for meeting {}: {why}", self.id);
        Err(E::of(RemoteError::of(RemoteError::NOT_REACHED, text)))
    }
}
