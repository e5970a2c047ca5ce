//! Ordered calls: of those for one meeting that one peer makes, one is handled after the other.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use teammy_kernel::MeetingId;

/// What is done in turn. It must not panic.
pub(crate) type Job = BoxFuture<'static, ()>;

/// A peer's lanes. They outlive its connections: what a new one brings comes after what an older one brought.
#[derive(Default)]
pub(crate) struct Lanes {
    /// The jobs that wait; a lane that is here has a task.
    waiting: Mutex<HashMap<Option<MeetingId>, VecDeque<Job>>>,
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes").field("lanes", &self.waiting.lock().len()).finish()
    }
}

impl Lanes {
    /// Does something after all that was added for this meeting before.
    pub(crate) fn push(self: &Arc<Self>, meeting: Option<MeetingId>, job: Job) {
        let mut waiting = self.waiting.lock();
        if let Some(jobs) = waiting.get_mut(&meeting) {
            jobs.push_back(job);
            return;
        }
        waiting.insert(meeting.clone(), VecDeque::from([job]));
        drop(waiting);
        tokio::spawn(Arc::clone(self).run(meeting));
    }

    /// Does the jobs of a lane, until there are none.
    async fn run(self: Arc<Self>, meeting: Option<MeetingId>) {
        let next = || {
            let mut waiting = self.waiting.lock();
            let job = waiting.get_mut(&meeting)?.pop_front();
            if job.is_none() {
                waiting.remove(&meeting);
            }
            job
        };
        while let Some(job) = next() {
            job.await;
        }
    }
}
