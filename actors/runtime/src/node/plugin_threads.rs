//! The threads that run plugins.
//!
//! A hook that computes holds its thread, so a node has more threads than the machine has cores. But each thread that
//! sleeps costs the others: tokio wakes one more whenever a woken one finds work, and on a machine whose cores are all
//! in use that switch costs more than a hook. So no more threads than cores run, the others are in [`Reserve`]: a
//! blocking task parks each of them until hooks hold all that run.
//!
//! A task that is queued on a parked thread would wait as long as that one does. So all of the reserve are parked before
//! there is any other task; and where one is parked later, it first runs what only it can take, and another thread is then
//! woken to take the rest ([`Place::hold`]).

use std::{
    io, mem,
    num::NonZeroUsize,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::{
    runtime::{self, Handle, Runtime, RuntimeMetrics},
    time::Instant,
};
use tracing::debug;

use reserve::{Reserve, Step};

mod reserve;

/// How often to check whether a thread is free, and how long a task waits for one before another is added.
const PERIOD: Duration = Duration::from_millis(50);

/// A runtime for plugins. Dropping it ends its tasks, without waiting for hooks that hold their threads.
#[derive(Debug)]
pub(super) struct PluginThreads {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    gate: Arc<Gate>,
    /// The thread that watches, which ends when this is dropped.
    watcher: Option<mpsc::Sender<()>>,
}

impl PluginThreads {
    /// # Errors
    ///
    /// If the system gives no threads.
    pub(super) fn start(threads: usize) -> io::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("teammy-plugin")
            .enable_all()
            .build()?;
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let gate = Arc::new(Gate::default());
        let mut this = Self { runtime: Some(runtime), gate: gate.clone(), watcher: None };
        if threads > cores {
            let (ends, ended) = mpsc::channel();
            let (handle, reserve) = (this.handle(), Reserve::new(threads - cores));
            gate.keep(reserve.kept(), &handle);
            gate.until(|waiting| waiting.parked == waiting.wanted);
            thread::Builder::new()
                .name("teammy-threads".to_owned())
                .spawn(move || watch(&handle, &gate, reserve, &ended))?;
            this.watcher = Some(ends);
        }
        Ok(this)
    }

    pub(super) fn handle(&self) -> Handle {
        self.runtime.as_ref().expect("invariant: it is there until it is dropped").handle().clone()
    }
}

impl Drop for PluginThreads {
    fn drop(&mut self) {
        self.watcher.take();
        self.gate.open();
        // A runtime must not wait for its threads where async code drops it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Where the threads of the reserve wait.
#[derive(Debug, Default)]
struct Gate {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// How many threads wait, or are about to.
    threads: usize,
    /// How many of them wait.
    parked: usize,
    /// How often one has begun to wait.
    begun: u64,
    /// How many should wait.
    wanted: usize,
    is_open: bool,
}

impl Gate {
    /// Makes `wanted` threads wait here.
    fn keep(self: &Arc<Self>, wanted: usize, runtime: &Handle) {
        let mut waiting = self.waiting.lock();
        waiting.wanted = wanted;
        self.changed.notify_all();
        while waiting.threads < wanted && !waiting.is_open {
            waiting.threads += 1;
            runtime.spawn(Place { gate: self.clone(), is_left: false }.hold());
        }
    }

    /// Lets all go on, for good.
    fn open(&self) {
        self.waiting.lock().is_open = true;
        self.changed.notify_all();
    }

    /// Waits for that.
    fn until(&self, is_met: impl Fn(&Waiting) -> bool) {
        let mut waiting = self.waiting.lock();
        while !is_met(&waiting) {
            self.changed.wait(&mut waiting);
        }
    }

    /// How often a thread has begun to wait.
    fn begun(&self) -> u64 {
        self.waiting.lock().begun
    }
}

/// One of the threads that [`Gate`] counts; until its end, whether it ran or not.
struct Place {
    gate: Arc<Gate>,
    /// Whether it is not counted any more.
    is_left: bool,
}

impl Place {
    /// Blocks its thread, which is what it is for.
    ///
    /// A thread keeps the task that was woken last for itself, and may first look at tasks that come from elsewhere, such as
    /// this one. What a task that has yielded comes back from are the thread's own tasks, and that one is taken before it.
    async fn hold(mut self) {
        tokio::task::yield_now().await;
        self.wait();
    }

    fn wait(&mut self) {
        let mut waiting = self.gate.waiting.lock();
        waiting.parked += 1;
        waiting.begun += 1;
        self.gate.changed.notify_all();
        while waiting.threads <= waiting.wanted && !waiting.is_open {
            self.gate.changed.wait(&mut waiting);
        }
        waiting.parked -= 1;
        waiting.threads -= 1;
        self.is_left = true;
        self.gate.changed.notify_all();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_left {
            self.gate.waiting.lock().threads -= 1;
            self.gate.changed.notify_all();
        }
    }
}

/// Looks each [`PERIOD`] whether a thread is free, and follows what the reserve says, until `ended`.
fn watch(runtime: &Handle, gate: &Arc<Gate>, mut reserve: Reserve, ended: &mpsc::Receiver<()>) {
    let (metrics, started) = (runtime.metrics(), Instant::now());
    let mut begun = gate.begun();
    while matches!(ended.recv_timeout(PERIOD), Err(RecvTimeoutError::Timeout)) {
        // A thread that runs a task looks at the others' queues after it: also at those of threads that have begun to wait.
        let have_begun = mem::replace(&mut begun, gate.begun()) != begun;
        let is_free = (!have_begun && is_any_asleep(&metrics)) || runs_a_task(runtime);
        match reserve.step(is_free, started.elapsed()) {
            Step::Stay => {}
            Step::Add => {
                debug!(
                    in_reserve = reserve.kept(),
                    "all threads for plugins are busy: some of the reserve run"
                );
                gate.keep(reserve.kept(), runtime);
            }
            Step::Withdraw => {
                debug!(in_reserve = reserve.kept(), "fewer threads for plugins run");
                gate.keep(reserve.kept(), runtime);
            }
        }
    }
}

/// Whether a thread sleeps that tokio can wake: those are free, and asking them would wake them.
fn is_any_asleep(metrics: &RuntimeMetrics) -> bool {
    // The count is odd while a thread sleeps.
    (0..metrics.num_workers()).any(|worker| metrics.worker_park_unpark_count(worker) % 2 == 1)
}

/// Whether a task gets a thread within [`PERIOD`].
fn runs_a_task(runtime: &Handle) -> bool {
    let (ran, answer) = mpsc::sync_channel(1);
    runtime.spawn(async move { ran.try_send(()) });
    answer.recv_timeout(PERIOD).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_that_hold_the_threads_that_run_get_the_others_to_run() {
        let threads = thread::available_parallelism().unwrap().get() + 3;
        let plugins = PluginThreads::start(threads).unwrap();
        let (runtime, (says, heard)) = (plugins.handle(), mpsc::channel());
        // Each holds its thread until all have begun: without the reserve they would never.
        let all = Arc::new(std::sync::Barrier::new(threads));
        for _ in 0..threads {
            let (says, all) = (says.clone(), all.clone());
            runtime.spawn(async move {
                all.wait();
                says.send(()).unwrap();
            });
        }
        for _ in 0..threads {
            heard.recv().unwrap();
        }
    }

    #[test]
    fn a_thread_runs_what_is_queued_on_it_before_it_is_parked() {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let (begins, begun) = mpsc::channel();
        let hold = || {
            let (begins, (release, released)) = (begins.clone(), mpsc::channel::<()>());
            runtime.spawn(async move {
                begins.send(()).unwrap();
                let _ = released.recv();
            });
            begun.recv().unwrap();
            release
        };
        let (first, _second) = (hold(), hold());
        let (gate, (says, heard)) = (Arc::new(Gate::default()), mpsc::channel());
        gate.keep(1, runtime.handle());
        for _ in 0..8 {
            let says = says.clone();
            runtime.spawn(async move { says.send(()).unwrap() });
        }
        // This thread takes several tasks at once, the one that parks it first. Nobody takes the others from it: the second is held.
        drop(first);
        for _ in 0..8 {
            heard.recv().unwrap();
        }
        gate.until(|waiting| waiting.parked == 1);
        gate.open();
    }

    #[test]
    fn threads_in_reserve_end_with_the_others() {
        let plugins = PluginThreads::start(thread::available_parallelism().unwrap().get() + 2).unwrap();
        let gate = plugins.gate.clone();
        assert_eq!(gate.waiting.lock().parked, 2);
        drop(plugins);
        gate.until(|waiting| waiting.threads == 0);
    }
}
