//! Keeps the way to the database open, and opens it anew when it is broken.
//!
//! A **server** that goes away and comes back is found again by the SDK: what is asked meanwhile waits in its
//! queue, and what was under way fails. What waits is bounded here (see `link`), and then the connection is
//! given up for a new one. The SDK may still send later what was given up. That does no harm: a commit
//! carries its number, and a claim the epoch that it raises.
//!
//! An **embedded engine** that could not write to its directory cannot be trusted any more: its log may have
//! half a record in it, and what it writes behind that, though it says that it is stored, is not found again
//! after a crash. (So SurrealKV does when the disk is full for a while.) Opening it anew cuts off what is
//! broken. So nothing is written until that is done, and writes go one by one, so that none of them comes
//! between a failure and its being noticed.

use std::{path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use teammy_kernel::store;
use tokio::sync::MutexGuard;
use tracing::{info, warn};

use super::{
    Options, QueryError,
    directory::Directory,
    error::Closed,
    link::{self, Link},
    prepare,
};

pub(super) struct Keeper {
    options: Options,
    state: Mutex<State>,
    /// Held by whoever opens it anew.
    opening: tokio::sync::Mutex<()>,
    /// Of an embedded engine that is to last.
    embedded: Option<Embedded>,
}

struct Embedded {
    directory: Directory,
    writing: tokio::sync::Mutex<()>,
}

enum State {
    Open(Arc<Link>),
    /// Nothing goes through it any more. It is closed before another one is opened.
    Broken(Option<Arc<Link>>),
    Closed,
}

impl Keeper {
    pub(super) fn new(options: Options, link: Link) -> Self {
        let embedded = link::directory(&options.url).map(|path| Embedded {
            directory: Directory::new(PathBuf::from(path)),
            writing: tokio::sync::Mutex::default(),
        });
        Self {
            options,
            state: Mutex::new(State::Open(Arc::new(link))),
            opening: tokio::sync::Mutex::default(),
            embedded,
        }
    }

    /// The open way to the database, opened anew if it was broken.
    pub(super) async fn link(&self) -> Result<Arc<Link>, QueryError> {
        if let Some(link) = self.open_link()? {
            return Ok(link);
        }
        let _alone = self.opening.lock().await;
        // Somebody else may have done it meanwhile.
        match self.open_link()? {
            Some(link) => Ok(link),
            None => self.open_anew().await,
        }
    }

    fn open_link(&self) -> Result<Option<Arc<Link>>, QueryError> {
        match &*self.state.lock() {
            State::Open(link) => Ok(Some(link.clone())),
            State::Broken(_) => Ok(None),
            State::Closed => Err(QueryError::Impossible(Box::new(Closed))),
        }
    }

    async fn open_anew(&self) -> Result<Arc<Link>, QueryError> {
        let broken = match &mut *self.state.lock() {
            State::Broken(link) => link.take(),
            _ => None,
        };
        if let Some(link) = broken
            && let Err(link) = link::let_go(link).await
        {
            *self.state.lock() = State::Broken(Some(link));
            return Err(QueryError::Away("somebody still reads from what is broken".into()));
        }
        if let Some(Embedded { directory, .. }) = &self.embedded {
            // Opening one that is gone would make another, empty one.
            directory.check_folder().map_err(|gone| QueryError::Impossible(Box::new(gone)))?;
            directory.opened();
        }
        let url = link::without_credentials(&self.options.url);
        let away = |error: super::OpenError| QueryError::Away(Box::new(error));
        let link = link::open(&self.options).await.map_err(away)?;
        prepare(&link, &url).await.map_err(away)?;
        let link = Arc::new(link);
        *self.state.lock() = State::Open(link.clone());
        info!(%url, "the database is open again");
        Ok(link)
    }

    /// The right to write: for an embedded engine, alone.
    pub(super) async fn writing(&self) -> Option<MutexGuard<'_, ()>> {
        match &self.embedded {
            Some(embedded) => Some(embedded.writing.lock().await),
            None => None,
        }
    }

    /// Watches over a write: if it is dropped before it came back, nobody hears whether the engine failed.
    pub(super) fn watch<'a>(&'a self, link: &'a Arc<Link>, is_write: bool) -> Watch<'a> {
        Watch { keeper: self, link, is_on: is_write && self.embedded.is_some() }
    }

    /// Says what became of a query, so that a broken way is not gone again. What was written is stored only
    /// if this says so.
    pub(super) fn came_back<T>(
        &self,
        link: &Arc<Link>,
        is_write: bool,
        result: Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        match (&result, &self.embedded) {
            (Ok(_), Some(embedded)) if is_write => {
                embedded.directory.check().map_err(|gone| QueryError::Impossible(Box::new(gone)))?;
            }
            (Err(error), Some(_)) if is_write && error.may_have_broken_the_engine() => self.broke(link),
            (Err(QueryError::Late(_)), None) => self.broke(link),
            _ => {}
        }
        result
    }

    fn broke(&self, broken: &Arc<Link>) {
        let mut state = self.state.lock();
        if let State::Open(link) = &*state
            && Arc::ptr_eq(link, broken)
        {
            warn!(url = %link::without_credentials(&self.options.url), "the database is opened anew");
            *state = State::Broken(Some(link.clone()));
        }
    }

    /// Finishes; a directory is free afterwards, unless somebody still reads.
    pub(super) async fn close(&self) -> Result<(), store::Error> {
        // Whoever opens it anew has done so first.
        let _alone = self.opening.lock().await;
        let link = match std::mem::replace(&mut *self.state.lock(), State::Closed) {
            State::Open(link) | State::Broken(Some(link)) => link,
            State::Broken(None) | State::Closed => return Ok(()),
        };
        // Whoever still reads closes it by letting go of it.
        let Some(link) = Arc::into_inner(link) else { return Ok(()) };
        let closed = link.close().await;
        let url = link::without_credentials(&self.options.url);
        closed.map_err(|cause| store::Error::Failed { doing: format!("closing {url}"), cause })
    }
}

/// See [`Keeper::watch`].
pub(super) struct Watch<'a> {
    keeper: &'a Keeper,
    link: &'a Arc<Link>,
    is_on: bool,
}

impl Watch<'_> {
    pub(super) fn end(mut self) {
        self.is_on = false;
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if self.is_on {
            self.keeper.broke(self.link);
        }
    }
}
