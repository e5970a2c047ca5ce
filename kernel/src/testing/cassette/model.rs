//! Where a model answers that is recorded: on a runtime of its own, in real time.
//!
//! A test pauses its time, and tokio moves it on whenever the test waits. A client of a real server would be
//! out of time as soon as it waits for the network. So it runs on another runtime, and the test's time stands
//! still meanwhile.

use std::{future::Future, io, sync::mpsc, thread, time::Duration};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinHandle,
    time::Instant,
};

/// A thread with a runtime, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct ModelThread {
    runtime: Handle,
    _end: oneshot::Sender<()>,
}

impl ModelThread {
    pub(super) fn start() -> io::Result<Self> {
        let mut builder = Builder::new_current_thread();
        // The cassette's own tests have models whose delays they do not wait for.
        #[cfg(test)]
        builder.start_paused(true);
        let runtime = builder.enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("recorded-model".to_owned()).spawn(move || runtime.block_on(ended))?;
        Ok(Self { runtime: handle, _end: end })
    }

    /// Begins to answer.
    pub(super) fn run<T: Send + 'static>(
        &self,
        answer: impl Future<Output = T> + Send + 'static,
    ) -> Answering<T> {
        // Tokio's paused time goes on only while no blocking task runs.
        let (still, end) = mpsc::channel();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || end.recv());
        }
        Answering { task: self.runtime.spawn(answer), _still: still }
    }
}

/// A model that answers; it stops when this is dropped. The time of the test stands still until then.
#[derive(Debug)]
pub(super) struct Answering<T> {
    task: JoinHandle<T>,
    _still: mpsc::Sender<()>,
}

impl<T> Answering<T> {
    /// Waits for the answer. A model that panics does so here.
    pub(super) async fn answer(mut self) -> T {
        match (&mut self.task).await {
            Ok(answer) => answer,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl<T> Drop for Answering<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The time that is left for an answer, which is the same on another clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left(Option<Duration>);

impl Left {
    /// What is left until a deadline.
    pub(super) fn until(deadline: Option<Instant>) -> Self {
        Self(deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())))
    }

    /// The deadline by the clock of whoever calls this.
    pub(super) fn again(self) -> Option<Instant> {
        Instant::now().checked_add(self.0?)
    }
}
