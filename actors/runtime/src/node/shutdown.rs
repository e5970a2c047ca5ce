//! The graceful stop of a node: meetings are released, plugins shut down, the store is closed.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use teammy_kernel::{Caller, MeetingId, Name};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    error::Error,
    handle::Node,
    shutdown_progress::{Closing, Failure, Limit, OnShutdown, Step},
    watchdog,
};

/// How long a store may take to close after the deadline.
const CLOSING_GRACE: Duration = Duration::from_secs(1);

impl Node {
    /// Stops gracefully: meetings finish what is in flight, store it and are released, without being ended;
    /// then every plugin's `on_shutdown` runs, and the store is closed. What is not done within `deadline` is
    /// cut off. From the first call on the node takes no meetings ([`Error::ShutDown`]).
    ///
    /// It is done once. Later calls, and calls at the same time, wait for it and get the same result. The first
    /// deadline that passes holds for all of them: a call with a short one hurries a shutdown that is under way.
    ///
    /// # Errors
    /// [`Error::Deadline`] if something was cut off: nothing that was stored is lost, but hooks that were cut
    /// off run again when the meeting is resumed. [`Error::Store`] if the store could not be closed.
    ///
    /// # Cancel safety
    /// A dropped call leaves the shutdown where it is, and the node takes no meetings. The next call continues
    /// it, within a deadline of its own. Dropping the node instead stops the rest at once.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), Error> {
        let limit = Limit::new(deadline);
        let mut step = self.shutdown.begin(limit).await;
        loop {
            let next = match &mut *step {
                Step::Meetings => self.release_meetings(limit).await,
                Step::Plugins { left, hook } => self.shut_down_plugins(left, hook, limit).await,
                Step::Store(closing) => self.finish(closing, limit).await,
                Step::Done(done) => return done.as_ref().copied().map_err(Into::into),
            };
            *step = next;
        }
    }

    async fn release_meetings(&self, limit: Limit) -> Step {
        let meetings = self.local_meetings();
        info!(meetings = meetings.len(), "node shuts down");
        let releases =
            futures::future::join_all(meetings.iter().map(|meeting| meeting.release_within(Duration::MAX)));
        if self.shutdown.within(limit, releases).await.is_none() {
            self.shutdown.cut_off(limit);
        }
        for (_, meeting) in self.meetings.lock().drain() {
            meeting.kill("the node is shutting down");
        }
        Step::Plugins { left: self.resources.plugins.keys().cloned().collect(), hook: None }
    }

    async fn shut_down_plugins(
        &self,
        left: &mut VecDeque<Name>,
        hook: &mut Option<OnShutdown>,
        limit: Limit,
    ) -> Step {
        while let Some(instance) = left.front() {
            let running = hook.get_or_insert_with(|| self.start_on_shutdown(instance));
            match self.shutdown.within(limit, running).await {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => warn!(%instance, error = error.chain(), "on_shutdown failed"),
                // The panic's message may quote anything, and is left out; the panic hook has named the place.
                Some(Err(error)) if error.is_panic() => warn!(%instance, "on_shutdown panicked"),
                Some(Err(_)) => warn!(%instance, "on_shutdown was cut off: the plugins' runtime is gone"),
                None => {
                    warn!(%instance, "on_shutdown was cut off");
                    self.shutdown.cut_off(limit);
                }
            }
            *hook = None;
            left.pop_front();
        }
        let (store, models) = (self.resources.store.clone(), self.resources.llm.clone());
        Step::Store(Box::pin(async move {
            models.close().await;
            store.close().await
        }))
    }

    fn start_on_shutdown(&self, instance: &Name) -> OnShutdown {
        // `on_shutdown` belongs to no meeting, and neither do its requests to language models.
        let no_meeting = MeetingId::new(Caller::NO_MEETING).expect("invariant: a well-formed id");
        let plugin = self.resources.plugins.get(instance).expect("invariant: every instance has started");
        let (plugin, models, name) = (plugin.clone(), self.resources.llm.clone(), instance.clone());
        self.resources.plugin_runtime.spawn(async move { plugin.shutdown(models, no_meeting, name).await })
    }

    async fn finish(&self, closing: &mut Closing, limit: Limit) -> Step {
        let mut closed = self.shutdown.within(limit, &mut *closing).await;
        if closed.is_none() {
            closed = timeout(CLOSING_GRACE, closing).await.ok();
        }
        if closed.is_none() {
            self.shutdown.cut_off(limit);
        }
        self.stop_at_once();
        watchdog::set_gauges(&[], &self.resources);
        Step::Done(match (closed, self.shutdown.passed_deadline()) {
            (Some(Err(error)), _) => Err(Failure::Store(Arc::new(error))),
            (_, Some(deadline)) => Err(Failure::Deadline(deadline)),
            (_, None) => Ok(()),
        })
    }
}
